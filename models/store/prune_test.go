package store_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// TestPrune_OldRows expects that operations and audit entries stay until their time is over, and
// those that have not ended for ever.
func TestPrune_OldRows(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		count := func(where string) (n int64) {
			t.Helper()
			must(t, db.DB().Raw("SELECT count(*) FROM "+where).Scan(&n).Error)
			return n
		}
		// The oldest one has not ended.
		waiting, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "waits", Size: "1"})
		must(t, err)
		start := models.Micros(clock.Now())
		must(t, db.DB().Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
			INSERT INTO operations (id, project_id, kind, subject_type, subject_id, lane, state, run_at, asked_at, finished_at)
			SELECT 'old-' || i, ?, 'volume.edit', 'volume', 'v', 'v', CASE i % 3 WHEN 0 THEN 'FAILED' WHEN 1 THEN 'CANCELLED' ELSE 'SUCCEEDED' END, ?, ?, ? FROM n`,
			models.DefaultProject, start, start, start).Error)
		must(t, db.DB().Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 600)
			INSERT INTO audit (at, project_id, user_name, action) SELECT ?, ?, 'kim', 'login' FROM n`, start, models.DefaultProject).Error)
		lines := count("audit")

		clock.Add(store.OperationsKept - time.Minute)
		must(t, db.Prune(ctx))
		if n := count("operations"); n != 1201 {
			t.Fatalf("%d operations on the last day", n)
		}
		later, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "later", Size: "1"})
		must(t, err)
		clock.Add(2 * time.Minute)
		must(t, db.Prune(ctx))
		for _, op := range []*models.Operation{waiting, later} {
			if now, err := db.Queue.Operation(ctx, me, op.ID); err != nil || now.Finished() {
				t.Errorf("%s: %+v, %v", op.SubjectName, now, err)
			}
		}
		if n := count("operations"); n != 2 {
			t.Errorf("%d operations are left", n)
		}
		if n := count("audit"); n != lines+1 {
			t.Errorf("%d audit lines after the operations went, want %d", n, lines+1)
		}

		clock.Add(store.AuditKept - store.OperationsKept)
		must(t, db.Prune(ctx))
		if n := count("audit"); n != 1 {
			t.Errorf("%d audit lines are left, want the one of the later click", n)
		}
		if n := count("operations WHERE finished_at = 0"); n != 2 {
			t.Errorf("%d operations still wait", n)
		}
	})
}

// TestPrune_Batches expects that one call deletes a limited number of rows.
func TestPrune_Batches(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		must(t, db.DB().Exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
			INSERT INTO audit (at, project_id, user_name, action) SELECT ?, 'p', 'kim', 'login' FROM n`, models.Micros(clock.Now())).Error)
		clock.Add(store.AuditKept + time.Second)
		for _, want := range []int64{1, 0} {
			must(t, db.Prune(t.Context()))
			var n int64
			must(t, db.DB().Raw("SELECT count(*) FROM audit").Scan(&n).Error)
			if n != want {
				t.Errorf("%d lines are left, want %d", n, want)
			}
		}
	})
}
