package store_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// testRow is a row of the reference implementation.
type testRow struct {
	id, backendID, name, volume, server string
	status                              models.Status
	size                                int
	created, taken                      int64
}

var hostileNames = []string{
	"", "data", "DATA", "Data-1", "data", `"quoted"`, `it's`, `100%`, `a_b`, `back\slash`, `%`, `_`, `\`, `--`, `*`, "snap OR snap", "NEAR(x)", "name:x",
	"\U0001F4BE\U0001F468\u200d\U0001F469\u200d\U0001F467", "\uc2a4\ub0c5\uc0f7", "\ub370\uc774\ud130 \uc2a4\ub0c5\uc0f7", "\u00c9t\u00e9", "\u00e9T\u00c9", "\u0130stanbul",
	"\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03cc\u03c2", "\u017f\u212a", "STRASSE \u00df", strings.Repeat("n", 255), strings.Repeat("\uac00", 255), "a\nb\tc", "  spaces  ", "\u202ertl",
	"<script>alert(1)</script>", "=1+1", "pvc-0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "\x1funit", "\ufffd", "xx", "x", "nul\x00nul",
}

var sorts = []string{"created_at", "-created_at", "name", "-name", "size", "-size", "status", "-status"}

// snapshotSorts are those of the list of Block Snapshots.
var snapshotSorts = append(slices.Clone(sorts), "taken_at", "-taken_at")

// sampled returns all, or every third under the race detector.
func sampled[T any](all []T) []T {
	if !slow {
		return all
	}
	var few []T
	for i := 0; i < len(all); i += 3 {
		few = append(few, all[i])
	}
	return few
}

// insertRandom inserts n random rows of each kind, many with equal sort keys, and returns them.
func insertRandom(t *testing.T, db *store.Store, random *rand.Rand, n int) (volumes, snapshots []testRow) {
	t.Helper()
	statuses := []models.Status{models.Available, models.Available, models.ErrorStatus, models.Creating, "AWAITING-TRANSFER"}
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	row := func(i int) store.ObservedObject {
		return store.ObservedObject{
			ID: models.NewID(), BackendID: fmt.Sprintf("%08x-fa4e-4000-8000-%012x", random.Uint32(), i), Project: models.DefaultProject,
			Name: hostileNames[random.IntN(len(hostileNames))], SizeGiB: 1 + random.IntN(4), CreatedAt: begin.Add(time.Duration(random.IntN(20)) * time.Hour),
			ObservedState: store.ObservedState{Status: statuses[random.IntN(len(statuses))], Percent: -1},
		}
	}
	want := func(m store.ObservedObject) testRow {
		return testRow{m.ID, m.BackendID, strings.ReplaceAll(m.Name, "\x00", ""), "", "", m.Status, m.SizeGiB, models.Micros(m.CreatedAt), 0}
	}
	var pages [2][]store.ObservedObject
	for i := range n {
		m := row(i)
		l := want(m)
		if i%5 == 0 {
			l.server = fmt.Sprintf("server-%d", i%3)
			m.Attachments = &[]backend.Attachment{{ServerID: l.server, ServerName: "name of " + l.server}}
		}
		volumes, pages[0] = append(volumes, l), append(pages[0], m)
	}
	for i := range n {
		m := row(n + i)
		l := want(m)
		if i%4 > 0 { // the others are not taken yet
			l.taken = models.Micros(begin.Add(time.Duration(random.IntN(20)) * time.Minute))
			m.TakenAt = &l.taken
		}
		if i%3 == 0 {
			l.volume = volumes[random.IntN(3)].id
			m.Source = l.volume
		}
		if i%6 == 0 {
			l.server = fmt.Sprintf("server-%d", random.IntN(3))
			m.Attachments = &[]backend.Attachment{{ServerID: l.server, ServerName: "name of " + l.server}}
		}
		snapshots, pages[1] = append(snapshots, l), append(pages[1], m)
	}
	for i, save := range []func() ([]string, error){
		func() ([]string, error) { return db.Sync.UpsertVolumes(t.Context(), pages[0], db.Now()) },
		func() ([]string, error) { return db.Sync.UpsertSnapshots(t.Context(), pages[1], db.Now()) },
	} {
		if seen, err := save(); err != nil || len(seen) != n {
			t.Fatalf("page %d: %d seen, %v", i, len(seen), err)
		}
	}
	return volumes, snapshots
}

// reference filters and sorts rows without a database.
func reference(rows []testRow, q models.ListQuery) []string {
	fold := store.FoldName
	matching := slices.DeleteFunc(slices.Clone(rows), func(r testRow) bool {
		found := strings.Contains(fold(r.name), fold(q.Search)) || strings.EqualFold(r.id, q.Search) || strings.EqualFold(r.backendID, q.Search)
		return q.Search != "" && !found || q.Status != "" && r.status != q.Status || q.VolumeID != "" && r.volume != q.VolumeID || q.ServerID != "" && r.server != q.ServerID
	})
	slices.SortFunc(matching, func(a, b testRow) int {
		order := 0
		switch strings.TrimPrefix(q.Sort, "-") {
		case "taken_at":
			order = cmp.Compare(a.taken, b.taken)
		case "created_at":
			order = cmp.Compare(a.created, b.created)
		case "name":
			order = cmp.Compare(a.name, b.name)
		case "size":
			order = cmp.Compare(a.size, b.size)
		case "status":
			order = cmp.Compare(a.status, b.status)
		}
		if order == 0 {
			order = cmp.Compare(a.id, b.id)
		}
		if strings.HasPrefix(q.Sort, "-") {
			return -order
		}
		return order
	})
	var ids []string
	for _, r := range matching {
		ids = append(ids, r.id)
	}
	return ids
}

// pager reads a page of a list as ids.
type pager func(q models.ListQuery) (ids []string, next, previous string, err error)

func pagerOf[T any](read func(q models.ListQuery) (models.Page[T], error), id func(T) string) pager {
	return func(q models.ListQuery) ([]string, string, string, error) {
		page, err := read(q)
		var ids []string
		for _, r := range page.Rows {
			ids = append(ids, id(r))
		}
		return ids, page.Next, page.Previous, err
	}
}

func snapshotPager(t *testing.T, db *store.Store) pager {
	return pagerOf(func(q models.ListQuery) (models.Page[models.Snapshot], error) {
		return db.Snapshots.ListSnapshots(t.Context(), storetest.Operator(), q)
	}, func(r models.Snapshot) string { return r.ID })
}

func volumePager(t *testing.T, db *store.Store) pager {
	return pagerOf(func(q models.ListQuery) (models.Page[models.Volume], error) {
		return db.Volumes.ListVolumes(t.Context(), storetest.Operator(), q)
	}, func(r models.Volume) string { return r.ID })
}

// wantPages reads the list to its end and back, and expects the ids want both times.
func wantPages(t *testing.T, read pager, q models.ListQuery, want []string) {
	t.Helper()
	var forward []string
	var pages [][]string
	for {
		ids, next, previous, err := read(q)
		if err != nil {
			t.Errorf("%+v: %v", q, err)
			return
		}
		if (previous == "") != (len(pages) == 0) || len(forward) > len(want) {
			t.Errorf("%+v: page %d has the previous %q, %d rows so far of %d", q, len(pages), previous, len(forward), len(want))
			return
		}
		forward, pages = append(forward, ids...), append(pages, ids)
		if next == "" {
			q.After, q.Before = "", previous
			break
		}
		q.After = next
	}
	if !slices.Equal(forward, want) {
		t.Errorf("%+v: got %d rows, want %d:\n%q\n%q", q, len(forward), len(want), forward, want)
		return
	}
	for i := len(pages) - 2; i >= 0; i-- {
		ids, next, previous, err := read(q)
		if err != nil || !slices.Equal(ids, pages[i]) || next == "" || (previous == "") != (i == 0) {
			t.Errorf("%+v: back on page %d: %q, want %q; next %q, previous %q, %v", q, i, ids, pages[i], next, previous, err)
			return
		}
		q.Before = previous
	}
}

func TestList_SortAndFilter(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volumes, snapshots := insertRandom(t, db, rand.New(rand.NewPCG(1, 2)), 120)
		ctx, me := t.Context(), storetest.Operator()
		for _, filter := range []models.ListQuery{
			{}, {Status: models.Available}, {Status: models.ErrorStatus}, {Status: "NONE"}, {Search: "da"}, {Search: "ata", Status: models.Available},
			{VolumeID: volumes[0].id, ServerID: "server-0"}, {VolumeID: volumes[1].id, ServerID: "server-1", Search: "a"},
			{VolumeID: volumes[2].id, ServerID: "server-2", Status: models.Available, Search: "nnn"}, {ServerID: "server-1"}, {VolumeID: volumes[0].id},
		} {
			ofVolumes, ofSnapshots := filter, filter
			ofVolumes.VolumeID = "" // which only the other list has
			for _, sort := range sampled(snapshotSorts) {
				for _, size := range sampled([]int{40, 7, 200}) {
					filter.Sort, filter.Size, ofVolumes.Sort, ofSnapshots.Sort = sort, size, sort, sort
					if slices.Contains(sorts, sort) {
						wantPages(t, volumePager(t, db), filter, reference(volumes, ofVolumes))
					}
					wantPages(t, snapshotPager(t, db), filter, reference(snapshots, ofSnapshots))
				}
			}
			n, err := db.CountMatching(ctx, me, models.SubjectSnapshot, filter)
			if want := len(reference(snapshots, ofSnapshots)); err != nil || int(n) != want {
				t.Errorf("%+v: found %d, want %d, %v", filter, n, want, err)
			}
		}
	})
}

func TestList_LastPageDeleted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		storetest.SeedSnapshots(t, db, 45)
		second, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Sort: "name", Size: 20})
		if err != nil {
			t.Fatal(err)
		}
		third, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Sort: "name", Size: 20, After: second.Next})
		if err != nil {
			t.Fatal(err)
		}
		last := models.ListQuery{Sort: "name", Size: 20, After: third.Next}
		page, err := db.Snapshots.ListSnapshots(ctx, me, last)
		if err != nil || len(page.Rows) != 5 {
			t.Fatalf("%d rows, %v", len(page.Rows), err)
		}
		for _, row := range page.Rows {
			if err := db.DB().Delete(&row).Error; err != nil {
				t.Fatal(err)
			}
		}
		page, err = db.Snapshots.ListSnapshots(ctx, me, last)
		if err != nil || len(page.Rows) != 20 || page.Rows[0].Name != "snap-0000021" || page.Next != "" || page.Previous == "" {
			t.Errorf("%d rows, next %q, previous %q, %v", len(page.Rows), page.Next, page.Previous, err)
		}
		if page.Previous == "" {
			return
		}
		first, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{Sort: "name", Size: 20, Before: page.Previous})
		if err != nil || len(first.Rows) != 20 || first.Rows[0].Name != "snap-0000001" || first.Previous != "" || first.Next == "" {
			t.Errorf("the page before: %d rows, previous %q, %v", len(first.Rows), first.Previous, err)
		}
	})
}

func TestListSnapshots_VolumeName(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(models.Capabilities{Shared: true, FreeBytes: -1, MaxSizeGiB: -1})
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
		failAll(t, db, clock)
		if n, err := db.Sync.SyncMissing(ctx, models.SubjectVolume, map[string]struct{}{}, clock.Now()); err != nil || n != 1 {
			t.Fatalf("%d missing, %v", n, err)
		}
		check("", true)
	})
}

// FuzzListQuery expects rows or ErrCursor for any query string.
func FuzzListQuery(f *testing.F) {
	db := storetest.Open(f, nil)
	storetest.SeedSnapshots(f, db, 30)
	fuzzListQuery(f, db)
}

func fuzzListQuery(f *testing.F, db *store.Store) {
	for _, c := range hostileTexts {
		f.Add(c, c, c, c, "name", store.EncodeCursor("name", c, c), "")
		f.Add(c, "AVAILABLE", "", "", c, "", c)
	}
	f.Add("snap", "", "", "", "-size", store.EncodeCursor("-size", "99999999999", "x"), "")
	f.Add("snap", "", "", "", "-size", "", store.EncodeCursor("-size", "3", "x"))
	f.Fuzz(func(t *testing.T, search, status, volume, server, sort, after, before string) {
		queryAny(t, db, models.ListQuery{Search: search, Status: models.Status(status), VolumeID: volume, ServerID: server, Sort: sort, After: after, Before: before})
	})
}

// TestList_HostileQueriesPostgres runs the seeds of FuzzListQuery on PostgreSQL.
func TestList_HostileQueriesPostgres(t *testing.T) {
	t.Parallel()
	db := storetest.OpenPostgres(t, nil)
	storetest.SeedSnapshots(t, db, 30)
	for _, c := range sampled(hostileTexts) {
		for _, sort := range []string{"name", "-size"} {
			normal, _ := models.ParseSort(models.SubjectSnapshot, sort)
			queryAny(t, db, models.ListQuery{Search: c, Status: models.Status(c), VolumeID: c, ServerID: c, Sort: sort, After: store.EncodeCursor(normal, c, c)})
			queryAny(t, db, models.ListQuery{Search: c, Sort: sort, Before: store.EncodeCursor(normal, "99999999999", c)})
			queryAny(t, db, models.ListQuery{Sort: sort, After: c})
		}
	}
}

var hostileTexts = []string{
	"", "a", "ab", "snap", `"`, `""`, `'`, `%`, `_`, `\`, `*`, `^`, `-`, `--`, `a*`, `a OR b`, `NEAR(a b)`, `name:x`, `{name}:x`, `(`, "\x00", "a\x00bc", "\xff",
	"\xff\xfe\xfd", "\U0001F4BE", "\uac00", "\uac00\ub098\ub2e4", "\u0130", "\u03c2", "\ufffd", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "AVAILABLE", "1; DROP TABLE volumes", "$1", "?",
	"\u00e9\u0301", "\ud7a3\u1160", "    ", "\t\n", "12345678901234567890",
}

