package store_test

import (
	"context"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestAClickIsADurableOperation(t *testing.T) {
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
