package store_test

import (
	"math/rand/v2"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// checkCounters compares every maintained counter with a count of the rows.
func checkCounters(t *testing.T, db *store.Store, when string) {
	t.Helper()
	for what, query := range map[string]string{
		"total of volumes":   `SELECT count(*) FROM counters c WHERE kind = 'volume' AND n <> (SELECT count(*) FROM volumes v WHERE v.project_id = c.project_id)`,
		"total of snapshots": `SELECT count(*) FROM counters c WHERE kind = 'snapshot' AND n <> (SELECT count(*) FROM snapshots s WHERE s.project_id = c.project_id)`,
		"snapshot_count":     `SELECT count(*) FROM volumes v WHERE snapshot_count <> (SELECT count(*) FROM snapshots s WHERE s.volume_id = v.id)`,
		"attachment_count":   `SELECT count(*) FROM volumes v WHERE attachment_count <> (SELECT count(*) FROM attachments a WHERE a.subject_id = v.id)`,
		"readers":            `SELECT count(*) FROM snapshots s WHERE attachment_count <> (SELECT count(*) FROM attachments a WHERE a.subject_id = s.id)`,
		"orphan attachments": `SELECT count(*) FROM attachments WHERE subject_id NOT IN (SELECT id FROM volumes) AND subject_id NOT IN (SELECT id FROM snapshots)`,
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

func TestCounters(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, random := t.Context(), rand.New(rand.NewPCG(5, 6))
		db.SetCapabilities(models.Capabilities{Shared: true, FreeBytes: -1, MaxSizeGiB: -1})
		volumes, snapshots := insertRandom(t, db, random, 60)
		checkCounters(t, db, "after many inserts")
		for round := range 10 {
			there := func(rows []testRow, kind models.SubjectType) {
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
			more, moreSnapshots := insertRandom(t, db, random, 10)
			volumes, snapshots = append(volumes, more...), append(snapshots, moreSnapshots...)
			attach(t, db, more[1].id, "server-9")
			attach(t, db, more[0].id, "server-9") // instead of the one before
			checkCounters(t, db, "after a round")
		}
		if n, err := db.Total(ctx, storetest.Operator(), models.SubjectSnapshot); err != nil || n == 0 {
			t.Errorf("total %d, %v", n, err)
		}
	})
}
