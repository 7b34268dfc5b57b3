package cloudtest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"blockconsole/views/viewtest"
)

// tab is a page of a real browser, signed in as the console's administrator. What is
// in it is found as people and screen readers find it: by role and name.
type tab struct {
	*viewtest.Tab
	t     *testing.T
	p     *console
	shots int
}

func (p *console) tab(browser *viewtest.Tab) *tab {
	p.t.Helper()
	b := &tab{Tab: browser, t: p.t, p: p}
	b.Media("light")
	for _, cookie := range []network.SetCookieParams{{Name: "blockconsole", Value: p.Client.Session()}, {Name: "blockconsole-lang", Value: "ko"}} {
		cookie.URL = p.URL() + "/"
		if _, err := chromedp.Call(b, network.SetCookie, cookie); err != nil {
			p.t.Fatal(err)
		}
	}
	return b
}

// finder is what scripts of the tests know: the open dialog or the page, its elements
// by role and name, and the rows of the list.
const finder = `
	const root = () => [...document.querySelectorAll("dialog")].find(d => d.open) ?? document;
	const seen = e => e.checkVisibility({visibilityProperty: true});
	const one = (role, name) => [...root().querySelectorAll("a, button, input, textarea, select, h1")]
		.find(e => e.computedRole === role && e.computedName === name && seen(e));
	const row = name => [...document.querySelectorAll("tbody tr")].find(r => seen(r) && r.querySelector("a.name")?.textContent === name);
	const shown = () => (root() === document ? document.body : root()).innerText.replace(/\s+/g, " ");
	const place = e => {
		if (!e) return null;
		e.scrollIntoView({block: "nearest", behavior: "instant"});
		const box = e.getBoundingClientRect(), x = box.left + box.width / 2, y = box.top + box.height / 2;
		const top = document.elementFromPoint(x, y);
		return top && (e.contains(top) || top.contains(e) || top.closest("label")?.control === e) ? {x, y} : null;
	};
`

// until waits in the page for an expression to be true, and returns its value.
func until[T any](b *tab, expression string) T {
	b.t.Helper()
	watch := fmt.Sprintf(`new Promise((done, fail) => {%s
		const late = setTimeout(() => fail(new Error("in vain: " + location.href + " " + shown().slice(0, 2000))), %d);
		const look = () => {
			const value = (%s);
			if (value) { clearTimeout(late); done(value); } else requestAnimationFrame(look);
		};
		look();
	})`, finder, (90 * time.Second).Milliseconds(), expression)
	value, err := chromedp.Run(b, chromedp.Evaluate[T](watch, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("wait for %s: %v", expression, err)
	}
	return value
}

func (b *tab) wait(expression string, args ...any) {
	b.t.Helper()
	until[bool](b, "Boolean("+fmt.Sprintf(expression, args...)+")")
}

func js(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func by(role, name string) string { return "one(" + js(role) + ", " + js(name) + ")" }

// click clicks an element with the mouse.
func (b *tab) click(role, name string) {
	b.t.Helper()
	b.clickOn(by(role, name))
}

func (b *tab) clickOn(element string) {
	b.t.Helper()
	at := until[struct{ X, Y float64 }](b, "place("+element+")")
	b.Do(chromedp.MouseClickXY(at.X, at.Y))
}

// open goes to a page of the console.
func (b *tab) open(path string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(b.p.URL() + path))
}

// fill replaces what stands in a field.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	b.clickOn(by("textbox", name))
	b.wait("document.activeElement === %s && (document.activeElement.select(), true)", by("textbox", name))
	if _, err := chromedp.Call(b, input.InsertText, input.InsertTextParams{Text: text}); err != nil {
		b.t.Fatal(err)
	}
}

// choose takes an option of a select by what it says.
func (b *tab) choose(name, option string) {
	b.t.Helper()
	b.wait(`(s => { const i = s ? [...s.options].findIndex(o => o.text.includes(%s)) : -1;
		if (i < 0) return false;
		s.selectedIndex = i; s.dispatchEvent(new Event("change", {bubbles: true})); return true })(%s)`, js(option), by("combobox", name))
}

// tick ticks the row of a name and presses a button of the toolbar, which opens the
// popup with a title.
func (b *tab) tick(name, button, popup string) {
	b.t.Helper()
	b.wait("%s && (row(%s).querySelector('input').checked || (%s.click(), true))", by("checkbox", name+" 선택"), js(name), by("checkbox", name+" 선택"))
	b.click("button", button)
	b.popup(popup)
}

// popup waits for the popup with a title.
func (b *tab) popup(title string) {
	b.t.Helper()
	b.wait(`root().computedRole === "dialog" && root().computedName === %s && root().contains(document.activeElement)`, js(title))
}

// send presses the button of the popup, which closes.
func (b *tab) send(button string) {
	b.t.Helper()
	b.picture()
	b.click("button", button)
	b.wait(`root() === document && !document.querySelector("#popup-form")`)
}

func (b *tab) hasRow(name string, texts ...string) {
	b.t.Helper()
	b.wait("(r => r && %s.every(text => r.textContent.includes(text)))(row(%s))", js(append([]string{}, texts...)), js(name))
}

func (b *tab) hasNoRow(name string) {
	b.t.Helper()
	b.wait("!row(%s)", js(name))
}

func (b *tab) sees(text string) {
	b.t.Helper()
	b.wait("shown().includes(%s)", js(text))
}

// picture keeps what the page looks like now.
func (b *tab) picture() {
	b.t.Helper()
	b.shots++
	b.Screenshot(fmt.Sprintf("cloud-%02d", b.shots), false)
}

// clean checks that the page complained about nothing but the answers that a test
// expects, and axe-core about nothing.
func (b *tab) clean(expected ...int) {
	b.t.Helper()
complaints:
	for _, complaint := range b.Complaints() {
		for _, status := range expected {
			if strings.Contains(complaint, fmt.Sprintf("status of %d", status)) {
				continue complaints
			}
		}
		b.t.Errorf("the browser's console: %s", complaint)
	}
	for _, violation := range b.Axe() {
		b.t.Errorf("axe: %s", violation)
	}
}
