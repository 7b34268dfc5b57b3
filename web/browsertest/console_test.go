package browsertest

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// console is a console that runs by itself, as the program does.
type console struct {
	*apptest.Console
	t       *testing.T
	api     *apptest.Client // of the first user
	streams streamCount
	ahead   atomic.Int64 // of the console's clock, nanoseconds before the wall clock
	cuts    sync.Map     // chan struct{}, closed when a live stream has ended -> context.CancelFunc, which ends it
	refused sync.Map     // path -> true: what scripts GET there is answered 502, as by a proxy
	gates   sync.Map     // method and path -> *gate
}

// patience is how long a scenario waits for what must happen.
const patience = 30 * time.Second

// administrator asks the store past the pages.
var administrator = storetest.Administrator()

// open opens a console that does not run yet. Whatever changes behind its back it
// learns of by Resync.
func open(t *testing.T, local bool) *console {
	t.Helper()
	c := &console{t: t}
	c.Console = apptest.Open(t, apptest.Options{Local: local, Log: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }})
	c.api = c.AsUser(models.FirstUser).JSON()
	c.streams.open, c.streams.moved = map[string]int{}, make(chan struct{})
	c.Server.Echo.Pre(c.observe)
	c.Server.Live.FreshInterval = 200 * time.Millisecond // a scenario waits for it
	return c
}

// observe counts live streams, holds answers back and refuses some.
func (c *console) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(e echo.Context) error {
		cookie, err := e.Cookie(handlers.SessionCookie(false))
		if err == nil && strings.HasSuffix(e.Request().URL.Path, "/events") {
			ctx, cut := context.WithCancel(e.Request().Context())
			defer cut()
			e.SetRequest(e.Request().WithContext(ctx))
			ended := make(chan struct{})
			c.cuts.Store(ended, cut)
			defer close(ended)
			c.streams.add(cookie.Value, 1)
			defer c.streams.add(cookie.Value, -1)
		}
		if _, refused := c.refused.Load(e.Request().URL.Path); refused && handlers.IsHTMX(e) {
			return e.HTML(http.StatusBadGateway, "<h1>502 Bad Gateway</h1>")
		}
		err = next(e)
		if g, ok := c.gates.Load(e.Request().Method + " " + e.Request().URL.Path); ok {
			g.(*gate).arrived <- struct{}{}
			if <-g.(*gate).opened; g.(*gate).isCut {
				panic(http.ErrAbortHandler)
			}
		}
		return err
	}
}

// cutStreams ends all live streams.
func (c *console) cutStreams() {
	c.cuts.Range(func(ended, cut any) bool {
		c.cuts.Delete(ended)
		cut.(context.CancelFunc)()
		<-ended.(chan struct{})
		return true
	})
}

// gate holds the ends of answers back until it is opened.
type gate struct {
	t       *testing.T
	arrived chan struct{} // one for each answer
	opened  chan struct{}
	open    func()
	cut     func() // cuts the answers off until it is opened; browsers repeat a request by themselves
	isCut   bool
}

// hold holds the answers of a path back, until the end of the test at the latest.
func (c *console) hold(method, path string) *gate {
	g := &gate{t: c.t, arrived: make(chan struct{}, 16), opened: make(chan struct{})}
	release := sync.OnceFunc(func() { close(g.opened) })
	g.open = sync.OnceFunc(func() { c.gates.Delete(method + " " + path); release() })
	g.cut = func() { g.isCut = true; release() }
	c.gates.Store(method+" "+path, g)
	c.t.Cleanup(g.open)
	return g
}

// waits waits until an answer is held back.
func (g *gate) waits() {
	g.t.Helper()
	select {
	case <-g.arrived:
	case <-time.After(patience):
		g.t.Fatal("the request never came")
	}
}

// streamCount counts the live streams that are open, per session.
type streamCount struct {
	mu    sync.Mutex
	open  map[string]int
	moved chan struct{}
}

func (s *streamCount) add(session string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[session] += n
	close(s.moved)
	s.moved = make(chan struct{})
}

// until waits until a session has n streams.
func (s *streamCount) until(t *testing.T, session string, n int) {
	t.Helper()
	deadline := time.After(patience)
	for {
		s.mu.Lock()
		have, moved := s.open[session], s.moved
		s.mu.Unlock()
		if have == n {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			t.Fatalf("%d live streams are open, want %d", have, n)
		}
	}
}

// ask posts a form that must be accepted, and returns the object's id.
func (c *console) ask(path string, form url.Values) string {
	c.t.Helper()
	return apptest.WantAccepted(c.t, c.api.Post(path, form)).ID
}

// volume makes a volume of 1 GiB and waits until it can be used.
func (c *console) volume(name string) string {
	c.t.Helper()
	id := c.ask(views.VolumesPath, apptest.Form("name", name, "size_gib", "1"))
	c.volumeIs(id, models.Available)
	return id
}

// snapshot makes a snapshot of a volume and waits until it can be used.
func (c *console) snapshot(volume, name string) string {
	c.t.Helper()
	id := c.ask(views.SnapshotsPath, apptest.Form("volume_id", volume, "name", name, "acknowledge", "1"))
	c.snapshotIs(id, models.Available)
	return id
}

// until waits until the store has what done looks for; done is asked again after
// each change.
func (c *console) until(what string, done func(context.Context) bool) {
	c.t.Helper()
	changed, unsubscribe := c.Store.Subscribe()
	defer unsubscribe()
	deadline := time.After(patience)
	for !done(c.t.Context()) {
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("waited for %s in vain", what)
		}
	}
}

// statusGone is what volumeIs and snapshotIs take for an object that is deleted.
const statusGone = models.Status("gone")

func (c *console) volumeIs(id string, want models.Status) {
	c.t.Helper()
	c.until("volume "+id+" to be "+string(want), func(ctx context.Context) bool {
		v, err := c.Store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.Status == want || err != nil && want == statusGone
	})
}

func (c *console) snapshotIs(id string, want models.Status) {
	c.t.Helper()
	c.until("snapshot "+id+" to be "+string(want), func(ctx context.Context) bool {
		s, err := c.Store.Snapshots.Snapshot(ctx, administrator, id)
		return err == nil && s.Status == want || err != nil && want == statusGone
	})
}

// snapshotsNamed and volumesNamed are the objects whose name contains text.
func (c *console) snapshotsNamed(text string) []models.Snapshot {
	c.t.Helper()
	found, err := c.Store.Snapshots.ListSnapshots(c.t.Context(), administrator, models.ListQuery{Search: text, Sort: models.DefaultSort, Size: 50})
	if err != nil {
		c.t.Fatal(err)
	}
	return found.Rows
}

func (c *console) volumesNamed(text string) []models.Volume {
	c.t.Helper()
	found, err := c.Store.Volumes.ListVolumes(c.t.Context(), administrator, models.ListQuery{Search: text, Sort: models.DefaultSort, Size: 50})
	if err != nil {
		c.t.Fatal(err)
	}
	return found.Rows
}

// dataOf is the file with the bytes of a volume or snapshot of the local backend.
func (c *console) dataOf(kind, id string) string {
	return filepath.Join(c.Config.Data, kind, id, "data.raw")
}
