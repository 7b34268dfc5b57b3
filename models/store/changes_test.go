package store_test

import (
	"slices"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestChanges(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		woken, end := db.Subscribe()
		defer end()
		op, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "1"})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-woken:
		default:
			t.Error("nobody was woken")
		}
		last, err := db.LastChange(ctx)
		if err != nil {
			t.Fatal(err)
		}
		changes, err := db.ChangesAfter(ctx, 0, 100)
		if err != nil || len(changes) != 2 || !changes[0].Inserted && !changes[1].Inserted || changes[1].Seq != last {
			t.Fatalf("%+v, %v", changes, err)
		}
		if _, err := db.Queue.CancelOperation(ctx, me, op.ID); err != nil {
			t.Fatal(err)
		}
		changes, err = db.ChangesAfter(ctx, last, 100)
		deleted := slices.ContainsFunc(changes, func(c models.Change) bool { return c.Deleted && c.Kind == models.SubjectVolume && c.ID == op.SubjectID })
		if err != nil || !deleted {
			t.Errorf("%+v, %v", changes, err)
		}
		<-woken
		if claimed, err := db.Queue.Claim(ctx, "w", 1); claimed != nil || err != nil {
			t.Errorf("%+v, %v", claimed, err)
		}
		select {
		case <-woken:
			t.Error("a look at an empty queue woke everybody")
		default:
		}
	})
}
