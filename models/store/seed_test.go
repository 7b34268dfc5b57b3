package store_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestSeedSnapshots(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		storetest.SeedSnapshots(t, db, 250)
		checkCounters(t, db, "after seeding")
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Search: "0000250"})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].VolumeName != "volume-0000003" || page.Rows[0].VolumeGone {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: page.Rows[0].VolumeID, Name: "one-more"})
		if err != nil {
			t.Fatal(err)
		}
		checkCounters(t, db, "after one more")
		if n, err := db.Total(ctx, me, models.SubjectSnapshot); err != nil || n != 251 {
			t.Errorf("total %d, %v", n, err)
		}
		var triggers []string
		if !db.IsPostgres() {
			err := db.DB().Raw("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'snapshots'").Scan(&triggers).Error
			if err != nil || len(triggers) < 9 {
				t.Errorf("%d triggers are left, %v", len(triggers), err)
			}
		}
		if page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Search: "e-mo"}); err != nil || len(page.Rows) != 1 || page.Rows[0].ID != op.SubjectID {
			t.Errorf("%+v, %v", page.Rows, err)
		}
	})
}
