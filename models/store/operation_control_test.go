package store_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

var abilities = models.Capabilities{Attach: true, Revert: true, ExtendAttached: true, Repair: true, CrashSafe: true, FreeBytes: -1}

func TestCancelTakesTheClickBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(abilities)
		if err := db.Sync.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: me.Project, Name: "web-1"}}); err != nil {
			t.Fatal(err)
		}
		volume := madeVolume(t, db, "kept")
		cancel := func(op *models.Operation, err error) *models.Volume {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			if !op.Cancellable() {
				t.Errorf("%s cannot be cancelled", op.Kind)
			}
			cancelled, err := db.Queue.CancelOperation(ctx, me, op.ID)
			if err != nil || cancelled.State != models.Cancelled || !cancelled.Finished() {
				t.Fatalf("%s: %+v, %v", op.Kind, cancelled, err)
			}
			row, err := db.Volumes.Volume(ctx, me, volume)
			if err != nil || row.Status != models.Available || row.Name != "kept" || row.SizeGiB != 1 || row.SnapshotCount != 0 {
				t.Errorf("after %s: %+v, %v", op.Kind, row, err)
			}
			noClaim(t, db, "after cancelling "+string(op.Kind))
			return row
		}
		cancel(db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "never", Size: "1"}))
		cancel(db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: "never"}))
		cancel(db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "renamed", Description: "new"}))
		cancel(db.Volumes.ExtendVolume(ctx, me, volume, "9", ""))
		cancel(db.Volumes.AttachVolume(ctx, me, volume, "server-1", ""))
		cancel(db.Volumes.DeleteVolume(ctx, me, volume, ""))
		if n, err := db.Total(ctx, me, models.SubjectVolume); n != 1 || err != nil {
			t.Errorf("%d volumes, %v", n, err)
		}
		// A name that was changed again is not taken back.
		first, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "first-name"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "second-name"}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Queue.CancelOperation(ctx, me, first.ID); err != nil {
			t.Fatal(err)
		}
		if row, err := db.Volumes.Volume(ctx, me, volume); err != nil || row.Name != "second-name" {
			t.Errorf("%+v, %v", row, err)
		}
	})
}

func TestWhatHasBegunIsNotCancelled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		op := newVolume(t, db, "begun")
		claimed := claim(t, db)
		refused := func(actor models.Actor, code models.Code) {
			t.Helper()
			if _, err := db.Queue.CancelOperation(ctx, actor, op.ID); models.AsError(err) == nil || models.AsError(err).Code != code {
				t.Errorf("%v, want %s", err, code)
			}
		}
		viewer := me
		viewer.Role = models.Viewer
		refused(viewer, models.CodeForbidden)
		refused(me, models.CodeConflict)
		if err := db.Queue.SaveProgress(ctx, claimed, store.Progress{State: models.Running, RunAt: clock.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
		refused(me, models.CodeConflict)
	})
}

// TestCancelAgainstClaim lets both happen at once: either the row is gone and
// nobody works on it, or a worker has it.
func TestCancelAgainstClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		for range 5 {
			op := newVolume(t, db, "raced")
			ops, errs := atOnce(2, func(i int) (*models.Operation, error) {
				if i == 0 {
					return db.Queue.CancelOperation(ctx, me, op.ID)
				}
				return db.Queue.Claim(ctx, "w", time.Minute)
			})
			none(t, errs...)
			if cancelled, claimed := errs[0] == nil, ops[1] != nil; cancelled == claimed {
				t.Errorf("cancelled %t, claimed %t", cancelled, claimed)
			}
			if ops[1] != nil {
				finish(t, db, ops[1], models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
			}
		}
	})
}

func TestRetry(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(abilities)
		volume := madeVolume(t, db, "retried")
		extend, err := db.Volumes.ExtendVolume(ctx, me, volume, "5", "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Queue.RetryOperation(ctx, me, extend.ID); models.AsError(err) == nil {
			t.Errorf("one that has not failed: %v", err)
		}
		op := claim(t, db)
		if err := db.Queue.SaveProgress(ctx, op, store.Progress{State: models.Running, Step: 1, RunAt: clock.Now()}); err != nil {
			t.Fatal(err)
		}
		why := models.NewFailure("failure.extend_refused")
		err = db.Queue.SaveProgress(ctx, claim(t, db), store.Progress{State: models.Failed, Step: 1, Failure: why,
			Subject: &store.ObservedState{Status: models.Available, Percent: -1, Failure: why}})
		if err != nil {
			t.Fatal(err)
		}
		failed, err := db.Queue.Operation(ctx, me, extend.ID)
		if err != nil || failed.State != models.Failed || failed.LastError.Key != why.Key || !failed.Retryable() {
			t.Fatalf("%+v, %v", failed, err)
		}
		again, err := db.Queue.RetryOperation(ctx, me, extend.ID)
		if err != nil || again.Step != 0 || again.State != models.Pending || again.Cancellable() {
			t.Fatalf("%+v, %v", again, err)
		}
		row, err := db.Volumes.Volume(ctx, me, volume)
		if err != nil || row.Status != models.Extending || !row.Failure.None() {
			t.Errorf("%+v, %v", row, err)
		}
		op = claim(t, db)
		if !op.First || op.Step != 0 || op.Attempts != 0 || !op.LastError.None() || !op.Params.Retried || op.Params.SizeGiB != 5 {
			t.Errorf("%+v", op)
		}
		finish(t, db, op, models.Failed, store.ObservedState{Status: models.Available, Percent: -1})
		if _, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "changed"}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Queue.RetryOperation(ctx, me, extend.ID); models.AsError(err) == nil || models.AsError(err).Code != models.CodeConflict {
			t.Errorf("after something else was asked: %v", err)
		}
	})
}

func TestARetriedRestoreNeedsItsSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		storetest.SeedSnapshots(t, db, 1)
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		snap := page.Rows[0]
		op, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "restored", SnapshotID: snap.ID})
		if err != nil || op.Kind != models.SnapshotRestore || op.Params.SizeGiB != snap.SizeGiB {
			t.Fatalf("%+v, %v", op, err)
		}
		finish(t, db, claim(t, db), models.Failed, store.ObservedState{Status: models.ErrorStatus, Percent: -1})
		if _, err := db.Snapshots.DeleteSnapshot(ctx, me, snap.ID, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Queue.RetryOperation(ctx, me, op.ID); models.AsError(err) == nil {
			t.Errorf("while its snapshot is deleted: %v", err)
		}
		if row, err := db.Volumes.VolumeByID(ctx, op.SubjectID); err != nil || row.Status != models.ErrorStatus || row.SnapshotID != snap.ID || row.Consistency != models.Clean {
			t.Errorf("%+v, %v", row, err)
		}
	})
}

func TestRepairEndsWhatIsUnderWay(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, admin := t.Context(), storetest.Operator(), storetest.Administrator()
		db.SetCapabilities(abilities)
		volume := madeVolume(t, db, "stuck")
		snap, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: "stuck"})
		if err != nil {
			t.Fatal(err)
		}
		stuck := claim(t, db)
		in := models.RepairInput{ID: snap.SubjectID, Reason: "the copy hangs", ResetTo: models.ErrorStatus}
		_, early := db.Snapshots.RepairSnapshot(ctx, admin, in)
		_, role := db.Snapshots.RepairSnapshot(ctx, me, in)
		clock.Add(models.StuckAfter + time.Second)
		_, reason := db.Snapshots.RepairSnapshot(ctx, admin, models.RepairInput{ID: in.ID, ResetTo: models.InUse})
		for i, tt := range []struct {
			err  error
			code models.Code
		}{{early, models.CodeConflict}, {role, models.CodeForbidden}, {reason, models.CodeInvalid}} {
			if e := models.AsError(tt.err); e == nil || e.Code != tt.code {
				t.Errorf("%d: %v", i, tt.err)
			}
		}
		if e := models.AsError(reason); e != nil && (e.Fields["reason"].Key == "" || e.Fields["reset_to"].Key == "") {
			t.Errorf("%+v", e.Fields)
		}
		repair, err := db.Snapshots.RepairSnapshot(ctx, admin, in)
		if err != nil {
			t.Fatal(err)
		}
		old, err := db.Queue.Operation(ctx, me, stuck.ID)
		if err != nil || old.State != models.Failed || old.LastError.Key != "failure.abandoned" {
			t.Errorf("%+v, %v", old, err)
		}
		if err := db.Queue.SaveProgress(ctx, stuck, store.Progress{State: models.Succeeded, Subject: &store.ObservedState{Status: models.Available}}); err != models.ErrLeaseLost {
			t.Errorf("what was abandoned saved: %v", err)
		}
		// The repair overtakes what else waits in the volume's lane.
		if _, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: "later"}); err != nil {
			t.Fatal(err)
		}
		ops := []string{claim(t, db).ID, claim(t, db).ID}
		if ops[0] != repair.ID && ops[1] != repair.ID {
			t.Errorf("claimed %q, the repair is %s", ops, repair.ID)
		}
	})
}

// TestRepairAgainstSave: both lock the row and the operation, in either order.
func TestRepairAgainstSave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, admin := t.Context(), storetest.Administrator()
		db.SetCapabilities(abilities)
		for range 8 {
			op := newVolume(t, db, "stuck")
			working := claim(t, db)
			clock.Add(models.StuckAfter + time.Second)
			_, errs := atOnce(2, func(i int) (*models.Operation, error) {
				if i == 0 {
					return db.Volumes.RepairVolume(ctx, admin, models.RepairInput{ID: op.SubjectID, Reason: "stuck", ResetTo: models.ErrorStatus})
				}
				return nil, db.Queue.SaveProgress(ctx, working, store.Progress{State: models.Running, RunAt: clock.Now().Add(100 * time.Hour), Percent: 7,
					Subject: &store.ObservedState{Status: models.Creating, Percent: 7}})
			})
			if errs[0] != nil || errs[1] != nil && errs[1] != models.ErrLeaseLost {
				t.Errorf("repair: %v, save: %v", errs[0], errs[1])
			}
			finish(t, db, claim(t, db), models.Succeeded, store.ObservedState{Status: models.ErrorStatus, Percent: -1})
		}
	})
}
