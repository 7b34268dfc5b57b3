package browsertest

import (
	"errors"
	"net/http"
	"os"
	"strings"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/views/viewtest"
)

// stop is a page or popup of the tour.
type stop struct {
	name, path string
	popup      bool // opened in the dialog of its list
	twice      bool // also looked at on a narrow screen in the other theme
	status     int  // of the page; 0: 200
}

// sights makes one object of every kind and returns every page and popup there is.
func (p *page) sights(tour string) []stop {
	p.t.Helper()
	v, s := views.VolumesPath, views.SnapshotsPath
	free := p.c.volume(tour + "-free")
	used := p.attached(tour + "-used")
	shot := p.c.snapshot(free, tour+"-shot")
	p.c.snapshot(used, tour+"-l-shot")
	stuck := p.errorDeleting(tour + "-stuck")
	p.c.Fake.PutVolume(backend.Volume{Name: "<b>" + strings.Repeat("long name 긴 이름 ", 12), SizeGiB: 16384})
	p.c.Fake.PutVolume(backend.Volume{Name: tour + "-working", State: backend.State{Status: backend.Creating, Percent: 37}})
	p.c.Fake.PutVolume(backend.Volume{Name: tour + "-odd", State: backend.State{Status: "MAINTENANCE", Percent: -1}})
	p.c.Fake.PutVolume(backend.Volume{Name: tour + "-error", State: backend.State{Status: backend.ErrorStatus, Percent: -1, Failure: errors.New("odd")}})
	p.c.Resync()
	operations, err := p.c.Store.Queue.ListOperations(p.t.Context(), administrator, models.OperationQuery{Subject: shot, Limit: 1})
	if err != nil || len(operations) == 0 {
		p.t.Fatalf("no operation: %v", err)
	}
	return []stop{
		{name: "volumes", path: v, twice: true}, {name: "snapshots", path: s, twice: true},
		{name: "volumes-filtered", path: v + "?q=tour&status=IN-USE&sort=name&size=20"},
		{name: "snapshots-none", path: s + "?q=nothing-like-it"}, {name: "snapshots-broken", path: s + "?after=x&sort=colour&size=7"},
		{name: "volume", twice: true, path: v + "/" + used}, {name: "snapshot", twice: true, path: s + "/" + shot}, {name: "snapshot-stuck", path: s + "/" + stuck},
		{name: "activity", twice: true, path: "/activity"}, {name: "operation", path: "/activity/" + operations[0].ID},
		{name: "users", path: "/admin/users"}, {name: "audit", path: "/admin/audit"}, {name: "account", path: "/account"}, {name: "help", path: "/help"},
		{name: "not-found", path: v + "/" + models.NewID(), status: http.StatusNotFound},
		{name: "new-volume", twice: true, path: v + "/new", popup: true}, {name: "edit-volume", path: v + "/" + free + "/edit", popup: true},
		{name: "extend", path: v + "/" + free + "/extend", popup: true}, {name: "attach", path: v + "/" + free + "/attach", popup: true},
		{name: "detach", path: v + "/" + used + "/detach", popup: true}, {name: "delete-volume-refused", path: v + "/" + used + "/delete", popup: true},
		{name: "delete-several", twice: true, path: v + "/delete?id=" + free + "&id=" + used, popup: true},
		{name: "new-snapshot-search", path: s + "/new", popup: true}, {name: "new-snapshot", path: v + "/" + free + "/snapshots/new", popup: true},
		{name: "new-snapshot-attached", twice: true, path: v + "/" + used + "/snapshots/new", popup: true},
		{name: "edit-snapshot", path: s + "/" + shot + "/edit", popup: true}, {name: "delete-snapshot", path: s + "/" + shot + "/delete", popup: true},
		{name: "delete-snapshot-stuck", path: s + "/" + stuck + "/delete", popup: true}, {name: "repair", twice: true, path: s + "/" + stuck + "/repair", popup: true},
		{name: "restore", path: s + "/" + shot + "/restore", popup: true}, {name: "revert", path: s + "/" + shot + "/revert", popup: true},
		{name: "chooser", path: s + "/edit", popup: true},
	}
}

// scenarioTour looks at every page and popup: no violation, no complaint, no missing
// text, nothing wider than the screen. Each language has a theme and a width of its
// own; where screenshots are kept it goes round once more the other way.
func scenarioTour(p *page) {
	stops := p.sights("tour" + p.lang)
	looks := map[string][]look{"ko": {{"light", 1280}, {"dark", 390}}, "en": {{"dark", 1280}, {"light", 390}}}[p.lang]
	for i, look := range looks {
		p.EmulateColorScheme(look.theme)
		p.SetViewport(look.width, 844)
		for _, stop := range stops {
			if i == 0 || stop.twice || os.Getenv(viewtest.ScreenshotsEnv) != "" {
				p.visit(stop, p.lang+"-"+look.theme)
			}
		}
	}
	p.As("")
	p.Open("/login")
	p.Clean("sign-in")
}

type look struct {
	theme string
	width int64
}

func (p *page) visit(stop stop, look string) {
	p.t.Helper()
	where := stop.name + " " + look
	if stop.popup {
		list := views.VolumesPath
		if strings.HasPrefix(stop.path, views.SnapshotsPath) {
			list = views.SnapshotsPath
		}
		p.Open(list)
		now[bool](p, "(htmx.ajax('GET', "+JS(stop.path)+", {target: '#popup-body', swap: 'innerHTML'}), true)")
		p.Wait("root() !== document && root().contains(document.activeElement) && root().computedName")
	} else {
		want := http.StatusOK
		if stop.status != 0 {
			want = stop.status
		}
		if got := p.Open(stop.path); got != want {
			p.t.Errorf("%s: status %d", where, got)
		}
		p.Quiet(where, want)
	}
	p.Screenshot("tour-"+stop.name+"-"+look, false)
	p.Clean(where)
	if wide := now[int](p, "document.documentElement.scrollWidth - innerWidth"); wide > 0 {
		p.t.Errorf("%s: %d px wider than the screen", where, wide)
	}
	if text := now[string](p, "document.documentElement.outerHTML"); strings.Contains(text, "⟦") {
		p.t.Errorf("%s: a text is missing: %.60s", where, text[strings.Index(text, "⟦"):])
	}
}
