// Package browsertest goes through the console in a real Chromium. [Page] finds what
// is on a page as people and screen readers find it: by role and name.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"blockconsole/handlers"
	"blockconsole/views/viewtest"
)

// Page is a tab of the browser at a console, in one language, with or without scripts.
type Page struct {
	*viewtest.Tab
	Patience time.Duration // how long to wait for what must happen

	t      *testing.T
	url    string // of the console
	lang   string
	script bool
}

// NewPage prepares a tab for the console at url, signed in by a session's token.
func NewPage(t *testing.T, tab *viewtest.Tab, url, lang string, script bool, session string) *Page {
	t.Helper()
	p := &Page{Tab: tab, t: t, url: url, lang: lang, script: script, Patience: 30 * time.Second}
	p.EmulateColorScheme("light")
	p.Tab.EnableScripts(script)
	if _, err := chromedp.Call(p, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: lang}); err != nil {
		t.Fatal(err)
	}
	p.cookie("blockconsole-lang", lang)
	p.As(session)
	t.Cleanup(func() {
		if t.Failed() {
			p.Screenshot("failed-"+strings.ReplaceAll(t.Name(), "/", "-"), false)
		}
	})
	return p
}

func (p *Page) cookie(name, value string) {
	p.t.Helper()
	_, err := chromedp.Call(p, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: p.url})
	if err != nil {
		p.t.Fatal(err)
	}
}

// As goes on with another session; the empty one is nobody's.
func (p *Page) As(token string) {
	p.t.Helper()
	p.cookie(handlers.SessionCookie(false), token)
}

// finder is what scripts of the tests know: where dialogs are open, what is seen,
// and the roles and names that screen readers get.
const finder = `
	const root = () => [...document.querySelectorAll("dialog")].findLast(d => d.open) ?? document;
	const likely = {button: "button, summary", link: "a, [role=link]", textbox: "input, textarea", searchbox: "input", checkbox: "input",
		radio: "input", combobox: "select", heading: "h1, h2, h3", dialog: "dialog", alert: "[role=alert]", note: "[role=note]",
		navigation: "nav", row: "tr", progressbar: "progress", status: "[role=status]", main: "main"};
	const seen = e => e.checkVisibility({visibilityProperty: true});
	const squeezed = text => text.replace(/\s+/g, "");
	// A look that costs nothing before the browser computes the name: that takes its time on long lists.
	const maybe = (e, name) => name === null || e.hasAttribute("aria-labelledby") ||
		squeezed(e.ariaLabel ?? (e.labels?.[0] ?? e).textContent) === squeezed(name);
	const all = (role, name, within) => [...(within ?? root()).querySelectorAll(likely[role] ?? "*")]
		.filter(e => maybe(e, name) && e.computedRole === role && (name === null || e.computedName === name) && seen(e));
	const one = (role, name, within) => {
		const found = all(role, name, within);
		if (found.length > 1) throw new Error(found.length + " of " + role + " " + name);
		return found[0];
	};
	const row = name => [...document.querySelectorAll("tbody tr")].find(r => seen(r) && r.querySelector("a.name")?.textContent === name);
	const place = e => {
		if (!e) return null;
		e.scrollIntoView({block: "nearest", behavior: "instant"});
		const box = e.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
		const top = document.elementFromPoint(x, y);
		return top && (e.contains(top) || top.contains(e) || top.closest("label")?.control === e) ? {x, y} : null;
	};
`

// Now evaluates an expression at once.
func Now[T any](p *Page, expression string) T {
	p.t.Helper()
	return viewtest.Eval[T](p.Tab, "(() => {"+finder+"return ("+expression+")})()")
}

// Until waits in the page for an expression to be true and returns its value. The
// page may change under it: then the next one is asked.
func Until[T any](p *Page, expression string) T {
	p.t.Helper()
	if !p.script {
		p.t.Fatalf("there is no script here to wait for %s", expression)
	}
	watch := fmt.Sprintf(`new Promise((done, fail) => {%s
		let last = "", over = false, soon = 0;
		const watcher = new MutationObserver(() => soon ||= setTimeout(look, 10));
		const late = setTimeout(() => end(fail, new Error("in vain: " + last)), %d);
		const end = (how, what) => { over = true; watcher.disconnect(); clearTimeout(late); clearTimeout(soon); clearInterval(again); how(what); };
		const look = () => {
			soon = 0;
			if (over) return;
			let value;
			try { value = (%s); } catch (e) { last = e.message; }
			if (value) end(done, value);
		};
		// Roles are computed a moment after the document has changed.
		const again = setInterval(look, 50);
		watcher.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		look();
	})`, finder, p.Patience.Milliseconds(), expression)
	for try := 0; ; try++ {
		value, err := chromedp.Run(p, chromedp.Evaluate[T](watch, chromedp.EvalAwaitPromise))
		switch {
		case err == nil:
			return value
		case try < 5 && (strings.Contains(err.Error(), "context was destroyed") || strings.Contains(err.Error(), "Inspected target navigated") ||
			strings.Contains(err.Error(), "Promise was collected") || strings.Contains(err.Error(), "Cannot find context")):
			continue // the page was left while it was watched
		}
		p.t.Fatalf("wait for %s: %v\n%s", expression, err, Now[string](p, `location.href + "\n" + (root() === document ? document.body : root()).innerText.replace(/\s+/g, " ").slice(-900)`))
	}
}

