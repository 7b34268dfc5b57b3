package crashtest

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// world is the console under test and everything that its clients know of it.
type world struct {
	t          *testing.T
	p          *apptest.Program
	api        *apptest.Client // JSON
	round      int
	hands      []*hand
	arrived    int // clicks without an answer that had happened
	lost       int // and that had not
	mu         sync.Mutex
	operations map[string]*click // every operation that was acknowledged, by its id
}

func newWorld(t *testing.T, p *apptest.Program) *world {
	return &world{t: t, p: p, api: p.Client.JSON(), operations: map[string]*click{}}
}

// thing is a volume or snapshot that was acknowledged.
type thing struct {
	kind    string // volumes, snapshots
	id      string
	size    int
	bytes   string // fingerprint of what it holds
	volume  *thing // of a snapshot
	made    *click
	renames []*click
	deleted *click
	looked  bool // its bytes were compared
	written int  // the round of the last write
}

// click is one request, as it was sent.
type click struct {
	what       string
	path       string
	form       url.Values
	operation  string // as acknowledged
	object     string
	unanswered bool // the connection broke
	refused    int
	accepted   func(apptest.Accepted)
}

// hand is one client. It has objects of its own, so it knows the order in which
// they were changed.
type hand struct {
	w      *world
	number int
	chance *rand.Rand
	things []*thing
	clicks []*click
	names  int
}

// click sends random clicks until the connection breaks.
func (h *hand) click() {
	for range clicksMost {
		c := h.choose()
		h.clicks = append(h.clicks, c)
		if !h.send(c) {
			return
		}
	}
}

// send returns false when nobody knows whether the click has arrived.
func (h *hand) send(c *click) bool {
	a, err := h.w.send(c)
	if err != nil {
		c.unanswered = true
		return false
	}
	h.learn(c, a)
	return true
}

func (h *hand) learn(c *click, a apptest.Answer) {
	switch a.StatusCode {
	case http.StatusAccepted:
		accepted := apptest.WantAccepted(h.w.t, a)
		c.operation, c.object = accepted.Operation, accepted.ID
		h.w.acknowledged(c)
		c.accepted(accepted)
	case http.StatusConflict:
		c.refused = a.StatusCode // not now: its turn has not come, or something depends on it
	default:
		h.w.t.Errorf("%s %s: %d %s", c.what, c.form, a.StatusCode, a.Body)
	}
}

// send sends a click; after an error nobody knows whether it was carried out.
func (w *world) send(c *click) (apptest.Answer, error) {
	return w.api.Try(http.MethodPost, c.path, c.form, "Sec-Fetch-Site", "same-origin")
}

func (w *world) acknowledged(c *click) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if twin := w.operations[c.operation]; twin != nil && twin != c {
		w.t.Errorf("two clicks have one operation %s: %s %s and %s %s", c.operation, c.what, c.form, twin.what, twin.form)
	}
	w.operations[c.operation] = c
}

const (
	volumesOfHand   = 5
	snapshotsOfHand = 6
)

// choose is the next click: what there is room for, and what there is something
// for.
func (h *hand) choose() *click {
	volumes, snapshots, bare := h.alive("volumes"), h.alive("snapshots"), h.bare()
	for {
		switch n := h.chance.IntN(16); {
		case len(volumes) == 0, n < 2 && len(volumes) < volumesOfHand:
			return h.create()
		case n < 5 && len(snapshots) < snapshotsOfHand:
			return h.snapshot(one(h.chance, volumes))
		case n < 9 && len(snapshots) > 0 && len(volumes) < volumesOfHand:
			return h.restore(one(h.chance, snapshots))
		case n == 9:
			return h.rename(one(h.chance, append(volumes, snapshots...)))
		case n < 12 && len(snapshots) > 0:
			return h.remove(one(h.chance, snapshots))
		case n < 15 && len(bare) > 0:
			return h.remove(one(h.chance, bare))
		case n == 15:
			return h.extend(one(h.chance, volumes))
		}
	}
}

// bare are the volumes without a snapshot.
func (h *hand) bare() []*thing {
	taken := map[*thing]bool{}
	for _, s := range h.alive("snapshots") {
		taken[s.volume] = true
	}
	return slices.DeleteFunc(h.alive("volumes"), func(v *thing) bool { return taken[v] })
}

