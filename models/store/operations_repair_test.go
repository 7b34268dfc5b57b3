package store_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestRepair_AbandonsOperations(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, admin := t.Context(), storetest.Operator(), storetest.Administrator()
		db.SetCapabilities(capabilities)
		volume := createVolume(t, db, "stuck")
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
		// The repair overtakes the other operations of the volume's lane.
		if _, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: "later"}); err != nil {
			t.Fatal(err)
		}
		ops := []string{claim(t, db).ID, claim(t, db).ID}
		if ops[0] != repair.ID && ops[1] != repair.ID {
			t.Errorf("claimed %q, the repair is %s", ops, repair.ID)
		}
	})
}

// TestRepair_ConcurrentSave expects no deadlock: both lock the row and the operation.
func TestRepair_ConcurrentSave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, admin := t.Context(), storetest.Administrator()
		db.SetCapabilities(capabilities)
		for range 8 {
			op := enqueueVolume(t, db, "stuck")
			working := claim(t, db)
			clock.Add(models.StuckAfter + time.Second)
			_, errs := concurrently(2, func(i int) (*models.Operation, error) {
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
