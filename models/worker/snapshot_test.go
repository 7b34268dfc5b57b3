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
		h.RunFor(3)
		if made, err := h.Fake.Snapshots(h.Context(), "", 10); err != nil || len(made.Items) != i+1 || made.Items[i].Ref != id {
			h.Errorf("%d snapshots while the %dth is copied, %v", len(made.Items), i+1, err)
		}
		h.Fake.Release(id)
		h.RunFor(1)
	}
	h.RunQueue()
	h.WantInSync()
}

func TestCreateSnapshot_AttachedWhileQueued(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		shared, acknowledged bool
		want                 models.Consistency
	}{
		"crash-consistent": {false, true, models.CrashConsistent},
		"in a cloud":       {true, true, models.CrashConsistent},
		"not acknowledged": {false, false, models.Clean},
	} {
		t.Run(name, func(t *testing.T) {
			h := workertest.New(t)
			h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Shared = tt.shared })
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
			if row := h.Snapshot(op.SubjectID); row.Consistency != tt.want || row.TakenFrom == "" {
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

// TestCreateSnapshot_VolumeIsFree: while an attached volume's snapshot is copied, what was asked
// for meanwhile is done at once, and the snapshot says its instant.
func TestCreateSnapshot_VolumeIsFree(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(h *workertest.Harness, volume string) (*models.Operation, error){
		"detach": func(h *workertest.Harness, volume string) (*models.Operation, error) {
			return h.Store.Volumes.DetachVolume(h.Context(), operator, volume, "server-1", false, "")
		},
		"extend": func(h *workertest.Harness, volume string) (*models.Operation, error) {
			return h.Store.Volumes.ExtendVolume(h.Context(), operator, volume, "9", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := workertest.New(t)
			volume := h.CreateAttached("volume-1", "server-1")
			h.Fake.HoldCopies()
			snap := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: true}))
			behind := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-2", Acknowledge: true}))
			op := h.Accepted(request(h, volume))
			h.RunFor(4)
			row := h.Snapshot(snap.SubjectID)
			if state := h.Operation(op.ID).State; state != models.Succeeded || row.Status != models.Creating || h.Operation(snap.ID).State != models.Running {
				h.Fatalf("%s is %s while the snapshot is %s", op.Kind, state, row.Status)
			}
			made, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: row.ID})
			if err != nil || row.TakenAt != models.Micros(made.TakenAt) || row.Consistency != models.CrashConsistent || row.SizeGiB != 1 {
				h.Errorf("%+v of %+v, %v", row, made, err)
			}
			if waiting := h.Operation(behind.ID); waiting.State != models.Pending || waiting.LastError.Key != "failure.why.copying" || h.Snapshot(behind.SubjectID).TakenAt != 0 {
				h.Errorf("%+v", waiting)
			}
			h.Fake.Auto()
			h.RunQueue()
			second := h.Snapshot(behind.SubjectID)
			want := models.CrashConsistent
			if name == "detach" {
				want = models.Clean
			}
			if h.Snapshot(row.ID).Status != models.Available || second.Status != models.Available || second.TakenAt <= row.TakenAt || second.Consistency != want {
				h.Errorf("%+v, %+v", row, second)
			}
			h.WantInSync()
		})
	}
}

// TestCreateSnapshot_CopyLost: a copy that a restart has lost is made again from another instant,
// after what runs in the lane of the volume, and the row says the instant that it really has.
func TestCreateSnapshot_CopyLost(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateAttached("volume-1", "server-1")
	h.Fake.HoldCopies()
	op := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: true}))
	h.RunFor(2)
	first := h.Snapshot(op.SubjectID).TakenAt
	h.Fake.Hold()
	detach := h.Accepted(h.Store.Volumes.DetachVolume(h.Context(), operator, volume, "server-1", false, ""))
	h.RunFor(2)
	h.Fake.RemoveSnapshot(op.SubjectID)
	h.Restart()
	h.RunFor(5)
	if row, calls := h.Snapshot(op.SubjectID), h.Fake.Calls("CreateSnapshot"); row.TakenAt != 0 || row.Status != models.Creating || calls != 1 || h.Volume(volume).Status != models.Detaching {
		h.Errorf("%+v after %d calls while it is detached", row, calls)
	}
	h.Fake.Auto()
	h.Fake.HoldCopies()
	h.RunFor(5)
	row := h.Snapshot(op.SubjectID)
	if row.TakenAt <= first || row.Consistency != models.Clean || row.TakenFrom != "" || h.Operation(detach.ID).State != models.Succeeded || h.Operation(op.ID).Lane != models.CopyLane(volume) {
		h.Errorf("%+v, first at %d", row, first)
	}
	h.Fake.Release(op.SubjectID)
	h.Succeed(op, nil)
	h.WantInSync()
}

// TestCreateSnapshot_CloudKeepsLane: a cloud does not say when the bytes are safe, so that the
// volume waits, and the instant is when the cloud began.
func TestCreateSnapshot_CloudKeepsLane(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.SetShared(true)
	volume := h.CreateVolume("volume-1")
	h.Fake.HoldCopies()
	snap := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-1"}))
	attach := h.Accepted(h.Store.Volumes.AttachVolume(h.Context(), operator, volume, "server-1", ""))
	h.RunFor(4)
	if row := h.Snapshot(snap.SubjectID); row.TakenAt != 0 || h.Operation(attach.ID).State != models.Pending {
		h.Errorf("%+v, attach is %s", row, h.Operation(attach.ID).State)
	}
	h.Fake.Auto()
	h.RunQueue()
	made, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: snap.SubjectID})
	if row := h.Snapshot(snap.SubjectID); err != nil || row.TakenAt != models.Micros(made.CreatedAt) || row.Consistency != models.Clean || h.Operation(attach.ID).State != models.Succeeded {
		h.Errorf("%+v, %v", row, err)
	}
}
