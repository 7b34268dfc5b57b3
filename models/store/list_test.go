package store_test

import (
	"cmp"
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

// fromListing is a row of a list as a naive program would keep it.
type listed struct {
	id, backendID, name, volume, server string
	status                              models.Status
	size                                int
	created                             int64
}

var hostileNames = []string{
	"", "data", "DATA", "Data-1", "data", `"quoted"`, `it's`, `100%`, `a_b`, `back\slash`, `%`, `_`, `\`, `--`, `*`, "snap OR snap", "NEAR(x)", "name:x",
	"\U0001F4BE\U0001F468\u200d\U0001F469\u200d\U0001F467", "\uc2a4\ub0c5\uc0f7", "\ub370\uc774\ud130 \uc2a4\ub0c5\uc0f7", "\u00c9t\u00e9", "\u00e9T\u00c9", "\u0130stanbul",
	"\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03cc\u03c2", "\u017f\u212a", "STRASSE \u00df", strings.Repeat("n", 255), strings.Repeat("\uac00", 255), "a\nb\tc", "  spaces  ", "\u202ertl",
	"<script>alert(1)</script>", "=1+1", "pvc-0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "\x1funit", "\ufffd", "xx", "x", "nul\x00nul",
}

var sorts = []string{"created_at", "-created_at", "name", "-name", "size", "-size", "status", "-status"}

// some is all of them, or every third when everything is slow.
func some[T any](all []T) []T {
	if !slow {
		return all
	}
	var few []T
	for i := 0; i < len(all); i += 3 {
		few = append(few, all[i])
	}
	return few
}

// fill writes n random rows of each kind, many with equal keys, and returns what
// was written.
func fill(t *testing.T, db *store.Store, random *rand.Rand, n int) (volumes, snapshots []listed) {
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
	want := func(m store.ObservedObject) listed {
		return listed{m.ID, m.BackendID, strings.ReplaceAll(m.Name, "\x00", ""), "", "", m.Status, m.SizeGiB, models.Micros(m.CreatedAt)}
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
		if i%3 == 0 {
			l.volume = volumes[random.IntN(3)].id
			m.Source = l.volume
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

// naive is what a list must give: rows that match, in order.
func naive(rows []listed, q models.ListQuery) []string {
	fold := store.FoldName
	matching := slices.DeleteFunc(slices.Clone(rows), func(r listed) bool {
		found := strings.Contains(fold(r.name), fold(q.Search)) || strings.EqualFold(r.id, q.Search) || strings.EqualFold(r.backendID, q.Search)
		return q.Search != "" && !found || q.Status != "" && r.status != q.Status || q.VolumeID != "" && r.volume != q.VolumeID || q.ServerID != "" && r.server != q.ServerID
	})
	slices.SortFunc(matching, func(a, b listed) int {
		order := 0
		switch strings.TrimPrefix(q.Sort, "-") {
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

// pager reads one page of a list as ids.
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

// walk goes through the list to its end and back, and expects want both times.
func walk(t *testing.T, read pager, q models.ListQuery, want []string) {
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

func TestListsAreWhatANaiveSortGives(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volumes, snapshots := fill(t, db, rand.New(rand.NewPCG(1, 2)), 120)
		ctx, me := t.Context(), storetest.Operator()
		for _, filter := range []models.ListQuery{
			{}, {Status: models.Available}, {Status: models.ErrorStatus}, {Status: "NONE"}, {Search: "da"}, {Search: "ata", Status: models.Available},
			{VolumeID: volumes[0].id, ServerID: "server-0"}, {VolumeID: volumes[1].id, ServerID: "server-1", Search: "a"},
			{VolumeID: volumes[2].id, ServerID: "server-2", Status: models.Available, Search: "nnn"},
		} {
			ofVolumes, ofSnapshots := filter, filter
			ofVolumes.VolumeID, ofSnapshots.ServerID = "", "" // either list knows one of the two
			for _, sort := range some(sorts) {
				for _, size := range some([]int{40, 7, 200}) {
					filter.Sort, filter.Size, ofVolumes.Sort, ofSnapshots.Sort = sort, size, sort, sort
					walk(t, volumePager(t, db), filter, naive(volumes, ofVolumes))
					walk(t, snapshotPager(t, db), filter, naive(snapshots, ofSnapshots))
				}
			}
			n, err := db.CountMatching(ctx, me, models.SubjectSnapshot, filter)
			if want := len(naive(snapshots, ofSnapshots)); err != nil || int(n) != want {
				t.Errorf("%+v: found %d, want %d, %v", filter, n, want, err)
			}
		}
	})
}

var searches = append([]string{
	"a", "A", "n", "nn", "nnn", strings.Repeat("N", 250), "\uac00", "\uac00\uac00", "\uac00\uac00\uac00", "\uc2a4\ub0c5", "\ub0c5\uc0f7", "\uc2a4\ub0c5\uc0f7", "\ud130 \uc2a4",
	"\u00e9", "\u00c9", "\u00c9T\u00c9", "\u00e9t\u00e9", "i\u0307st", "\u0130S", "\u03c3", "\u03c2", "\u03a3", "\u03b4\u03cc\u03c3", "k", "\u212a", "ss", "\u00df", "\U0001F4BE", "\u200d", "\U0001F468\u200d",
	"0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "0190AAAA-bbbb-7ccc-8ddd-eeeeeeeeeeee", "pvc-", " ", "  ", "   ", "spaces  ", "\x1f", "b\tc", "script>", "zzz", "qq",
}, hostileTexts...)

func TestSearchIsNaiveSubstring(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		volumes, snapshots := fill(t, db, rand.New(rand.NewPCG(3, 4)), 120)
		for _, text := range append(some(searches), snapshots[5].id, strings.ToUpper(snapshots[6].id), snapshots[7].backendID, volumes[8].id) {
			clean := strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\ufffd"), "\ufffd")
			q := models.ListQuery{Search: text, Sort: "name", Size: 200}
			walk(t, snapshotPager(t, db), q, naive(snapshots, models.ListQuery{Search: clean, Sort: "name"}))
			walk(t, volumePager(t, db), q, naive(volumes, models.ListQuery{Search: clean, Sort: "name"}))
		}
	})
}

// TestCommonWords searches for what is in more names than the lists sort.
func TestCommonWords(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		const n = 1200
		storetest.SeedSnapshots(t, db, n)
		var rows []listed
		for last := (models.ListQuery{Sort: "created_at", Size: 200}); ; {
			page, err := db.Snapshots.ListSnapshots(t.Context(), storetest.Operator(), last)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Rows {
				rows = append(rows, listed{r.ID, r.BackendID, r.Name, r.VolumeID, "", r.Status, r.SizeGiB, r.CreatedAt})
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
			for _, sort := range some(sorts) {
				q.Sort, q.Size = sort, 200
				walk(t, snapshotPager(t, db), q, naive(rows, q))
			}
			want := min(len(naive(rows, q)), models.CountLimit+1)
			if found, err := db.CountMatching(t.Context(), storetest.Operator(), models.SubjectSnapshot, q); err != nil || int(found) != want {
				t.Errorf("%+v: found %d, want %d, %v", q, found, want, err)
			}
		}
	})
}

func TestOtherProjectsAreNotSeen(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx := t.Context()
		elsewhere := storetest.Operator()
		elsewhere.Project = "elsewhere"
		op, err := db.Volumes.CreateVolume(ctx, elsewhere, models.VolumeInput{Name: "theirs", Size: "1"})
		if err != nil {
			t.Fatal(err)
		}
		me := storetest.Operator()
		anyQuery(t, db, models.ListQuery{Search: "theirs"})
		for _, search := range []string{"", "t", "theirs", op.SubjectID} {
			page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Search: search})
			n, err2 := db.CountMatching(ctx, me, models.SubjectVolume, models.ListQuery{Search: search})
			if err != nil || err2 != nil || len(page.Rows) != 0 || n != 0 {
				t.Errorf("search %q: %d rows, found %d, %v, %v", search, len(page.Rows), n, err, err2)
			}
		}
		_, errRow := db.Volumes.Volume(ctx, me, op.SubjectID)
		_, errOp := db.Queue.Operation(ctx, me, op.ID)
		_, errDelete := db.Volumes.DeleteVolume(ctx, me, op.SubjectID, "")
		_, errCancel := db.Queue.CancelOperation(ctx, me, op.ID)
		for _, err := range []error{errRow, errOp, errDelete, errCancel} {
			if models.AsError(err) == nil || models.AsError(err).Code != models.CodeNotFound {
				t.Errorf("%v", err)
			}
		}
		if n, err := db.Total(ctx, me, models.SubjectVolume); n != 0 || err != nil {
			t.Errorf("total %d, %v", n, err)
		}
	})
}

func TestTheLastPageWhenItsRowsAreGone(t *testing.T) {
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
