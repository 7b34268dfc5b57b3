package web

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
)

// manyRows is how many volumes a paging walk goes through.
const manyRows = 45

// many lets the cloud have volumes of a prefix, older than all others.
func (w *world) many(t *testing.T, prefix string) {
	t.Helper()
	for i := range manyRows {
		w.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("%s-%02d", prefix, i), SizeGiB: 1 + i%3, CreatedAt: time.Now().Add(-time.Hour)})
	}
	w.sweep(t)
}

// walkLists goes through filters, sorting, page sizes and pages of the Volume
// list; each state has an address of its own, and Back restores it.
func walkLists(p *page) {
	prefix := "many-" + p.lang
	p.w.many(p.t, prefix)
	p.open(views.VolumesPath)
	p.searchList(prefix)
	p.wait("document.querySelector('#found').textContent.includes('%d')", manyRows)
	p.loads(clickAt(p.at(`one("link", "20")`)))
	p.wait("document.querySelectorAll('tbody tr').length === 20")
	p.loads(clickAt(p.at(`one("link", ` + js(p.say.name) + `)`)))
	p.wait("one('columnheader', %s).ariaSort === 'ascending'", js(p.say.name))
	p.hasRow(prefix + "-00")
	sorted := p.path()
	p.follow("link", p.say.next)
	p.hasRow(prefix + "-20")
	second := p.path()
	p.follow("link", p.say.next)
	p.hasRow(prefix + "-44")
	p.wait("one('link', %s).ariaDisabled === 'true'", js(p.say.next))
	p.follow("link", p.say.previous)
	p.hasRow(prefix + "-20")

	p.hasNoRow(prefix + "-00")
	for range 2 {
		p.back()
	}
	p.wait("location.pathname + location.search === %s", js(second))
	p.hasRow(prefix + "-39")
	p.back()
	p.wait("location.pathname + location.search === %s", js(sorted))
	p.hasRow(prefix + "-19")
	p.wait("one('columnheader', %s).ariaSort === 'ascending'", js(p.say.name))
	p.wait("%s.value === %s", by("searchbox", p.say.search), js(prefix))

	// The same address, opened anew, is the same place.
	p.open(second)
	p.hasRow(prefix + "-20")
	p.menuIsAt("Volume")
	p.filterByStatus(prefix)
	p.quiet("lists")
}

// filterByStatus chooses a status and takes the filter away again by its chip.
func (p *page) filterByStatus(prefix string) {
	p.t.Helper()
	p.open(views.VolumesPath + "?q=" + prefix)
	if p.script {
		p.pickOption(p.say.status, "ERROR_DELETING")
	} else {
		now[bool](p, fmt.Sprintf("((s) => { s.value = 'ERROR_DELETING'; return true })(%s)", by("combobox", p.say.status)))
		p.follow("button", p.say.find)
	}
	p.wait("location.search.includes('status=ERROR_DELETING') && document.readyState === 'complete'")
	p.sees(p.say.noneFound)
	at := p.at("all('link', null).find(a => a.classList.contains('chip') && a.textContent.includes('ERROR_DELETING'))")
	p.loads(clickAt(at))
	p.wait("!location.search.includes('status') && location.search.includes('q=')")
	p.hasRow(prefix + "-44")
}

// searchList searches the list by its own field.
func (p *page) searchList(text string) {
	p.t.Helper()
	p.fill("searchbox", p.say.search, text)
	p.loads(chromedp.KeyEvent("\r"))
	p.wait("new URLSearchParams(location.search).get('q') === %s", js(text))
}

// plainLists does without JavaScript what walkLists does with it, and follows an
// address whose place is gone.
func plainLists(p *page) {
	prefix := "plenty-" + p.lang
	p.w.many(p.t, prefix)
	p.open(views.VolumesPath)
	p.searchList(prefix)
	p.loads(clickAt(p.at(`one("link", "20")`)))
	p.wait("document.querySelectorAll('tbody tr').length === 20")
	p.loads(clickAt(p.at(`one("link", ` + js(p.say.name) + `)`)))
	p.hasRow(prefix + "-00")
	p.follow("link", p.say.next)
	p.hasRow(prefix + "-20")
	p.back()
	p.hasRow(prefix + "-00")
	p.filterByStatus(prefix)
	p.open(views.SnapshotsPath + "?after=broken&size=20")
	p.sees(p.say.firstPage)
	p.menuIsAt("Block Snapshot")

	// Several are deleted at once, and the address of the list comes back.
	list := views.VolumesPath + "?q=" + prefix + "&sort=name"
	p.open(list)
	p.tick(prefix + "-00")
	p.tick(prefix + "-01")
	p.follow("button", p.say.remove)
	p.popup(p.say.deleteVolume)
	p.sees(prefix + "-01")
	p.follow("button", p.say.remove)
	p.wait("location.pathname + location.search === %s", js(list))
	p.w.until(p.t, "two volumes to be gone", func(ctx ctx) bool {
		page, err := p.w.store.Volumes.ListVolumes(ctx, administrator, models.ListQuery{Search: prefix, Sort: models.DefaultSort, Size: 100})
		return err == nil && len(page.Rows) == manyRows-2
	})
	p.quiet("plain lists")
}
