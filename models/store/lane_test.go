package store_test

import (
	"fmt"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// takenAt is the progress of a snapshot whose instant is taken, and which is copied.
func takenAt(op *models.Operation, at time.Time) store.Progress {
	us := models.Micros(at)
	return store.Progress{State: models.Running, Step: models.StepAccepted, Percent: 0, RunAt: at.Add(20 * time.Second), Lane: models.CopyLane(op.Params.VolumeID),
		Subject: &store.ObservedState{Status: models.Creating, TakenAt: &us, Consistency: models.CrashConsistent}}
}

// waits is the progress of a snapshot that has to wait for the copy of another one.
func waits(op *models.Operation, now time.Time) store.Progress {
	return store.Progress{State: models.Pending, Percent: -1, RunAt: now.Add(time.Second), Lane: models.CopyLane(op.Params.VolumeID), Failure: models.NewFailure("failure.why.copying")}
}

// snapshotsOf asks for snapshots of an attached volume, and returns their operations.
func snapshotsOf(t *testing.T, db *store.Store, volume string, names ...string) (ops []*models.Operation) {
	t.Helper()
	for _, name := range names {
		op, err := db.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: volume, Name: name, Acknowledge: true})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, op)
	}
	return ops
}

func save(t *testing.T, db *store.Store, op *models.Operation, p store.Progress) {
	t.Helper()
	if err := db.Queue.SaveProgress(t.Context(), op, p); err != nil {
		t.Fatal(err)
	}
}

// attachedVolume creates a volume that is attached to a server.
func attachedVolume(t *testing.T, db *store.Store) string {
	t.Helper()
	db.SetCapabilities(capabilities)
	volume := createVolume(t, db, "lane-1")
	attach(t, db, volume, "server-1")
	return volume
}

// TestLane_CopiesLeave: of the operations of a volume that wait for a snapshot the next
// begins when its instant is taken, and subscribers are told; a second snapshot waits for
// the end of the copy, and nobody waits for it.
func TestLane_CopiesLeave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, volume := t.Context(), storetest.Operator(), attachedVolume(t, db)
		second := storetest.Second(t, db, clock.Now) // another console
		ops := snapshotsOf(t, db, volume, "first", "second", "third")
		detach, err := db.Volumes.DetachVolume(ctx, me, volume, "server-1", false, "")
		must(t, err)
		first := claim(t, db)
		wantNoClaim(t, second, "before the instant")
		changed, unsubscribe := db.Subscribe()
		defer unsubscribe()
		instant := clock.Now()
		save(t, db, first, takenAt(first, instant))
		select {
		case <-changed:
		default:
			t.Error("nobody was told that the lane is free")
		}
		if row, err := db.Snapshots.SnapshotByID(ctx, first.SubjectID); err != nil || row.TakenAt != models.Micros(instant) || row.Status != models.Creating {
			t.Errorf("%+v, %v", row, err)
		}
		for i := 1; i <= 2; i++ {
			op := claim(t, second)
			if op.ID != ops[i].ID {
				t.Fatalf("claimed %s", op.SubjectName)
			}
			save(t, second, op, waits(op, clock.Now()))
		}
		if op := claim(t, db); op.ID != detach.ID {
			t.Fatalf("claimed %+v", op)
		}
		clock.Add(10 * time.Second)
		wantNoClaim(t, second, "while the first is copied")
		clock.Add(15 * time.Second)
		copied := claim(t, db)
		if copied.ID != first.ID || copied.First {
			t.Fatalf("claimed %+v", copied)
		}
		finish(t, db, copied, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		if op := claim(t, second); op.ID != ops[1].ID {
			t.Fatalf("claimed %+v", op)
		}
		wantNoClaim(t, db, "while the second runs")
	})
}

