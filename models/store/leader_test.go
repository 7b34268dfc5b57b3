package store_test

import (
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// TestReleaseLeases expects that the operations of a dead console can be claimed at once, and
// that their former leases are lost.
func TestReleaseLeases(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx := t.Context()
		asked, err := db.Volumes.CreateVolume(ctx, storetest.Operator(), models.VolumeInput{Name: "vol-1", Size: "1"})
		if err != nil {
			t.Fatal(err)
		}
		dead, err := db.Queue.Claim(ctx, "dead", time.Hour)
		if err != nil || dead == nil {
			t.Fatalf("claimed %v, %v", dead, err)
		}
		if other, err := db.Queue.Claim(ctx, "alive", time.Hour); err != nil || other != nil {
			t.Fatalf("a leased operation was claimed: %v, %v", other, err)
		}
		if err := db.ReleaseLeases(ctx); err != nil {
			t.Fatal(err)
		}
		alive, err := db.Queue.Claim(ctx, "alive", time.Hour)
		if err != nil || alive == nil || alive.ID != asked.ID || alive.First {
			t.Fatalf("claimed %+v, %v", alive, err)
		}
		if err := db.Queue.Heartbeat(ctx, dead, time.Hour); !errors.Is(err, models.ErrLeaseLost) {
			t.Errorf("the dead console's lease: %v", err)
		}
	})
}
