package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestClaim_OneWinner(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		second := storetest.Second(t, db, clock.Now)
		asked := map[string]bool{}
		for i := range 12 {
			asked[enqueueVolume(t, db, fmt.Sprintf("volume-%02d", i)).ID] = true
		}
		won, errs := concurrently(20, func(i int) (*models.Operation, error) {
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
		for len(claimed) < len(asked) { // on PostgreSQL concurrent claims may leave some unclaimed, but none claimed twice
			op := claim(t, db)
			if claimed[op.ID] {
				t.Fatalf("claimed twice: %+v", op)
			}
			claimed[op.ID] = true
		}
		wantNoClaim(t, db, "after all")
	})
}

func TestClaim_LaneOrder(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		volume, other := createVolume(t, db, "lane-1"), createVolume(t, db, "lane-2")
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
			won, errs := concurrently(8, func(i int) (*models.Operation, error) { return db.Queue.Claim(ctx, fmt.Sprint("w", i), time.Minute) })
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
			// It is reconciled several times; no other operation of the lane is claimed meanwhile.
			for range 2 {
				if err := db.Queue.SaveProgress(ctx, mine, store.Progress{State: models.Running, RunAt: clock.Now().Add(time.Second)}); err != nil {
					t.Fatal(err)
				}
				if next, err := db.Queue.NextDue(ctx); err != nil || next.Before(clock.Now()) {
					t.Errorf("next at %v, %v", next, err)
				}
				wantNoClaim(t, db, "while the lane waits")
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

func TestLease_Expires(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		op := enqueueVolume(t, db, "leased")
		dead := claim(t, db)
		clock.Add(50 * time.Second)
		if err := db.Queue.Heartbeat(ctx, dead, time.Minute); err != nil {
			t.Fatal(err)
		}
		clock.Add(50 * time.Second)
		wantNoClaim(t, db, "within the prolonged lease")
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
