package browsertest

import (
	"net/http"
	"net/url"

	"blockconsole/views"
)

var awayWords = map[string]struct{ away, clear string }{
	"ko": {away: "1개 선택됨 (1개는 이 페이지에 없음)", clear: "선택 해제"},
	"en": {away: "1 selected (1 not on this page)", clear: "Clear selection"},
}

// scenarioBack goes away and comes back: what was ticked is ticked, and nothing else
// although a row came before it, and the toolbar knows.
func scenarioBack(p *page) {
	one, two, three := "back1-"+p.lang, "back2-"+p.lang, "back3-"+p.lang
	p.c.volume(one)
	p.c.volume(two)
	p.Open(views.VolumesPath)
	p.tick(one)
	p.Wait("%s.ariaDisabled === null", By("button", p.say.edit))
	p.Follow("link", two)
	p.c.volume(three)
	p.Back()
	p.HasRow(three)
	p.Wait("document.readyState === 'complete'")
	p.Wait("[...document.querySelectorAll('#rows input[name=id]:checked')].map(box => box.closest('tr').querySelector('.name').textContent).join() === %s", JS(one))
	p.Wait("%s.ariaDisabled === null && !document.querySelector('#selected').hidden", By("button", p.say.edit))
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.stillTyped(p.say.editVolume, one)
	p.Quiet("back")
}

// scenarioPushed: a ticked row that new rows push to the next page stays selected, and
// the page says so; one that is deleted does not.
func scenarioPushed(p *page) {
	prefix, say := "push-"+p.lang, awayWords[p.lang]
	name := prefix + "-ticked"
	id := p.c.volume(name)
	for _, n := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s"} {
		p.c.ask(views.VolumesPath, url.Values{"name": {prefix + "-" + n}, "size_gib": {"1"}})
	}
	p.Open(views.VolumesPath + "?size=20&q=" + prefix)
	p.streaming()
	p.HasRow(name)
	p.tick(name)
	now[bool](p, `(window.wholeFetch = fetch, window.fetch = (url, options) => options?.headers?.Accept !== "application/json" ? wholeFetch(url, options) :
		Promise.resolve(new Response(new ReadableStream({ start: (answer) => answer.error(new TypeError("cut")) }))), true)`)
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, prefix+"-new")
	p.Fill("textbox", p.say.size, "1")
	p.Press("\r")
	p.NoPopup()
	p.Told(prefix + "-new")
	p.HasRow(prefix + "-new")
	if covered := now[bool](p, `[...document.querySelectorAll("#messages .alert")].some(alert => {
		const a = alert.getBoundingClientRect(), b = document.querySelector("main .table").getBoundingClientRect();
		return a.width > 0 && a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
	})`); covered {
		p.t.Error("the message covers the table")
	}
	p.HasNoRow(name)
	p.Sees(say.away)
	p.Wait("%s.ariaDisabled === null", By("button", p.say.edit))
	p.Clean("a selected row elsewhere, and half an answer whether it exists")
	now[bool](p, "(window.fetch = wholeFetch, true)")
	p.Click("button", p.say.edit)
	p.Popup(p.say.editVolume)
	p.stillTyped(p.say.editVolume, name)
	p.Press("\x1b")
	p.NoPopup()
	p.Click("button", say.clear)
	p.Wait("document.querySelector('#selected').hidden && %s.ariaDisabled === 'true'", By("button", p.say.edit))

	p.tick(prefix + "-a")
	gone := p.c.volumesNamed(prefix + "-a")[0].ID
	p.c.ask(views.VolumesPath+"/"+gone+"/delete", url.Values{})
	p.HasNoRow(prefix + "-a")
	p.HasRow(name) // it is back on the page, and not ticked any more
	p.Wait("document.querySelector('#selected').hidden && !%s.querySelector('input').checked", RowOf(name))
	if p.c.api.Get(views.VolumesPath+"/"+id).StatusCode != http.StatusOK {
		p.t.Error("the wrong one was deleted")
	}
	p.Quiet("pushed")
}
