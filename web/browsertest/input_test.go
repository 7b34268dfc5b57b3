package browsertest

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

// scenarioBadInput types what is refused: the message stands beside the field in the
// page's language, what was typed stays, nothing is made.
func scenarioBadInput(p *page) {
	before := len(p.c.volumesNamed("bad-" + p.lang))
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.size, "1")
	for _, name := range badNames {
		p.noBrowserCheck()
		p.Fill("textbox", p.say.volumeName, name)
		p.Press("\r")
		p.FieldSays(p.say.volumeName, name, p.say.rule)
		p.Wait("document.activeElement === %s", By("textbox", p.say.volumeName))
		p.Wait("%s.value === '1'", By("textbox", p.say.size))
	}
	if text := now[string](p, "document.querySelector('#popup-form').innerText"); strings.Contains(text, "⟦") {
		p.t.Errorf("a text is missing: %s", text)
	}
	p.Quiet("bad names", http.StatusUnprocessableEntity)
	p.Clean("bad names")
	p.Fill("textbox", p.say.volumeName, "bad-"+p.lang)
	for _, size := range []string{"0", "-1", "1.5", "ten", ""} {
		p.noBrowserCheck()
		p.Fill("textbox", p.say.size, size)
		p.Press("\r")
		p.FieldSays(p.say.size, size, p.say.sizeInvalid)
	}
	p.Fill("textbox", p.say.size, "999999999")
	p.Press("\r")
	p.FieldSays(p.say.size, "999999999", "GiB")
	if after := len(p.c.volumesNamed("bad-" + p.lang)); after != before {
		p.t.Errorf("%d volumes were made", after-before)
	}
	p.Quiet("bad input", http.StatusUnprocessableEntity)
	p.badSizes()
	p.lateEdit()
}

// badSizes restores into less than the snapshot has, and shrinks a volume.
func (p *page) badSizes() {
	p.t.Helper()
	name := "small-" + p.lang
	id := p.c.ask(views.VolumesPath, url.Values{"name": {name}, "size_gib": {"2"}})
	p.c.volumeIs(id, "AVAILABLE")
	p.c.snapshot(id, name)
	p.Open(views.SnapshotsPath)
	p.tick(name)
	p.Click("button", p.say.restore)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name+"-r")
	p.Fill("textbox", p.say.size, "1")
	p.Click("button", p.say.create)
	p.FieldSays(p.say.size, "1", p.say.sizeSmall)
	p.Wait("%s.value === %s", By("textbox", p.say.volumeName), JS(name+"-r"))
	p.Click("button", p.say.cancel)
	p.NoPopup()
	p.Quiet("small", http.StatusUnprocessableEntity)
}

// lateEdit edits what somebody else has changed meanwhile: the popup shows the
// other's value, and a second click replaces it.
func (p *page) lateEdit() {
	p.t.Helper()
	name := "late-" + p.lang
	id := p.c.volume(name)
	p.Open(views.VolumesPath)
	p.tick(name)
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, name+"-mine")
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {name + "-other"}})
	p.Click("button", p.say.edit)
	p.Sees(p.say.theirs)
	p.Sees(name + "-other")
	p.Wait("%s.value === %s", By("textbox", p.say.volumeName), JS(name+"-mine"))
	p.Click("button", p.say.edit)
	p.NoPopup()
	p.HasRow(name + "-mine")
	p.Quiet("late edit", http.StatusConflict)
}

// plainBadInput is the same on pages without JavaScript.
func plainBadInput(p *page) {
	p.Open(views.VolumesPath + "/new")
	for _, name := range badNames {
		p.noBrowserCheck()
		p.Fill("textbox", p.say.size, "1")
		p.Fill("textbox", p.say.volumeName, name)
		if status := p.Loads(chromedp.KeyEvent("\r")); status != http.StatusUnprocessableEntity {
			p.t.Errorf("the name %q gets %d", name, status)
		}
		p.FieldSays(p.say.volumeName, name, p.say.rule)
		p.Wait("%s.value === '1'", By("textbox", p.say.size))
	}
	p.noBrowserCheck()
	p.Fill("textbox", p.say.volumeName, "plain-bad-"+p.lang)
	p.Fill("textbox", p.say.size, "0")
	p.Loads(chromedp.KeyEvent("\r"))
	p.FieldSays(p.say.size, "0", p.say.sizeInvalid)
	if len(p.c.volumesNamed("plain-bad-"+p.lang)) > 0 {
		p.t.Error("a volume was made")
	}
	p.Quiet("refused forms", http.StatusUnprocessableEntity)
	p.Clean("a refused form")
}

// scenarioDoubleClick presses twice, fast: one object is made.
func scenarioDoubleClick(p *page) {
	name := "twice-" + p.lang
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "1")
	at := p.At(By("button", p.say.create))
	p.Do(ClickAt(at), chromedp.MouseClickXY(at.X, at.Y, chromedp.ClickCount(2)))
	p.NoPopup()
	p.HasRow(name, "AVAILABLE")
	if made := p.c.volumesNamed(name); len(made) != 1 {
		p.t.Errorf("%d volumes were made", len(made))
	}
	p.Quiet("double click")
}

// plainDoubleClick does it without JavaScript: the form's key makes it one.
func plainDoubleClick(p *page) {
	name := "double-" + p.lang
	p.Open(views.VolumesPath + "/new")
	p.Fill("textbox", p.say.volumeName, name)
	p.Fill("textbox", p.say.size, "1")
	form := now[string](p, "new URLSearchParams(new FormData(document.querySelector('#popup-form form[method=post]'))).toString()")
	fields, err := url.ParseQuery(form)
	if err != nil {
		p.t.Fatal(err)
	}
	p.lands(p.Follow("button", p.say.create), views.VolumesPath)
	first := p.c.volumesNamed(name)[0].ID
	if again := p.c.ask(views.VolumesPath, fields); again != first {
		p.t.Errorf("the same form made %s and %s", first, again)
	}
	if made := p.c.volumesNamed(name); len(made) != 1 {
		p.t.Errorf("%d volumes were made", len(made))
	}
	p.Quiet("the same form twice")
}
