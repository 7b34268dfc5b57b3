package web

import (
	"net/url"

	"github.com/chromedp/chromedp"

	"blockconsole/views"
)

// walkKeys does with keys alone what the guide does with the mouse.
func walkKeys(p *page) {
	name, shot := "keys-"+p.lang, "kshot-"+p.lang
	p.w.volume(p.t, name)
	p.open(views.VolumesPath + "?q=" + url.QueryEscape(name))
	p.press("\t")
	p.wait("document.activeElement.classList.contains('skip')")
	p.press("/")
	p.wait("document.activeElement === document.querySelector('#global-search') && document.activeElement.value === ''")
	p.press("\x1b")
	p.wait("document.activeElement !== document.querySelector('#global-search')")

	p.tabTo("checkbox", replaceName(p.say.pick, name))
	p.press(" ")
	p.tabBackTo("button", p.say.createSnapshot)
	p.press("\r")
	p.popup(p.say.newSnapshot)
	p.wait("document.activeElement === %s && document.activeElement.selectionEnd > 0", by("textbox", p.say.snapshotName))
	p.focusStaysInside()
	p.press("\x1b")
	p.noPopup()
	p.wait("document.activeElement === %s", by("button", p.say.createSnapshot))

	p.press("\r")
	p.popup(p.say.newSnapshot)
	p.wait("document.activeElement === %s", by("textbox", p.say.snapshotName))
	p.press(shot) // what was suggested is selected, so typing replaces it
	p.wait("document.activeElement.value === %s", js(shot))
	p.press("\r")
	p.noPopup()
	p.wait("document.activeElement === %s", by("button", p.say.createSnapshot))
	p.told(shot)
	p.w.snapshotIs(p.t, p.w.snapshotsNamed(p.t, shot)[0].ID, "AVAILABLE")
	p.rowMenuByKeys(name)
	p.quiet("keys")
}

// focusStaysInside goes round the popup: nothing behind it takes the focus.
func (p *page) focusStaysInside() {
	p.t.Helper()
	for range 12 {
		p.press("\t")
		p.wait("root().contains(document.activeElement) || document.activeElement === document.body")
	}
}

// rowMenuByKeys opens the menu of a row, goes through it and leaves it.
func (p *page) rowMenuByKeys(name string) {
	p.t.Helper()
	button := "all('button', null).concat(all('link', null)).find(b => b.hasAttribute('data-row-menu') && b.computedName.includes(" + js(name) + "))"
	now[bool](p, "("+button+".focus(), true)")
	p.press("\r")
	p.wait("document.querySelector('#row-menu').matches(':popover-open') && document.querySelector('#row-menu').contains(document.activeElement)")
	first := now[string](p, "document.activeElement.textContent")
	p.press("\u0301") // ArrowDown
	p.wait("document.activeElement.textContent !== %s && document.querySelector('#row-menu').contains(document.activeElement)", js(first))
	p.press("\x1b")
	p.wait("!document.querySelector('#row-menu').matches(':popover-open') && document.activeElement === %s", button)
}

const tabsAtMost = 60

func (p *page) tabTo(role, name string)     { p.t.Helper(); p.tabs(role, name) }
func (p *page) tabBackTo(role, name string) { p.t.Helper(); p.tabs(role, name, chromedp.ModifierShift) }

// tabs presses Tab until an element has the focus, which must be seen.
func (p *page) tabs(role, name string, modifiers ...chromedp.Modifier) {
	p.t.Helper()
	for range tabsAtMost {
		if now[bool](p, "document.activeElement === "+by(role, name)) {
			if !now[bool](p, "document.activeElement.matches(':focus-visible')") {
				p.t.Errorf("nobody sees that %s %q has the focus", role, name)
			}
			return
		}
		p.press("\t", modifiers...)
	}
	p.t.Fatalf("Tab does not lead to %s %q", role, name)
}

// walkSelection looks at the toolbar while rows are ticked.
func walkSelection(p *page) {
	one, two := "pick1-"+p.lang, "pick2-"+p.lang
	p.w.volume(p.t, one)
	p.w.volume(p.t, two)
	p.open(views.VolumesPath + "?q=" + url.QueryEscape("-"+p.lang) + "&size=200")
	disabled := func(name string) string { return by("button", name) + ".ariaDisabled === 'true'" }
	p.wait("%s && %s && !(%s)", disabled(p.say.edit), disabled(p.say.remove), disabled(p.say.createSnapshot))
	p.wait("%s.computedRole === 'button' && document.getElementById(%s.getAttribute('aria-describedby')).textContent === %s",
		by("button", p.say.edit), by("button", p.say.edit), js(p.say.needOne))
	p.click("button", p.say.edit) // says why, does nothing
	p.tick(one)
	p.wait("!(%s) && !(%s)", disabled(p.say.edit), disabled(p.say.remove))
	p.tick(two)
	p.wait("%s && !(%s)", disabled(p.say.edit), disabled(p.say.remove))
	p.wait("root() === document")
	p.snapshotWithoutSelection(two)
	p.quiet("selection")
}

// snapshotWithoutSelection searches the volume in the popup.
func (p *page) snapshotWithoutSelection(volume string) {
	p.t.Helper()
	shot := "searched-" + p.lang
	p.open(views.VolumesPath)
	p.click("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.fill("searchbox", p.say.volumeField, volume)
	p.wait("all('radio', null).length === 1 && all('radio', null)[0].closest('label').textContent.includes(%s)", js(volume))
	p.fill("textbox", p.say.snapshotName, shot)
	p.noBrowserCheck()
	p.click("button", p.say.create)
	p.sees(p.say.chooseVolume)
	p.wait("%s.value === %s", by("textbox", p.say.snapshotName), js(shot))
	p.fill("searchbox", p.say.volumeField, volume)
	p.wait("all('radio', null).length === 1")
	p.clickOn("all('radio', null)[0]")
	p.click("button", p.say.create)
	p.noPopup()
	p.w.snapshotIs(p.t, p.w.snapshotsNamed(p.t, shot)[0].ID, "AVAILABLE")
	p.quiet("no selection", 422)
}
