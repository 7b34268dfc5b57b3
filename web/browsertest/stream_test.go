package browsertest

import (
	"net/url"

	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"blockconsole/models/backend"
	"blockconsole/views"
)

// says waits for what the page says about its connection; empty: that all is well.
func (p *page) says(words string) {
	p.t.Helper()
	p.Wait(`document.querySelector("#connection").innerText === %s`, JS(words))
}

// refuse answers what scripts GET at a path with 502, until the returned function is
// called.
func (p *page) refuse(path string) (stop func()) {
	p.c.refused.Store(path, true)
	return func() { p.c.refused.Delete(path) }
}

// scenarioLostRefresh: what a page could not read again it reads until it can, and says
// so meanwhile: a list, its count, and the page of one object.
func scenarioLostRefresh(p *page) {
	prefix := "lost-" + p.lang
	id := p.c.volume(prefix + "-1")
	shot := p.c.snapshot(id, prefix+"-s1")
	for _, at := range []struct {
		list, part string
		change     func(name string)
	}{
		{views.VolumesPath, "", func(name string) { p.c.volume(name) }},
		{views.SnapshotsPath, "/count", func(name string) { p.c.snapshot(id, name) }},
	} {
		p.Open(at.list + "?q=" + prefix)
		p.Mark()
		p.streaming()
		p.Wait(`parseInt(document.querySelector("#found").textContent) === 1`)
		stop := p.refuse(at.list + at.part)
		at.change(prefix + "-new")
		p.says(p.say.unread)
		stop()
		p.HasRow(prefix+"-new", "AVAILABLE")
		p.Wait(`parseInt(document.querySelector("#found").textContent) === 2`)
		p.says("")
		p.NotReloaded()
	}
	p.Open(views.SnapshotsPath + "/" + shot)
	p.streaming()
	stop := p.refuse(views.SnapshotsPath + "/" + shot)
	p.c.ask(views.SnapshotsPath+"/"+shot+"/edit", url.Values{"name": {prefix + "-ren"}})
	p.says(p.say.unread)
	stop()
	p.Wait(`document.querySelector("h1").textContent.includes(%s)`, JS(prefix+"-ren"))
	p.says("")

	p.As("") // the session ended
	p.c.cutStreams()
	p.says(p.say.signedOut)
	p.As(p.c.api.Session())
	p.says("")

	p.c.ask(views.SnapshotsPath+"/"+shot+"/delete", url.Values{}) // and a page whose object is gone says that
	p.Wait(`document.querySelector("#content") && !document.querySelector("#object")`)
	p.ConsoleMessages()
}

// scenarioLanguages: a page stays in its language whatever another window chooses, and
// does not choose for the other window.
func scenarioLanguages(p *page) {
	other := map[string]string{"ko": "en", "en": "ko"}[p.lang]
	name := "words-" + p.lang
	id := p.c.volume(name)
	p.Open(views.VolumesPath)
	p.Mark()
	p.streaming()
	second := p.neighbour(false)
	second.say, second.lang = wordsOf[other], other
	second.Open(views.VolumesPath + "?lang=" + other)
	second.streaming()
	p.c.cutStreams()
	p.c.streams.until(p.t, p.c.api.Session(), 2) // they have begun anew
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {name + "-b"}})
	p.c.volume(name + "-new")
	for _, each := range []*page{p, second} {
		for _, row := range []string{name + "-b", name + "-new"} {
			each.HasRow(row, "AVAILABLE")
			each.Wait("one('checkbox', %s, %s)", JS(replaceName(each.say.pick, row)), RowOf(row))
		}
		each.Click("link", each.say.create)
		each.Popup(each.say.newVolume)
		each.ConsoleMessages()
	}
	p.NotReloaded()
	second.Open(views.VolumesPath)
	second.Wait("document.documentElement.lang === %s", JS(other))
}

// scenarioWrongClock: a browser whose clock is wrong tells ages by the server's time.
func scenarioWrongClock(p *page) {
	script := `Date.now = (real => () => real() + 600000)(Date.now.bind(Date))`
	if _, err := chromedp.Call(p, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: script}); err != nil {
		p.t.Fatal(err)
	}
	p.c.Resync()
	id := p.c.ask(views.VolumesPath, url.Values{"name": {"held-" + p.lang}, "size_gib": {"1"}})
	p.begun(id)
	p.c.Fake.SetPercent(id, backend.PercentUnknown)
	for _, path := range []string{views.VolumesPath, views.VolumesPath + "/" + id} {
		p.Open(path)
		p.Wait(`/^00:\d\d$/.test(document.querySelector(".elapsed").innerText)`)
		if path == views.VolumesPath {
			p.Wait(`document.querySelector("#fresh").innerText.endsWith(%s)`, JS(p.say.ago))
			p.c.Resync()
			p.Wait(`document.querySelector("#fresh").innerText.endsWith(%s)`, JS(p.say.ago))
		}
	}
	// A page without a stream has the time of its own loading.
	p.Open("/account")
	p.Wait(`[...document.querySelectorAll("[data-at]")].every(e => !/\d\d:|10/.test(e.innerText))`)
	p.Quiet("wrong clock")
}
