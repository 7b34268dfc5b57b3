package browsertest

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"blockconsole/models/backend"
	"blockconsole/views"
)

// limitWords are what the screen says about limits, beside the figures.
var limitWords = map[string]string{"ko": "한도 10, 사용 중 0, 요청 11", "en": "limit 10, used 0, asked 11"}

// scenarioLimits: the limits follow what is typed, a failure is told to whoever asked,
// and a list says when it is old. It has a console of its own.
func scenarioLimits(p *page) {
	name := "limit-" + p.lang
	p.Open(views.VolumesPath)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	gib := "document.querySelector('.quota[data-per=gib]')"
	p.Fill("textbox", p.say.size, "4")
	p.Wait("%s.querySelector('[data-asked]').textContent === '4' && %s.querySelector('.quota-note').hidden", gib, gib)
	p.Fill("textbox", p.say.size, "11")
	p.Wait("%s.matches('.quota-over') && !%s.querySelector('.quota-note').hidden && %s.querySelector('[role=meter]').ariaValueNow === '10'", gib, gib, gib)
	p.Clean("the limits")
	p.Fill("textbox", p.say.volumeName, name)
	p.Click("button", p.say.create)
	p.Sees(limitWords[p.lang])
	p.Wait("%s.getAttribute('aria-invalid') === 'true'", By("textbox", p.say.size))
	p.Quiet("over the limit", http.StatusUnprocessableEntity)
	p.Clean("a size over the limit")
	p.Fill("textbox", p.say.size, "2")
	p.Wait("!%s.matches('.quota-over')", gib)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.HasRow(name, "AVAILABLE")
	id := p.c.volumesNamed(name)[0].ID

	p.c.Fake.FailNext("ExtendVolume", &backend.Error{Code: backend.CodeConflict, Message: "the array is full"})
	p.c.ask(views.VolumesPath+"/"+id+"/extend", url.Values{"size_gib": {"3"}})
	p.Wait("[...document.querySelectorAll('#messages [data-sticky]')].some(a => [%s, 'the array is full', 'req-'].every(text => a.textContent.includes(text)))", JS(name))
	p.HasRow(name, "ERROR", "the array is full")
	p.Clean("a failure that is told")

	p.c.Fake.SetDown(errors.New("nobody there"))
	if err := p.c.Mirror.Resync(p.t.Context()); err == nil {
		p.t.Error("a sweep of what is down succeeds")
	}
	p.Wait("document.querySelector('[data-degraded]') !== null")
	p.Clean("a list that is old")
	p.tick(name)
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.Fill("textbox", p.say.volumeName, name+"-2")
	p.Click("button", p.say.edit)
	p.NoPopup()
	p.HasRow(name + "-2")
	p.c.Fake.SetDown(nil)
	p.c.Resync()
	p.Wait("document.querySelector('[data-degraded]') === null")
	p.c.until("what waited to be done", func(ctx context.Context) bool {
		n, err := p.c.Store.Queue.CountRunning(ctx, administrator.Project)
		return err == nil && n == 0
	})
	p.Quiet("the limits", http.StatusUnprocessableEntity)
}
