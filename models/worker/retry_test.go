package worker_test

import (
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// TestRetry_AfterRefusal expects success when the backend no longer refuses.
func TestRetry_AfterRefusal(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		h.Faulty.Inject(k.Request, 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0}})
		op := h.Accepted(k.Enqueue(h, id))
		h.RunQueue()
		failed := h.Operation(op.ID)
		_, err := h.Store.Queue.RetryOperation(h.Context(), operator, op.ID)
		if !failed.Retryable() {
			if err == nil {
				h.Errorf("%s was retried", op.Kind)
			}
			return
		}
		if err != nil {
			h.Fatal(err)
		}
		h.RunQueue()
		k.Check(h, id, op)
	})
}

// TestRetry_AfterAcceptedFailure expects that a retry replaces the object that the failed attempt
// has left in ERROR.
func TestRetry_AfterAcceptedFailure(t *testing.T) {
	t.Parallel()
	for _, k := range workertest.KindsNamed("volume.create", "snapshot.restore", "snapshot.restore and attach", "snapshot.create", "volume.extend", "volume.attach", "volume.detach") {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			h := workertest.New(t)
			id := k.Prepare(h)
			h.Fake.FailNext(k.Request, &backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0})
			op := h.Accepted(k.Enqueue(h, id))
			h.RunQueue()
			if failed := h.Operation(op.ID); failed.State != models.Failed || failed.LastError.None() {
				h.Fatalf("%+v", failed)
			}
			h.Resync()
			if op.Kind == models.VolumeExtend { // the volume is in ERROR, which only an administrator changes
				if _, err := h.Store.Queue.RetryOperation(h.Context(), operator, op.ID); models.AsError(err) == nil {
					h.Error(err)
				}
				return
			}
			if _, err := h.Store.Queue.RetryOperation(h.Context(), operator, op.ID); err != nil {
				h.Fatal(err)
			}
			h.RunQueue()
			k.Check(h, id, op)
		})
	}
}

func TestRetryLater_UnavailableForever(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		op := h.Accepted(k.Enqueue(h, id))
		h.Faulty.Down(errors.New("no route to host"))
		began := h.Clock.Now()
		for range 30 {
			h.Reconcile(1)
		}
		if op = h.Operation(op.ID); op.State != models.Running || op.LastError.Key != "failure.unavailable" || op.Attempts == 0 {
			h.Fatalf("%+v", op)
		}
		if lasted := h.Clock.Now().Sub(began); lasted < 5*time.Minute {
			h.Errorf("30 attempts in %v", lasted)
		}
		h.Faulty.Down(nil)
		h.RunQueue()
		k.Check(h, id, op)
	})
}

func TestRetryLater_RetryAfter(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	h.Faulty.Inject("CreateVolume", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, RetryAfter: 5 * time.Minute}})
	h.Reconcile(1)
	if next, err := h.Store.Queue.NextDue(h.Context()); err != nil || next.Sub(h.Clock.Now()) < 4*time.Minute {
		h.Errorf("next at %v, %v", next, err)
	}
	h.RunQueue()
	if op = h.Operation(op.ID); op.State != models.Succeeded {
		h.Errorf("%+v", op)
	}
}

// TestRetryLater_GivesUpInternalErrors expects a failure after eight attempts, and a status from
// which the user can go on.
func TestRetryLater_GivesUpInternalErrors(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		for n := range 20 {
			h.Faulty.Inject(k.Request, n+1, backendtest.Fault{Err: workertest.ErrInternal})
		}
		op := h.Accepted(k.Enqueue(h, id))
		h.RunQueue()
		h.WantFailed(op, "failure.internal")
		if op = h.Operation(op.ID); op.Attempts != 7 {
			h.Errorf("given up after %d saved attempts", op.Attempts)
		}
		var status models.Status
		var name string
		if op.SubjectType == models.SubjectSnapshot {
			status, name = h.Snapshot(op.SubjectID).Status, h.Snapshot(op.SubjectID).Name
		} else {
			status, name = h.Volume(op.SubjectID).Status, h.Volume(op.SubjectID).Name
		}
		if status.InTransition() {
			h.Errorf("left in %s", status)
		}
		if op.Params.OldName != "" && name != op.Params.OldName {
			h.Errorf("left with the name %q", name)
		}
	})
}

// TestRetryLater_UnavailableLeavesAttempts expects another attempt after an internal error that
// follows a long outage.
func TestRetryLater_UnavailableLeavesAttempts(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	h.Faulty.Down(errors.New("restarting"))
	h.Reconcile(20)
	h.Faulty.Down(nil)
	h.Faulty.Inject("CreateVolume", 1, backendtest.Fault{Err: workertest.ErrInternal})
	h.RunQueue()
	if op = h.Operation(op.ID); op.State != models.Succeeded {
		h.Errorf("%+v", op)
	}
}

// TestRetryLater_Stalled expects that an operation fails after an hour without an answer while
// the backend answers resyncs, and that it waits while the backend is down.
func TestRetryLater_Stalled(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		down bool
		want models.OperationState
	}{"backend up": {false, models.Failed}, "backend down": {true, models.Succeeded}} {
		t.Run(name, func(t *testing.T) {
			h := workertest.NewCloud(t)
			h.Fake.SetLag(0)
			id := h.CreateVolume("volume-1")
			h.Resync()
			op := h.Accepted(h.Store.Volumes.ExtendVolume(h.Context(), operator, id, "5", ""))
			if tt.down {
				h.Fake.SetDown(&backend.Error{Code: backend.CodeUnavailable})
			}
			for n := 0; n < 200 && !tt.down; n++ {
				h.Faulty.Inject("ExtendVolume", n+1, backendtest.Fault{})
			}
			for range 130 {
				if _, err := h.Worker.RunDue(h.Context()); err != nil {
					t.Fatal(err)
				}
				if err := h.Mirror.Resync(h.Context()); (err != nil) != tt.down {
					t.Fatal(err)
				}
				if !tt.down && h.Clock.Now().Before(time.UnixMicro(op.AskedAt).Add(time.Hour)) && h.Operation(op.ID).Finished() {
					t.Fatal("given up too early")
				}
				h.Clock.Add(time.Minute)
			}
			h.Fake.SetDown(nil)
			h.RunQueue()
			h.Resync()
			if got := h.Operation(op.ID); got.State != tt.want {
				t.Fatalf("%+v", got)
			}
			if row := h.Volume(id); row.Status != models.Available {
				t.Errorf("%+v", row)
			}
		})
	}
}

// TestRetryLater_RefusedCredentials expects that the operation waits, and the failure.
func TestRetryLater_RefusedCredentials(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	refused := &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials}
	for n := range 12 {
		h.Faulty.Inject("CreateVolume", n+1, backendtest.Fault{Err: refused})
	}
	h.Reconcile(1)
	if now := h.Operation(op.ID); now.State != models.Running || now.LastError.Key != "failure.credentials" {
		t.Errorf("%+v", now)
	}
	h.Faulty.Inject("Volumes", 1, backendtest.Fault{Err: refused})
	if err := h.Mirror.Resync(t.Context()); err == nil {
		t.Error("no error")
	}
	if m, err := h.Store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != "failure.credentials" || m.FailedSince == 0 {
		t.Errorf("%+v, %v", m, err)
	}
	h.Succeed(op, nil)
}
