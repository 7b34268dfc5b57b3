package store_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

const (
	fewRows  = 1_000
	manyRows = 1_000_000
)

// BenchmarkListSnapshots reads pages of 50 by turns from a list of a thousand rows and from one
// of a million, and reports the ratio of the times. The goal is 1.3 at most for every sort and
// depth, without the page cache.
func BenchmarkListSnapshots(b *testing.B) {
	few, many := storetest.Open(b, nil), storetest.Open(b, nil)
	storetest.SeedSnapshots(b, few, fewRows)
	began := time.Now()
	storetest.SeedSnapshots(b, many, manyRows)
	b.Logf("a million rows in %v", time.Since(began).Round(time.Second))
	for _, sort := range snapshotSorts {
		for _, q := range []models.ListQuery{{}, {Status: models.Available}} {
			q.Sort, q.Size = sort, models.DefaultPageSize
			name := sort
			if q.Status != "" {
				name += "/" + string(q.Status)
			}
			b.Run(name+"/first", func(b *testing.B) { compare(b, few, many, func(*rand.Rand, int) models.ListQuery { return q }) })
			b.Run(name+"/deep", func(b *testing.B) {
				compare(b, few, many, func(random *rand.Rand, rows int) models.ListQuery {
					q.After = cursorAt(sort, random.IntN(rows*8/10)+rows/10)
					return q
				})
			})
		}
	}
	b.Run("search/0000777", func(b *testing.B) {
		compare(b, few, many, func(*rand.Rand, int) models.ListQuery {
			return models.ListQuery{Search: "0000777", Size: models.DefaultPageSize}
		})
	})
	b.Run("search/snap", func(b *testing.B) {
		compare(b, few, many, func(*rand.Rand, int) models.ListQuery {
			return models.ListQuery{Search: "snap", Size: models.DefaultPageSize}
		})
	})
	b.Run("search/77", func(b *testing.B) {
		compare(b, few, many, func(*rand.Rand, int) models.ListQuery {
			return models.ListQuery{Search: "77", Sort: "name", Size: models.DefaultPageSize}
		})
	})
}

// cursorAt is the cursor of the i-th seeded row.
func cursorAt(sort string, i int) string {
	key := map[string]string{
		"created_at": fmt.Sprint(1760000000000000 + i*1000000), "taken_at": fmt.Sprint(1760000000000000 + i*1000000), "name": fmt.Sprintf("snap-%07d", i), "size": fmt.Sprint(1 + i%10), "status": "AVAILABLE",
	}[strings.TrimPrefix(sort, "-")]
	return store.EncodeCursor(sort, key, fmt.Sprintf("0190000b-0000-7000-8000-%012x", i))
}

// compare reads by turns, so that noise affects both, and compares medians.
func compare(b *testing.B, few, many *store.Store, query func(random *rand.Rand, rows int) models.ListQuery) {
	random := rand.New(rand.NewPCG(7, 8))
	var took [2][]time.Duration
	read := func(db *store.Store, rows int) time.Duration {
		q := query(random, rows)
		db.ForgetPages()
		began := time.Now()
		page, err := db.Snapshots.ListSnapshots(b.Context(), storetest.Operator(), q)
		if err != nil || len(page.Rows) == 0 {
			b.Fatalf("%+v: %d rows, %v", q, len(page.Rows), err)
		}
		return time.Since(began)
	}
	for b.Loop() {
		took[0] = append(took[0], read(few, fewRows))
		took[1] = append(took[1], read(many, manyRows))
	}
	for i := range took {
		slices.Sort(took[i])
	}
	middle := func(i int) float64 { return float64(took[i][len(took[i])/2]) }
	b.ReportMetric(middle(1)/middle(0), "ratio")
	b.ReportMetric(middle(1)/1e6, "ms/page")
	b.ReportMetric(0, "ns/op")
}
