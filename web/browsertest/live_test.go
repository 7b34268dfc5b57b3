package browsertest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"blockconsole/models/backend"
	"blockconsole/views"
)

// scenarioLive watches a list while somebody else works: rows change, come and go
// without a reload, and nothing the user has done is lost.
func scenarioLive(p *page) {
	prefix := "live-" + p.lang
	one := p.c.volume(prefix + "-1")
	two := p.c.volume(prefix + "-2")
	p.manyOld(prefix)
	p.SetViewport(1280, 420)
	p.Open(views.VolumesPath + "?q=" + prefix)
	p.Mark()
	p.streaming()
	p.tick(prefix + "-2")
	p.Fill("searchbox", p.say.search, prefix+"-typed")
	p.Wait("(scrollTo(0, 160), scrollY === 160)")

	p.c.ask(views.VolumesPath+"/"+one+"/edit", url.Values{"name": {prefix + "-renamed"}})
	p.HasRow(prefix + "-renamed")
	p.c.ask(views.VolumesPath, url.Values{"name": {prefix + "-new"}, "size_gib": {"1"}})
	p.HasRow(prefix+"-new", "AVAILABLE")
	p.c.ask(views.VolumesPath+"/"+one+"/delete", url.Values{})
	p.HasNoRow(prefix + "-renamed")
	p.c.ask(views.VolumesPath+"/"+two+"/extend", url.Values{"size_gib": {"2"}})
	p.HasRow(prefix+"-2", "2 GiB", "AVAILABLE")

	p.Wait("%s.querySelector('input').checked", RowOf(prefix+"-2"))
	p.Wait("document.activeElement === %s && document.activeElement.value === %s", By("searchbox", p.say.search), JS(prefix+"-typed"))
	p.Wait("scrollY === 160 && location.search === '?q=' + %s", JS(prefix))
	p.Wait("!document.querySelector('#pick-all').closest('[hidden]') && %s.ariaDisabled === null", By("button", p.say.edit))
	p.Wait("document.querySelector('#found').textContent.includes('22')")
	p.NotReloaded()
	p.Quiet("live")
}

// scenarioOvertaken: the answer to a click comes later than the live event of its
// outcome, and must not undo it.
func scenarioOvertaken(p *page) {
	name := "over-" + p.lang
	id := p.c.volume(name)
	answer := p.c.hold(http.MethodPost, views.VolumesPath+"/"+id+"/extend")
	p.Open(views.VolumesPath)
	p.streaming()
	p.tick(name)
	p.Click("button", p.say.extend)
	p.Popup(p.say.extendVolume)
	p.Fill("textbox", p.say.size, "3")
	p.Click("button", p.say.extend)
	p.HasRow(name, "3 GiB", "AVAILABLE")
	answer.open()
	p.NoPopup()
	p.HasRow(name, "3 GiB", "AVAILABLE")
	p.Wait("%s.querySelector('input').checked", RowOf(name))
	p.Quiet("overtaken")
}

// manyOld adds 20 old volumes, so that there is something to scroll.
func (p *page) manyOld(prefix string) {
	p.t.Helper()
	for i := range 20 {
		p.c.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("%s-old%02d", prefix, i), CreatedAt: time.Now().Add(-time.Hour)})
	}
	p.c.Resync()
}

// streaming waits until the page has its live stream.
func (p *page) streaming() {
	p.t.Helper()
	p.Wait("document.querySelector('#live')?._htmx?.sse")
}

// scenarioProgress watches work that the backend holds: a percentage where it tells
// one, else a running clock; the count in the header, and the steps on the
// operation's page.
func scenarioProgress(p *page) {
	name := "slow-" + p.lang
	id := p.c.ask(views.VolumesPath, url.Values{"name": {name}, "size_gib": {"1"}})
	p.begun(id)
	p.c.Fake.SetPercent(id, backend.PercentUnknown)
	p.Open(views.VolumesPath)
	p.Mark()
	p.HasRow(name, "CREATING")
	p.Wait(`/^\d\d:\d\d$/.test(%s.querySelector(".elapsed").textContent)`, RowOf(name))
	p.Wait("Number(document.querySelector('#activity-count').textContent) > 0")
	p.Clean("work under way")
	for _, percent := range []int{7, 55} {
		p.c.Fake.SetPercent(id, percent)
		p.Wait("one('progressbar', %s, %s).value === %d", JS(p.say.progress), RowOf(name), percent)
		p.HasRow(name, fmt.Sprintf("%d%%", percent))
	}
	p.Clean("progress")
	p.tick(name)
	p.Wait("%s.ariaDisabled === 'true'", By("button", p.say.remove))
	p.c.Fake.Release(id)
	p.HasRow(name, "AVAILABLE")
	p.Wait("!%s.querySelector('progress, .elapsed')", RowOf(name))
	p.Wait("%s.querySelector('input').checked && !%s.ariaDisabled", RowOf(name), By("button", p.say.remove))
	p.NotReloaded()
	p.snapshotHeld(name, id)
	p.Quiet("progress")
}

