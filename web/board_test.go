package web

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/mirror"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker"
	"blockconsole/views"
)

// board is a console whose worker and backend in memory move when the test says
// so.
type board struct {
	*console
	fake   *backendtest.Fake
	mirror *mirror.Mirror
	worker *worker.Worker
	*browser
}

// newBoard starts one, signed in as the operator. The backend has the servers
// web-1 and db-1, and an image.
func newBoard(t *testing.T) *board {
	t.Helper()
	b := &board{console: newConsole(t)}
	b.fake = backendtest.NewFake(b.clock.Now)
	b.fake.AddServer("server-1", "web-1")
	b.fake.AddServer("server-2", "db-1")
	b.fake.AddImage("debian.raw", make([]byte, 1<<20))
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	b.mirror = mirror.New(b.store, b.fake, mirror.Options{Log: log})
	b.worker = worker.New(b.mirror, worker.Options{Log: log})
	if err := b.mirror.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.browser = b.as(models.Operator)
	return b
}

// work carries out what was asked.
func (b *board) work() {
	b.t.Helper()
	for range 100 {
		b.look()
		n, err := b.store.Queue.CountRunning(b.t.Context(), models.DefaultProject)
		if err != nil {
			b.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		b.clock.Add(time.Second)
	}
	b.t.Fatal("the operations do not end")
}

// look lets the worker look once at what is due.
func (b *board) look() {
	b.t.Helper()
	if _, err := b.worker.RunDue(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// volume makes an AVAILABLE volume.
func (b *board) volume(name string, gib string) *models.Volume {
	b.t.Helper()
	op, err := b.store.Volumes.CreateVolume(b.t.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: gib})
	if err != nil {
		b.t.Fatal(err)
	}
	b.work()
	return b.volumeNow(op.SubjectID)
}

func (b *board) volumeNow(id string) *models.Volume {
	b.t.Helper()
	v, err := b.store.Volumes.Volume(b.t.Context(), storetest.Operator(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// snapshot makes an AVAILABLE snapshot.
func (b *board) snapshot(v *models.Volume, name string) *models.Snapshot {
	b.t.Helper()
	op, err := b.store.Snapshots.CreateSnapshot(b.t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: name, Acknowledge: true})
	if err != nil {
		b.t.Fatal(err)
	}
	b.work()
	return b.snapshotNow(op.SubjectID)
}

func (b *board) snapshotNow(id string) *models.Snapshot {
	b.t.Helper()
	s, err := b.store.Snapshots.Snapshot(b.t.Context(), storetest.Operator(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// attached attaches the volume to web-1.
func (b *board) attached(v *models.Volume) *models.Volume {
	b.t.Helper()
	if _, err := b.store.Volumes.AttachVolume(b.t.Context(), storetest.Operator(), v.ID, "server-1", ""); err != nil {
		b.t.Fatal(err)
	}
	b.work()
	return b.volumeNow(v.ID)
}

// errorDeleting makes a snapshot whose deletion went wrong.
func (b *board) errorDeleting(v *models.Volume, name string) *models.Snapshot {
	b.t.Helper()
	s := b.snapshot(v, name)
	b.fake.FailDelete(s.ID, &backend.Error{Code: backend.CodeConflict, Message: "test"})
	if _, err := b.store.Snapshots.DeleteSnapshot(b.t.Context(), storetest.Operator(), s.ID, ""); err != nil {
		b.t.Fatal(err)
	}
	b.work()
	if s = b.snapshotNow(s.ID); s.Status != models.ErrorDeleting {
		b.t.Fatalf("the snapshot is %s", s.Status)
	}
	return s
}

// found is an object that the backend has and the console learns of by a sweep.
func (b *board) found(v backend.Volume) *models.Volume {
	b.t.Helper()
	id := b.fake.PutVolume(v).ID
	if err := b.mirror.Resync(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	return b.volumeNow(id)
}

// unchanged returns a function that fails the test when a row or an operation has
// been written since.
func (b *board) unchanged() func(*testing.T) {
	b.t.Helper()
	last := func() int64 {
		n, err := b.store.LastChange(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		return n
	}
	before := last()
	return func(t *testing.T) {
		t.Helper()
		if now := last(); now != before {
			t.Errorf("%d changes were written", now-before)
		}
	}
}

var (
	htmx = []string{"HX-Request", "true"}
	asJS = []string{"Accept", "application/json"}
)

// fromList are the headers of a request that htmx sends from a list.
func (b *board) fromList(list string) []string {
	return []string{"HX-Request", "true", "HX-Current-URL", b.URL + list}
}

func snapshotPath(s *models.Snapshot, action string) string {
	return strings.TrimSuffix(views.SnapshotsPath+"/"+s.ID+"/"+action, "/")
}

func volumePath(v *models.Volume, action string) string {
	return strings.TrimSuffix(views.VolumesPath+"/"+v.ID+"/"+action, "/")
}

// made is what a program is told of an accepted click.
type made struct{ Operation, ID, URL string }

func accepted(t *testing.T, a answer) made {
	t.Helper()
	wantStatus(t, a, http.StatusAccepted)
	var m made
	if err := json.Unmarshal([]byte(a.body), &m); err != nil {
		t.Fatal(err)
	}
	if m.Operation == "" || m.ID == "" || m.URL != "/activity/"+m.Operation || a.Header.Get("Location") != m.URL {
		t.Fatalf("accepted %s, Location %s", a.body, a.Header.Get("Location"))
	}
	return m
}

// wrong is what a program is told of a click that was not accepted.
func wrong(t *testing.T, a answer, status int) errorJSON {
	t.Helper()
	wantStatus(t, a, status)
	var body errorJSON
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
	if body.Error.Message == "" || body.Error.Fields == nil || body.Error.RequestID == "" {
		t.Errorf("the error says %s", a.body)
	}
	return body
}

var randomKey = regexp.MustCompile(`(name="form_key" value=)"[^"]*"`)

// steady is a page without what differs each time it is rendered.
func steady(body string) string { return randomKey.ReplaceAllString(body, `$1""`) }

func form(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values
}

// wantText fails when the first element that the selector finds does not contain
// the text.
func wantText(t *testing.T, a answer, selector, text string) {
	t.Helper()
	found := a.doc(t).Find(selector)
	if found.Length() == 0 {
		t.Errorf("no %s in\n%s", selector, a.body)
		return
	}
	if got := strings.Join(strings.Fields(found.First().Text()), " "); !strings.Contains(got, text) {
		t.Errorf("%s says %q, want %q", selector, got, text)
	}
}

func wantNone(t *testing.T, a answer, selector string) {
	t.Helper()
	if n := a.doc(t).Find(selector).Length(); n > 0 {
		t.Errorf("%d of %s in\n%s", n, selector, a.body)
	}
}
