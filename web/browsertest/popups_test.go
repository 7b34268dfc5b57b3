package browsertest

import (
	"net/http"
	"strings"

	"blockconsole/views"
)

// popupWords are what popups say beside their forms.
type popupWords struct{ show, typed, keep, discard string }

var popupWordsOf = map[string]popupWords{
	"ko": {show: "입력한 내용 보기", typed: "입력한 내용이 저장되지 않았습니다.", keep: "계속 입력", discard: "버리고 닫기"},
	"en": {show: "Show what I typed", typed: "What you typed is not saved.", keep: "Keep typing", discard: "Discard and close"},
}

// countAnswers counts in the page the requests of each path that have ended.
func (p *page) countAnswers() {
	p.t.Helper()
	now[bool](p, `(window.ended = {}, document.addEventListener("htmx:finally:request", (event) => {
		const path = event.detail.ctx.request.action.split("?")[0];
		ended[path] = (ended[path] ?? 0) + 1;
	}), true)`)
}

func (p *page) answered(path string, times int) {
	p.t.Helper()
	p.Wait("ended[%s] >= %d", JS(path), times)
}

// scenarioLateForms: a popup that comes late neither replaces the one in use nor opens
// by itself.
func scenarioLateForms(p *page) {
	name := "late-" + p.lang
	p.c.volume(name)
	p.Open(views.VolumesPath)
	p.countAnswers()
	p.tick(name)

	remove := p.c.hold(http.MethodGet, views.VolumesPath+"/delete")
	p.Click("button", p.say.remove)
	remove.waits()
	p.Wait("%s.ariaBusy === 'true'", By("button", p.say.remove))
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, "typed-by-hand")
	remove.open()
	p.answered(views.VolumesPath+"/delete", 1)
	p.stillTyped(p.say.editVolume, "typed-by-hand")
	p.Wait("document.querySelector('[data-action=delete]').ariaBusy !== 'true'")
	p.Click("button", p.say.cancel)
	p.NoPopup()

	extend := p.c.hold(http.MethodGet, views.VolumesPath+"/extend")
	p.Click("button", p.say.extend)
	extend.waits()
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Click("button", p.say.cancel)
	p.NoPopup()
	extend.open()
	p.answered(views.VolumesPath+"/extend", 1)
	if !now[bool](p, "root() === document") {
		p.t.Error("a popup opened by itself")
	}

	edit, before := p.c.hold(http.MethodGet, views.VolumesPath+"/edit"), now[int](p, "ended["+JS(views.VolumesPath+"/edit")+"]")
	at := p.At(By("button", p.say.edit))
	p.Do(ClickAt(at))
	edit.waits()
	p.Do(ClickAt(at))
	edit.open()
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, "typed-by-hand")
	p.answered(views.VolumesPath+"/edit", before+2)
	p.stillTyped(p.say.editVolume, "typed-by-hand")
	p.Quiet("late forms")
}

// stillTyped checks at once that a popup is as it was left.
func (p *page) stillTyped(title, typed string) {
	p.t.Helper()
	if got := now[string](p, `root().computedName + " " + root().querySelector("[name=name]")?.value`); got != title+" "+typed {
		p.t.Errorf("the popup is %q, want %q", got, title+" "+typed)
	}
}