// begun waits until the backend works on a volume.
func (p *page) begun(id string) {
	p.t.Helper()
	p.c.until("the backend to begin", func(ctx context.Context) bool {
		v, err := p.c.Store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.BackendID != ""
	})
}

// snapshotHeld takes a snapshot in the popup and watches it to its end in the list
// of snapshots, and a failure with its reason.
func (p *page) snapshotHeld(volume, id string) {
	p.t.Helper()
	shot := volume + "-s"
	p.Click("button", p.say.createSnapshot)
	p.Popup(p.say.newSnapshot)
	p.Fill("textbox", p.say.snapshotName, shot)
	p.Click("button", p.say.create)
	p.NoPopup()
	p.menu("Block Snapshot")
	p.Mark()
	p.HasRow(shot, "CREATING")
	snapshot := p.c.snapshotsNamed(shot)[0].ID
	p.c.until("the backend to begin", func(ctx context.Context) bool {
		s, err := p.c.Store.Snapshots.Snapshot(ctx, administrator, snapshot)
		return err == nil && s.BackendID != ""
	})
	p.c.Fake.SetPercent(snapshot, 40)
	p.HasRow(shot, "CREATING", "40%")
	p.c.Fake.Release(snapshot)
	p.HasRow(shot, "AVAILABLE", p.say.clean)
	p.NotReloaded()

	p.menu("Volume")
	p.c.ask(views.VolumesPath+"/"+id+"/extend", url.Values{"size_gib": {"2"}})
	p.HasRow(volume, "EXTENDING")
	p.c.until("the backend to extend", func(ctx context.Context) bool {
		v, err := p.c.Fake.Volume(ctx, backend.Key{Ref: id})
		return err == nil && v.Status == backend.Extending
	})
	p.c.Fake.Fail(id, &backend.Error{Code: backend.CodeNoSpace, Need: 1 << 30, Free: 5 << 20})
	p.HasRow(volume, "ERROR", "5 MiB")
	p.Clean("a failure with its figures")
}

// scenarioWindows opens several windows of one browser: they share one stream, and a
// tab that nobody sees has none.
func scenarioWindows(p *page) {
	session := p.c.NewSession("operator")
	p.As(session)
	id := p.c.volume("windows-1")
	p.Open(views.VolumesPath)
	p.c.streams.until(p.t, session, 1)

	cover := p.neighbour(true)
	cover.Open("/help")
	p.Wait("document.hidden")
	p.c.streams.until(p.t, session, 0)
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-2"}})
	p.show()
	p.HasRow("windows-2") // what was missed is made up for
	p.c.streams.until(p.t, session, 1)

	second := p.neighbour(false)
	second.Open(views.VolumesPath)
	third := p.neighbour(false)
	third.Open(views.SnapshotsPath) // another list has a stream of its own
	p.c.streams.until(p.t, session, 2)
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-3"}})
	p.HasRow("windows-3")
	second.HasRow("windows-3")
	p.c.streams.until(p.t, session, 2)

	p.Open("/help") // the window with the stream leaves: the other takes over
	second.streaming()
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {"windows-4"}})
	second.HasRow("windows-4")
	third.Open("/help")
	p.c.streams.until(p.t, session, 1)
	second.Open("/help")
	p.c.streams.until(p.t, session, 0)
	for _, each := range []*page{p, second, third} {
		each.Quiet("windows")
	}
}

// neighbour is another tab with the same session.
func (p *page) neighbour(sameWindow bool) *page {
	p.t.Helper()
	tab := *p.Page
	tab.Tab = p.OpenTab(sameWindow)
	return &page{Page: &tab, c: p.c, say: p.say}
}

// show brings the tab to the front of its window.
func (p *page) show() {
	p.t.Helper()
	if _, err := chromedp.Call(p, cdppage.BringToFront, cdp.Empty{}); err != nil {
		p.t.Fatal(err)
	}
	p.Wait("!document.hidden")
}

// scenarioCutOff loses the network under an open popup: what was typed stays, and is
// sent when the network is back.
func scenarioCutOff(p *page) {
	name := "cut-" + p.lang
	id := p.c.volume(name)
	p.Open(views.VolumesPath)
	p.streaming()
	p.Click("link", p.say.create)
	p.Popup(p.say.newVolume)
	p.Fill("textbox", p.say.volumeName, name+"-typed")
	p.Fill("textbox", p.say.size, "1")
	p.offline(true)
	p.Click("button", p.say.create)
	p.Told(p.say.lost)
	p.Wait("%s.value === %s", By("textbox", p.say.volumeName), JS(name+"-typed"))
	p.ConsoleMessages() // the network's, and htmx's about it
	p.Clean("cut off")
	p.c.ask(views.VolumesPath+"/"+id+"/edit", url.Values{"name": {name + "-moved"}})
	p.offline(false)
	p.HasRow(name + "-moved")
	p.Click("button", p.say.create)
	p.NoPopup()
	p.HasRow(name+"-typed", "AVAILABLE")
	p.ConsoleMessages()
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
