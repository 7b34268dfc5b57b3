package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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
	"blockconsole/models/store/storetest"
	"blockconsole/views/viewtest"
)

// page is a tab of the browser in one language, with or without scripts. What is
// in it is found as people and screen readers find it: by role and name.
type page struct {
	*viewtest.Tab
	t      *testing.T
	w      *world
	lang   string
	script bool
	say    words
}

// page opens a tab that is signed in as the administrator.
func (w *world) page(t *testing.T, lang string, script bool) *page {
	t.Helper()
	p := &page{Tab: viewtest.NewTab(t, w.browser), t: t, w: w, lang: lang, script: script, say: wordsOf[lang]}
	p.Media("light")
	p.Script(script)
	_, err := chromedp.Call(p, emulation.SetLocaleOverride, emulation.SetLocaleOverrideParams{Locale: lang})
	if err != nil {
		t.Fatal(err)
	}
	p.cookie("blockconsole-lang", lang)
	p.as(w.token)
	t.Cleanup(func() {
		if t.Failed() {
			p.Screenshot("failed-"+strings.ReplaceAll(t.Name(), "/", "-"), false)
		}
	})
	return p
}

func (p *page) cookie(name, value string) {
	p.t.Helper()
	_, err := chromedp.Call(p, network.SetCookie, network.SetCookieParams{Name: name, Value: value, URL: p.w.url})
	if err != nil {
		p.t.Fatal(err)
	}
}

// as goes on with another session; the empty one is nobody's.
func (p *page) as(token string) {
	p.t.Helper()
	p.cookie(handlers.SessionCookie(false), token)
}

