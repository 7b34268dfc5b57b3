package web

import (
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"blockconsole/models/backend"
	"blockconsole/views"
)

// walkLive watches a list while somebody else works: rows change, come and go
// without a reload, and nothing the user has done is lost.
func walkLive(p *page) {
	prefix := "live-" + p.lang
	one := p.w.volume(p.t, prefix+"-1")
	two := p.w.volume(p.t, prefix+"-2")
	p.manyOld(prefix)
	p.Size(1280, 420)
	p.open(views.VolumesPath + "?q=" + prefix)
	p.mark()
	p.streaming()
	p.tick(prefix + "-2")
	p.fill("searchbox", p.say.search, prefix+"-typed")
	p.wait("(scrollTo(0, 160), scrollY === 160)")

	p.w.ask(p.t, views.VolumesPath+"/"+one+"/edit", url.Values{"name": {prefix + "-renamed"}})
	p.hasRow(prefix + "-renamed")
	p.w.ask(p.t, views.VolumesPath, url.Values{"name": {prefix + "-new"}, "size_gib": {"1"}})
	p.hasRow(prefix+"-new", "AVAILABLE")
	p.w.ask(p.t, views.VolumesPath+"/"+one+"/delete", url.Values{})
	p.hasNoRow(prefix + "-renamed")
	p.w.ask(p.t, views.VolumesPath+"/"+two+"/extend", url.Values{"size_gib": {"2"}})
	p.hasRow(prefix+"-2", "2 GiB", "AVAILABLE")

	p.wait("%s.querySelector('input').checked", rowOf(prefix+"-2"))
	p.wait("document.activeElement === %s && document.activeElement.value === %s", by("searchbox", p.say.search), js(prefix+"-typed"))
	p.wait("scrollY === 160 && location.search === '?q=' + %s", js(prefix))
	p.wait("!document.querySelector('#pick-all').closest('[hidden]') && %s.ariaDisabled === null", by("button", p.say.edit))
	p.wait("document.querySelector('#found').textContent.includes('22')")
	p.marked()
	p.quiet("live")
}

// walkOvertaken: the answer to a click comes later than the live event of its
// outcome, and must not undo it.
func walkOvertaken(p *page) {
	name := "over-" + p.lang
	id := p.w.volume(p.t, name)
	path, gate := views.VolumesPath+"/"+id+"/extend", make(chan struct{})
	p.w.gates.Store(path, gate)
	open := sync.OnceFunc(func() { close(gate) })
	p.t.Cleanup(open)
	p.open(views.VolumesPath)
	p.streaming()
	p.tick(name)
	p.click("button", p.say.extend)
	p.popup(p.say.extendVolume)
	p.fill("textbox", p.say.size, "3")
	p.click("button", p.say.extend)
	p.hasRow(name, "3 GiB", "AVAILABLE")
	open()
	p.noPopup()
	p.hasRow(name, "3 GiB", "AVAILABLE")
	p.wait("%s.querySelector('input').checked", rowOf(name))
	p.quiet("overtaken")
}

// manyOld adds 20 old volumes, so that there is something to scroll.
func (p *page) manyOld(prefix string) {
	p.t.Helper()
	for i := range 20 {
		p.w.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("%s-old%02d", prefix, i), CreatedAt: time.Now().Add(-time.Hour)})
	}
	p.w.sweep(p.t)
}

// streaming waits until the page has its live stream.
func (p *page) streaming() {
	p.t.Helper()
	p.wait("document.querySelector('#live')?._htmx?.sse")
}

// walkProgress watches work that the backend holds: a percentage where it tells
// one, else a running clock; the count in the header, and the steps on the
// operation's page.
func walkProgress(p *page) {
	name := "slow-" + p.lang
	id := p.w.ask(p.t, views.VolumesPath, url.Values{"name": {name}, "size_gib": {"1"}})
	p.begun(id)
	p.w.fake.SetPercent(id, backend.PercentUnknown)
	p.open(views.VolumesPath)
	p.mark()
	p.hasRow(name, "CREATING")
	p.wait(`/^\d\d:\d\d$/.test(%s.querySelector(".elapsed").textContent)`, rowOf(name))
	p.wait("Number(document.querySelector('#activity-count').textContent) > 0")
	p.clean("work under way")
	for _, percent := range []int{7, 55} {
		p.w.fake.SetPercent(id, percent)
		p.wait("one('progressbar', %s, %s).value === %d", js(p.say.progress), rowOf(name), percent)
		p.hasRow(name, fmt.Sprintf("%d%%", percent))
	}
	p.clean("progress")
	p.tick(name)
	p.wait("%s.ariaDisabled === 'true'", by("button", p.say.remove))
	p.w.fake.Release(id)
	p.hasRow(name, "AVAILABLE")
	p.wait("!%s.querySelector('progress, .elapsed')", rowOf(name))
	p.wait("%s.querySelector('input').checked && !%s.ariaDisabled", rowOf(name), by("button", p.say.remove))
	p.marked()
	p.snapshotHeld(name, id)
	p.quiet("progress")
}

