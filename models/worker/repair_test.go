package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/worker/workertest"
)

func TestRepair_ErrorDeleting(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	ctx := h.Context()
	for _, to := range []models.Status{models.ErrorStatus, models.Available} {
		id := h.CreateErrorDeleting()
		row := h.Snapshot(id)
		if row.Status != models.ErrorDeleting || row.Failure.Key != "failure.conflict" {
			h.Fatalf("%+v", row)
		}
		if _, err := h.Store.Snapshots.DeleteSnapshot(ctx, operator, id, ""); models.AsError(err) == nil || models.AsError(err).Text.Key != "deny.error_deleting" {
			h.Errorf("%v", err)
		}
		h.Fake.ForbidRepair("admin")
		refused := h.Accepted(h.Store.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: to}))
		h.RunQueue()
		h.WantFailed(refused, "failure.forbidden")
		if row := h.Snapshot(id); row.Status != models.ErrorDeleting || row.Failure.Key != "failure.forbidden" || row.Failure.Args[0] != "admin" {
			h.Errorf("%+v", row)
		}
		h.Fake.ForbidRepair("")
		h.Succeed(h.Store.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: to}))
		if row := h.Snapshot(id); row.Status != to {
			h.Errorf("%+v", row)
		}
		h.Succeed(h.Store.Snapshots.DeleteSnapshot(ctx, operator, id, ""))
	}
	h.WantInSync()
}

// TestRepair_ObjectGone expects a row in ERROR that can be deleted.
func TestRepair_ObjectGone(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateErrorDeleting()
	h.Fake.RemoveSnapshot(id)
	h.Succeed(h.Store.Snapshots.RepairSnapshot(h.Context(), admin, models.RepairInput{ID: id, Reason: "looked", ResetTo: models.Available}))
	if row := h.Snapshot(id); row.Status != models.ErrorStatus || row.Failure.Key != "failure.vanished" {
		h.Errorf("%+v", row)
	}
	h.Succeed(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	h.WantInSync()
}
