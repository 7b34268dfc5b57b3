package views_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/a-h/templ"
	"github.com/chromedp/chromedp"

	"blockconsole/static"
	"blockconsole/views"
	"blockconsole/views/viewtest"
)

// desk is a small server with one live list, whose rows a test changes.
type desk struct {
	*httptest.Server
	t       *testing.T
	mu      sync.Mutex
	rows    []views.SnapshotRow
	streams map[chan string]bool
	opened  atomic.Int64  // streams that were ever opened
	arrived chan struct{} // one for every stream that opens
	over    chan struct{} // closed at the end: streams do not outlive the test
	answer  atomic.Pointer[http.HandlerFunc]
}

const deskPath = views.SnapshotsPath

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, rows: snapshotRows()[:6], streams: map[chan string]bool{}, arrived: make(chan struct{}, 16), over: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc(static.Prefix, func(w http.ResponseWriter, r *http.Request) {
		f, _ := static.Open(strings.TrimPrefix(r.URL.Path, static.Prefix))
		w.Header().Set("Content-Type", f.ContentType)
		_, _ = w.Write(f.Content)
	})
	mux.HandleFunc("GET "+deskPath, d.list)
	mux.HandleFunc("GET "+deskPath+"/events", d.events)
	mux.HandleFunc("GET "+deskPath+"/edit", d.edit)
	mux.HandleFunc("POST "+deskPath+"/edit", func(w http.ResponseWriter, r *http.Request) { (*d.answer.Load())(w, r) })
	d.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(d.over)
		d.Close()
	})
	return d
}

func (d *desk) send(w http.ResponseWriter, status int, body templ.Component, whole bool) {
	f := frame()
	f.Active, f.URL = "snapshots", deskPath
	ctx := inLang("ko", f)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	if whole {
		ctx, body = templ.WithChildren(ctx, body), views.Layout(f)
	}
	_, _ = w.Write([]byte(html(d.t, ctx, body)))
}

func (d *desk) list(w http.ResponseWriter, _ *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := list(deskPath)
	l.EventsURL = deskPath + "/events?since=1"
	d.send(w, http.StatusOK, snapshotList(d.t, "ko", l, d.rows), true)
}

func (d *desk) edit(w http.ResponseWriter, r *http.Request) {
	f := form(deskPath + "/edit")
	d.send(w, http.StatusOK, views.EditPopup(views.Edit{Form: f, Kind: "snapshot", Name: "first-name", Description: r.FormValue("id")}), r.Header.Get("HX-Request") == "")
}

func (d *desk) events(w http.ResponseWriter, r *http.Request) {
	messages := make(chan string, 16)
	d.mu.Lock()
	d.streams[messages] = true
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.streams, messages)
		d.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	d.opened.Add(1)
	d.arrived <- struct{}{}
	for {
		select {
		case m := <-messages:
			fmt.Fprint(w, m)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		case <-d.over:
			return
		}
	}
}

// say sends an event to every stream.
func (d *desk) say(event, data string) {
	text := "id: 7\n"
	if event != "" {
		text += "event: " + event + "\n"
	}
	text += "data: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n"
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.streams {
		s <- text
	}
}

func (d *desk) partial(r views.SnapshotRow) string {
	return `<hx-partial hx-target="#snapshot-` + r.ID + `" hx-swap="outerMorph">` + html(d.t, inLang("ko", frame()), views.SnapshotRowHTML(r)) + `</hx-partial>`
}

// until waits for a condition in the page.
func until(t *testing.T, tab *viewtest.Tab, what, condition string) {
	t.Helper()
	script := `new Promise((yes, no) => { const end = performance.now() + 8000; const look = () => { if (` + condition + `) yes(true); else if (performance.now() > end) yes(false); else requestAnimationFrame(look); }; look(); })`
	if !viewtest.Eval[bool](tab, script) {
		t.Fatalf("%s: never %s", what, condition)
	}
}

func openDesk(t *testing.T) (*desk, *viewtest.Tab) {
	t.Helper()
	tab := viewtest.NewTab(t, viewtest.Browser(t))
	d := newDesk(t)
	tab.Media("light")
	tab.Do(chromedp.Navigate(d.URL + deskPath))
	<-d.arrived
	return d, tab
}

func clean(t *testing.T, tab *viewtest.Tab) {
	t.Helper()
	for _, c := range tab.Complaints() {
		t.Errorf("console: %s", c)
	}
}

func TestRowsFollowWithoutLosingAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	d, tab := openDesk(t)
	row := "#snapshot-" + uid(1)
	tab.Do(chromedp.Click(chromedp.CSS(row + " input")))
	viewtest.Eval[bool](tab, `scrollTo(0, 40), document.querySelector("`+row+` .name").focus(), true`)
	changed := d.rows[0]
	changed.Name, changed.Status = "renamed-elsewhere", "DELETING"
	changed.Deny.Edit = msg("deny.status", "DELETING")
	d.say("", d.partial(changed))
	until(t, tab, "row", `document.querySelector("`+row+` .name").textContent === "renamed-elsewhere"`)
	if !viewtest.Eval[bool](tab, `document.querySelector("`+row+` input").checked && document.activeElement.textContent === "renamed-elsewhere"`) {
		t.Error("the row lost its tick or the focus")
	}
	until(t, tab, "toolbar", `document.querySelector("[data-action=edit]").getAttribute("aria-disabled") === "true"`)
	if why := viewtest.Eval[string](tab, `document.getElementById("why-edit").textContent`); !strings.Contains(why, "DELETING") {
		t.Errorf("the button says %q", why)
	}

	d.mu.Lock()
	d.rows = d.rows[:3]
	d.mu.Unlock()
	d.say("list", "{}")
	until(t, tab, "list", `document.querySelectorAll("#rows tbody tr").length === 3`)
	if !viewtest.Eval[bool](tab, `document.querySelector("`+row+` input").checked`) {
		t.Error("the refreshed list lost the tick")
	}
	d.say("activity", "5")
	until(t, tab, "count", `document.getElementById("activity-count").textContent === "5"`)
	d.say("fresh", "1000")
	until(t, tab, "age", `document.getElementById("fresh").dataset.at === "1000"`)
	d.say("", d.partial(views.SnapshotRow{ID: uid(999), Name: "not-on-this-page"}))
	d.say("activity", "6")
	until(t, tab, "count", `document.getElementById("activity-count").textContent === "6"`)
	if viewtest.Eval[bool](tab, `document.body.textContent.includes("not-on-this-page")`) {
		t.Error("a row that is not on the page was shown")
	}
	clean(t, tab)
}

func TestToolbarSaysWhy(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	_, tab := openDesk(t)
	state := func() string {
		return viewtest.Eval[string](tab, `[...document.querySelectorAll(".toolbar button")].map(b => b.getAttribute("aria-disabled") ? document.getElementById(b.getAttribute("aria-describedby")).textContent : "-").join("|")`)
	}
	if got := state(); got != "목록에서 하나만 선택하세요.|목록에서 하나 이상 선택하세요.|목록에서 하나만 선택하세요." {
		t.Errorf("nothing ticked: %q", got)
	}
	tick := func(n int) { tab.Do(chromedp.Click(chromedp.CSS("#snapshot-" + uid(n) + " input"))) }
	tick(4)
	if got := state(); !strings.HasPrefix(got, "-|삭제할 수 없습니다. 관리자에게 문의하세요.|") {
		t.Errorf("ERROR_DELETING ticked: %q", got)
	}
	tab.Do(chromedp.Click(chromedp.CSS("[data-action=delete]")))
	if viewtest.Eval[bool](tab, `document.querySelector("#popup").open`) {
		t.Error("a button that says no acted")
	}
	tick(1)
	if got := state(); got != "목록에서 하나만 선택하세요.|-|목록에서 하나만 선택하세요." {
		t.Errorf("two ticked, one of them deletable: %q", got)
	}
	tab.Do(chromedp.Click(chromedp.CSS("#pick-all")))
	if n := viewtest.Eval[int](tab, `document.querySelectorAll("#rows [name=id]:checked").length`); n != 6 {
		t.Errorf("%d rows ticked of 6", n)
	}
	clean(t, tab)
}

