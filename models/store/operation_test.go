package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// atOnce runs fn in n goroutines and gives what they returned.
func atOnce[T any](n int, fn func(i int) (T, error)) ([]T, []error) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	results, errs := make([]T, n), make([]error, n)
	for i := range n {
		wg.Go(func() {
			<-start
			results[i], errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return results, errs
}

func newVolume(t *testing.T, db *store.Store, name string) *models.Operation {
	t.Helper()
	op, err := db.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "1"})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// madeVolume is a volume that is AVAILABLE.
func madeVolume(t *testing.T, db *store.Store, name string) string {
	t.Helper()
	id := newVolume(t, db, name).SubjectID
	op := claim(t, db)
	if op.SubjectID != id {
		t.Fatalf("claimed %s of %s", op.Kind, op.SubjectID)
	}
	finish(t, db, op, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1, BackendID: "b-" + id})
	return id
}

func claim(t *testing.T, db *store.Store) *models.Operation {
	t.Helper()
	op, err := db.Queue.Claim(t.Context(), "w-"+models.NewID(), time.Minute)
	if err != nil || op == nil {
		t.Fatalf("nothing claimed: %v", err)
	}
	return op
}

func noClaim(t *testing.T, db *store.Store, when string) {
	t.Helper()
	if op, err := db.Queue.Claim(t.Context(), "w", time.Minute); op != nil || err != nil {
		t.Fatalf("%s: claimed %+v, %v", when, op, err)
	}
}

func finish(t *testing.T, db *store.Store, op *models.Operation, state models.OperationState, o store.ObservedState) {
	t.Helper()
	if err := db.Queue.SaveProgress(t.Context(), op, store.Progress{State: state, Step: op.Steps, Percent: -1, Subject: &o}); err != nil {
		t.Fatal(err)
	}
}

func TestOneWinnerPerClaim(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		second := storetest.Second(t, db, clock.Now)
		asked := map[string]bool{}
		for i := range 12 {
			asked[newVolume(t, db, fmt.Sprintf("volume-%02d", i)).ID] = true
		}
		won, errs := atOnce(20, func(i int) (*models.Operation, error) {
			from := db
			if i%2 == 1 {
				from = second
			}
			return from.Queue.Claim(t.Context(), fmt.Sprintf("worker-%d", i), time.Minute)
		})
		claimed := map[string]bool{}
		for i, op := range won {
			if errs[i] != nil {
				t.Fatal(errs[i])
			}
			if op == nil {
				continue
			}
			if claimed[op.ID] || !asked[op.ID] || !op.First || op.LeaseOwner != fmt.Sprintf("worker-%d", i) {
				t.Errorf("%+v", op)
			}
			claimed[op.ID] = true
		}
		for len(claimed) < len(asked) { // on PostgreSQL a race may leave some behind, but none to two
			op := claim(t, db)
			if claimed[op.ID] {
				t.Fatalf("claimed twice: %+v", op)
			}
			claimed[op.ID] = true
		}
		noClaim(t, db, "after all")
	})
}

func TestALaneRunsInOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume, other := madeVolume(t, db, "lane-1"), madeVolume(t, db, "lane-2")
		var want []string
		for i := range 5 {
			op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: volume, Name: fmt.Sprintf("snap-%d", i)})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, op.ID)
		}
		if _, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: other, Name: "elsewhere"}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for range 5 {
			won, errs := atOnce(8, func(i int) (*models.Operation, error) { return db.Queue.Claim(ctx, fmt.Sprint("w", i), time.Minute) })
			var mine *models.Operation
			for i, op := range won {
				if errs[i] != nil {
					t.Fatal(errs[i])
				}
				if op == nil || op.Lane != volume {
					continue
				}
				if mine != nil {
					t.Fatalf("two of one lane: %s and %s", mine.ID, op.ID)
				}
				mine = op
			}
			if mine == nil {
				mine = claim(t, db)
			}
			// It is looked at several times; nobody else gets a turn in between.
			for range 2 {
				if err := db.Queue.SaveProgress(ctx, mine, store.Progress{State: models.Running, RunAt: clock.Now().Add(time.Second)}); err != nil {
					t.Fatal(err)
				}
				if next, err := db.Queue.NextDue(ctx); err != nil || next.Before(clock.Now()) {
					t.Errorf("next at %v, %v", next, err)
				}
				noClaim(t, db, "while the lane waits")
				clock.Add(2 * time.Second)
				mine = claim(t, db)
			}
			got = append(got, mine.ID)
			finish(t, db, mine, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		}
		if !slices.Equal(got, want) {
			t.Errorf("order %q, want %q", got, want)
		}
	})
}

