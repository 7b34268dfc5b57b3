package worker_test

import (
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func lockForAWeek(h *workertest.Harness, id string) models.LockInput {
	return models.LockInput{ID: id, Until: h.Store.Now().AddDate(0, 0, 7).Format(time.DateOnly), Reason: "audit"}
}

// lockBehindTheClick locks an object whose operation is queued, which no form can.
func lockBehindTheClick(h *workertest.Harness, table, id string) {
	h.Helper()
	storetest.Exec(h, h.Store, "UPDATE "+table+" SET locked_until = ?, lock_reason = 'audit' WHERE id = ?", models.Micros(h.Store.Now())+1e9, id)
}

// TestLock_AfterTheClick locks an object between the click and the call of the backend.
func TestLock_AfterTheClick(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	snapshot := h.CreateVolumeAndSnapshot()
	volume := h.Snapshot(snapshot).VolumeID

	revert := h.Accepted(h.Store.Volumes.RevertVolume(h.Context(), operator, snapshot, ""))
	lockBehindTheClick(h, "volumes", volume)
	h.RunQueue()
	h.WantFailed(revert, "deny.locked_for")
	if row := h.Volume(volume); row.Status != models.Available || h.Faulty.Calls("RevertVolume") != 0 {
		h.Errorf("%+v", row)
	}

	remove := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, snapshot, ""))
	lockBehindTheClick(h, "snapshots", snapshot)
	h.RunQueue()
	h.WantFailed(remove, "deny.locked_for")
	if row := h.Snapshot(snapshot); row.Status != models.Available || h.Faulty.Calls("DeleteSnapshot") != 0 {
		h.Errorf("%+v", row)
	}
	h.WantInSync()
}

// TestLock_BeforeCreation locks a snapshot whose creation waits in the lane of its volume.
func TestLock_BeforeCreation(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	h.Fake.Hold()
	before := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "before"}))
	op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "queued"}))
	lock := h.Accepted(h.Store.Snapshots.LockSnapshot(h.Context(), operator, lockForAWeek(h, op.SubjectID)))
	h.Reconcile(6)
	if now := h.Operation(lock.ID); now.State != models.Running || now.Attempts != 0 {
		h.Errorf("%+v", now)
	}
	h.Fake.Auto()
	h.Succeed(lock, nil)
	h.Succeed(op, nil)
	h.Succeed(before, nil)
	s, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: op.SubjectID})
	if err != nil || models.Micros(s.Lock.Until) != h.Snapshot(op.SubjectID).LockedUntil || s.Lock.Reason != "audit" {
		h.Errorf("%+v %v", s.Lock, err)
	}
}

// TestLock_Refused keeps the lock in force when the storage cannot keep it, and tries again
// when somebody asks for that.
func TestLock_Refused(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolume("volume-1")
	h.Faulty.Inject("SetLock", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0}})
	op := h.Accepted(h.Store.Volumes.LockVolume(h.Context(), operator, lockForAWeek(h, id)))
	h.RunQueue()
	h.WantFailed(op, "failure.no_space")
	if row := h.Volume(id); !row.Locked() || row.Status != models.Available || !row.Failure.None() {
		h.Errorf("%+v", row)
	}
	if _, err := h.Store.Volumes.DeleteVolume(h.Context(), operator, id, ""); models.AsError(err) == nil {
		h.Errorf("deleted: %v", err)
	}
	h.Succeed(h.Store.Queue.RetryOperation(h.Context(), operator, op.ID))
	if v := h.BackendVolume(id); models.Micros(v.Lock.Until) != h.Volume(id).LockedUntil {
		h.Errorf("%+v", v.Lock)
	}
}

// TestLock_OursAlone is a lock on a backend that keeps none.
func TestLock_OursAlone(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Locks = false })
	h.Restart()
	id := h.CreateVolume("volume-1")
	h.Succeed(h.Store.Volumes.LockVolume(h.Context(), operator, lockForAWeek(h, id)))
	if _, err := h.Store.Volumes.DeleteVolume(h.Context(), operator, id, ""); models.AsError(err) == nil || h.Faulty.Calls("SetLock") != 0 {
		h.Errorf("%v", err)
	}
	h.Succeed(h.Store.Volumes.UnlockVolume(h.Context(), admin, models.LockInput{ID: id, Reason: "done"}))
	if _, err := h.Store.Volumes.DeleteVolume(h.Context(), operator, id, ""); err != nil {
		h.Error(err)
	}
	h.RunQueue()
	if _, err := h.Store.Volumes.VolumeByID(h.Context(), id); !errors.Is(err, models.ErrNotFound) {
		h.Error(err)
	}
}
