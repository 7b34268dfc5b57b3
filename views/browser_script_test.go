package views_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/chromedp/chromedp"

	"blockconsole/static"
	"blockconsole/views"
	"blockconsole/views/viewtest"
)

// liveServer serves one list with a live stream, whose rows a test changes.
type liveServer struct {
	*httptest.Server
	t           *testing.T
	mu          sync.Mutex
	rows        []views.SnapshotRow
	streams     map[chan string]bool
	opened      chan struct{} // one per stream that opens
	closed      chan struct{} // one per stream that ends
	done        chan struct{} // closed when the test ends
	editHandler atomic.Pointer[http.HandlerFunc]
	unavailable atomic.Bool   // streams are refused
	crowded     atomic.Bool   // streams are refused by the console, since there are too many
	foreign     atomic.Bool   // the list is answered by somebody else
	silent      atomic.Bool   // streams get no answer
	end         chan struct{} // ends a stream in good order
}

const listPath = views.SnapshotsPath

func newLiveServer(t *testing.T) *liveServer {
	s := &liveServer{t: t, rows: snapshotRows()[:6], streams: map[chan string]bool{},
		opened: make(chan struct{}, 16), closed: make(chan struct{}, 16), done: make(chan struct{}), end: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc(static.Prefix, serveStatic)
	mux.HandleFunc("GET "+listPath, s.list)
	mux.HandleFunc("GET "+listPath+"/events", s.events)
	mux.HandleFunc("GET "+listPath+"/edit", s.edit)
	mux.HandleFunc("POST "+listPath+"/edit", func(w http.ResponseWriter, r *http.Request) { (*s.editHandler.Load())(w, r) })
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.done)
		s.Close()
	})
	return s
}

func (s *liveServer) respond(w http.ResponseWriter, status int, body templ.Component, whole bool) {
	f := frame()
	f.Active, f.URL = "snapshots", listPath
	ctx := testContext("ko", f)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("X-Request-Id", "of the console")
	w.WriteHeader(status)
	if whole {
		ctx, body = templ.WithChildren(ctx, body), views.Layout(f)
	}
	_, _ = w.Write([]byte(render(s.t, ctx, body)))
}

func (s *liveServer) list(w http.ResponseWriter, _ *http.Request) {
	if s.foreign.Load() {
		fmt.Fprint(w, "<h1>Sign in to this network</h1>")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l := list(listPath)
	l.EventsURL = listPath + "/events?since=1"
	s.respond(w, http.StatusOK, snapshotList(s.t, "ko", l, s.rows), true)
}

func (s *liveServer) edit(w http.ResponseWriter, r *http.Request) {
	f := form(listPath + "/edit")
	s.respond(w, http.StatusOK, views.EditPopup(views.Edit{Form: f, Kind: "snapshot", Name: "first-name", Description: r.FormValue("id")}), r.Header.Get("HX-Request") == "")
}

func (s *liveServer) events(w http.ResponseWriter, r *http.Request) {
	if s.unavailable.Load() {
		s.opened <- struct{}{}
		http.Error(w, "unavailable", http.StatusServiceUnavailable)
		return
	}
	if s.crowded.Load() {
		w.Header().Set("X-Request-Id", "1")
		http.Error(w, "too many", http.StatusTooManyRequests)
		return
	}
	messages := make(chan string, 16)
	s.mu.Lock()
	s.streams[messages] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.streams, messages)
		s.mu.Unlock()
		s.closed <- struct{}{}
	}()
	if !s.silent.Load() {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
	}
	s.opened <- struct{}{}
	for {
		select {
		case m := <-messages:
			fmt.Fprint(w, m)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		case <-s.end:
			return
		case <-s.done:
			return
		}
	}
}

// wait receives from opened or closed.
func (s *liveServer) wait(what string, c <-chan struct{}) {
	s.t.Helper()
	select {
	case <-c:
	case <-time.After(8 * time.Second):
		s.t.Fatalf("never: %s", what)
	}
}

// sendEvent sends an event to every stream.
func (s *liveServer) sendEvent(event, data string) {
	text := "id: 7\n"
	if event != "" {
		text += "event: " + event + "\n"
	}
	text += "data: " + strings.ReplaceAll(data, "\n", "\ndata: ") + "\n\n"
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream := range s.streams {
		stream <- text
	}
}