func queryAny(t *testing.T, db *store.Store, q models.ListQuery) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	_, err := db.Snapshots.ListSnapshots(ctx, me, q)
	if err != nil && !errors.Is(err, models.ErrCursor) {
		t.Errorf("snapshots %+v: %v", q, err)
	}
	if _, err := db.Volumes.ListVolumes(ctx, me, q); err != nil && !errors.Is(err, models.ErrCursor) {
		t.Errorf("volumes %+v: %v", q, err)
	}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		if _, err := db.CountMatching(ctx, me, kind, q); err != nil {
			t.Errorf("found %+v: %v", q, err)
		}
		if _, err := db.NameTaken(ctx, me, kind, q.Search, q.VolumeID); err != nil {
			t.Errorf("name taken %+v: %v", q, err)
		}
	}
	findAny(t, db, q.Search)
	findAny(t, db, q.VolumeID)
}

// findAny finds objects by any text in place of an id.
func findAny(t *testing.T, db *store.Store, id string) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	_, errVolume := db.Volumes.Volume(ctx, me, id)
	_, errSnapshot := db.Snapshots.Snapshot(ctx, me, id)
	_, errOperation := db.Queue.Operation(ctx, me, id)
	_, errServer := db.Servers.Server(ctx, me, id)
	_, errEdit := db.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: id, Name: "renamed", FormKey: id})
	for what, err := range map[string]error{"volume": errVolume, "snapshot": errSnapshot, "operation": errOperation, "server": errServer, "edit": errEdit} {
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			t.Errorf("%s %+q: %v", what, id, err)
		}
	}
}
