package browsertest

import (
	"strings"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// opensTab clicks with a modifier, waits for the tab that it opens at an address, and
// checks that this page stays as it is.
func (p *page) opensTab(element, address string, modifier chromedp.Modifier) {
	p.t.Helper()
	before, tabs := p.Path(), p.tabsAt(address)
	at := p.At(element)
	p.Do(chromedp.MouseClickXY(at.X, at.Y, chromedp.ButtonModifiers(modifier)))
	apptest.Eventually(p.t, 8*time.Second, "a tab at "+address, func() bool { return p.tabsAt(address) == tabs+1 })
	p.NoPopup()
	if after := p.Path(); after != before {
		p.t.Errorf("the page went from %s to %s", before, after)
	}
}

// tabsAt is how many tabs the browser has at an address of this console.
func (p *page) tabsAt(address string) int {
	p.t.Helper()
	all, err := chromedp.Targets(p)
	if err != nil {
		p.t.Fatal(err)
	}
	n := 0
	for _, tab := range all {
		if tab.Type == "page" && strings.HasPrefix(tab.URL, p.c.URL()+address) {
			n++
		}
	}
	return n
}

// scenarioModifiedClicks opens what opens popups in tabs of their own: clicks with Ctrl
// or Shift belong to the browser.
func scenarioModifiedClicks(p *page) {
	name := "tabs-" + p.lang
	id := p.c.volume(name)
	p.Open(views.VolumesPath)
	p.opensTab(By("link", p.say.create), views.VolumesPath+"/new", chromedp.ModifierCtrl)
	p.opensTab(By("link", p.say.create), views.VolumesPath+"/new", chromedp.ModifierShift)
	p.tick(name)
	p.opensTab(By("button", p.say.edit), views.VolumesPath+"/edit", chromedp.ModifierCtrl)
	p.ClickOn("document.querySelector('#volume-" + id + " [data-row-menu]')")
	p.Wait("document.querySelector('#row-menu:popover-open')")
	p.opensTab("document.querySelector('#row-menu [data-action=edit]')", views.VolumesPath+"/"+id+"/edit", chromedp.ModifierCtrl)
	p.Open(views.VolumesPath + "/" + id)
	p.opensTab(By("link", p.say.edit), views.VolumesPath+"/"+id+"/edit", chromedp.ModifierCtrl)

	// What is not possible now is not possible in another tab.
	p.Open(views.VolumesPath)
	at := p.At(By("button", p.say.edit))
	p.Do(chromedp.MouseClickXY(at.X, at.Y, chromedp.ButtonModifiers(chromedp.ModifierCtrl)))
	p.Wait("%s.ariaDisabled === 'true'", By("button", p.say.edit))

	// A plain click still opens the popup.
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
}

// scenarioChoicesByKeys goes through the status filter by arrows: nothing happens until
// Enter, and the focus stays.
func scenarioChoicesByKeys(p *page) {
	p.c.volume("keys-" + p.lang)
	p.Open(views.VolumesPath)
	p.tabTo("combobox", p.say.status)
	p.Mark()
	filter := By("combobox", p.say.status)
	p.Press(kb.ArrowDown)
	p.Wait("%s.selectedIndex === 1 && document.activeElement === %s", filter, filter)
	p.Press(kb.ArrowDown)
	p.Wait("%s.selectedIndex === 2 && document.activeElement === %s", filter, filter)
	p.Wait("%s", By("button", p.say.find)) // says how to go on
	p.NotReloaded()
	if path := p.Path(); path != views.VolumesPath {
		p.t.Fatalf("the arrow went to %s", path)
	}
	p.Loads(chromedp.KeyEvent("\r"))
	p.Wait("location.search.includes('status=')")
	p.Quiet("choices by keys")
}

// scenarioSearchInPopup looks for the volume of a snapshot by Enter: the popup stays,
// with what was typed.
func scenarioSearchInPopup(p *page) {
	p.c.volume("found-" + p.lang)
	p.c.volume("other-" + p.lang)
	p.Open(views.VolumesPath)
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Fill("textbox", p.say.snapshotName, "typed-"+p.lang)
	p.Fill("searchbox", "Volume", "found-")
	p.Mark()
	p.Press("\r")
	p.Wait("document.querySelectorAll('#volume-choices .choice').length === 1")
	p.Popup(p.say.newSnapshot)
	p.NotReloaded()
	p.Wait("%s.value === %s && document.activeElement === %s", By("textbox", p.say.snapshotName), JS("typed-"+p.lang), By("searchbox", "Volume"))
	// What was typed before a choice is answered after it.
	p.Wait("all('radio', null).length > 0")
	p.ClickOn("all('radio', null)[0]")
	p.Wait("all('radio', null)[0].checked")
	now[bool](p, `(all('radio', null)[0].closest('label').dataset.old = '1', document.querySelector('input[data-ask][type=search]').dispatchEvent(new Event('input', {bubbles: true})), true)`)
	p.Wait("!document.querySelector('[data-old]') && all('radio', null)[0].checked")
	p.pressDuringSearch()
	p.Quiet("search in a popup")
}

// pressDuringSearch presses the button of the mouse on a choice, and lets it go after a
// search was answered.
func (p *page) pressDuringSearch() {
	p.t.Helper()
	now[bool](p, `(document.querySelector('#volume-choices input').checked = false, document.addEventListener('htmx:after:swap', () => { window.answered = true }), true)`)
	at := p.At("all('radio', null)[0].closest('label')")
	mouse := func(kind input.DispatchMouseEventType) {
		if _, err := chromedp.Call(p, input.DispatchMouseEvent, input.DispatchMouseEventParams{Type: kind, X: at.X, Y: at.Y, Button: "left", ClickCount: 1}); err != nil {
			p.t.Fatal(err)
		}
	}
	mouse("mousePressed")
	now[bool](p, `(document.querySelector('input[data-ask][type=search]').dispatchEvent(new Event('input', {bubbles: true})), true)`)
	p.Wait("window.answered")
	mouse("mouseReleased")
	p.Wait("all('radio', null)[0].checked")
}

// scenarioNameHint types a name that exists: the popup says so at once. When it cannot
// be asked, nothing is said.
func scenarioNameHint(p *page) {
	name := "taken-" + p.lang
	p.c.volume(name)
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	const hint = "document.querySelector('#name-hint').textContent.trim()"
	p.Fill("textbox", p.say.volumeName, name)
	p.Wait("%s === %s", hint, JS(p.say.nameTaken))
	p.Clean("name hint")
	p.Fill("textbox", p.say.volumeName, name+"-2")
	p.Wait("%s === ''", hint)
	now[bool](p, `(document.addEventListener("htmx:finally:request", () => { window.asked = true }), window.fetch = () => Promise.reject(new TypeError("offline")), true)`)
	p.Fill("textbox", p.say.volumeName, name)
	p.Wait("window.asked")
	p.Wait("!document.querySelector('#messages .alert') && %s.value === %s", By("textbox", p.say.volumeName), JS(name))
}

// scenarioPrint prints: light, whatever the theme is.
func scenarioPrint(p *page) {
	p.Open(views.VolumesPath + "?theme=dark")
	const colours = `(s => s.backgroundColor + " " + s.colorScheme)(getComputedStyle(document.body))`
	screen := now[string](p, colours)
	for _, scheme := range []string{"light", "dark"} {
		media := emulation.SetEmulatedMediaParams{Media: "print", Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
		if _, err := chromedp.Call(p, emulation.SetEmulatedMedia, media); err != nil {
			p.t.Fatal(err)
		}
		if printed := now[string](p, colours); printed != "rgb(255, 255, 255) light" || printed == screen {
			p.t.Errorf("prints in %s, the screen is in %s", printed, screen)
		}
	}
	p.Open(views.VolumesPath + "?theme=system")
}