// finder is what scripts of the tests know: where dialogs are open, what is seen,
// and the roles and names that screen readers get.
const finder = `
	const root = () => [...document.querySelectorAll("dialog")].find(d => d.open) ?? document;
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

// now evaluates an expression at once.
func now[T any](p *page, expression string) T {
	p.t.Helper()
	return viewtest.Eval[T](p.Tab, "(() => {"+finder+"return ("+expression+")})()")
}

// until waits in the page for an expression to be true and returns its value. The
// page may change under it: then the next one is asked.
func until[T any](p *page, expression string) T {
	p.t.Helper()
	if !p.script {
		p.t.Fatalf("there is no script here to wait for %s", expression)
	}
	watch := fmt.Sprintf(`new Promise((done, fail) => {%s
		let last = "", over = false;
		const watcher = new MutationObserver(() => look());
		const late = setTimeout(() => end(fail, new Error("in vain: " + last)), %d);
		const end = (how, what) => { over = true; watcher.disconnect(); clearTimeout(late); clearInterval(again); how(what); };
		const look = () => {
			if (over) return;
			let value;
			try { value = (%s); } catch (e) { last = e.message; }
			if (value) end(done, value);
		};
		const frame = () => { look(); if (!over) requestAnimationFrame(frame); };
		// Roles are computed a moment after the document has changed, and a tab that is not painted has no frames.
		const again = setInterval(() => look(), 250);
		watcher.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		frame();
	})`, finder, patience.Milliseconds(), expression)
	for try := 0; ; try++ {
		value, err := chromedp.Run(p, chromedp.Evaluate[T](watch, chromedp.EvalAwaitPromise))
		switch {
		case err == nil:
			return value
		case try < 5 && (strings.Contains(err.Error(), "context was destroyed") || strings.Contains(err.Error(), "Inspected target navigated") ||
			strings.Contains(err.Error(), "Promise was collected") || strings.Contains(err.Error(), "Cannot find context")):
			continue // the page was left while it was watched
		}
		p.t.Fatalf("wait for %s: %v\n%s", expression, err, now[string](p, `location.href + "\n" + (root() === document ? document.body : root()).innerText.replace(/\s+/g, " ").slice(-900)`))
	}
}

// wait waits for an expression to be true.
func (p *page) wait(expression string, args ...any) {
	p.t.Helper()
	expression = fmt.Sprintf(expression, args...)
	if p.script {
		until[bool](p, "Boolean("+expression+")")
		return
	}
	if !now[bool](p, "Boolean("+expression+")") {
		p.t.Fatalf("not so: %s\n%s", expression, now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
}

// js is a value as a script writes it.
func js(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// by is the element with a role and a name, for scripts.
func by(role, name string) string { return "one(" + js(role) + ", " + js(name) + ")" }

// rowOf is the row of a name, for scripts.
func rowOf(name string) string { return "row(" + js(name) + ")" }

type point struct{ X, Y float64 }

// at is where the element of an expression can be clicked.
func (p *page) at(element string) point {
	p.t.Helper()
	if p.script {
		return until[point](p, "place("+element+")")
	}
	found := now[*point](p, "place("+element+")")
	if found == nil {
		p.t.Fatalf("%s is not there to be clicked\n%s", element, now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
	return *found
}

// clickOn clicks the element of an expression with the mouse.
func (p *page) clickOn(element string) {
	p.t.Helper()
	at := p.at(element)
	p.Do(chromedp.MouseClickXY(at.X, at.Y))
}

func (p *page) click(role, name string) {
	p.t.Helper()
	p.clickOn(by(role, name))
}

// follow clicks what leads to another page, and returns the page's status.
func (p *page) follow(role, name string) int {
	p.t.Helper()
	at := p.at(by(role, name))
	return p.loads(chromedp.MouseClickXY(at.X, at.Y))
}

// loads does what leads to another page, and returns the page's status.
func (p *page) loads(step chromedp.Action[chromedp.Void]) int {
	p.t.Helper()
	short, cancel := context.WithTimeout(p, patience)
	defer cancel()
	response, err := chromedp.RunResponse(short, step)
	if err != nil {
		p.t.Fatalf("no page came: %v\n%s", err, now[string](p, `location.href + "\n" + document.body.innerText.slice(0, 900)`))
	}
	return int(response.Status)
}

// open goes to a path of the console, and returns the page's status.
func (p *page) open(path string) int {
	p.t.Helper()
	return p.loads(chromedp.Navigate(p.w.url + path))
}

// tick ticks the checkbox of a row.
func (p *page) tick(name string) {
	p.t.Helper()
	p.click("checkbox", replaceName(p.say.pick, name))
}

// fill replaces what stands in a field.
func (p *page) fill(role, name, text string) {
	p.t.Helper()
	p.clickOn(by(role, name))
	p.wait("document.activeElement === %s", by(role, name))
	now[bool](p, "(document.activeElement.select(), true)")
	if text == "" {
		p.press("\b")
		return
	}
	if _, err := chromedp.Call(p, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		p.t.Fatal(err)
	}
}

// press presses keys as a keyboard does: one event goes down and types.
func (p *page) press(keys string, modifiers ...chromedp.Modifier) {
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

// backURL goes back as the browser's button does: to the page as it was left, where
// the browser has kept it.
func (p *page) back() {
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
	deadline := time.After(patience)
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

// pickOption chooses an option of a select by what it says.
func (p *page) pickOption(name, option string) {
	p.t.Helper()
	p.wait(`[...%s.options].some(o => o.text.includes(%s))`, by("combobox", name), js(option))
	now[bool](p, fmt.Sprintf(`(s => { s.focus(); s.selectedIndex = [...s.options].findIndex(o => o.text.includes(%s));
		s.dispatchEvent(new Event("change", {bubbles: true})); return true })(%s)`, js(option), by("combobox", name)))
}

// popup waits for the popup with a title and its focus inside.
func (p *page) popup(title string) {
	p.t.Helper()
	if p.script {
		p.wait(`root().computedRole === "dialog" && root().computedName === %s && root().contains(document.activeElement)`, js(title))
		return
	}
	p.wait(`%s`, by("heading", title))
}

// noPopup waits until the popup has closed.
func (p *page) noPopup() {
	p.t.Helper()
	p.wait(`root() === document && !document.querySelector("#popup-form")`)
}

// hasRow waits for a row of that name that shows all the texts.
func (p *page) hasRow(name string, texts ...string) {
	p.t.Helper()
	p.wait(`(r => r && %s.every(text => r.textContent.includes(text)))(%s)`, js(append([]string{}, texts...)), rowOf(name))
}

func (p *page) hasNoRow(name string) {
	p.t.Helper()
	p.wait(`!%s`, rowOf(name))
}

// sees waits until a text is shown, in the dialog when one is open.
func (p *page) sees(text string) {
	p.t.Helper()
	p.wait(`(root() === document ? document.body : root()).innerText.replace(/\s+/g, " ").includes(%s)`, js(text))
}

// told waits until the message region says something.
func (p *page) told(text string) {
	p.t.Helper()
	p.wait(`document.querySelector("#messages").textContent.includes(%s)`, js(text))
}

// fieldSays waits until the message beside a field says something, and checks that
// what was typed is kept.
func (p *page) fieldSays(name, typed, text string) {
	p.t.Helper()
	p.wait(`(f => f.getAttribute("aria-invalid") === "true" && f.value === %s && f.getAttribute("aria-describedby").split(" ")
		.some(id => document.getElementById(id)?.textContent.includes(%s)))(%s)`, js(typed), js(text), by("textbox", name))
}

// mark leaves a mark in the window, which a reload would wipe out.
func (p *page) mark() { now[bool](p, "window.marked = true") }

// marked checks that the page has not been loaded again since mark.
func (p *page) marked() {
	p.t.Helper()
	if !now[bool](p, "window.marked === true") {
		p.t.Error("the page has been loaded again")
	}
}

// path is the address of the page, without the host.
func (p *page) path() string { return now[string](p, "location.pathname + location.search") }

// clean checks that the page complains about nothing, and axe-core neither.
func (p *page) clean(where string) {
	p.t.Helper()
	p.quiet(where)
	if !p.script {
		p.Script(true) // for axe-core; the page's own are not loaded any more
		defer p.Script(false)
	}
	for _, v := range p.Axe() {
		p.t.Errorf("%s: axe: %s", where, v)
	}
}

// quiet checks that nothing was complained about but what a test expects: Chromium
// reports every answer of 400 and more on the console.
func (p *page) quiet(where string, expected ...int) {
	p.t.Helper()
complaints:
	for _, c := range p.Complaints() {
		for _, status := range expected {
			if strings.Contains(c, fmt.Sprintf("status of %d", status)) {
				continue complaints
			}
		}
		p.t.Errorf("%s: console: %s", where, c)
	}
}

// forge posts a form from the page's own origin past its buttons, and returns the
// status.
func (p *page) forge(path string, form url.Values) int {
	p.t.Helper()
	if p.script {
		return viewtest.Eval[int](p.Tab, fmt.Sprintf(`fetch(%s, {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"},
			body: %s}).then(r => r.status)`, js(path), js(form.Encode())))
	}
	status, _ := p.w.api(p.t, http.MethodPost, path, form)
	return status
}

type ctx = context.Context

// administrator asks the store past the pages.
var administrator = storetest.Administrator()

func clickAt(at point) chromedp.Action[chromedp.Void] { return chromedp.MouseClickXY(at.X, at.Y) }

func replaceName(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }
