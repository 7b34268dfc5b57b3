package store_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// TestRetry_WaitsForLane retries an operation that is older than the one that runs in its lane.
func TestRetry_WaitsForLane(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume := createVolume(t, db, "lane-1")
		snap := func(name string) *models.Operation {
			op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: name})
			if err != nil {
				t.Fatal(err)
			}
			return op
		}
		first, second, third := snap("first"), snap("second"), snap("third")
		finish(t, db, claim(t, db), models.Failed, store.ObservedState{Status: models.ErrorStatus, Percent: -1})
		running := claim(t, db)
		if running.ID != second.ID {
			t.Fatal(running.ID)
		}
		retried, err := db.Queue.RetryOperation(ctx, me, first.ID)
		if err != nil || retried.State != models.Pending || retried.Step != 0 || !retried.Params.Retried {
			t.Fatalf("%+v, %v", retried, err)
		}
		wantNoClaim(t, db, "while the second runs")
		finish(t, db, running, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		for _, want := range []string{first.ID, third.ID} {
			op := claim(t, db)
			if op.ID != want || !op.First {
				t.Fatalf("claimed %+v, want %s", op, want)
			}
			wantNoClaim(t, db, "while one runs")
			finish(t, db, op, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		}
	})
}

func TestRetry_Failed(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(capabilities)
		volume := createVolume(t, db, "retried")
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

func TestRetry_RestoreWithoutSnapshot(t *testing.T) {
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