// TestARetriedOperationWaitsForItsLane: it is older than what runs there now.
func TestARetriedOperationWaitsForItsLane(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume := madeVolume(t, db, "lane-1")
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
		noClaim(t, db, "while the second runs")
		finish(t, db, running, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		for _, want := range []string{first.ID, third.ID} {
			op := claim(t, db)
			if op.ID != want || !op.First {
				t.Fatalf("claimed %+v, want %s", op, want)
			}
			noClaim(t, db, "while one runs")
			finish(t, db, op, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1})
		}
	})
}

func TestLeasesRunOut(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		op := newVolume(t, db, "leased")
		dead := claim(t, db)
		clock.Add(50 * time.Second)
		if err := db.Queue.Heartbeat(ctx, dead, time.Minute); err != nil {
			t.Fatal(err)
		}
		clock.Add(50 * time.Second)
		noClaim(t, db, "within the prolonged lease")
		if next, err := db.Queue.NextDue(ctx); err != nil || !next.After(clock.Now()) || next.After(clock.Now().Add(time.Minute)) {
			t.Errorf("next at %v, %v", next, err)
		}
		clock.Add(11 * time.Second)
		alive := claim(t, db)
		if alive.ID != op.ID || alive.First || alive.StartedAt != dead.StartedAt {
			t.Fatalf("%+v", alive)
		}
		gone := store.Progress{State: models.Succeeded, Subject: &store.ObservedState{Status: models.Available, Percent: -1}}
		if err := db.Queue.SaveProgress(ctx, dead, gone); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("the dead one saved: %v", err)
		}
		if err := db.Queue.Heartbeat(ctx, dead, time.Minute); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("the dead one beats: %v", err)
		}
		if err := db.Queue.RecordCall(ctx, dead); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("the dead one calls: %v", err)
		}
		if err := db.Queue.ForgetCall(ctx, dead, 0); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("the dead one takes its call back: %v", err)
		}
		if row, err := db.Volumes.VolumeByID(ctx, op.SubjectID); err != nil || row.Status != models.Creating {
			t.Errorf("%+v, %v", row, err)
		}
		if err := db.Queue.SaveProgress(ctx, alive, gone); err != nil {
			t.Fatal(err)
		}
		if err := db.Queue.SaveProgress(ctx, alive, gone); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("saved after the end: %v", err)
		}
		if next, err := db.Queue.NextDue(ctx); err != nil || !next.IsZero() {
			t.Errorf("next at %v, %v", next, err)
		}
	})
}

func TestTheSameFormMakesOneObject(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		second := storetest.Second(t, db, clock.Now)
		for _, key := range []string{"a-key", "\x00\xff", string(make([]byte, 5000))} {
			ops, errs := atOnce(20, func(i int) (*models.Operation, error) {
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

// TestAFormAgainstAChangedRow: the second of two equal clicks finds the row changed
// by the first, and is answered with what that one did.
func TestAFormAgainstAChangedRow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volume := madeVolume(t, db, "deleted")
		ops, errs := atOnce(10, func(int) (*models.Operation, error) {
			return db.Volumes.DeleteVolume(t.Context(), storetest.Operator(), volume, "the form")
		})
		for i, op := range ops {
			if errs[i] != nil || op.ID != ops[0].ID {
				t.Errorf("%+v, %v", op, errs[i])
			}
		}
	})
}

func TestTwoWritersAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		second := storetest.Second(t, db, clock.Now)
		for range 5 {
			volume := madeVolume(t, db, "raced")
			_, errs := atOnce(2, func(i int) (*models.Operation, error) {
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

func TestRestoreAgainstDelete(t *testing.T) {
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
			_, errs := atOnce(2, func(i int) (*models.Operation, error) {
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

func TestTheLaterEditorIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume := madeVolume(t, db, "edited")
		row, err := db.Volumes.Volume(ctx, me, volume)
		if err != nil {
			t.Fatal(err)
		}
		_, errs := atOnce(5, func(i int) (*models.Operation, error) {
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