// TestLane_EntersAgain: an operation that enters the lane of its volume waits for the one
// that runs there, and comes before those that do not.
func TestLane_EntersAgain(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		volume := attachedVolume(t, db)
		ops := snapshotsOf(t, db, volume, "first", "second")
		first := claim(t, db)
		save(t, db, first, takenAt(first, clock.Now()))
		running := claim(t, db)
		clock.Add(30 * time.Second)
		lost := claim(t, db)
		if running.ID != ops[1].ID || lost.ID != ops[0].ID {
			t.Fatalf("claimed %s and %s", running.SubjectName, lost.SubjectName)
		}
		save(t, db, lost, store.Progress{State: models.Pending, RunAt: clock.Now(), Percent: -1, Lane: volume, Subject: &store.ObservedState{TakenAt: new(int64)}})
		if row, err := db.Snapshots.SnapshotByID(t.Context(), lost.SubjectID); err != nil || row.TakenAt != 0 {
			t.Errorf("%+v, %v", row, err)
		}
		wantNoClaim(t, db, "while the second runs in the lane")
		save(t, db, running, waits(running, clock.Now()))
		if op := claim(t, db); op.ID != lost.ID || op.Lane != volume {
			t.Errorf("claimed %+v", op)
		}
		wantNoClaim(t, db, "while the first is taken")
	})
}

// TestLane_Cancel: a snapshot that waits for the copy of another one can be cancelled,
// one that is copied cannot.
func TestLane_Cancel(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, volume := t.Context(), storetest.Operator(), attachedVolume(t, db)
		snapshotsOf(t, db, volume, "first", "second")
		first := claim(t, db)
		save(t, db, first, takenAt(first, clock.Now()))
		waiting := claim(t, db)
		if _, err := db.Queue.CancelOperation(ctx, me, waiting.ID); models.AsError(err) == nil {
			t.Errorf("while the backend is asked: %v", err)
		}
		save(t, db, waiting, waits(waiting, clock.Now()))
		if op, err := db.Queue.CancelOperation(ctx, me, waiting.ID); err != nil || op.State != models.Cancelled {
			t.Fatalf("%+v, %v", op, err)
		}
		if _, err := db.Queue.CancelOperation(ctx, me, first.ID); models.AsError(err) == nil {
			t.Errorf("while it is copied: %v", err)
		}
		if v, err := db.Volumes.Volume(ctx, me, volume); err != nil || v.SnapshotCount != 1 {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

// TestLane_Retry: one that failed while it was copied is taken again in the volume's lane.
func TestLane_Retry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, volume := t.Context(), storetest.Operator(), attachedVolume(t, db)
		snapshotsOf(t, db, volume, "first")
		op := claim(t, db)
		save(t, db, op, takenAt(op, clock.Now()))
		clock.Add(time.Hour)
		finish(t, db, claim(t, db), models.Failed, store.ObservedState{Status: models.ErrorStatus, Percent: -1})
		if _, err := db.Queue.RetryOperation(ctx, me, op.ID); err != nil {
			t.Fatal(err)
		}
		if row, err := db.Snapshots.SnapshotByID(ctx, op.SubjectID); err != nil || row.TakenAt != 0 || row.Status != models.Creating {
			t.Errorf("%+v, %v", row, err)
		}
		if again := claim(t, db); again.ID != op.ID || again.Lane != volume || !again.First || again.Cancellable() {
			t.Errorf("%+v", again)
		}
	})
}

// TestLane_TwoConsoles: whatever claims come together, one operation runs in a lane.
func TestLane_TwoConsoles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		volume := attachedVolume(t, db)
		second := storetest.Second(t, db, clock.Now)
		ops := snapshotsOf(t, db, volume, "snap-0", "snap-1", "snap-2", "snap-3")
		for i := range ops {
			var running *models.Operation
			for try := 0; running == nil; try++ { // on PostgreSQL concurrent claims may find nothing
				if try == 100 {
					t.Fatalf("nothing is claimed after %d instants", i)
				}
				won, errs := concurrently(8, func(n int) (*models.Operation, error) {
					return []*store.Store{db, second}[n%2].Queue.Claim(t.Context(), fmt.Sprint("w", n), time.Minute)
				})
				for n, op := range won {
					if errs[n] != nil || op != nil && running != nil {
						t.Fatalf("%+v and %+v, %v", op, running, errs[n])
					}
					if op != nil {
						running = op
					}
				}
			}
			if running.ID != ops[i].ID {
				t.Fatalf("claimed %s", running.SubjectName)
			}
			save(t, db, running, takenAt(running, clock.Now().Add(time.Hour)))
		}
	})
}