func (s *liveServer) rowPartial(r views.SnapshotRow) string {
	return render(s.t, testContext("ko", frame()), views.RowPartial("snapshot-"+r.ID, views.SnapshotTableRow(r)))
}

// waitFor waits up to 8 s for a condition in the page.
func waitFor(t *testing.T, tab *viewtest.Tab, what, condition string) {
	t.Helper()
	script := `new Promise((resolve) => { const end = performance.now() + 8000; const poll = () => { if (` + condition + `) resolve(true); else if (performance.now() > end) resolve(false); else requestAnimationFrame(poll); }; poll(); })`
	if !viewtest.Eval[bool](tab, script) {
		t.Fatalf("%s: never %s", what, condition)
	}
}

func openLiveList(t *testing.T) (*liveServer, *viewtest.Tab) {
	t.Helper()
	t.Parallel()
	tab := viewtest.NewTab(t, viewtest.Browser(t))
	server := newLiveServer(t)
	tab.EmulateColorScheme("light")
	tab.Do(chromedp.Navigate(server.URL + listPath))
	<-server.opened
	return server, tab
}

func checkConsole(t *testing.T, tab *viewtest.Tab) {
	t.Helper()
	for _, c := range tab.ConsoleMessages() {
		t.Errorf("console: %s", c)
	}
}

func TestBrowserLiveList_KeepsSelectionAndFocus(t *testing.T) {
	server, tab := openLiveList(t)
	row := "#snapshot-" + uid(1)
	tab.Do(chromedp.Click(chromedp.CSS(row + " input")))
	viewtest.Eval[bool](tab, `scrollTo(0, 40), document.querySelector("`+row+` .name").focus(), true`)
	changed := server.rows[0]
	changed.Name, changed.Status = "renamed-elsewhere", "DELETING"
	changed.Deny.Edit = msg("deny.status", "DELETING")
	server.sendEvent("", server.rowPartial(changed))
	waitFor(t, tab, "row", `document.querySelector("`+row+` .name").textContent === "renamed-elsewhere"`)
	if !viewtest.Eval[bool](tab, `document.querySelector("`+row+` input").checked && document.activeElement.textContent === "renamed-elsewhere"`) {
		t.Error("the row lost its tick or the focus")
	}
	waitFor(t, tab, "toolbar", `document.querySelector("[data-action=edit]").getAttribute("aria-disabled") === "true"`)
	if why := viewtest.Eval[string](tab, `document.getElementById("why-edit").textContent`); !strings.Contains(why, "DELETING") {
		t.Errorf("the tooltip is %q", why)
	}

	server.mu.Lock()
	server.rows = server.rows[:3]
	server.mu.Unlock()
	server.sendEvent("list", "{}")
	waitFor(t, tab, "list", `document.querySelectorAll("#rows tbody tr").length === 3`)
	if !viewtest.Eval[bool](tab, `document.querySelector("`+row+` input").checked`) {
		t.Error("the refreshed list lost the tick")
	}
	server.sendEvent("activity", "5")
	waitFor(t, tab, "count", `document.getElementById("activity-count").textContent === "5"`)
	server.sendEvent("fresh", "1000")
	waitFor(t, tab, "age", `document.getElementById("fresh").dataset.at === "1000"`)
	server.sendEvent("", server.rowPartial(views.SnapshotRow{ID: uid(999), Name: "not-on-this-page"}))
	server.sendEvent("activity", "6")
	waitFor(t, tab, "count", `document.getElementById("activity-count").textContent === "6"`)
	if viewtest.Eval[bool](tab, `document.body.textContent.includes("not-on-this-page")`) {
		t.Error("a row that is not on the page was shown")
	}
	checkConsole(t, tab)
}