// begun waits until the backend works on a volume.
func (p *page) begun(id string) {
	p.t.Helper()
	p.w.until(p.t, "the backend to begin", func(ctx ctx) bool {
		v, err := p.w.store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.BackendID != ""
	})
}

// snapshotHeld takes a snapshot in the popup and watches it to its end in the list
// of snapshots, and a failure with its reason.
func (p *page) snapshotHeld(volume, id string) {
	p.t.Helper()
	shot := volume + "-s"
	p.click("button", p.say.createSnapshot)
	p.popup(p.say.newSnapshot)
	p.fill("textbox", p.say.snapshotName, shot)
	p.click("button", p.say.create)
	p.noPopup()
	p.menu("Block Snapshot")
	p.mark()
	p.hasRow(shot, "CREATING")
	snapshot := p.w.snapshotsNamed(p.t, shot)[0].ID
	p.w.until(p.t, "the backend to begin", func(ctx ctx) bool {
		s, err := p.w.store.Snapshots.Snapshot(ctx, administrator, snapshot)
		return err == nil && s.BackendID != ""
	})
	p.w.fake.SetPercent(snapshot, 40)
	p.hasRow(shot, "CREATING", "40%")
	p.w.fake.Release(snapshot)
	p.hasRow(shot, "AVAILABLE", p.say.clean)
	p.marked()

	p.menu("Volume")
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/extend", url.Values{"size_gib": {"2"}})
	p.hasRow(volume, "EXTENDING")
	p.w.until(p.t, "the backend to extend", func(ctx ctx) bool {
		v, err := p.w.fake.Volume(ctx, backend.Key{Ref: id})
		return err == nil && v.Status == backend.Extending
	})
	p.w.fake.Fail(id, &backend.Error{Code: backend.CodeNoSpace, Need: 1 << 30, Free: 5 << 20})
	p.hasRow(volume, "ERROR", "5 MiB")
	p.clean("a failure with its figures")
}

// walkWindows opens several windows of one browser: they share one stream, and a
// tab that nobody sees has none.
func walkWindows(p *page) {
	session := p.w.session(p.t, "operator")
	p.as(session)
	id := p.w.volume(p.t, "windows-1")
	p.open(views.VolumesPath)
	p.w.streams.until(p.t, session, 1)

	cover := p.neighbour(true)
	cover.open("/help")
	if !now[bool](p, "document.hidden") {
		p.t.Fatal("the tab is not hidden by the one beside it")
	}
	p.w.streams.until(p.t, session, 0)
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-2"}})
	p.show()
	p.hasRow("windows-2") // what was missed is made up for
	p.w.streams.until(p.t, session, 1)

	second := p.neighbour(false)
	second.open(views.VolumesPath)
	third := p.neighbour(false)
	third.open(views.SnapshotsPath) // another list has a stream of its own
	p.w.streams.until(p.t, session, 2)
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-3"}})
	p.hasRow("windows-3")
	second.hasRow("windows-3")
	p.w.streams.until(p.t, session, 2)

	p.open("/help") // the window with the stream leaves: the other takes over
	second.streaming()
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-4"}})
	second.hasRow("windows-4")
	third.open("/help")
	p.w.streams.until(p.t, session, 1)
	second.open("/help")
	p.w.streams.until(p.t, session, 0)
	for _, each := range []*page{p, second, third} {
		each.quiet("windows")
	}
}

// neighbour is another tab with the same session.
func (p *page) neighbour(sameWindow bool) *page {
	p.t.Helper()
	other := *p
	other.Tab = p.Neighbour(sameWindow)
	return &other
}

// show brings the tab to the front of its window.
func (p *page) show() {
	p.t.Helper()
	if _, err := chromedp.Call(p, cdppage.BringToFront, cdp.Empty{}); err != nil {
		p.t.Fatal(err)
	}
	p.wait("!document.hidden")
}

// walkCutOff loses the network under an open popup: what was typed stays, and is
// sent when the network is back.
func walkCutOff(p *page) {
	name := "cut-" + p.lang
	id := p.w.volume(p.t, name)
	p.open(views.VolumesPath)
	p.streaming()
	p.click("link", p.say.create)
	p.popup(p.say.newVolume)
	p.fill("textbox", p.say.volumeName, name+"-typed")
	p.fill("textbox", p.say.size, "1")
	p.offline(true)
	p.click("button", p.say.create)
	p.told(p.say.lost)
	p.wait("%s.value === %s", by("textbox", p.say.volumeName), js(name+"-typed"))
	p.Complaints() // the network's, and htmx's about it
	p.clean("cut off")
	p.w.ask(p.t, views.VolumesPath+"/"+id+"/edit", url.Values{"name": {name + "-moved"}})
	p.offline(false)
	p.hasRow(name + "-moved")
	p.click("button", p.say.create)
	p.noPopup()
	p.hasRow(name+"-typed", "AVAILABLE")
	p.Complaints()
}

// offline takes the network from the tab, or gives it back.
func (p *page) offline(off bool) {
	p.t.Helper()
	_, err := chromedp.Call(p, network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1, UploadThroughput: -1}}})
	if err != nil {
		p.t.Fatal(err)
	}
}
