package worker_test

import (
	"errors"
	"testing"

	"blockconsole/models"
	"blockconsole/models/worker/workertest"
)

func TestDelete_RowRemovedWhenGone(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	h.Fake.Hold()
	op := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	for range 3 {
		h.Reconcile(1)
		if row := h.Snapshot(id); row.Status != models.Deleting {
			h.Fatalf("%+v", row)
		}
	}
	h.Fake.Release(id)
	h.Succeed(op, nil)
	if _, err := h.Store.Snapshots.SnapshotByID(h.Context(), id); !errors.Is(err, models.ErrNotFound) {
		h.Error(err)
	}
	h.WantInSync()
}
