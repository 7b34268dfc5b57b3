package worker_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

func TestPercentIsFollowed(t *testing.T) {
	b := newBench(t)
	volume := b.newVolume("volume-1")
	b.fake.Hold()
	op := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "snap-1"}))
	b.look(1)
	for _, percent := range []int{0, 17, 80} {
		b.fake.SetPercent(op.SubjectID, percent)
		b.look(1)
		row, now := b.snapshot(op.SubjectID), b.operation(op.ID)
		if row.Status != models.Creating || row.Percent != percent || now.Percent != percent || now.State != models.Running || now.Step != 1 {
			b.Errorf("at %d: row %d, operation %+v", percent, row.Percent, now)
		}
	}
	b.fake.Release(op.SubjectID)
	b.done(op, nil)
	if row := b.snapshot(op.SubjectID); row.Percent != -1 {
		b.Errorf("%+v", row)
	}
}

// TestALookThatFindsNothingNewWritesNoChange: thousands of snapshots may be waited for.
func TestALookThatFindsNothingNewWritesNoChange(t *testing.T) {
	b := newBench(t)
	b.fake.Hold()
	b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "volume-1", Size: "1"}))
	b.look(2)
	b.sweep()
	before, err := b.store.LastChange(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.look(3)
	b.sweep()
	if after, err := b.store.LastChange(b.Context()); err != nil || after != before {
		b.Errorf("change %d, then %d, %v", before, after, err)
	}
}

func TestTheRowLeavesWhenTheObjectIsGone(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	b.fake.Hold()
	op := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	for range 3 {
		b.look(1)
		if row := b.snapshot(id); row.Status != models.Deleting {
			b.Fatalf("%+v", row)
		}
	}
	b.fake.Release(id)
	b.done(op, nil)
	if _, err := b.store.Snapshots.SnapshotByID(b.Context(), id); !errors.Is(err, models.ErrNotFound) {
		b.Error(err)
	}
	b.same()
}

func TestAttachedWhileQueued(t *testing.T) {
	for name, tt := range map[string]struct {
		crashSafe, acknowledged bool
		want                    models.Consistency
	}{
		"crash-consistent":           {true, true, models.CrashConsistent},
		"a smear":                    {false, true, models.Inconsistent},
		"nobody accepted the danger": {true, false, models.Clean},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.fake.SetCapabilities(func(c *backend.Capabilities) { c.CrashSafe = tt.crashSafe })
			b.restart()
			volume := b.newVolume("volume-1")
			op := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: tt.acknowledged}))
			if row := b.snapshot(op.SubjectID); row.Consistency != models.Clean {
				b.Errorf("%+v", row)
			}
			b.fake.AttachOutOfBand(volume, "server-1")
			// The snapshot waits; the volume itself is not under operation, so the listing tells.
			b.sweep()
			if row := b.volume(volume); row.Status != models.InUse {
				b.Fatalf("%+v", row)
			}
			if !tt.acknowledged {
				b.work()
				b.failed(op, "failure.conflict")
				return
			}
			b.done(op, nil)
			if row := b.snapshot(op.SubjectID); row.Consistency != tt.want {
				b.Errorf("%+v", row)
			}
		})
	}
}

// TestAConsistencySurvivesACrash: the volume was attached while the request waited,
// and the worker died before it wrote that down.
func TestAConsistencySurvivesACrash(t *testing.T) {
	b := newBench(t)
	volume := b.newVolume("volume-1")
	op := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "snap-1", Acknowledge: true}))
	b.fake.AttachOutOfBand(volume, "server-1")
	b.sweep()
	b.die()
	b.done(op, nil)
	if row := b.snapshot(op.SubjectID); row.Consistency != models.CrashConsistent {
		b.Errorf("%+v", row)
	}
}

func TestAFailedAttachmentLeavesTheVolume(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	b.fake.FailNext("AttachVolume", &backend.Error{Code: backend.CodeConflict, Message: "the server is busy"})
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "restored-1", SnapshotID: id, ServerID: "server-1"}))
	b.work()
	b.failed(op, "failure.attach_refused")
	if op = b.operation(op.ID); op.Step != 3 {
		b.Errorf("%+v", op)
	}
	for range 2 {
		if row := b.volume(op.SubjectID); row.Status != models.Available || row.Failure.Key != "failure.attach" || !b.fake.EqualBytes(row.ID, id) {
			b.Errorf("%+v", row)
		}
		b.same()
	}
	created := b.fake.Calls("CreateVolume")
	b.asked(b.store.Queue.RetryOperation(b.Context(), me, op.ID))
	if row := b.volume(op.SubjectID); row.Status != models.Attaching || !row.Failure.None() {
		b.Errorf("%+v", row)
	}
	b.done(op, nil)
	if !attachedTo(b.volume(op.SubjectID), "server-1") || b.fake.Calls("CreateVolume") != created {
		b.Errorf("%+v, %d creates", b.volume(op.SubjectID), b.fake.Calls("CreateVolume")-created)
	}
	b.same()
}

// TestARefusedNameIsTakenBack: the row has the object's name again, unless somebody
// has changed it once more.
func TestARefusedNameIsTakenBack(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	edit := func(name string) *models.Operation {
		return b.asked(b.store.Snapshots.EditSnapshot(b.Context(), me, models.EditInput{ID: id, Name: name}))
	}
	deny := func() {
		b.faulty.Inject("RenameSnapshot", 1, backendFault(&backend.Error{Code: backend.CodeConflict, Message: "no"}))
	}
	deny()
	first := edit("first-name")
	if row := b.snapshot(id); row.Name != "first-name" {
		b.Errorf("%+v", row)
	}
	b.work()
	b.failed(first, "failure.conflict")
	if row := b.snapshot(id); row.Name != "snap-1" {
		b.Errorf("%+v", row)
	}
	deny()
	first, second := edit("first-name"), edit("second-name")
	b.look(1)
	b.failed(first, "failure.conflict")
	if row := b.snapshot(id); row.Name != "second-name" {
		b.Errorf("%+v", row)
	}
	deny()
	b.work()
	b.failed(second, "failure.conflict")
	if row := b.snapshot(id); row.Name != "snap-1" { // not first-name, which the object never had
		b.Errorf("%+v", row)
	}
	b.same()
}

