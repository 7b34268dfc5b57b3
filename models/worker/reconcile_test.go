package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestReconcile_EveryKind(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		id := k.Prepare(h)
		op := h.Succeed(k.Enqueue(h, id))
		k.Check(h, id, op)
		if len(op.StepNames()) != op.Steps || op.StartedAt == 0 || op.FinishedAt < op.StartedAt || op.RequestID == "" && op.Steps > 1 && op.Kind != models.VolumeDelete && op.Kind != models.SnapshotDelete {
			h.Errorf("%+v", op)
		}
	})
}

func TestReconcile_EveryKindPostgres(t *testing.T) {
	t.Parallel()
	clock := storetest.NewClock()
	store := storetest.OpenPostgres(t, clock.Now)
	h := workertest.NewOn(t, store, clock)
	for _, k := range workertest.Kinds {
		id := k.Prepare(h)
		op := h.Succeed(k.Enqueue(h, id))
		k.Check(h, id, op)
	}
}

// TestReconcile_NoNewsNoChange matters with thousands of operations in the queue.
func TestReconcile_NoNewsNoChange(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.Fake.Hold()
	h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "volume-1", Size: "1"}))
	h.Reconcile(2)
	h.Resync()
	before, err := h.Store.LastChange(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	h.Reconcile(3)
	h.Resync()
	if after, err := h.Store.LastChange(h.Context()); err != nil || after != before {
		h.Errorf("change %d, then %d, %v", before, after, err)
	}
}
