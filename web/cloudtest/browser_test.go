package cloudtest

import (
	"fmt"
	"testing"
	"time"

	"blockconsole/views/viewtest"
	"blockconsole/web/browsertest"
)

// tab is a page of the console in a real browser, in Korean, signed in as the
// administrator.
type tab struct {
	*browsertest.Page
	t     *testing.T
	p     *console
	shots int
}

func (p *console) tab(browser *viewtest.Tab) *tab {
	p.t.Helper()
	b := &tab{t: p.t, p: p, Page: browsertest.NewPage(p.t, browser, p.URL(), "ko", true, p.Client.Session())}
	b.Patience = 90 * time.Second
	return b
}

// fill replaces what stands in a text field.
func (b *tab) fill(name, text string) {
	b.t.Helper()
	b.Fill("textbox", name, text)
}

// tick ticks the row of a name and presses a button of the toolbar, which opens the
// popup with a title.
func (b *tab) tick(name, button, popup string) {
	b.t.Helper()
	checkbox := browsertest.By("checkbox", name+" 선택")
	b.Wait("%s && (row(%s).querySelector('input').checked || (%s.click(), true))", checkbox, browsertest.JS(name), checkbox)
	b.Click("button", button)
	b.Popup(popup)
}

// send presses the button of the popup, which closes.
func (b *tab) send(button string) {
	b.t.Helper()
	b.picture()
	b.Click("button", button)
	b.NoPopup()
}

// picture keeps what the page looks like now.
func (b *tab) picture() {
	b.t.Helper()
	b.shots++
	b.Screenshot(fmt.Sprintf("cloud-%02d", b.shots), false)
}