func TestBrowserToolbar_DisabledReasons(t *testing.T) {
	_, tab := openLiveList(t)
	state := func() string {
		return viewtest.Eval[string](tab, `[...document.querySelectorAll(".toolbar button")].map(b => b.getAttribute("aria-disabled") ? document.getElementById(b.getAttribute("aria-describedby")).textContent : "-").join("|")`)
	}
	if got := state(); got != "목록에서 하나만 선택하세요.|목록에서 하나 이상 선택하세요.|목록에서 하나 이상 선택하세요.|목록에서 하나만 선택하세요.|-" {
		t.Errorf("nothing ticked: %q", got)
	}
	tick := func(n int) { tab.Do(chromedp.Click(chromedp.CSS("#snapshot-" + uid(n) + " input"))) }
	tick(4)
	if got := state(); !strings.HasPrefix(got, "-|-|삭제할 수 없습니다. 관리자에게 문의하세요.|") {
		t.Errorf("ERROR_DELETING ticked: %q", got)
	}
	tab.Do(chromedp.Click(chromedp.CSS("[data-action=delete]")))
	if viewtest.Eval[bool](tab, `document.querySelector("#popup").open`) {
		t.Error("a disabled button acted")
	}
	tick(1)
	if got := state(); got != "목록에서 하나만 선택하세요.|-|-|목록에서 하나만 선택하세요.|-" {
		t.Errorf("two ticked, one of them deletable: %q", got)
	}
	tab.Do(chromedp.Click(chromedp.CSS("#pick-all")))
	if n := viewtest.Eval[int](tab, `document.querySelectorAll("#rows [name=id]:checked").length`); n != 6 {
		t.Errorf("%d rows ticked of 6", n)
	}
	checkConsole(t, tab)
}

func TestBrowserPopup_ErrorsThenSuccess(t *testing.T) {
	server, tab := openLiveList(t)
	tab.Do(chromedp.Click(chromedp.CSS("#snapshot-"+uid(1)+" input")), chromedp.Click(chromedp.CSS("[data-action=edit]")))
	waitFor(t, tab, "popup", `document.querySelector("#popup").open`)
	if id := viewtest.Eval[string](tab, `document.querySelector("#popup [name=description]").value`); id != uid(1) {
		t.Errorf("the popup is of %q", id)
	}
	answer := func(h http.HandlerFunc) { server.editHandler.Store(&h) }
	answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "req-42")
		http.Error(w, "<h1>oops</h1>", http.StatusInternalServerError)
	})
	submit := func() { tab.Do(chromedp.Click(chromedp.CSS("#popup .popup-submit"))) }
	viewtest.Eval[bool](tab, `document.querySelector("#popup [name=name]").value = "typed-by-hand", true`)
	submit()
	waitFor(t, tab, "message", `document.querySelector("#messages [data-sticky] [data-request-id]")?.textContent === "req-42"`)
	if !viewtest.Eval[bool](tab, `document.querySelector("#popup").open && document.querySelector("#popup [name=name]").value === "typed-by-hand" && !document.body.textContent.includes("oops")`) {
		t.Error("a server error closed the popup, lost what was typed or was shown raw")
	}
	answer(func(w http.ResponseWriter, _ *http.Request) {
		server.respond(w, http.StatusUnprocessableEntity, views.EditPopup(views.Edit{Form: formWithErrors(listPath+"/edit", "name"), Kind: "snapshot", Name: "?"}), false)
	})
	submit()
	waitFor(t, tab, "422", `document.activeElement.getAttribute("aria-invalid") === "true" && document.activeElement.value === "?"`)
	changed := server.rows[0]
	changed.Name = "second-name"
	answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("HX-Trigger", `{"popup:close":{}}`)
		_, _ = w.Write([]byte(server.rowPartial(changed) + `<hx-partial hx-target="#messages" hx-swap="beforeend">` + render(t, testContext("ko", frame()), views.AlertItem(views.Alert{Message: msg("accepted.snapshot.edit", "second-name")})) + `</hx-partial>`))
	})
	viewtest.Eval[bool](tab, `document.querySelector("#popup [name=name]").value = "second-name", true`)
	submit()
	waitFor(t, tab, "success", `!document.querySelector("#popup").open && document.querySelector("#snapshot-`+uid(1)+` .name").textContent === "second-name"`)
	waitFor(t, tab, "focus", `document.activeElement.dataset.action === "edit"`)
	for _, c := range tab.ConsoleMessages() {
		if !strings.Contains(c, "the server responded with a status of 500") && !strings.Contains(c, "the server responded with a status of 422") {
			t.Errorf("console: %s", c)
		}
	}
}

func TestBrowserRowMenu_AndSearchKey(t *testing.T) {
	_, tab := openLiveList(t)
	tab.Do(chromedp.Click(chromedp.CSS("#snapshot-" + uid(4) + " [data-row-menu]")))
	waitFor(t, tab, "menu", `document.querySelector("#row-menu").matches(":popover-open")`)
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
	checkConsole(t, tab)
}

