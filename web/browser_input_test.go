package web

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/chromedp/chromedp"

	"blockconsole/views"
)

// badNames are what people type that is no name. The browser's own check would
// hide what the server says, so the tests switch it off as old browsers do.
var badNames = []string{"", "ab", strings.Repeat("x", 21), "이름하나", "disk\U0001F600", "with space", " padded-1 ", "under_score", "<b>bold</b>"}

// noBrowserCheck lets the form of the popup be sent as it is.
func (p *page) noBrowserCheck() {
	p.t.Helper()
	now[bool](p, "(document.querySelector('#popup-form form[method=post]').noValidate = true)")
}

// walkBadInput types what is refused: the message stands beside the field in the
// page's language, what was typed stays, nothing is made.
func walkBadInput(p *page) {
	before := len(p.w.volumesNamed(p.t, "bad-"+p.lang))
	p.open(views.VolumesPath)
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.size, "1")
	for _, name := range badNames {
		p.noBrowserCheck()
		p.fill("textbox", p.say.volumeName, name)
		p.press("\r")
		p.fieldSays(p.say.volumeName, name, p.say.rule)
		p.wait("document.activeElement === %s", by("textbox", p.say.volumeName))
		p.wait("%s.value === '1'", by("textbox", p.say.size))
	}
	if text := now[string](p, "document.querySelector('#popup-form').innerText"); strings.Contains(text, "⟦") {
		p.t.Errorf("a text is missing: %s", text)
	}
	p.quiet("bad names", http.StatusUnprocessableEntity)
	p.clean("bad names")
	p.fill("textbox", p.say.volumeName, "bad-"+p.lang)
	for _, size := range []string{"0", "-1", "1.5", "ten", ""} {
		p.noBrowserCheck()
		p.fill("textbox", p.say.size, size)
		p.press("\r")
		p.fieldSays(p.say.size, size, p.say.sizeInvalid)
	}
	p.fill("textbox", p.say.size, "999999999")
	p.press("\r")
	p.fieldSays(p.say.size, "999999999", "GiB")
	if after := len(p.w.volumesNamed(p.t, "bad-"+p.lang)); after != before {
		p.t.Errorf("%d volumes were made", after-before)
	}
	p.quiet("bad input", http.StatusUnprocessableEntity)
	p.badSizes()
	p.lateEdit()
}

// badSizes restores into less than the snapshot has, and shrinks a volume.
func (p *page) badSizes() {
	p.t.Helper()
	name := "small-" + p.lang
	id := p.w.ask(p.t, views.VolumesPath, url.Values{"name": {name}, "size_gib": {"2"}})
	p.w.volumeIs(p.t, id, "AVAILABLE")
	p.w.snapshot(p.t, id, name)
	p.open(views.SnapshotsPath)
	p.tick(name)
	p.click("button", p.say.restore)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, name+"-r")
	p.fill("textbox", p.say.size, "1")
	p.click("button", p.say.create)
	p.fieldSays(p.say.size, "1", p.say.sizeSmall)
	p.wait("%s.value === %s", by("textbox", p.say.volumeName), js(name+"-r"))
	p.click("button", p.say.cancel)
	p.noPopup()
	p.quiet("small", http.StatusUnprocessableEntity)
}

// lateEdit edits what somebody else has changed meanwhile: the popup shows the
// other's value, and a second click replaces it.
func (p *page) lateEdit() {
	p.t.Helper()
	name := "late-" + p.lang
	id := p.w.volume(p.t, name)
	p.open(views.VolumesPath)
	p.tick(name)
	p.click("button", p.say.edit)
	p.popup(p.say.editVolume)
	p.fill("textbox", p.say.volumeName, name+"-mine")
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/edit", url.Values{"name": {name + "-other"}})
	p.click("button", p.say.edit)
	p.sees(p.say.theirs)
	p.sees(name + "-other")
	p.wait("%s.value === %s", by("textbox", p.say.volumeName), js(name+"-mine"))
	p.click("button", p.say.edit)
	p.noPopup()
	p.hasRow(name + "-mine")
	p.quiet("late edit", http.StatusConflict)
}

// plainBadInput is the same on pages without JavaScript.
func plainBadInput(p *page) {
	p.open(views.VolumesPath + "/new")
	for _, name := range badNames {
		p.noBrowserCheck()
		p.fill("textbox", p.say.size, "1")
		p.fill("textbox", p.say.volumeName, name)
		if status := p.loads(chromedp.KeyEvent("\r")); status != http.StatusUnprocessableEntity {
			p.t.Errorf("the name %q gets %d", name, status)
		}
		p.fieldSays(p.say.volumeName, name, p.say.rule)
		p.wait("%s.value === '1'", by("textbox", p.say.size))
	}
	p.noBrowserCheck()
	p.fill("textbox", p.say.volumeName, "plain-bad-"+p.lang)
	p.fill("textbox", p.say.size, "0")
	p.loads(chromedp.KeyEvent("\r"))
	p.fieldSays(p.say.size, "0", p.say.sizeInvalid)
	if len(p.w.volumesNamed(p.t, "plain-bad-"+p.lang)) > 0 {
		p.t.Error("a volume was made")
	}
	p.quiet("refused forms", http.StatusUnprocessableEntity)
	p.clean("a refused form")
}

// walkDoubleClick presses twice, fast: one object is made.
func walkDoubleClick(p *page) {
	name := "twice-" + p.lang
	p.open(views.VolumesPath)
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, name)
	p.fill("textbox", p.say.size, "1")
	at := p.at(by("button", p.say.create))
	p.Do(clickAt(at), chromedp.MouseClickXY(at.X, at.Y, chromedp.ClickCount(2)))
	p.noPopup()
	p.hasRow(name, "AVAILABLE")
	if made := p.w.volumesNamed(p.t, name); len(made) != 1 {
		p.t.Errorf("%d volumes were made", len(made))
	}
	p.quiet("double click")
}

// plainDoubleClick does it without JavaScript: the form's key makes it one.
func plainDoubleClick(p *page) {
	name := "double-" + p.lang
	p.open(views.VolumesPath + "/new")
	p.fill("textbox", p.say.volumeName, name)
	p.fill("textbox", p.say.size, "1")
	form := now[string](p, "new URLSearchParams(new FormData(document.querySelector('#popup-form form[method=post]'))).toString()")
	fields, err := url.ParseQuery(form)
	if err != nil {
		p.t.Fatal(err)
	}
	p.lands(p.follow("button", p.say.create), views.VolumesPath)
	first := p.w.volumesNamed(p.t, name)[0].ID
	if again := p.w.ask(p.t, views.VolumesPath, fields); again != first {
		p.t.Errorf("the same form made %s and %s", first, again)
	}
	if made := p.w.volumesNamed(p.t, name); len(made) != 1 {
		p.t.Errorf("%d volumes were made", len(made))
	}
	p.quiet("the same form twice")
}
