package handlers_test

import (
	"slices"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// instants are three snapshots of one volume: asked for first and taken last, old and
// inconsistent, and not taken yet.
func instants(t *testing.T) (c *console, late, old, waiting string) {
	t.Helper()
	c = newConsole(t, "TIMEZONE=Europe/Berlin")
	v := c.NewVolume("vol-1", 10)
	at := time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)
	put := func(name string, created, taken time.Time, consistency backend.Consistency, state backend.Status) string {
		s := c.Fake.PutSnapshot(backend.Snapshot{Name: name, SizeGiB: 10, Volume: backend.Key{ID: v.BackendID}, CreatedAt: created, TakenAt: taken,
			Consistency: consistency, Held: 12 * time.Millisecond, State: backend.State{Status: state, Percent: backend.PercentUnknown}})
		return s.ID
	}
	late = put("late", at, at.Add(2*time.Hour), backend.CrashConsistent, backend.Available)
	old = put("old", at.Add(time.Minute), at.Add(time.Minute), backend.Inconsistent, backend.Available)
	waiting = put("waiting", at.Add(2*time.Minute), time.Time{}, "", backend.Creating)
	c.Resync()
	id := func(backendID string) string {
		for _, item := range c.list(t, views.SnapshotsPath).Items {
			if item["backend_id"] == backendID {
				return item["id"].(string)
			}
		}
		t.Fatalf("%s is not listed in %v", backendID, c.list(t, views.SnapshotsPath).Items)
		return ""
	}
	return c, id(late), id(old), id(waiting)
}

// TestInstant_Lists: the instant is a column that sorts, in JSON and in CSV with the zone's
// offset; what is not taken yet says so.
func TestInstant_Lists(t *testing.T) {
	t.Parallel()
	c, late, old, waiting := instants(t)
	for sort, want := range map[string][]string{"": {waiting, old, late}, "-taken_at": {late, old, waiting}, "taken_at": {waiting, old, late}} {
		if got := idsOf(c.list(t, views.SnapshotsPath+"?sort="+sort).Items); !slices.Equal(got, want) {
			t.Errorf("sorted by %q: %q, want %q", sort, got, want)
		}
	}
	json, instant := map[any]any{}, map[string]string{}
	for _, item := range c.list(t, views.SnapshotsPath).Items {
		json[item["id"]] = item["taken_at"]
	}
	if json[late] != "2026-11-22T05:00:00Z" || json[old] != "2026-11-22T03:01:00Z" || json[waiting] != nil {
		t.Errorf("JSON says %v", json)
	}
	records := c.csv(t, views.SnapshotsPath)
	column := slices.Index(records[0], "taken_at")
	for _, record := range records[1:] {
		instant[record[0]] = record[column]
	}
	if instant[late] != "2026-11-22T06:00:00+01:00" || instant[waiting] != "" {
		t.Errorf("CSV says %q", instant)
	}
	page := c.Get(views.SnapshotsPath + "?sort=-taken_at")
	apptest.WantText(t, page, "th.c-created[aria-sort=descending]", "시점")
	apptest.WantText(t, page, "th.c-created", "Europe/Berlin")
	cells := page.Doc(t).Find("tbody tr").Map(func(_ int, s *goquery.Selection) string { return s.Find(".c-created time, .c-created .none").Text() })
	if !slices.Equal(cells, []string{"2026-11-22 06:00", "2026-11-22 04:01", "아직 없음"}) {
		t.Errorf("the page says %q", cells)
	}
	apptest.WantText(t, page, ".badge-crash", "충돌 일관성")
	apptest.WantText(t, page, ".badge-none", "불일치")
	apptest.WantText(t, c.Get(views.SnapshotsPath, "Accept-Language", "en"), ".badge-none", "Inconsistent")
	if sort := c.list(t, views.VolumesPath+"?sort=-created_at"); len(sort.Items) != 1 {
		t.Errorf("%d volumes", len(sort.Items))
	}
	apptest.WantProblem(t, c.Get(views.VolumesPath+"?sort=taken_at", apptest.AsJSON...), 422)
}

// TestInstant_Pages: the object's page and the restore popup say the instant, what it is
// worth, and how long writes waited.
func TestInstant_Pages(t *testing.T) {
	t.Parallel()
	c, late, old, waiting := instants(t)
	page := c.Get(apptest.SnapshotPath(late))
	for _, text := range []string{"2026-11-22 06:00", "2026-11-22 04:00", "쓰기 대기", "12 ms", "한 시점의 모든 블록"} {
		apptest.WantText(t, page, "main .facts", text)
	}
	apptest.WantText(t, c.Get(apptest.SnapshotPath(waiting)), "main .facts", "아직 없음")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(late, "restore")), "main [role=note].callout-quiet", "전원이 갑자기 꺼졌을 때")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(old, "restore")), "main [role=note].callout-caution", "서로 다른 순간의 데이터")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(old, "restore"), "Accept-Language", "en"), "main [role=note].callout-caution", "different moments")
}

// TestInstant_RevertWaits: while a snapshot of the volume is created, the popup says so and
// links to it, and a forged POST is refused.
func TestInstant_RevertWaits(t *testing.T) {
	t.Parallel()
	c, late, _, waiting := instants(t)
	popup := c.Get(apptest.SnapshotPath(late, "revert"))
	apptest.WantText(t, popup, "main", "이 Volume의 Block Snapshot을 만들고 있어 되돌릴 수 없습니다")
	if popup.Doc(t).Find("main a[href='"+apptest.SnapshotPath(waiting)+"']").Length() == 0 {
		t.Errorf("no link to the snapshot in\n%s", popup.Body)
	}
	apptest.WantProblem(t, c.Post(apptest.SnapshotPath(late, "revert"), apptest.Form(), apptest.AsJSON...), 409)
	if row, err := c.Store.Snapshots.SnapshotByID(t.Context(), late); err != nil || row.Consistency != models.CrashConsistent {
		t.Errorf("%+v, %v", row, err)
	}
}
