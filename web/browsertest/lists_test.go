package browsertest

import (
	"context"
	"fmt"
	"time"

	"github.com/chromedp/chromedp"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
)

// manyRows is how many volumes a paging walk goes through.
const manyRows = 45

// many lets the cloud have volumes of a prefix, older than all others.
func (c *console) many(prefix string) {
	c.t.Helper()
	for i := range manyRows {
		c.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("%s-%02d", prefix, i), SizeGiB: 1 + i%3, CreatedAt: time.Now().Add(-time.Hour)})
	}
	c.Resync()
}

// scenarioLists goes through filters, sorting, page sizes and pages of the Volume
// list; each state has an address of its own, and Back restores it.
func scenarioLists(p *page) {
	prefix := "many-" + p.lang
	p.c.many(prefix)
	p.Open(views.VolumesPath)
	p.searchList(prefix)
	p.Wait("document.querySelector('#found').textContent.includes('%d')", manyRows)
	p.Loads(ClickAt(p.At(`one("link", "20")`)))
	p.Wait("document.querySelectorAll('tbody tr').length === 20")
	p.Loads(ClickAt(p.At(`one("link", ` + JS(p.say.name) + `)`)))
	p.Wait("one('columnheader', %s).ariaSort === 'ascending'", JS(p.say.name))
	p.HasRow(prefix + "-00")
	sorted := p.Path()
	p.Follow("link", p.say.next)
	p.HasRow(prefix + "-20")
	second := p.Path()
	p.Follow("link", p.say.next)
	p.HasRow(prefix + "-44")
	p.Wait("one('link', %s).ariaDisabled === 'true'", JS(p.say.next))
	p.Follow("link", p.say.previous)
	p.HasRow(prefix + "-20")

	p.HasNoRow(prefix + "-00")
	for range 2 {
		p.Back()
	}
	p.Wait("location.pathname + location.search === %s", JS(second))
	p.HasRow(prefix + "-39")
	p.Back()
	p.Wait("location.pathname + location.search === %s", JS(sorted))
	p.HasRow(prefix + "-19")
	p.Wait("one('columnheader', %s).ariaSort === 'ascending'", JS(p.say.name))
	p.Wait("%s.value === %s", By("searchbox", p.say.search), JS(prefix))

	// The same address, opened anew, is the same place.
	p.Open(second)
	p.HasRow(prefix + "-20")
	p.menuIsAt("Volume")
	p.filterByStatus(prefix)
	p.Quiet("lists")
}

// filterByStatus chooses a status and takes the filter away again by its chip.
func (p *page) filterByStatus(prefix string) {
	p.t.Helper()
	p.Open(views.VolumesPath + "?q=" + prefix)
	if p.script {
		p.Pick(p.say.status, "ERROR_DELETING")
	} else {
		now[bool](p, fmt.Sprintf("((s) => { s.value = 'ERROR_DELETING'; return true })(%s)", By("combobox", p.say.status)))
		p.Follow("button", p.say.find)
	}
	p.Wait("location.search.includes('status=ERROR_DELETING') && document.readyState === 'complete'")
	p.Sees(p.say.noneFound)
	at := p.At("all('link', null).find(a => a.classList.contains('chip') && a.textContent.includes('ERROR_DELETING'))")
	p.Loads(ClickAt(at))
	p.Wait("!location.search.includes('status') && location.search.includes('q=')")
	p.HasRow(prefix + "-44")
}

// searchList searches the list by its own field.
func (p *page) searchList(text string) {
	p.t.Helper()
	p.Fill("searchbox", p.say.search, text)
	p.Loads(chromedp.KeyEvent("\r"))
	p.Wait("new URLSearchParams(location.search).get('q') === %s", JS(text))
}

// plainLists does without JavaScript what scenarioLists does with it, and follows an
// address whose place is gone.
func plainLists(p *page) {
	prefix := "plenty-" + p.lang
	p.c.many(prefix)
	p.Open(views.VolumesPath)
	p.searchList(prefix)
	p.Loads(ClickAt(p.At(`one("link", "20")`)))
	p.Wait("document.querySelectorAll('tbody tr').length === 20")
	p.Loads(ClickAt(p.At(`one("link", ` + JS(p.say.name) + `)`)))
	p.HasRow(prefix + "-00")
	p.Follow("link", p.say.next)
	p.HasRow(prefix + "-20")
	p.Back()
	p.HasRow(prefix + "-00")
	p.filterByStatus(prefix)
	p.Open(views.SnapshotsPath + "?after=broken&size=20")
	p.Sees(p.say.firstPage)
	p.menuIsAt("Block Snapshot")

	// Several are deleted at once, and the address of the list comes back.
	list := views.VolumesPath + "?q=" + prefix + "&sort=name"
	p.Open(list)
	p.tick(prefix + "-00")
	p.tick(prefix + "-01")
	p.Follow("button", p.say.remove)
	p.Popup(p.say.deleteVolume)
	p.Sees(prefix + "-01")
	p.Follow("button", p.say.remove)
	p.Wait("location.pathname + location.search === %s", JS(list))
	p.c.until("two volumes to be gone", func(ctx context.Context) bool {
		page, err := p.c.Store.Volumes.ListVolumes(ctx, administrator, models.ListQuery{Search: prefix, Sort: models.DefaultSort, Size: 100})
		return err == nil && len(page.Rows) == manyRows-2
	})
	p.Quiet("plain lists")
}