// TestARenameWaitsForTheCreation: a snapshot may be renamed while it is in the queue
// of its volume.
func TestARenameWaitsForTheCreation(t *testing.T) {
	b := newBench(t)
	volume := b.newVolume("volume-1")
	b.fake.Hold()
	before := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "before"}))
	op := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "queued"}))
	edit := b.asked(b.store.Snapshots.EditSnapshot(b.Context(), me, models.EditInput{ID: op.SubjectID, Name: "renamed"}))
	b.look(6)
	if now := b.operation(edit.ID); now.State != models.Running || now.Attempts != 0 || b.operation(op.ID).State != models.Pending {
		b.Errorf("%+v", now)
	}
	b.fake.Auto()
	b.done(edit, nil)
	b.done(op, nil)
	b.done(before, nil)
	if row := b.snapshot(op.SubjectID); row.Name != "renamed" || row.Status != models.Available {
		b.Errorf("%+v", row)
	}
	b.same()
}

func TestSnapshotsOfAVolumeQueue(t *testing.T) {
	b := newBench(t)
	volume := b.newVolume("volume-1")
	b.fake.Hold()
	var ids []string
	for _, name := range []string{"snap-1", "snap-2", "snap-3"} {
		ids = append(ids, b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: name})).SubjectID)
	}
	for i, id := range ids {
		b.look(3)
		if made := b.fake.Calls("CreateSnapshot"); made != i+1 {
			b.Errorf("%d were begun while the %dth is made", made, i+1)
		}
		b.fake.Release(id)
		b.look(1)
	}
	b.work()
	b.same()
}

func TestASourceIsGone(t *testing.T) {
	b := newBench(t)
	id := aSnapshot(b)
	volume := b.snapshot(id).VolumeID
	restore := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "restored-1", SnapshotID: id}))
	snap := b.asked(b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: volume, Name: "snap-2"}))
	b.fake.RemoveSnapshot(id)
	b.fake.RemoveVolume(volume)
	b.work()
	b.failed(restore, "source.not_found")
	b.failed(snap, "source.not_found")
	if v, s := b.volume(restore.SubjectID), b.snapshot(snap.SubjectID); v.Status != models.ErrorStatus || s.Status != models.ErrorStatus || v.Failure.None() {
		b.Errorf("%+v %+v", v, s)
	}
	b.done(b.store.Volumes.DeleteVolume(b.Context(), me, restore.SubjectID, ""))
}

// TestItVanishesWhileItIsMade: in a backend that others use too, somebody has deleted
// it. Where there is nobody else, a crash cut its making off, and it is made again.
func TestItVanishesWhileItIsMade(t *testing.T) {
	for _, shared := range []bool{true, false} {
		b := newBench(t)
		b.fake.SetCapabilities(func(c *backend.Capabilities) { c.Shared = shared })
		b.restart()
		b.fake.Hold()
		op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
		b.look(2)
		b.fake.RemoveVolume(op.SubjectID)
		b.fake.Auto()
		if !shared {
			b.done(op, nil)
			b.same()
			continue
		}
		b.work()
		b.failed(op, "failure.vanished")
		if b.fake.Calls("CreateVolume") != 1 || b.volume(op.SubjectID).Status != models.ErrorStatus {
			b.Errorf("%d creates, %+v", b.fake.Calls("CreateVolume"), b.volume(op.SubjectID))
		}
	}
}

func TestTheBackendIsDownAtTheStart(t *testing.T) {
	b := newBench(t)
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	b.fake.SetDown(errors.New("no route to host"))
	late, w := newWorker(b)
	if err := late.Start(b.Context()); err == nil {
		b.Error("nobody noticed")
	}
	b.mirror, b.worker = late, w
	b.look(2)
	if err := b.mirror.Resync(b.Context()); err == nil {
		b.Error("a sweep of nothing")
	}
	if m, err := b.store.Sync.SyncState(b.Context(), models.SubjectVolume); err != nil || m.FailedSince == 0 || m.Failure.Key != "failure.unavailable" {
		b.Errorf("%+v, %v", m, err)
	}
	b.fake.SetDown(nil)
	b.done(op, nil)
	if late.Capabilities().Name != "fake" || !b.store.Capabilities().Attach {
		b.Errorf("%+v", b.store.Capabilities())
	}
	b.same()
}

func TestRunWorksAndStops(t *testing.T) {
	b := newBench(t)
	woken, end := b.store.Subscribe()
	defer end()
	ctx, stop := contextWithCancel(t)
	over := make(chan struct{})
	go func() {
		defer close(over)
		var running sync.WaitGroup
		running.Go(func() { b.mirror.Run(ctx) })
		b.worker.Run(ctx)
		running.Wait()
	}()
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	deadline := time.After(20 * time.Second)
	for b.operation(op.ID).State != models.Succeeded {
		select {
		case <-woken:
			b.clock.Add(time.Second)
		case <-deadline:
			b.Fatalf("%+v", b.operation(op.ID))
		}
	}
	stop()
	select {
	case <-over:
	case <-deadline:
		b.Fatal("it does not stop")
	}
}
