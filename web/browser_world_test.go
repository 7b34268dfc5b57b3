package web

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/backend/local"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker"
	"blockconsole/views"
	"blockconsole/views/viewtest"
	"blockconsole/web/config"
)

// world is the whole console as main.go builds it: the server on a port of the
// loopback, a SQLite file, the worker, and a backend. Tests share it; each names
// its objects by itself.
type world struct {
	t       *testing.T
	browser context.Context
	url     string
	folder  string
	store   *store.Store
	mirror  *mirror.Mirror
	worker  *worker.Worker
	fake    *backendtest.Fake // nil: the local backend
	token   string            // of a session of the administrator
	streams streamCount
	gates   sync.Map // path -> chan struct{}: an answer to a POST there waits until it is closed
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

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// TestBrowser walks through the console in a real Chromium.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: walks through the console in a browser")
	}
	browser := viewtest.Browser(t)
	real := newWorld(t, browser, nil)
	fake := newWorld(t, browser, backendtest.NewFake(nil))
	held := newWorld(t, browser, backendtest.NewFake(nil))
	held.fake.Hold()
	for _, lang := range []string{"ko", "en"} {
		for _, walk := range []walk{{"sign-in", walkSignIn}, {"expired", walkExpired}, {"viewer", walkViewer}, {"bad input", walkBadInput},
			{"double click", walkDoubleClick}, {"keys", walkKeys}, {"selection", walkSelection}, {"guide", walkGuide}, {"images", walkImages}, {"bytes", walkBytes}} {
			real.run(t, walk, lang, true)
		}
		for _, walk := range []walk{{"plain guide", plainGuide}, {"plain sign-in", plainSignIn}, {"plain bad input", plainBadInput}, {"plain double click", plainDoubleClick}} {
			real.run(t, walk, lang, false)
		}
		for _, walk := range []walk{{"lists", walkLists}, {"attached", walkAttached}, {"attached meanwhile", walkAttachedMeanwhile},
			{"error deleting", walkErrorDeleting}, {"server", walkServer}, {"live", walkLive}, {"overtaken", walkOvertaken}, {"cut off", walkCutOff}, {"tour", walkTour}} {
			fake.run(t, walk, lang, true)
		}
		for _, walk := range []walk{{"plain lists", plainLists}, {"plain attached", plainAttached}, {"plain error deleting", plainErrorDeleting}, {"plain server", plainServer}} {
			fake.run(t, walk, lang, false)
		}
		held.run(t, walk{"progress", walkProgress}, lang, true)
		storage := backendtest.NewFake(nil)
		storage.SetQuota("gigabytes", 10)
		storage.SetQuota("volumes", 100)
		limited := newWorld(t, browser, storage)
		limited.run(t, walk{"limits", walkLimits}, lang, true)
	}
	fake.run(t, walk{"windows", walkWindows}, "ko", true)
}

// walk is one way through the console.
type walk struct {
	name string
	test func(*page)
}

func (w *world) run(t *testing.T, walk walk, lang string, script bool) {
	t.Run(walk.name+"/"+lang, func(t *testing.T) {
		t.Parallel()
		walk.test(w.page(t, lang, script))
	})
}

// newWorld starts a console; nil means the local backend.
func newWorld(t *testing.T, browser context.Context, fake *backendtest.Fake) *world {
	t.Helper()
	w := &world{t: t, browser: browser, folder: t.TempDir(), fake: fake}
	w.streams.open, w.streams.moved = map[string]int{}, make(chan struct{})
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	config, err := config.Load([]string{config.EnvPrefix + "ADDR=127.0.0.1:0", config.EnvPrefix + "DATA=" + w.folder})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", config.Addr)
	if err != nil {
		t.Fatal(err)
	}
	w.url = config.URL(listener.Addr())
	if w.store, err = store.Open(config.DSN(), store.Options{Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.store.Close() })
	w.users(t)
	stopWorker := w.startWorker(t, log)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- w.server(config, log).Serve(ctx, listener) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Errorf("the server ended with %v", err)
		}
		stopWorker()
	})
	return w
}

func (w *world) users(t *testing.T) {
	t.Helper()
	if _, err := w.store.Users.EnsureFirstUser(t.Context(), testPassword); err != nil {
		t.Fatal(err)
	}
	for _, role := range []models.Role{models.Operator, models.Viewer} {
		if _, err := w.store.Users.AddUser(t.Context(), storetest.Administrator(), string(role), role, testPassword); err != nil {
			t.Fatal(err)
		}
	}
	w.token = w.session(t, models.FirstUser)
}

