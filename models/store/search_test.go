package store_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

var searches = append([]string{
	"a", "A", "n", "nn", "nnn", strings.Repeat("N", 250), "\uac00", "\uac00\uac00", "\uac00\uac00\uac00", "\uc2a4\ub0c5", "\ub0c5\uc0f7", "\uc2a4\ub0c5\uc0f7", "\ud130 \uc2a4",
	"\u00e9", "\u00c9", "\u00c9T\u00c9", "\u00e9t\u00e9", "i\u0307st", "\u0130S", "\u03c3", "\u03c2", "\u03a3", "\u03b4\u03cc\u03c3", "k", "\u212a", "ss", "\u00df", "\U0001F4BE", "\u200d", "\U0001F468\u200d",
	"0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "0190AAAA-bbbb-7ccc-8ddd-eeeeeeeeeeee", "pvc-", " ", "  ", "   ", "spaces  ", "\x1f", "b\tc", "script>", "zzz", "qq",
}, hostileTexts...)

func TestSearch_Substring(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volumes, snapshots := insertRandom(t, db, rand.New(rand.NewPCG(3, 4)), 120)
		for _, text := range append(sampled(searches), snapshots[5].id, strings.ToUpper(snapshots[6].id), snapshots[7].backendID, volumes[8].id) {
			clean := strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\ufffd"), "\ufffd")
			q := models.ListQuery{Search: text, Sort: "name", Size: 200}
			wantPages(t, snapshotPager(t, db), q, reference(snapshots, models.ListQuery{Search: clean, Sort: "name"}))
			wantPages(t, volumePager(t, db), q, reference(volumes, models.ListQuery{Search: clean, Sort: "name"}))
		}
	})
}

// TestSearch_CommonText searches for texts that are part of more than CountLimit names.
func TestSearch_CommonText(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		const n = 1200
		storetest.SeedSnapshots(t, db, n)
		var rows []testRow
		for last := (models.ListQuery{Sort: "created_at", Size: 200}); ; {
			page, err := db.Snapshots.ListSnapshots(t.Context(), storetest.Operator(), last)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Rows {
				rows = append(rows, testRow{r.ID, r.BackendID, r.Name, r.VolumeID, "", r.Status, r.SizeGiB, r.CreatedAt, r.TakenAt})
			}
			if last.After = page.Next; page.Next == "" {
				break
			}
		}
		if len(rows) != n {
			t.Fatalf("%d rows", len(rows))
		}
		for _, q := range []models.ListQuery{
			{Search: "snap"}, {Search: "SN"}, {Search: "s"}, {Search: "00"}, {Search: "snap-00001"}, {Search: "snap", Status: models.ErrorStatus},
			{Search: "snap", VolumeID: rows[150].volume}, {Search: "0", VolumeID: rows[150].volume, Status: models.Available},
		} {
			for _, sort := range sampled(snapshotSorts) {
				q.Sort, q.Size = sort, 200
				wantPages(t, snapshotPager(t, db), q, reference(rows, q))
			}
			want := min(len(reference(rows, q)), models.CountLimit+1)
			if found, err := db.CountMatching(t.Context(), storetest.Operator(), models.SubjectSnapshot, q); err != nil || int(found) != want {
				t.Errorf("%+v: found %d, want %d, %v", q, found, want, err)
			}
		}
	})
}

// TestFoldName_SameOnPostgres compares the folding of every letter.
func TestFoldName_SameOnPostgres(t *testing.T) {
	t.Parallel()
	db := storetest.OpenPostgres(t, nil)
	var rows []struct{ Letter, Folded string }
	err := db.DB().Raw("SELECT chr(i) AS letter, fold_name(chr(i)) AS folded FROM generate_series(1, 66000) AS i WHERE i NOT BETWEEN 55296 AND 57343").Scan(&rows).Error
	if err != nil {
		t.Fatal(err)
	}
	differ := 0
	for _, r := range rows {
		if store.FoldName(r.Letter) != r.Folded {
			differ++
			t.Logf("%+q: %+q, PostgreSQL %+q", r.Letter, store.FoldName(r.Letter), r.Folded)
		}
	}
	if differ > 20 { // letters of newer versions of Unicode
		t.Errorf("%d letters fold differently", differ)
	}
}
