// Package workertest has a harness for the tests of the mirror and of the worker.
package workertest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker"
)

const (
	// Lease is the lease of the harness's worker.
	Lease = time.Minute
	// Settle is the settle time of the backend of NewCloud.
	Settle = 90 * time.Second
)

// Harness is a store and a backend in memory, with a mirror and a worker between them,
// and one clock for all.
type Harness struct {
	*testing.T
	Store  *store.Store
	Clock  *storetest.Clock
	Fake   *backendtest.Fake
	Faulty *backendtest.Faulty // wraps Fake
	Mirror *mirror.Mirror
	Worker *worker.Worker

	storage backend.Backend // what the mirror and the worker call
}

// New makes a harness on a fresh SQLite file.
func New(t *testing.T) *Harness {
	t.Helper()
	clock := storetest.NewClock()
	return NewOn(t, storetest.Open(t, clock.Now), clock)
}

// NewOn makes a harness on a database.
func NewOn(t *testing.T, db *store.Store, clock *storetest.Clock) *Harness {
	t.Helper()
	fake := backendtest.NewFake(clock.Now)
	fake.AddServer("server-1", "web-1")
	fake.AddServer("server-2", "web-2")
	fake.SetCapabilities(func(c *backend.Capabilities) { c.AttachSnapshots = true })
	fake.AddImage("image-1", []byte("raw image"))
	return Share(t, db, clock, fake)
}

// Share makes a harness on a backend that others use, too.
func Share(t *testing.T, db *store.Store, clock *storetest.Clock, fake *backendtest.Fake) *Harness {
	t.Helper()
	h := &Harness{T: t, Store: db, Clock: clock, Fake: fake, Faulty: backendtest.NewFaulty(fake)}
	h.storage = h.Faulty
	h.Restart()
	return h
}

// NewCloud makes a harness whose backend is shared with others, and where an object whose
// response was lost becomes visible only after a while.
func NewCloud(t *testing.T) *Harness {
	t.Helper()
	h := New(t)
	h.Fake.SetCapabilities(func(c *backend.Capabilities) {
		c.Shared, c.Settle = true, Settle
		c.Poll = []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second}
		c.Pace = backend.Pace{Small: time.Minute, Changed: 10 * time.Second, Whole: 2 * time.Minute}
	})
	h.Fake.EnableChangedVolumes()
	h.Fake.SetLag(Settle * 2 / 3)
	h.Restart()
	return h
}

// NewExporter makes a harness whose backend serves volumes itself, and returns the id of
// a registered server.
func NewExporter(t *testing.T) (h *Harness, server string) {
	t.Helper()
	clock := storetest.NewClock()
	db, fake := storetest.Open(t, clock.Now), backendtest.NewFake(clock.Now)
	fake.Serve("nbd", "127.0.0.1:10809", func(ctx context.Context) ([]backend.RegisteredServer, error) {
		rows, err := db.Servers.RegisteredServers(ctx)
		var servers []backend.RegisteredServer
		for _, r := range rows {
			servers = append(servers, backend.RegisteredServer{ID: r.ID, Name: r.Name, Addresses: r.Addresses()})
		}
		return servers, err
	})
	h = &Harness{T: t, Store: db, Clock: clock, Fake: fake, storage: fake}
	h.Restart()
	row, err := db.Servers.AddServer(t.Context(), storetest.Administrator(), models.ServerInput{Name: "web-1", Address: "10.0.0.5"})
	h.Must(err)
	return h, row.ID
}

// Must ends the test when there is an error.
func (h *Harness) Must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

// Restart replaces the mirror and the worker, as a new process would.
func (h *Harness) Restart() {
	h.Helper()
	h.Mirror, h.Worker = h.NewWorker(h.storage, Lease)
	h.Must(h.Mirror.Start(h.Context()))
}

// NewWorker makes another mirror, not started, and another worker on storage.
func (h *Harness) NewWorker(storage backend.Backend, lease time.Duration) (*mirror.Mirror, *worker.Worker) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	m := mirror.New(h.Store, storage, mirror.Options{Log: quiet})
	return m, worker.New(m, worker.Options{Log: quiet, Lease: lease})
}

