package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

func TestCreateSnapshot_Percent(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	h.Fake.Hold()
	op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1"}))
	h.Reconcile(1)
	for _, percent := range []int{0, 17, 80} {
		h.Fake.SetPercent(op.SubjectID, percent)
		h.Reconcile(1)
		row, now := h.Snapshot(op.SubjectID), h.Operation(op.ID)
		if row.Status != models.Creating || row.Percent != percent || now.Percent != percent || now.State != models.Running || now.Step != 1 {
			h.Errorf("at %d: row %d, operation %+v", percent, row.Percent, now)
		}
	}
	h.Fake.Release(op.SubjectID)
	h.Succeed(op, nil)
	if row := h.Snapshot(op.SubjectID); row.Percent != -1 {
		h.Errorf("%+v", row)
	}
}

func TestCreateSnapshot_OnePerVolume(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	h.Fake.Hold()
	var ids []string
	for _, name := range []string{"snap-1", "snap-2", "snap-3"} {
		ids = append(ids, h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: name})).SubjectID)
	}
	for i, id := range ids {
		h.Reconcile(3)
		if made := h.Fake.Calls("CreateSnapshot"); made != i+1 {
			h.Errorf("%d create calls while the %dth snapshot is created", made, i+1)
		}
		h.Fake.Release(id)
		h.Reconcile(1)
	}
	h.RunQueue()
	h.WantInSync()
}

func TestCreateSnapshot_AttachedWhileQueued(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		crashSafe, acknowledged bool
		want                    models.Consistency
	}{
		"crash-consistent": {true, true, models.CrashConsistent},
		"inconsistent":     {false, true, models.Inconsistent},
		"not acknowledged": {true, false, models.Clean},
	} {
		t.Run(name, func(t *testing.T) {
			h := workertest.New(t)
			h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.CrashSafe = tt.crashSafe })
			h.Restart()
			volume := h.CreateVolume("volume-1")
			op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: tt.acknowledged}))
			if row := h.Snapshot(op.SubjectID); row.Consistency != models.Clean {
				h.Errorf("%+v", row)
			}
			h.Fake.AttachOutOfBand(volume, "server-1")
			// The volume has no operation of its own, so the resync updates its row.
			h.Resync()
			if row := h.Volume(volume); row.Status != models.InUse {
				h.Fatalf("%+v", row)
			}
			if !tt.acknowledged {
				h.RunQueue()
				h.WantFailed(op, "failure.conflict")
				return
			}
			h.Succeed(op, nil)
			if row := h.Snapshot(op.SubjectID); row.Consistency != tt.want {
				h.Errorf("%+v", row)
			}
		})
	}
}

// TestCreateSnapshot_AttachedWhileQueuedThenCrash kills the worker before it saves the consistency.
func TestCreateSnapshot_AttachedWhileQueuedThenCrash(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: true}))
	h.Fake.AttachOutOfBand(volume, "server-1")
	h.Resync()
	crash(h)
	h.Succeed(op, nil)
	if row := h.Snapshot(op.SubjectID); row.Consistency != models.CrashConsistent {
		h.Errorf("%+v", row)
	}
}
