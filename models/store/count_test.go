package store_test

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// checkCounts compares every maintained count with what is counted.
func checkCounts(t *testing.T, db *store.Store, when string) {
	t.Helper()
	for what, query := range map[string]string{
		"total of volumes":   `SELECT count(*) FROM counters c WHERE kind = 'volume' AND n <> (SELECT count(*) FROM volumes v WHERE v.project_id = c.project_id)`,
		"total of snapshots": `SELECT count(*) FROM counters c WHERE kind = 'snapshot' AND n <> (SELECT count(*) FROM snapshots s WHERE s.project_id = c.project_id)`,
		"snapshot_count":     `SELECT count(*) FROM volumes v WHERE snapshot_count <> (SELECT count(*) FROM snapshots s WHERE s.volume_id = v.id)`,
		"attachment_count":   `SELECT count(*) FROM volumes v WHERE attachment_count <> (SELECT count(*) FROM attachments a WHERE a.volume_id = v.id)`,
		"orphan attachments": `SELECT count(*) FROM attachments WHERE volume_id NOT IN (SELECT id FROM volumes)`,
	} {
		var wrong int64
		if err := db.DB().Raw(query).Scan(&wrong).Error; err != nil {
			t.Fatal(err)
		}
		if wrong > 0 {
			t.Errorf("%s: %s is wrong in %d rows", when, what, wrong)
		}
	}
}

func TestCountsAreRightAfterAnything(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, random := t.Context(), rand.New(rand.NewPCG(5, 6))
		db.SetCapabilities(models.Capabilities{Shared: true, FreeBytes: -1})
		volumes, snapshots := fill(t, db, random, 60)
		checkCounts(t, db, "after many inserts")
		for round := range 10 {
			there := func(rows []listed, kind models.SubjectType) {
				seen := map[string]struct{}{}
				for _, r := range rows {
					if random.IntN(4) > 0 {
						seen[r.id] = struct{}{}
					}
				}
				if _, err := db.Sync.SyncMissing(ctx, kind, seen, clock.Now()); err != nil {
					t.Fatal(err)
				}
			}
			if round%2 == 0 {
				there(volumes, models.SubjectVolume)
			} else {
				there(snapshots, models.SubjectSnapshot)
			}
			more, moreSnapshots := fill(t, db, random, 10)
			volumes, snapshots = append(volumes, more...), append(snapshots, moreSnapshots...)
			attach(t, db, more[1].id, "server-9")
			attach(t, db, more[0].id, "server-9") // it was attached to another one
			checkCounts(t, db, "after a round")
		}
		if n, err := db.Total(ctx, storetest.Operator(), models.SubjectSnapshot); err != nil || n == 0 {
			t.Errorf("total %d, %v", n, err)
		}
	})
}

func TestSeededRowsAreLikeOthers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		storetest.SeedSnapshots(t, db, 250)
		checkCounts(t, db, "after seeding")
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Search: "0000250"})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].VolumeName != "volume-0000003" || page.Rows[0].VolumeGone {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: page.Rows[0].VolumeID, Name: "one-more"})
		if err != nil {
			t.Fatal(err)
		}
		checkCounts(t, db, "after one more")
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

func TestTheListShowsTheVolumeAsItIs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(models.Capabilities{Shared: true, FreeBytes: -1})
		storetest.SeedSnapshots(t, db, 3)
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
		if err != nil {
			t.Fatal(err)
		}
		id, volume := page.Rows[0].ID, page.Rows[0].VolumeID
		if _, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: volume, Name: "renamed"}); err != nil {
			t.Fatal(err)
		}
		check := func(want string, gone bool) {
			t.Helper()
			one, err := db.Snapshots.Snapshot(ctx, me, id)
			if err != nil {
				t.Fatal(err)
			}
			page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{VolumeID: volume})
			if err != nil || len(page.Rows) != 3 {
				t.Fatalf("%d rows, %v", len(page.Rows), err)
			}
			some, err := db.Snapshots.SnapshotsByID(ctx, []string{id})
			if err != nil || len(some) != 1 {
				t.Fatalf("%d rows, %v", len(some), err)
			}
			for _, row := range []models.Snapshot{*one, page.Rows[0], some[0]} {
				if row.VolumeName != want || row.VolumeGone != gone {
					t.Errorf("volume %q, gone %t; want %q, %t", row.VolumeName, row.VolumeGone, want, gone)
				}
			}
		}
		check("renamed", false)
		workThrough(t, db, clock)
		if n, err := db.Sync.SyncMissing(ctx, models.SubjectVolume, map[string]struct{}{}, clock.Now()); err != nil || n != 1 {
			t.Fatalf("%d missing, %v", n, err)
		}
		check("", true)
	})
}

func TestChangesTellWhatHappened(t *testing.T) {
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

// TestStatusIsAskedAgainInTheWhere lets the row change between the rules and the
// statement.
func TestStatusIsAskedAgainInTheWhere(t *testing.T) {
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