// Wait waits for an expression to be true.
func (p *Page) Wait(expression string, args ...any) {
	p.t.Helper()
	expression = fmt.Sprintf(expression, args...)
	if p.script {
		Until[bool](p, "Boolean("+expression+")")
		return
	}
	if !Now[bool](p, "Boolean("+expression+")") {
		p.t.Fatalf("not so: %s\n%s", expression, Now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
}

// js is a value as a script writes it.
func JS(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// by is the element with a role and a name, for scripts.
func By(role, name string) string { return "one(" + JS(role) + ", " + JS(name) + ")" }

// RowOf is the row of a name, for scripts.
func RowOf(name string) string { return "row(" + JS(name) + ")" }

// Point is a place in the viewport.
type Point struct{ X, Y float64 }

// At is where the element of an expression can be clicked.
func (p *Page) At(element string) Point {
	p.t.Helper()
	if p.script {
		return Until[Point](p, "place("+element+")")
	}
	found := Now[*Point](p, "place("+element+")")
	if found == nil {
		p.t.Fatalf("%s is not there to be clicked\n%s", element, Now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
	return *found
}

// ClickOn clicks the element of an expression with the mouse.
func (p *Page) ClickOn(element string) {
	p.t.Helper()
	at := p.At(element)
	p.Do(chromedp.MouseClickXY(at.X, at.Y))
}

func (p *Page) Click(role, name string) {
	p.t.Helper()
	p.ClickOn(By(role, name))
}

// Follow clicks what leads to another page, and returns the page's status.
func (p *Page) Follow(role, name string) int {
	p.t.Helper()
	at := p.At(By(role, name))
	return p.Loads(chromedp.MouseClickXY(at.X, at.Y))
}

// Loads does what leads to another page, and returns the page's status.
func (p *Page) Loads(step chromedp.Action[chromedp.Void]) int {
	p.t.Helper()
	short, cancel := context.WithTimeout(p, p.Patience)
	defer cancel()
	left := Now[float64](p, "performance.timeOrigin")
	response, err := chromedp.RunResponse(short, step)
	if err != nil {
		p.t.Fatalf("no page came: %v\n%s", err, Now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
	if p.script { // a click before the scripts run opens no popup
		p.Wait("performance.timeOrigin !== %v && document.readyState === 'complete'", left)
	}
	if response == nil { // the page that was left had a request of its own under way
		return Now[int](p, `performance.getEntriesByType("navigation")[0].responseStatus`)
	}
	return int(response.Status)
}

// Open goes to a path of the console, and returns the page's status.
func (p *Page) Open(path string) int {
	p.t.Helper()
	return p.Loads(chromedp.Navigate(p.url + path))
}

// Fill replaces what stands in a field.
func (p *Page) Fill(role, name, text string) {
	p.t.Helper()
	p.ClickOn(By(role, name))
	p.Wait("document.activeElement === %s", By(role, name))
	Now[bool](p, "(document.activeElement.select(), true)")
	if text == "" {
		p.Press("\b")
		return
	}
	if _, err := chromedp.Call(p, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		p.t.Fatal(err)
	}
}

// Press presses keys as a keyboard does: one event goes down and types.
func (p *Page) Press(keys string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	for _, r := range keys {
		events := kb.Encode(r)
		if len(events) == 3 {
			events[0].Text, events[0].UnmodifiedText = events[1].Text, events[1].UnmodifiedText
			events = []*input.DispatchKeyEventParams{events[0], events[2]}
		}
		for _, e := range events {
			for _, m := range modifiers {
				e.Modifiers |= int64(m)
			}
			if _, err := chromedp.Call(p, input.DispatchKeyEvent, *e); err != nil {
				p.t.Fatal(err)
			}
		}
	}
}

// Back goes back as the browser's button does: to the page as it was left, where
// the browser has kept it.
func (p *Page) Back() {
	p.t.Helper()
	history, err := chromedp.Run(p, chromedp.NavigationEntries())
	if err != nil || history.CurrentIndex == 0 {
		p.t.Fatalf("nothing to go back to: %v", err)
	}
	target := chromedp.FromContext(p).Target
	navigated, stop := target.Subscribe("Page.frameNavigated")
	defer stop()
	loaded, stopLoaded := target.Subscribe("Page.loadEventFired")
	defer stopLoaded()
	entry := history.Entries[history.CurrentIndex-1].ID
	if _, err := chromedp.Call(p, cdppage.NavigateToHistoryEntry, cdppage.NavigateToHistoryEntryParams{EntryID: entry}); err != nil {
		p.t.Fatal(err)
	}
	deadline := time.After(p.Patience)
	select {
	case event := <-navigated:
		if strings.Contains(string(event), string(cdppage.NavigationTypeBackForwardCacheRestore)) {
			return
		}
	case <-deadline:
		p.t.Fatal("Back leads nowhere")
	}
	select {
	case <-loaded:
	case <-deadline:
		p.t.Fatal("the page before does not load")
	}
}

// Pick chooses an option of a select by what it says.
func (p *Page) Pick(name, option string) {
	p.t.Helper()
	p.Wait(`[...%s.options].some(o => o.text.includes(%s))`, By("combobox", name), JS(option))
	Now[bool](p, fmt.Sprintf(`(s => { s.focus(); s.selectedIndex = [...s.options].findIndex(o => o.text.includes(%s));
		s.dispatchEvent(new Event("change", {bubbles: true})); return true })(%s)`, JS(option), By("combobox", name)))
}

// Popup waits for the popup with a title and its focus inside.
func (p *Page) Popup(title string) {
	p.t.Helper()
	if p.script {
		p.Wait(`root().computedRole === "dialog" && root().computedName === %s && root().contains(document.activeElement)`, JS(title))
		return
	}
	p.Wait(`%s`, By("heading", title))
}

// NoPopup waits until the popup has closed.
func (p *Page) NoPopup() {
	p.t.Helper()
	p.Wait(`root() === document && !document.querySelector("#popup-form")`)
}

// HasRow waits for a row of that name that shows all the texts.
func (p *Page) HasRow(name string, texts ...string) {
	p.t.Helper()
	p.Wait(`(r => r && %s.every(text => r.textContent.includes(text)))(%s)`, JS(append([]string{}, texts...)), RowOf(name))
}

func (p *Page) HasNoRow(name string) {
	p.t.Helper()
	p.Wait(`!%s`, RowOf(name))
}

// Sees waits until a text is shown, in the dialog when one is open.
func (p *Page) Sees(text string) {
	p.t.Helper()
	p.Wait(`(root() === document ? document.body : root()).innerText.replace(/\s+/g, " ").includes(%s)`, JS(text))
}

// Told waits until the message region says something.
func (p *Page) Told(text string) {
	p.t.Helper()
	p.Wait(`document.querySelector("#messages").textContent.includes(%s)`, JS(text))
}

// FieldSays waits until the message beside a field says something, and checks that
// what was typed is kept.
func (p *Page) FieldSays(name, typed, text string) {
	p.t.Helper()
	p.Wait(`(f => f.getAttribute("aria-invalid") === "true" && f.value === %s && f.getAttribute("aria-describedby").split(" ")
		.some(id => document.getElementById(id)?.textContent.includes(%s)))(%s)`, JS(typed), JS(text), By("textbox", name))
}

// Mark leaves a mark in the window, which a reload would wipe out.
func (p *Page) Mark() { Now[bool](p, "window.marked = true") }

// NotReloaded checks that the page has not been loaded again since mark.
func (p *Page) NotReloaded() {
	p.t.Helper()
	if !Now[bool](p, "window.marked === true") {
		p.t.Error("the page has been loaded again")
	}
}

// Path is the address of the page, without the host.
func (p *Page) Path() string { return Now[string](p, "location.pathname + location.search") }

// Clean checks that the page complains about nothing, and axe-core neither.
func (p *Page) Clean(where string) {
	p.t.Helper()
	p.Quiet(where)
	if !p.script {
		p.EnableScripts(true) // for axe-core; the page's own are not loaded any more
		defer p.EnableScripts(false)
	}
	for _, v := range p.Axe() {
		p.t.Errorf("%s: axe: %s", where, v)
	}
}

// Quiet checks that nothing was complained about but what a test expects: Chromium
// reports every answer of 400 and more on the console.
func (p *Page) Quiet(where string, expected ...int) {
	p.t.Helper()
complaints:
	for _, c := range p.ConsoleMessages() {
		for _, status := range expected {
			if strings.Contains(c, fmt.Sprintf("status of %d", status)) {
				continue complaints
			}
		}
		p.t.Errorf("%s: console: %s", where, c)
	}
}

func ClickAt(at Point) chromedp.Action[chromedp.Void] { return chromedp.MouseClickXY(at.X, at.Y) }
