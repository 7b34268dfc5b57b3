package worker_test

import (
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

const lease = time.Minute

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// bench is a store and a backend with a worker between them, and a clock for all.
type bench struct {
	*testing.T
	store  *store.Store
	clock  *storetest.Clock
	fake   *backendtest.Fake
	faulty *backendtest.Faulty
	mirror *mirror.Mirror
	worker *worker.Worker
}

func newBench(t *testing.T) *bench {
	t.Helper()
	clock := storetest.NewClock()
	return benchOf(t, storetest.Open(t, clock.Now), clock)
}

func benchOf(t *testing.T, store *store.Store, clock *storetest.Clock) *bench {
	t.Helper()
	b := &bench{T: t, store: store, clock: clock, fake: backendtest.NewFake(clock.Now)}
	b.fake.AddServer("server-1", "web-1")
	b.fake.AddServer("server-2", "web-2")
	b.fake.AddImage("image-1", []byte("raw image"))
	b.faulty = backendtest.NewFaulty(b.fake)
	b.restart()
	return b
}

// restart replaces the worker, as a new process would.
func (b *bench) restart() {
	b.Helper()
	b.mirror, b.worker = newWorker(b)
	if err := b.mirror.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func newWorker(b *bench) (*mirror.Mirror, *worker.Worker) { return workerOn(b, b.faulty, lease) }

func workerOn(b *bench, storage backend.Backend, lease time.Duration) (*mirror.Mirror, *worker.Worker) {
	m := mirror.New(b.store, storage, mirror.Options{Log: quiet})
	return m, worker.New(m, worker.Options{Log: quiet, Lease: lease})
}

func backendFault(err error) backendtest.Fault { return backendtest.Fault{Err: err} }

// pass moves the clock to when the next operation is due; false when there is none.
func (b *bench) pass() bool {
	b.Helper()
	next, err := b.store.Queue.NextDue(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if wait := next.Sub(b.clock.Now()); !next.IsZero() && wait > 0 {
		b.clock.Add(wait)
	}
	return !next.IsZero()
}

// work runs the worker until nothing is left to do.
func (b *bench) work() {
	b.Helper()
	for range 500 {
		if _, err := b.worker.RunDue(b.Context()); err != nil {
			b.Fatal(err)
		}
		if !b.pass() {
			return
		}
	}
	b.Fatal("the queue never becomes empty")
}

// reconcile lets the worker look n times, at whatever is due next.
func (b *bench) look(n int) {
	b.Helper()
	for range n {
		b.pass()
		if op, err := b.worker.Look(b.Context()); err != nil || op == nil {
			b.Fatalf("nothing to look at: %v", err)
		}
	}
}

func (b *bench) sweep() {
	b.Helper()
	b.clock.Add(time.Second)
	if err := b.mirror.Resync(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// failRefused is an operation that was accepted.
func (b *bench) asked(op *models.Operation, err error) *models.Operation {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	return op
}

// done works until the operation has succeeded and returns it.
func (b *bench) done(op *models.Operation, err error) *models.Operation {
	b.Helper()
	b.asked(op, err)
	b.work()
	op = b.operation(op.ID)
	if op.State != models.Succeeded || op.Step != op.Steps || !op.LastError.None() {
		b.Fatalf("%s: %s, step %d of %d, %+v", op.Kind, op.State, op.Step, op.Steps, op.LastError)
	}
	return op
}

func (b *bench) operation(id string) *models.Operation {
	b.Helper()
	op, err := b.store.Queue.Operation(b.Context(), storetest.Operator(), id)
	if err != nil {
		b.Fatal(err)
	}
	return op
}

// failed expects that the operation ended with this failure.
func (b *bench) failed(op *models.Operation, key string) {
	b.Helper()
	if op = b.operation(op.ID); op.State != models.Failed || op.LastError.Key != key {
		b.Errorf("%s: %s with %+v, want %s", op.Kind, op.State, op.LastError, key)
	}
}

func (b *bench) volume(id string) *models.Volume {
	b.Helper()
	row, err := b.store.Volumes.Volume(b.Context(), storetest.Operator(), id)
	if err != nil {
		b.Fatal(err)
	}
	return row
}

func (b *bench) snapshot(id string) *models.Snapshot {
	b.Helper()
	row, err := b.store.Snapshots.Snapshot(b.Context(), storetest.Operator(), id)
	if err != nil {
		b.Fatal(err)
	}
	return row
}

// newVolume and newSnapshot make what the other tests begin with.
func (b *bench) newVolume(name string) string {
	b.Helper()
	return b.done(b.store.Volumes.CreateVolume(b.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "2"})).SubjectID
}

func (b *bench) newSnapshot(volume, name string) string {
	b.Helper()
	return b.done(b.store.Snapshots.CreateSnapshot(b.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: volume, Name: name, Acknowledge: true})).SubjectID
}

// same expects that rows and backend tell the same, and each object once.
func (b *bench) same() {
	b.Helper()
	b.sweep()
	ctx, all := b.Context(), models.ListQuery{Size: 200}
	volumes, err := b.store.Volumes.ListVolumes(ctx, storetest.Operator(), all)
	if err != nil {
		b.Fatal(err)
	}
	there, err := b.fake.Volumes(ctx, "", 1000)
	if err != nil {
		b.Fatal(err)
	}
	if len(volumes.Rows) != len(there.Items) {
		b.Errorf("%d volumes in the list, %d in the backend", len(volumes.Rows), len(there.Items))
	}
	for _, v := range there.Items {
		row := b.volume(v.Ref)
		if row.BackendID != v.ID || row.Status != v.Status || row.Name != v.Name || row.Description != v.Description || row.SizeGiB != v.SizeGiB || len(row.Attachments) != len(v.Attachments) {
			b.Errorf("row %+v, backend %+v", row, v)
		}
	}
	snapshots, err := b.store.Snapshots.ListSnapshots(ctx, storetest.Operator(), all)
	if err != nil {
		b.Fatal(err)
	}
	have, err := b.fake.Snapshots(ctx, "", 1000)
	if err != nil {
		b.Fatal(err)
	}
	if len(snapshots.Rows) != len(have.Items) {
		b.Errorf("%d snapshots in the list, %d in the backend", len(snapshots.Rows), len(have.Items))
	}
	for _, s := range have.Items {
		row := b.snapshot(s.Ref)
		if row.BackendID != s.ID || row.Status != s.Status || row.Name != s.Name || row.VolumeID != s.Volume.Ref {
			b.Errorf("row %+v, backend %+v", row, s)
		}
	}
}

func (b *bench) inBackend(id string) backend.Volume {
	b.Helper()
	v, err := b.fake.Volume(b.Context(), backend.Key{Ref: id})
	if err != nil {
		b.Fatal(err)
	}
	return v
}
