package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// TestRename_Refused expects the object's name in the row, unless the row was edited again.
func TestRename_Refused(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	edit := func(name string) *models.Operation {
		return h.Accepted(h.Store.Snapshots.EditSnapshot(h.Context(), operator, models.EditInput{ID: id, Name: name}))
	}
	deny := func() {
		h.Faulty.Inject("RenameSnapshot", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeConflict, Message: "no"}})
	}
	deny()
	first := edit("first-name")
	if row := h.Snapshot(id); row.Name != "first-name" {
		h.Errorf("%+v", row)
	}
	h.RunQueue()
	h.WantFailed(first, "failure.conflict")
	if row := h.Snapshot(id); row.Name != "snap-1" {
		h.Errorf("%+v", row)
	}
	deny()
	first, second := edit("first-name"), edit("second-name")
	h.Reconcile(1)
	h.WantFailed(first, "failure.conflict")
	if row := h.Snapshot(id); row.Name != "second-name" {
		h.Errorf("%+v", row)
	}
	deny()
	h.RunQueue()
	h.WantFailed(second, "failure.conflict")
	if row := h.Snapshot(id); row.Name != "snap-1" { // the object was never called first-name
		h.Errorf("%+v", row)
	}
	h.WantInSync()
}

// TestRename_BeforeCreation renames a snapshot whose creation waits in the lane of its volume.
func TestRename_BeforeCreation(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	h.Fake.Hold()
	before := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "before"}))
	op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "queued"}))
	edit := h.Accepted(h.Store.Snapshots.EditSnapshot(h.Context(), operator, models.EditInput{ID: op.SubjectID, Name: "renamed"}))
	h.Reconcile(6)
	if now := h.Operation(edit.ID); now.State != models.Running || now.Attempts != 0 || h.Operation(op.ID).State != models.Pending {
		h.Errorf("%+v", now)
	}
	h.Fake.Auto()
	h.Succeed(edit, nil)
	h.Succeed(op, nil)
	h.Succeed(before, nil)
	if row := h.Snapshot(op.SubjectID); row.Name != "renamed" || row.Status != models.Available {
		h.Errorf("%+v", row)
	}
	h.WantInSync()
}