// AdvanceToDue moves the clock to when the next operation is due; false when there is none.
func (h *Harness) AdvanceToDue() bool {
	h.Helper()
	next, err := h.Store.Queue.NextDue(h.Context())
	h.Must(err)
	if wait := next.Sub(h.Clock.Now()); !next.IsZero() && wait > 0 {
		h.Clock.Add(wait)
	}
	return !next.IsZero()
}

// RunQueue runs the worker until the queue is empty.
func (h *Harness) RunQueue() {
	h.Helper()
	for range 500 {
		_, err := h.Worker.RunDue(h.Context())
		h.Must(err)
		if !h.AdvanceToDue() {
			return
		}
	}
	h.Fatal("the queue never becomes empty")
}

// Reconcile lets the worker reconcile n times, whichever operation is due next.
func (h *Harness) Reconcile(n int) {
	h.Helper()
	for range n {
		h.AdvanceToDue()
		if op, err := h.Worker.RunOne(h.Context()); err != nil || op == nil {
			h.Fatalf("nothing to reconcile: %v", err)
		}
	}
}

// RunFor lets the worker run what is due once a second, for so many seconds.
func (h *Harness) RunFor(seconds int) {
	h.Helper()
	for range seconds {
		_, err := h.Worker.RunDue(h.Context())
		h.Must(err)
		h.Clock.Add(time.Second)
	}
}

// Resync resyncs a second later.
func (h *Harness) Resync() {
	h.Helper()
	h.Clock.Add(time.Second)
	h.Must(h.Mirror.Resync(h.Context()))
}

// RunMirror lets time pass and runs the mirror's tasks that are due, as Run does.
func (h *Harness) RunMirror(d time.Duration) {
	h.Helper()
	end := h.Clock.Now().Add(d)
	for {
		next := h.Mirror.RunDue(h.Context())
		if next.After(end) {
			h.Clock.Add(end.Sub(h.Clock.Now()))
			return
		}
		h.Clock.Add(max(next.Sub(h.Clock.Now()), time.Millisecond))
	}
}

// Accepted returns an operation that must have been enqueued.
func (h *Harness) Accepted(op *models.Operation, err error) *models.Operation {
	h.Helper()
	h.Must(err)
	return op
}

// Succeed runs the queue, and returns the operation, which must have succeeded.
func (h *Harness) Succeed(op *models.Operation, err error) *models.Operation {
	h.Helper()
	h.Accepted(op, err)
	h.RunQueue()
	op = h.Operation(op.ID)
	if op.State != models.Succeeded || op.Step != op.Steps || !op.LastError.None() {
		h.Fatalf("%s: %s, step %d of %d, %+v", op.Kind, op.State, op.Step, op.Steps, op.LastError)
	}
	return op
}

// WantFailed expects that an operation has failed with the failure key.
func (h *Harness) WantFailed(op *models.Operation, key string) {
	h.Helper()
	if op = h.Operation(op.ID); op.State != models.Failed || op.LastError.Key != key {
		h.Errorf("%s: %s with %+v, want %s", op.Kind, op.State, op.LastError, key)
	}
}

// Operation loads an operation.
func (h *Harness) Operation(id string) *models.Operation {
	h.Helper()
	op, err := h.Store.Queue.Operation(h.Context(), storetest.Operator(), id)
	h.Must(err)
	return op
}

// Volume loads a volume by either id.
func (h *Harness) Volume(id string) *models.Volume {
	h.Helper()
	row, err := h.Store.Volumes.Volume(h.Context(), storetest.Operator(), id)
	h.Must(err)
	return row
}

// FindVolume is Volume, or nil when there is none.
func (h *Harness) FindVolume(id string) *models.Volume {
	h.Helper()
	row, err := h.Store.Volumes.Volume(h.Context(), storetest.Operator(), id)
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	h.Must(err)
	return row
}

// StatusOf is the status of a volume's row, «gone» when there is none.
func (h *Harness) StatusOf(id string) models.Status {
	h.Helper()
	if row := h.FindVolume(id); row != nil {
		return row.Status
	}
	return "gone"
}

// OnlyVolume is the row of a list that must have one.
func (h *Harness) OnlyVolume() *models.Volume {
	h.Helper()
	page, err := h.Store.Volumes.ListVolumes(h.Context(), storetest.Operator(), models.ListQuery{})
	if err != nil || len(page.Rows) != 1 {
		h.Fatalf("%d volumes, %v", len(page.Rows), err)
	}
	return &page.Rows[0]
}

