package store_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestCancel_RestoresRow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(capabilities)
		if err := db.Sync.SyncServers(ctx, []models.Server{{ID: "server-1", ProjectID: me.Project, Name: "web-1"}}); err != nil {
			t.Fatal(err)
		}
		volume := createVolume(t, db, "kept")
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
			wantNoClaim(t, db, "after cancelling "+string(op.Kind))
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
		// A name that was edited again is not restored.
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

func TestCancel_Begun(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		op := enqueueVolume(t, db, "begun")
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

// TestCancel_ConcurrentClaim expects that either the cancel or the claim succeeds.
func TestCancel_ConcurrentClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		for range 5 {
			op := enqueueVolume(t, db, "raced")
			ops, errs := concurrently(2, func(i int) (*models.Operation, error) {
				if i == 0 {
					return db.Queue.CancelOperation(ctx, me, op.ID)
				}
				return db.Queue.Claim(ctx, "w", time.Minute)
			})
			must(t, errs...)
			if cancelled, claimed := errs[0] == nil, ops[1] != nil; cancelled == claimed {
				t.Errorf("cancelled %t, claimed %t", cancelled, claimed)
			}
			if ops[1] != nil {
				finish(t, db, ops[1], models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
			}
		}
	})
}