// scenarioLateAnswers: what a form is told after it was closed comes as a message, and
// leaves the popup in use alone.
func scenarioLateAnswers(p *page) {
	say, name := popupWordsOf[p.lang], "answer-"+p.lang
	p.c.volume(name)
	p.Open(views.VolumesPath)
	p.countAnswers()

	refusal := p.c.hold(http.MethodPost, views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, "under_score")
	p.Press("\r")
	refusal.waits()
	p.Wait("root().querySelector('form[aria-busy=true] .popup-body').inert && root().contains(document.activeElement)")
	p.Press("\x1b")
	p.NoPopup()
	refusal.open()
	p.Told(p.say.rule)
	p.Told(p.say.newVolume)
	if !now[bool](p, "root() === document") {
		p.t.Error("a refusal opened a popup by itself")
	}
	p.Click("button", say.show)
	p.Popup(p.say.newVolume)
	p.FieldSays(p.say.volumeName, "under_score", p.say.rule)
	p.Wait("!document.querySelector('#messages').textContent.includes(%s)", JS(p.say.rule))
	p.Quiet("a late refusal", http.StatusUnprocessableEntity)
	p.Clean("a late refusal")

	accepted := p.c.hold(http.MethodPost, views.VolumesPath)
	p.Fill("textbox", p.say.volumeName, name+"-2")
	p.Fill("textbox", p.say.size, "1")
	p.Press("\r")
	accepted.waits()
	p.Press("\x1b")
	p.NoPopup()
	p.tick(name)
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, "typed-by-hand")
	accepted.open()
	p.answered(views.VolumesPath, 2)
	p.Told(name + "-2")
	p.stillTyped(p.say.editVolume, "typed-by-hand")
	p.Click("button", p.say.cancel)
	p.NoPopup()
	p.HasRow(name+"-2", "AVAILABLE")
	p.failsLate(name)
	p.Quiet("late answers")
}

// failsLate cuts an answer off after its popup was closed: the form is there as typed.
func (p *page) failsLate(name string) {
	p.t.Helper()
	say := popupWordsOf[p.lang]
	lost := p.c.hold(http.MethodPost, views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name+"-3")
	p.Press("\r")
	lost.waits()
	p.Press("\x1b")
	p.NoPopup()
	lost.cut()
	p.Told(p.say.lost)
	lost.open()
	p.Click("button", say.show)
	p.Popup(p.say.newVolume)
	p.stillTyped(p.say.newVolume, name+"-3")
	p.Press("\r") // the same key: it is made once
	p.NoPopup()
	p.Wait("!document.querySelector('#messages').textContent.includes(%s)", JS(p.say.lost))
	p.HasRow(name+"-3", "AVAILABLE")
	if made := p.c.volumesNamed(name + "-3"); len(made) != 1 {
		p.t.Errorf("%d volumes were made", len(made))
	}
	for _, message := range p.ConsoleMessages() {
		if !strings.Contains(message, "ERR_") && !strings.Contains(message, "Failed to fetch") {
			p.t.Errorf("console: %s", message)
		}
	}
}

// scenarioTyped: Esc and the X ask before they discard what was typed, also after a
// refusal; what is untouched closes at once.
func scenarioTyped(p *page) {
	say := popupWordsOf[p.lang]
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Press("\x1b")
	p.NoPopup()

	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, "ab")
	p.Press("\x1b")
	p.Sees(say.typed)
	p.Wait("document.activeElement === %s", By("button", say.keep))
	p.Clean("the question")
	p.Click("button", say.keep)
	p.Wait("document.activeElement === %s && document.activeElement.value === 'ab'", By("textbox", p.say.volumeName))
	p.Press("\r")
	p.FieldSays(p.say.volumeName, "ab", p.say.rule)
	p.ClickOn("document.querySelector('.popup-x')")
	p.Sees(say.typed)
	p.Click("button", say.discard)
	p.NoPopup()

	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, "ab")
	p.Press("\x1b")
	p.Sees(say.typed)
	p.Press("\x1b")
	p.NoPopup()
	p.Wait("document.querySelector('#messages').parentElement === document.body")
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Quiet("typed", http.StatusUnprocessableEntity)

	p.Open(views.VolumesPath + "/new")
	p.Fill("textbox", p.say.volumeName, "typed-by-hand")
	p.Follow("link", map[string]string{"ko": "English", "en": "한국어"}[p.lang])
	p.Wait("document.documentElement.lang !== %s && document.querySelector('main [name=name]').value === 'typed-by-hand'", JS(p.lang))
	p.Quiet("another language")
}