func TestBrowserMenu_DrawerOnPhone(t *testing.T) {
	_, tab := openLiveList(t)
	tab.SetViewport(390, 844)
	visible := func() bool {
		return viewtest.Eval[bool](tab, `document.querySelector("#menu a").checkVisibility()`)
	}
	if visible() {
		t.Error("the menu is open before it is asked for")
	}
	tab.Do(chromedp.Click(chromedp.CSS(".drawer-button")))
	waitFor(t, tab, "drawer", `document.querySelector("#menu").matches(":popover-open")`)
	if !visible() {
		t.Error("the opened menu cannot be seen")
	}
	tab.Screenshot("drawer", false)
	for _, v := range tab.Axe() {
		t.Errorf("axe: %s", v)
	}
	checkConsole(t, tab)
}

// TestBrowserLiveList_WindowsShareStream opens the list twice in one browser.
func TestBrowserLiveList_WindowsShareStream(t *testing.T) {
	server, first := openLiveList(t)
	second := first.OpenTab(false)
	second.Do(chromedp.Navigate(server.URL + listPath))
	if !viewtest.Eval[bool](second, `new Promise(resolve => { const poll = () => navigator.locks.query().then(s => s.pending.length === 1 && s.held.length === 1 ? resolve(true) : setTimeout(poll, 10)); poll(); })`) {
		t.Fatal("the second window does not wait for the lock")
	}
	changed := server.rows[0]
	changed.Name = "seen-in-both"
	server.sendEvent("", server.rowPartial(changed))
	for _, tab := range []*viewtest.Tab{first, second} {
		waitFor(t, tab, "row", `document.querySelector("#snapshot-`+uid(1)+` .name").textContent === "seen-in-both"`)
	}
	if n := len(server.opened); n != 0 { // openLiveList has received the first
		t.Errorf("%d streams beside the first", n)
	}
}

// TestBrowserLiveStream_EndsWithPage leaves the page, and comes back to it, while the
// stream runs and while it has no answer yet.
func TestBrowserLiveStream_EndsWithPage(t *testing.T) {
	server, tab := openLiveList(t)
	leave := func() { viewtest.Eval[bool](tab, `dispatchEvent(new PageTransitionEvent("pagehide"))`) }
	comeBack := func() {
		viewtest.Eval[bool](tab, `dispatchEvent(new PageTransitionEvent("pageshow", {persisted: true}))`)
	}
	waitFor(t, tab, "stream", `document.querySelector("#live")`)
	leave()
	server.wait("the stream ends", server.closed)
	server.silent.Store(true)
	comeBack()
	server.wait("the stream is asked for again", server.opened)
	leave()
	server.wait("the request ends", server.closed)
	server.silent.Store(false)
	comeBack()
	server.wait("the stream opens again", server.opened)
	server.sendEvent("activity", "9")
	waitFor(t, tab, "count", `document.getElementById("activity-count").textContent === "9"`)
	if words := viewtest.Eval[string](tab, connectionWords); words != "" {
		t.Errorf("with a running stream the page says %q", words)
	}
	if len(server.opened) != 0 || len(server.closed) != 0 {
		t.Errorf("%d more streams opened and %d closed", len(server.opened), len(server.closed))
	}
	checkConsole(t, tab)
}

// TestBrowserLiveStream_RetriesUntilItBegins refuses the stream twice.
func TestBrowserLiveStream_RetriesUntilItBegins(t *testing.T) {
	t.Parallel()
	tab := viewtest.NewTab(t, viewtest.Browser(t))
	server := newLiveServer(t)
	server.unavailable.Store(true)
	tab.Do(chromedp.Navigate(server.URL + listPath))
	server.wait("the stream is asked for", server.opened)
	server.wait("the stream is asked for again", server.opened)
	waitFor(t, tab, "words", connectionWords+` === "연결 끊김 · 다시 연결하는 중"`)
	server.unavailable.Store(false)
	for len(server.opened) > 0 {
		<-server.opened
	}
	server.wait("the stream opens", server.opened)
	server.sendEvent("beat", `{"now": 1000}`)
	waitFor(t, tab, "words", connectionWords+` === ""`)
	for _, message := range tab.ConsoleMessages() {
		if !strings.Contains(message, "status of 503") {
			t.Errorf("console: %s", message)
		}
	}
}
