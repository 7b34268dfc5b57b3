package store_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// TestPageCache_NeverStale changes rows of a cached page, and other rows that the page shows.
func TestPageCache_NeverStale(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		if _, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "3"}); err != nil {
			t.Fatal(err)
		}
		list := func() models.Volume {
			t.Helper()
			page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Sort: models.DefaultSort, Size: 20})
			if err != nil || len(page.Rows) != 1 {
				t.Fatalf("list: %+v %v", page, err)
			}
			return page.Rows[0]
		}
		list()
		attach := func(server string) {
			t.Helper()
			op, err := db.Queue.Claim(ctx, "w", time.Minute)
			if err != nil || op == nil {
				t.Fatalf("claim: %v %v", op, err)
			}
			err = db.Queue.SaveProgress(ctx, op, store.Progress{State: models.Running, Subject: &store.ObservedState{Status: models.InUse, Percent: -1,
				Attachments: &[]backend.Attachment{{ServerID: "s1", ServerName: server, AttachedAt: 1}}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		attach("web-01")
		if v := list(); v.Status != models.InUse || len(v.Attachments) != 1 || v.Attachments[0].ServerName != "web-01" {
			t.Fatalf("after attaching: %+v", v)
		}
		attach("web-renamed")
		if v := list(); v.Attachments[0].ServerName != "web-renamed" {
			t.Fatalf("after the server's renaming: %+v", v.Attachments)
		}
		op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: list().ID, Name: "snap-1", Acknowledge: true})
		if err != nil {
			t.Fatal(err)
		}
		if v := list(); v.SnapshotCount != 1 {
			t.Fatalf("after a snapshot: %d", v.SnapshotCount)
		}
		snapshots := func() models.Snapshot {
			t.Helper()
			page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Sort: models.DefaultSort, Size: 20})
			if err != nil || len(page.Rows) != 1 {
				t.Fatalf("list: %+v %v", page, err)
			}
			return page.Rows[0]
		}
		snapshots()
		if _, err := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: list().ID, Name: "renamed"}); err != nil {
			t.Fatal(err)
		}
		if s := snapshots(); s.ID != op.SubjectID || s.VolumeName != "renamed" {
			t.Fatalf("after the volume's renaming: %+v", s)
		}
	})
}

// TestPageCache_AsOf expects no page from before ListQuery.AsOf, and that no older page replaces
// a newer one.
func TestPageCache_AsOf(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		created := func(name string) (asOf int64) {
			t.Helper()
			if _, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: name, Size: "1"}); err != nil {
				t.Fatal(err)
			}
			facts, err := db.ListSummary(ctx, me, models.SubjectVolume)
			if err != nil {
				t.Fatal(err)
			}
			return facts.LastChange
		}
		rows := func(asOf int64) int {
			t.Helper()
			page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Sort: models.DefaultSort, Size: 20, AsOf: asOf})
			if err != nil {
				t.Fatal(err)
			}
			return len(page.Rows)
		}
		before := created("data-1")
		if n := rows(before); n != 1 {
			t.Fatalf("%d rows", n)
		}
		after := created("data-2")
		if n := rows(after); n != 2 {
			t.Errorf("as of the newest change: %d rows", n)
		}
		rows(before)
		if n := rows(after); n != 2 {
			t.Errorf("after somebody asked for an older moment: %d rows", n)
		}
		if n := rows(0); n != 2 {
			t.Errorf("without knowing: %d rows", n)
		}
	})
}
