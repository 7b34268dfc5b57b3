package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestRun(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	woken, end := h.Store.Subscribe()
	defer end()
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		var running sync.WaitGroup
		running.Go(func() { h.Mirror.Run(ctx) })
		h.Worker.Run(ctx)
		running.Wait()
	}()
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	deadline := time.After(20 * time.Second)
	for h.Operation(op.ID).State != models.Succeeded {
		select {
		case <-woken:
			h.Clock.Add(time.Second)
		case <-deadline:
			h.Fatalf("%+v", h.Operation(op.ID))
		}
	}
	stop()
	select {
	case <-over:
	case <-deadline:
		h.Fatal("Run does not stop")
	}
}

func TestStart_BackendDown(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	h.Fake.SetDown(errors.New("no route to host"))
	late, w := h.NewWorker(h.Faulty, workertest.Lease)
	if err := late.Start(h.Context()); err == nil {
		h.Error("Start succeeded")
	}
	h.Mirror, h.Worker = late, w
	h.Reconcile(2)
	if err := h.Mirror.Resync(h.Context()); err == nil {
		h.Error("Resync succeeded")
	}
	if m, err := h.Store.Sync.SyncState(h.Context(), models.SubjectVolume); err != nil || m.FailedSince == 0 || m.Failure.Key != "failure.unavailable" {
		h.Errorf("%+v, %v", m, err)
	}
	h.Fake.SetDown(nil)
	h.Succeed(op, nil)
	if late.Capabilities().Name != "fake" || !h.Store.Capabilities().Attach {
		h.Errorf("%+v", h.Store.Capabilities())
	}
	h.WantInSync()
}

// TestRun_CancelsHangingCall expects that the next worker follows a call that hung at the end of
// Run.
func TestRun_CancelsHangingCall(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	entered := make(chan struct{})
	h.Faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true, Entered: entered})
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { h.Worker.Run(ctx); close(over) }()
	<-entered
	cancel()
	h.Worker.CancelInFlight()
	<-over
	if now := h.Operation(op.ID); now.State != models.Running || now.Attempts != 0 || !now.LastError.None() {
		t.Errorf("%+v", now)
	}
	h.Restart()
	h.Clock.Add(workertest.Lease + time.Second)
	h.Succeed(op, nil)
	h.WantInSync()
}

// TestLease_LostDuringCall expects that a worker saves nothing after its lease has expired.
func TestLease_LostDuringCall(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	store := storetest.Open(t, clock.Now)
	h := workertest.NewOn(t, store, clock)
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "raced-1", Size: "1"}))
	entered := make(chan struct{})
	h.Faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true, Entered: entered, Err: workertest.ErrInternal})
	m, slow := h.NewWorker(h.Faulty, time.Hour) // without a heartbeat during the test
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	hanging, wake := context.WithCancel(t.Context())
	over := make(chan error, 1)
	go func() {
		_, err := slow.RunOne(hanging)
		over <- err
	}()
	<-entered
	clock.Add(2 * time.Hour)
	h.RunQueue()
	if row := h.Volume(op.SubjectID); row.Status != models.Available {
		t.Fatalf("%+v", row)
	}
	wake()
	if err := <-over; err != nil {
		t.Fatal(err)
	}
	if row, op := h.Volume(op.SubjectID), h.Operation(op.ID); row.Status != models.Available || op.State != models.Succeeded || op.Attempts != 0 {
		t.Errorf("%+v, %+v", row, op)
	}
	h.WantInSync()
}