// Snapshot loads a snapshot by either id.
func (h *Harness) Snapshot(id string) *models.Snapshot {
	h.Helper()
	row, err := h.Store.Snapshots.Snapshot(h.Context(), storetest.Operator(), id)
	h.Must(err)
	return row
}

// FailureOf is the failure of the row of an operation's subject, and the request's id.
func (h *Harness) FailureOf(op *models.Operation) (models.Failure, string) {
	h.Helper()
	if op.SubjectType == models.SubjectSnapshot {
		row := h.Snapshot(op.SubjectID)
		return row.Failure, row.RequestID
	}
	row := h.Volume(op.SubjectID)
	return row.Failure, row.RequestID
}

// CreateVolume creates a volume of 2 GiB, and returns its id.
func (h *Harness) CreateVolume(name string) string {
	h.Helper()
	return h.Succeed(h.Store.Volumes.CreateVolume(h.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "2"})).SubjectID
}

// CreateSnapshot creates a snapshot, and returns its id.
func (h *Harness) CreateSnapshot(volume, name string) string {
	h.Helper()
	return h.Succeed(h.Store.Snapshots.CreateSnapshot(h.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: volume, Name: name, Acknowledge: true})).SubjectID
}

// CreateAttached creates a volume that is attached to a server, and returns its id.
func (h *Harness) CreateAttached(name, server string) string {
	h.Helper()
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "1", ServerID: server}))
	h.RunFor(8)
	if v := h.Volume(op.SubjectID); !AttachedOnlyTo(v, server) {
		h.Fatalf("%s is %s with %d attachments", name, v.Status, len(v.Attachments))
	}
	return op.SubjectID
}

// AttachedOnlyTo reports whether a volume is IN-USE by this server alone.
func AttachedOnlyTo(v *models.Volume, server string) bool {
	return v.Status == models.InUse && len(v.Attachments) == 1 && v.AttachedTo(server)
}

// SetShared sets whether others use the backend, too.
func (h *Harness) SetShared(shared bool) {
	h.Helper()
	h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Shared = shared })
	h.Restart()
}

// SetStatus changes the status of a volume in the backend.
func (h *Harness) SetStatus(v backend.Volume, status backend.Status) {
	v.State = backend.State{Status: status, Percent: backend.PercentUnknown}
	h.Fake.PutVolume(v)
}

// BackendVolume is a volume in the backend, by the console's id.
func (h *Harness) BackendVolume(id string) backend.Volume {
	h.Helper()
	v, err := h.Fake.Volume(h.Context(), backend.Key{Ref: id})
	h.Must(err)
	return v
}

// WantInSync resyncs, and expects that the rows and the backend have the same objects,
// each once.
func (h *Harness) WantInSync() {
	h.Helper()
	h.Resync()
	ctx, all := h.Context(), models.ListQuery{Size: 200}
	volumes, err := h.Store.Volumes.ListVolumes(ctx, storetest.Operator(), all)
	h.Must(err)
	backendVolumes, err := h.Fake.Volumes(ctx, "", 1000)
	h.Must(err)
	if len(volumes.Rows) != len(backendVolumes.Items) {
		h.Errorf("%d volumes in the list, %d in the backend", len(volumes.Rows), len(backendVolumes.Items))
	}
	for _, v := range backendVolumes.Items {
		row := h.Volume(v.Ref)
		if row.BackendID != v.ID || row.Status != v.Status || row.Name != v.Name || row.Description != v.Description || row.SizeGiB != v.SizeGiB || len(row.Attachments) != len(v.Attachments) {
			h.Errorf("row %+v, backend %+v", row, v)
		}
	}
	snapshots, err := h.Store.Snapshots.ListSnapshots(ctx, storetest.Operator(), all)
	h.Must(err)
	backendSnapshots, err := h.Fake.Snapshots(ctx, "", 1000)
	h.Must(err)
	if len(snapshots.Rows) != len(backendSnapshots.Items) {
		h.Errorf("%d snapshots in the list, %d in the backend", len(snapshots.Rows), len(backendSnapshots.Items))
	}
	for _, s := range backendSnapshots.Items {
		row := h.Snapshot(s.Ref)
		if row.BackendID != s.ID || row.Status != s.Status || row.Name != s.Name || row.VolumeID != s.Volume.Ref {
			h.Errorf("row %+v, backend %+v", row, s)
		}
	}
}