func TestPopupLivesInTheDialog(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	d, tab := openDesk(t)
	tab.Do(chromedp.Click(chromedp.CSS("#snapshot-"+uid(1)+" input")), chromedp.Click(chromedp.CSS("[data-action=edit]")))
	until(t, tab, "popup", `document.querySelector("#popup").open`)
	if id := viewtest.Eval[string](tab, `document.querySelector("#popup [name=description]").value`); id != uid(1) {
		t.Errorf("the popup is of %q", id)
	}
	answer := func(h http.HandlerFunc) { d.answer.Store(&h) }
	answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-42")
		http.Error(w, "<h1>oops</h1>", http.StatusInternalServerError)
	})
	submit := func() { tab.Do(chromedp.Click(chromedp.CSS("#popup .popup-submit"))) }
	viewtest.Eval[bool](tab, `document.querySelector("#popup [name=name]").value = "typed-by-hand", true`)
	submit()
	until(t, tab, "message", `document.querySelector("#messages [data-sticky] [data-request-id]")?.textContent === "req-42"`)
	if !viewtest.Eval[bool](tab, `document.querySelector("#popup").open && document.querySelector("#popup [name=name]").value === "typed-by-hand" && !document.body.textContent.includes("oops")`) {
		t.Error("a server error closed the popup, lost what was typed or was shown raw")
	}
	answer(func(w http.ResponseWriter, _ *http.Request) {
		d.send(w, http.StatusUnprocessableEntity, views.EditPopup(views.Edit{Form: wrong(deskPath+"/edit", "name"), Kind: "snapshot", Name: "?"}), false)
	})
	submit()
	until(t, tab, "422", `document.activeElement.getAttribute("aria-invalid") === "true" && document.activeElement.value === "?"`)
	changed := d.rows[0]
	changed.Name = "second-name"
	answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("HX-Trigger", `{"popup:close":{}}`)
		_, _ = w.Write([]byte(d.partial(changed) + `<hx-partial hx-target="#messages" hx-swap="beforeend">` + html(t, inLang("ko", frame()), views.Notice(views.Alert{Message: msg("accepted.snapshot.edit", "second-name")})) + `</hx-partial>`))
	})
	viewtest.Eval[bool](tab, `document.querySelector("#popup [name=name]").value = "second-name", true`)
	submit()
	until(t, tab, "success", `!document.querySelector("#popup").open && document.querySelector("#snapshot-`+uid(1)+` .name").textContent === "second-name"`)
	until(t, tab, "focus", `document.activeElement.dataset.action === "edit"`)
	for _, c := range tab.Complaints() {
		if !strings.Contains(c, "the server responded with a status of 500") && !strings.Contains(c, "the server responded with a status of 422") {
			t.Errorf("console: %s", c)
		}
	}
}

func TestRowMenuAndKeys(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	_, tab := openDesk(t)
	tab.Do(chromedp.Click(chromedp.CSS("#snapshot-" + uid(4) + " [data-row-menu]")))
	until(t, tab, "menu", `document.querySelector("#row-menu").matches(":popover-open")`)
	items := viewtest.Eval[string](tab, `[...document.querySelectorAll("#row-menu a")].map(a => (a.getAttribute("href") || "no") + ":" + a.textContent.trim()).join("|")`)
	page := views.SnapshotsPath + "/" + uid(4)
	for _, want := range []string{page + "/edit:수정", page + "/repair:복구", "no:삭제삭제할 수 없습니다. 관리자에게 문의하세요."} {
		if !strings.Contains(items, want) {
			t.Errorf("the menu has no %q: %s", want, items)
		}
	}
	tab.Screenshot("row-menu", false)
	viewtest.Eval[bool](tab, `document.body.click(), document.querySelector("#row-menu").hidePopover(), document.activeElement.blur(), true`)
	viewtest.Eval[bool](tab, `document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true})), true`)
	if id := viewtest.Eval[string](tab, `document.activeElement.id`); id != "global-search" {
		t.Errorf("/ went to %q", id)
	}
	clean(t, tab)
}

func TestMenuIsADrawerOnAPhone(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	_, tab := openDesk(t)
	tab.Size(390, 844)
	visible := func() bool {
		return viewtest.Eval[bool](tab, `document.querySelector("#menu a").checkVisibility()`)
	}
	if visible() {
		t.Error("the menu is open before it is asked for")
	}
	tab.Do(chromedp.Click(chromedp.CSS(".drawer-button")))
	until(t, tab, "drawer", `document.querySelector("#menu").matches(":popover-open")`)
	if !visible() {
		t.Error("the opened menu cannot be seen")
	}
	tab.Screenshot("drawer", false)
	for _, v := range tab.Axe() {
		t.Errorf("axe: %s", v)
	}
	clean(t, tab)
}

// TestWindowsShareOneStream opens the list twice in one browser.
func TestWindowsShareOneStream(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	d, first := openDesk(t)
	second := first.Sibling(t)
	second.Do(chromedp.Navigate(d.URL + deskPath))
	if !viewtest.Eval[bool](second, `new Promise(yes => { const look = () => navigator.locks.query().then(s => s.pending.length === 1 && s.held.length === 1 ? yes(true) : setTimeout(look, 10)); look(); })`) {
		t.Fatal("the second window does not wait for the lock")
	}
	changed := d.rows[0]
	changed.Name = "seen-in-both"
	d.say("", d.partial(changed))
	for _, tab := range []*viewtest.Tab{first, second} {
		until(t, tab, "row", `document.querySelector("#snapshot-`+uid(1)+` .name").textContent === "seen-in-both"`)
	}
	if n := d.opened.Load(); n != 1 {
		t.Errorf("%d streams for two windows", n)
	}
}