func one(chance *rand.Rand, things []*thing) *thing { return things[chance.IntN(len(things))] }

// alive are the objects that nobody has asked to delete.
func (h *hand) alive(kind string) []*thing {
	var alive []*thing
	for _, x := range h.things {
		if x.kind == kind && x.deleted == nil {
			alive = append(alive, x)
		}
	}
	return alive
}

// name is one that no other object has: so a second object would be seen.
func (h *hand) name() string {
	h.names++
	return fmt.Sprintf("c%d-%d", h.number, 1000+h.names)
}

func (h *hand) create() *click {
	size := 1 + h.chance.IntN(2)
	return h.making("create volume", views.VolumesPath, apptest.FormWithKey("name", h.name(), "size_gib", fmt.Sprint(size)),
		&thing{kind: "volumes", size: size, bytes: nothing, written: -1})
}

// making is a click that makes x.
func (h *hand) making(what, path string, form url.Values, x *thing) *click {
	c := &click{what: what, path: path, form: form}
	c.accepted = func(a apptest.Accepted) {
		x.id, x.made = a.ID, c
		h.things = append(h.things, x)
	}
	return c
}

// snapshot writes into the volume, unless a snapshot of it may be under way, and
// asks for a snapshot.
func (h *hand) snapshot(v *thing) *click {
	if v.looked && v.written < h.w.round {
		v.written = h.w.round
		path := filepath.Join(h.w.p.Data, "volumes", v.id, "data.raw")
		if err := scatter(path, h.chance); err != nil {
			h.w.t.Errorf("write into a volume: %v", err)
		}
		var err error
		if v.bytes, err = fingerprint(path); err != nil {
			h.w.t.Errorf("read a volume: %v", err)
		}
	}
	form := apptest.FormWithKey("name", h.name(), "volume_id", v.id)
	return h.making("create snapshot", views.SnapshotsPath, form, &thing{kind: "snapshots", size: v.size, bytes: v.bytes, volume: v})
}

func (h *hand) restore(s *thing) *click {
	size := s.size + h.chance.IntN(2)
	return h.making("restore", views.SnapshotsPath+"/"+s.id+"/restore", apptest.FormWithKey("name", h.name(), "size_gib", fmt.Sprint(size)),
		&thing{kind: "volumes", size: size, bytes: s.bytes, written: -1})
}

func (h *hand) rename(x *thing) *click {
	c := &click{what: "rename", path: pathOf(x) + "/edit", form: apptest.FormWithKey("name", h.name())}
	c.accepted = func(apptest.Accepted) { x.renames = append(x.renames, c) }
	return c
}

func (h *hand) extend(v *thing) *click {
	c := &click{what: "extend", path: pathOf(v) + "/extend", form: apptest.FormWithKey("size_gib", fmt.Sprint(v.size+1))}
	c.accepted = func(apptest.Accepted) { v.size++ }
	return c
}

func (h *hand) remove(x *thing) *click {
	c := &click{what: "delete", path: pathOf(x) + "/delete", form: apptest.FormWithKey()}
	c.accepted = func(apptest.Accepted) { x.deleted = c }
	return c
}

func pathOf(x *thing) string {
	if x.kind == "volumes" {
		return views.VolumesPath + "/" + x.id
	}
	return views.SnapshotsPath + "/" + x.id
}

// sendAgain sends the clicks of the round once more, as an impatient user would.
// What was acknowledged gets the same answer; what was not, happens now or had
// happened, and if it is refused, it had not.
func (w *world) sendAgain() {
	w.t.Helper()
	before := map[string]bool{}
	for _, o := range apptest.ReadAll[apptest.Operation](w.api, "/activity") {
		before[o.ID] = true
	}
	for _, h := range w.hands {
		for _, c := range h.clicks {
			if c.refused != 0 {
				continue
			}
			a, err := w.send(c)
			if err != nil {
				w.t.Fatalf("%s %s again: %v", c.what, c.form, err)
			}
			if c.unanswered {
				h.learn(c, a)
				if before[c.operation] {
					w.arrived++
				} else {
					w.lost++
				}
				continue
			}
			if again := apptest.WantAccepted(w.t, a); again.Operation != c.operation || again.ID != c.object {
				w.t.Errorf("%s %s again: operation %s of %s; it was %s of %s", c.what, c.form, again.Operation, again.ID, c.operation, c.object)
			}
		}
	}
}