// session signs a user in and returns what the cookie holds.
func (w *world) session(t *testing.T, user string) string {
	t.Helper()
	token, _, err := w.store.Sessions.SignIn(t.Context(), models.Login{Name: user, Password: testPassword, Address: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// startWorker runs the worker. Sweeps are the tests' own: they say when something
// changed behind the console's back.
func (w *world) startWorker(t *testing.T, log *slog.Logger) (stop func()) {
	t.Helper()
	var storage backend.Backend = w.fake
	closeStorage := func() error { return nil }
	if w.fake == nil {
		writeImage(t, w.folder)
		b, err := local.Open(local.Options{Dir: w.folder, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		storage, closeStorage = b, b.Close
	} else {
		w.fake.AddServer("server-1", "web-1")
		w.fake.AddServer("server-2", "db-1")
	}
	w.mirror = mirror.New(w.store, storage, mirror.Options{Log: log, ResyncInterval: time.Hour})
	w.worker = worker.New(w.mirror, worker.Options{Log: log})
	if err := w.mirror.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { w.mirror.Run(ctx) })
	running.Go(func() { w.worker.Run(ctx) })
	return func() {
		cancel()
		running.Wait()
		if err := closeStorage(); err != nil {
			t.Errorf("close the storage: %v", err)
		}
	}
}

func (w *world) server(config config.Config, log *slog.Logger) *Server {
	s := New(Options{Config: config, Store: w.store, Log: log})
	s.Echo.Pre(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			cookie, err := c.Cookie(handlers.SessionCookie(false))
			if err == nil && strings.HasSuffix(c.Request().URL.Path, "/events") {
				w.streams.add(cookie.Value, 1)
				defer w.streams.add(cookie.Value, -1)
			}
			err = next(c)
			if gate, ok := w.gates.Load(c.Request().URL.Path); ok && c.Request().Method == http.MethodPost {
				<-gate.(chan struct{})
			}
			return err
		}
	})
	return s
}

// sweep lets the console see at once what changed in the backend.
func (w *world) sweep(t *testing.T) {
	t.Helper()
	if err := w.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// api asks as a program does and returns the status and the answer.
func (w *world) api(t *testing.T, method, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.AddCookie(&http.Cookie{Name: handlers.SessionCookie(false), Value: w.token})
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatalf("%s %s: %d, no JSON: %v", method, path, resp.StatusCode, err)
	}
	return resp.StatusCode, answer
}

// ask posts a form that must be accepted, and returns the object's id.
func (w *world) ask(t *testing.T, path string, form url.Values) string {
	t.Helper()
	status, answer := w.api(t, http.MethodPost, path, form)
	id, _ := answer["id"].(string)
	if status != http.StatusAccepted || id == "" {
		t.Fatalf("POST %s: %d %v", path, status, answer)
	}
	return id
}

// volume makes a volume of 1 GiB and waits until it can be used.
func (w *world) volume(t *testing.T, name string) string {
	t.Helper()
	id := w.ask(t, views.VolumesPath, url.Values{"name": {name}, "size_gib": {"1"}})
	w.volumeIs(t, id, models.Available)
	return id
}

// snapshot makes a snapshot of a volume and waits until it can be used.
func (w *world) snapshot(t *testing.T, volume, name string) string {
	t.Helper()
	id := w.ask(t, views.SnapshotsPath, url.Values{"volume_id": {volume}, "name": {name}, "acknowledge": {"1"}})
	w.snapshotIs(t, id, models.Available)
	return id
}

// until waits until the store has what done looks for; done is asked again after
// each change.
func (w *world) until(t *testing.T, what string, done func(context.Context) bool) {
	t.Helper()
	changed, unsubscribe := w.store.Subscribe()
	defer unsubscribe()
	deadline := time.After(patience)
	for !done(t.Context()) {
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// statusGone is what volumeIs and snapshotIs take for an object that is deleted.
const statusGone = models.Status("gone")

func (w *world) volumeIs(t *testing.T, id string, want models.Status) {
	t.Helper()
	w.until(t, "volume "+id+" to be "+string(want), func(ctx context.Context) bool {
		v, err := w.store.Volumes.Volume(ctx, administrator, id)
		return err == nil && v.Status == want || err != nil && want == statusGone
	})
}

func (w *world) snapshotIs(t *testing.T, id string, want models.Status) {
	t.Helper()
	w.until(t, "snapshot "+id+" to be "+string(want), func(ctx context.Context) bool {
		s, err := w.store.Snapshots.Snapshot(ctx, administrator, id)
		return err == nil && s.Status == want || err != nil && want == statusGone
	})
}

// snapshotsNamed and volumesNamed are the objects whose name contains text.
func (w *world) snapshotsNamed(t *testing.T, text string) []models.Snapshot {
	t.Helper()
	found, err := w.store.Snapshots.ListSnapshots(t.Context(), administrator, models.ListQuery{Search: text, Sort: models.DefaultSort, Size: 50})
	if err != nil {
		t.Fatal(err)
	}
	return found.Rows
}

func (w *world) volumesNamed(t *testing.T, text string) []models.Volume {
	t.Helper()
	found, err := w.store.Volumes.ListVolumes(t.Context(), administrator, models.ListQuery{Search: text, Sort: models.DefaultSort, Size: 50})
	if err != nil {
		t.Fatal(err)
	}
	return found.Rows
}

// dataOf is the file with the bytes of a volume or snapshot of the local backend.
func (w *world) dataOf(kind, id string) string { return filepath.Join(w.folder, kind, id, "data.raw") }