// TestRevert_WhileCopied names the snapshot that is created, and so does deleting.
func TestRevert_WhileCopied(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(capabilities)
		volume := createVolume(t, db, "lane-1")
		older := snapshotsOf(t, db, volume, "older")[0]
		us := models.Micros(clock.Now())
		finish(t, db, claim(t, db), models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1, TakenAt: &us})
		copied := snapshotsOf(t, db, volume, "copied")[0]
		for _, when := range []string{"before the instant", "after the instant"} {
			_, err := db.Volumes.RevertVolume(ctx, me, older.SubjectID, "")
			wantSnapshotBlocker(t, when+", revert", err, "deny.snapshot_creating", copied.SubjectID)
			_, err = db.Volumes.DeleteVolume(ctx, me, volume, "")
			wantSnapshotBlocker(t, when+", delete", err, "deny.has_snapshots", copied.SubjectID)
			if op := claim(t, db); when == "before the instant" {
				save(t, db, op, takenAt(op, clock.Now()))
			}
			clock.Add(2 * time.Minute)
		}
	})
}

func wantSnapshotBlocker(t *testing.T, when string, err error, key, id string) {
	t.Helper()
	e := models.AsError(err)
	if e == nil || e.Code != models.CodeConflict || e.Denial == nil || e.Denial.Text.Key != key || len(e.Denial.Snaps) == 0 || e.Denial.Snaps[0].ID != id {
		t.Errorf("%s: %+v", when, err)
	}
}

// TestRevert_LatestByInstant: the latest snapshot is the one with the latest instant.
func TestRevert_LatestByInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(capabilities)
		volume := availableVolume(t, db, "reverted")
		row := func(name string, created, taken time.Duration) store.ObservedObject {
			at := models.Micros(clock.Now().Add(taken))
			return store.ObservedObject{ID: models.NewID(), BackendID: "b-" + name, Project: models.DefaultProject, Name: name, SizeGiB: 1, Source: volume,
				CreatedAt: clock.Now().Add(created), ObservedState: store.ObservedState{Status: models.Available, Percent: backend.PercentUnknown, TakenAt: &at}}
		}
		late, early := row("asked-first", 0, 2*time.Hour), row("asked-second", time.Minute, time.Hour)
		if _, err := db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{late, early}, clock.Now()); err != nil {
			t.Fatal(err)
		}
		_, err := db.Volumes.RevertVolume(ctx, me, early.ID, "")
		wantSnapshotBlocker(t, "revert", err, "deny.not_latest", late.ID)
		failed := row("failed", 3*time.Hour, 0)
		failed.TakenAt, failed.Status = nil, models.ErrorStatus
		if _, err := db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{failed}, clock.Now()); err != nil {
			t.Fatal(err)
		}
		_, err = db.Volumes.RevertVolume(ctx, me, late.ID, "")
		wantSnapshotBlocker(t, "revert behind one without an instant", err, "deny.not_latest", failed.ID)
		if _, err := db.Snapshots.DeleteSnapshot(ctx, me, failed.ID, ""); err != nil {
			t.Fatal(err)
		}
		finish(t, db, claim(t, db), models.Succeeded, store.ObservedState{Gone: true})
		if _, err := db.Volumes.RevertVolume(ctx, me, late.ID, ""); err != nil {
			t.Error(err)
		}
	})
}
