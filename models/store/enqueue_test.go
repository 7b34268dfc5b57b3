package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestEnqueue_Durable(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := context.Background(), storetest.Operator()
		op, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "3", FormKey: "k"})
		if err != nil {
			t.Fatal(err)
		}
		again, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "3", FormKey: "k"})
		if err != nil || !again.Replayed || again.ID != op.ID {
			t.Fatalf("same form again: %+v %v", again, err)
		}
		claimed, err := db.Queue.Claim(ctx, "w1", time.Minute)
		if err != nil || claimed == nil || claimed.ID != op.ID || claimed.Params.SizeGiB != 3 {
			t.Fatalf("claim: %+v %v", claimed, err)
		}
		if other, err := db.Queue.Claim(ctx, "w2", time.Minute); other != nil || err != nil {
			t.Fatalf("claimed twice: %+v %v", other, err)
		}
		err = db.Queue.SaveProgress(ctx, claimed, store.Progress{State: models.Succeeded, Step: 1, Percent: 100,
			Subject: &store.ObservedState{Status: models.Available, Percent: -1, BackendID: "b1"}})
		if err != nil {
			t.Fatal(err)
		}
		page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Sort: models.DefaultSort, Size: 20, Search: "ATA"})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].Status != models.Available {
			t.Fatalf("list: %+v %v", page, err)
		}
		page, err = db.Volumes.ListVolumes(ctx, me, models.ListQuery{Sort: models.DefaultSort, Size: 20, Search: "-1"})
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("list: %+v %v", page, err)
		}
		changes, err := db.ChangesAfter(ctx, 0, 100)
		if err != nil || len(changes) < 4 {
			t.Fatalf("changes: %+v %v", changes, err)
		}
	})
}

func TestEnqueue_SameFormKey(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		second := storetest.Second(t, db, clock.Now)
		for _, key := range []string{"a-key", "\x00\xff", string(make([]byte, 5000))} {
			ops, errs := concurrently(20, func(i int) (*models.Operation, error) {
				from := db
				if i%2 == 1 {
					from = second
				}
				return from.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "only-one", Size: "1", FormKey: key})
			})
			made := 0
			for i, op := range ops {
				if errs[i] != nil {
					t.Fatalf("%d: %v", i, errs[i])
				}
				if op.ID != ops[0].ID || op.SubjectID != ops[0].SubjectID {
					t.Errorf("%+v", op)
				}
				if !op.Replayed {
					made++
				}
			}
			if made != 1 {
				t.Errorf("%d were made by the key %.10q", made, key)
			}
			other := me
			other.UserID = "somebody else"
			op, err := db.Volumes.CreateVolume(ctx, other, models.VolumeInput{Name: "another", Size: "1", FormKey: key})
			if err != nil || op.Replayed || op.ID == ops[0].ID {
				t.Errorf("another user's same key: %+v, %v", op, err)
			}
		}
		if n, err := db.Total(ctx, me, models.SubjectVolume); n != 6 || err != nil {
			t.Errorf("%d volumes, %v", n, err)
		}
	})
}

// TestEnqueue_SameFormKeyConcurrent sends a form several times at once: those that find the row
// changed return the operation of the first.
func TestEnqueue_SameFormKeyConcurrent(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volume := createVolume(t, db, "deleted")
		ops, errs := concurrently(10, func(int) (*models.Operation, error) {
			return db.Volumes.DeleteVolume(t.Context(), storetest.Operator(), volume, "the form")
		})
		for i, op := range ops {
			if errs[i] != nil || op.ID != ops[0].ID {
				t.Errorf("%+v, %v", op, errs[i])
			}
		}
	})
}

func TestEnqueue_ConcurrentDeleteAndSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		second := storetest.Second(t, db, clock.Now)
		for range 5 {
			volume := createVolume(t, db, "raced")
			_, errs := concurrently(2, func(i int) (*models.Operation, error) {
				if i == 0 {
					return db.Volumes.DeleteVolume(ctx, me, volume, "")
				}
				return second.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: "raced"})
			})
			row, err := db.Volumes.VolumeByID(ctx, volume)
			if err != nil {
				t.Fatal(err)
			}
			if (errs[0] == nil) == (errs[1] == nil) || row.Status == models.Deleting && row.SnapshotCount > 0 {
				t.Errorf("delete: %v, snapshot: %v, row %s with %d snapshots", errs[0], errs[1], row.Status, row.SnapshotCount)
			}
			lost := errs[0]
			if lost == nil {
				lost = errs[1]
			}
			if e := models.AsError(lost); e == nil || e.Code != models.CodeConflict {
				t.Errorf("the slower one got %v", lost)
			}
			finish(t, db, claim(t, db), models.Failed, store.ObservedState{Status: models.ErrorStatus, Percent: -1})
		}
	})
}

func TestEnqueue_ConcurrentDeleteAndRestore(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		second := storetest.Second(t, db, clock.Now)
		storetest.SeedSnapshots(t, db, 5)
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for _, snap := range page.Rows {
			if snap.Status != models.Available {
				continue
			}
			_, errs := concurrently(2, func(i int) (*models.Operation, error) {
				if i == 0 {
					return db.Snapshots.DeleteSnapshot(ctx, me, snap.ID, "")
				}
				return second.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "restored", SnapshotID: snap.ID})
			})
			if (errs[0] == nil) == (errs[1] == nil) {
				t.Errorf("delete: %v, restore: %v", errs[0], errs[1])
			}
		}
	})
}

func TestEdit_StaleVersion(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume := createVolume(t, db, "edited")
		row, err := db.Volumes.Volume(ctx, me, volume)
		if err != nil {
			t.Fatal(err)
		}
		_, errs := concurrently(5, func(i int) (*models.Operation, error) {
			return db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: fmt.Sprintf("editor-%d", i), Version: row.Version})
		})
		won := -1
		for i, err := range errs {
			switch e := models.AsError(err); {
			case err == nil && won < 0:
				won = i
			case err == nil:
				t.Errorf("%d and %d both won", won, i)
			case e == nil || e.Code != models.CodeStale:
				t.Errorf("%v", err)
			}
		}
		now, err := db.Volumes.Volume(ctx, me, volume)
		if err != nil || now.Name != fmt.Sprintf("editor-%d", won) || now.Version != row.Version+1 || now.EditedBy != me.Name {
			t.Errorf("%+v, %v", now, err)
		}
		if _, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "without-version"}); err != nil {
			t.Errorf("without a version: %v", err)
		}
	})
}

// TestEnqueue_StatusConflict requests actions on a row that is being deleted.
func TestEnqueue_StatusConflict(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		storetest.SeedSnapshots(t, db, 1)
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Snapshots.DeleteSnapshot(ctx, me, page.Rows[0].ID, ""); err != nil {
			t.Fatal(err)
		}
		_, again := db.Snapshots.DeleteSnapshot(ctx, me, page.Rows[0].ID, "")
		_, edit := db.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: page.Rows[0].ID, Name: "renamed"})
		_, restore := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "copy", SnapshotID: page.Rows[0].ID})
		for _, err := range []error{again, edit, restore} {
			if e := models.AsError(err); e == nil || e.Code != models.CodeConflict {
				t.Errorf("%v", err)
			}
		}
		if _, err := db.Snapshots.Snapshot(ctx, me, "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee"); !errors.Is(err, models.ErrNotFound) {
			t.Error(err)
		}
	})
}
