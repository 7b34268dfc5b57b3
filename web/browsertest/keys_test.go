package browsertest

import (
	"net/url"

	"github.com/chromedp/chromedp"

	"blockconsole/views"
)

// scenarioKeys does with keys alone what the guide does with the mouse.
func scenarioKeys(p *page) {
	name, shot := "keys-"+p.lang, "kshot-"+p.lang
	p.c.volume(name)
	p.Open(views.VolumesPath + "?q=" + url.QueryEscape(name))
	p.Press("\t")
	p.Wait("document.activeElement.classList.contains('skip')")
	p.Press("/")
	p.Wait("document.activeElement === document.querySelector('#global-search') && document.activeElement.value === ''")
	p.Press("\x1b")
	p.Wait("document.activeElement !== document.querySelector('#global-search')")

	p.tabTo("checkbox", replaceName(p.say.pick, name))
	p.Press(" ")
	p.tabBackTo("button", p.say.createSnapshot)
	p.Press("\r")
	p.Popup(p.say.newSnapshot)
	p.Wait("document.activeElement === %s && document.activeElement.selectionEnd > 0", By("textbox", p.say.snapshotName))
	p.focusStaysInside()
	p.Press("\x1b")
	p.NoPopup()
	p.Wait("document.activeElement === %s", By("button", p.say.createSnapshot))

	p.Press("\r")
	p.Popup(p.say.newSnapshot)
	p.Wait("document.activeElement === %s", By("textbox", p.say.snapshotName))
	p.Press(shot) // what was suggested is selected, so typing replaces it
	p.Wait("document.activeElement.value === %s", JS(shot))
	p.Press("\r")
	p.NoPopup()
	p.Wait("document.activeElement === %s", By("button", p.say.createSnapshot))
	p.Told(shot)
	p.c.snapshotIs(p.c.snapshotsNamed(shot)[0].ID, "AVAILABLE")
	p.rowMenuByKeys(name)
	p.Quiet("keys")
}

// focusStaysInside goes round the popup: nothing behind it takes the focus.
func (p *page) focusStaysInside() {
	p.t.Helper()
	for range 12 {
		p.Press("\t")
		p.Wait("root().contains(document.activeElement) || document.activeElement === document.body")
	}
}

// rowMenuByKeys opens the menu of a row, goes through it and leaves it.
func (p *page) rowMenuByKeys(name string) {
	p.t.Helper()
	button := "all('button', null).concat(all('link', null)).find(b => b.hasAttribute('data-row-menu') && b.computedName.includes(" + JS(name) + "))"
	now[bool](p, "("+button+".focus(), true)")
	p.Press("\r")
	p.Wait("document.querySelector('#row-menu').matches(':popover-open') && document.querySelector('#row-menu').contains(document.activeElement)")
	first := now[string](p, "document.activeElement.textContent")
	p.Press("\u0301") // ArrowDown
	p.Wait("document.activeElement.textContent !== %s && document.querySelector('#row-menu').contains(document.activeElement)", JS(first))
	p.Press("\x1b")
	p.Wait("!document.querySelector('#row-menu').matches(':popover-open') && document.activeElement === %s", button)
}

const tabsAtMost = 60

func (p *page) tabTo(role, name string)     { p.t.Helper(); p.tabs(role, name) }
func (p *page) tabBackTo(role, name string) { p.t.Helper(); p.tabs(role, name, chromedp.ModifierShift) }

// tabs presses Tab until an element has the focus, which must be seen.
func (p *page) tabs(role, name string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	for range tabsAtMost {
		if now[bool](p, "document.activeElement === "+By(role, name)) {
			if !now[bool](p, "document.activeElement.matches(':focus-visible')") {
				p.t.Errorf("nobody sees that %s %q has the focus", role, name)
			}
			return
		}
		p.Press("\t", modifiers...)
	}
	p.t.Fatalf("Tab does not lead to %s %q", role, name)
}

// scenarioSelection looks at the toolbar while rows are ticked.
func scenarioSelection(p *page) {
	one, two := "pick1-"+p.lang, "pick2-"+p.lang
	p.c.volume(one)
	p.c.volume(two)
	p.Open(views.VolumesPath + "?q=" + url.QueryEscape("-"+p.lang) + "&size=200")
	disabled := func(name string) string { return By("button", name) + ".ariaDisabled === 'true'" }
	p.Wait("%s && %s && !(%s)", disabled(p.say.edit), disabled(p.say.remove), disabled(p.say.createSnapshot))
	p.Wait("%s.computedRole === 'button' && document.getElementById(%s.getAttribute('aria-describedby')).textContent === %s",
		By("button", p.say.edit), By("button", p.say.edit), JS(p.say.needOne))
	p.Click("button", p.say.edit) // says why, does nothing
	p.tick(one)
	p.Wait("!(%s) && !(%s)", disabled(p.say.edit), disabled(p.say.remove))
	p.tick(two)
	p.Wait("%s && !(%s)", disabled(p.say.edit), disabled(p.say.remove))
	p.Wait("root() === document")
	p.snapshotWithoutSelection(two)
	p.Quiet("selection")
}

// snapshotWithoutSelection searches the volume in the popup.
func (p *page) snapshotWithoutSelection(volume string) {
	p.t.Helper()
	shot := "searched-" + p.lang
	p.Open(views.VolumesPath)
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Fill("searchbox", p.say.volumeField, volume)
	p.Wait("all('radio', null).length === 1 && all('radio', null)[0].closest('label').textContent.includes(%s)", JS(volume))
	p.Fill("textbox", p.say.snapshotName, shot)
	p.noBrowserCheck()
	p.Click("button", p.say.create)
	p.Sees(p.say.chooseVolume)
	p.Wait("%s.value === %s", By("textbox", p.say.snapshotName), JS(shot))
	p.Fill("searchbox", p.say.volumeField, volume)
	p.Wait("all('radio', null).length === 1")
	p.ClickOn("all('radio', null)[0]")
	p.Click("button", p.say.create)
	p.NoPopup()
	p.c.snapshotIs(p.c.snapshotsNamed(shot)[0].ID, "AVAILABLE")
	p.Quiet("no selection", 422)
}
