package web

import (
	"errors"
	"net/http"
	"net/url"

	"blockconsole/models/backend"
	"blockconsole/views"
)

// limitWords are what the screen says about limits, beside the figures.
var limitWords = map[string]string{"ko": "한도 10, 사용 중 0, 요청 11", "en": "limit 10, used 0, asked 11"}

// walkLimits: the limits follow what is typed, a failure is told to whoever asked,
// and a list says when it is old. It has a console of its own.
func walkLimits(p *page) {
	name := "limit-" + p.lang
	p.open(views.VolumesPath)
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	gib := "document.querySelector('.quota[data-per=gib]')"
	p.fill("textbox", p.say.size, "4")
	p.wait("%s.querySelector('[data-asked]').textContent === '4' && %s.querySelector('.quota-note').hidden", gib, gib)
	p.fill("textbox", p.say.size, "11")
	p.wait("%s.matches('.quota-over') && !%s.querySelector('.quota-note').hidden && %s.querySelector('[role=meter]').ariaValueNow === '10'", gib, gib, gib)
	p.clean("the limits")
	p.fill("textbox", p.say.volumeName, name)
	p.click("button", p.say.create)
	p.sees(limitWords[p.lang])
	p.wait("%s.getAttribute('aria-invalid') === 'true'", by("textbox", p.say.size))
	p.quiet("over the limit", http.StatusUnprocessableEntity)
	p.clean("a size over the limit")
	p.fill("textbox", p.say.size, "2")
	p.wait("!%s.matches('.quota-over')", gib)
	p.click("button", p.say.create)
	p.noPopup()
	p.hasRow(name, "AVAILABLE")
	id := p.w.volumesNamed(p.t, name)[0].ID

	p.w.fake.FailNext("ExtendVolume", &backend.Error{Code: backend.CodeConflict, Message: "the array is full"})
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/extend", url.Values{"size_gib": {"3"}})
	p.wait("[...document.querySelectorAll('#messages [data-sticky]')].some(a => [%s, 'the array is full', 'req-'].every(text => a.textContent.includes(text)))", js(name))
	p.hasRow(name, "ERROR", "the array is full")
	p.clean("a failure that is told")

	p.w.fake.SetDown(errors.New("nobody there"))
	if err := p.w.mirror.Resync(p.t.Context()); err == nil {
		p.t.Error("a sweep of what is down succeeds")
	}
	p.wait("document.querySelector('[data-degraded]') !== null")
	p.clean("a list that is old")
	p.tick(name)
	p.click("button", p.say.edit)
	p.popup(p.say.editVolume)
	p.fill("textbox", p.say.volumeName, name+"-2")
	p.click("button", p.say.edit)
	p.noPopup()
	p.hasRow(name + "-2")
	p.w.fake.SetDown(nil)
	p.w.sweep(p.t)
	p.wait("document.querySelector('[data-degraded]') === null")
	p.w.until(p.t, "what waited to be done", func(ctx ctx) bool {
		n, err := p.w.store.Queue.CountRunning(ctx, administrator.Project)
		return err == nil && n == 0
	})
	p.quiet("the limits", http.StatusUnprocessableEntity)
}
