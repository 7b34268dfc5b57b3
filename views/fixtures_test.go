package views_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"

	"blockconsole/views"
	"blockconsole/views/i18n"
)

var now = time.Date(2026, 11, 22, 6, 30, 5, 0, time.UTC)

func us(ago time.Duration) int64 { return now.Add(-ago).UnixMicro() }

func uid(n int) string { return fmt.Sprintf("0193a5c0-7e1f-7a2b-8c3d-%012d", n) }

const hostile = `"><script>alert('x')</script><img src=x onerror=alert(1)>`

var longName = strings.Repeat("가나다라 데이터 ñ 🗄 long-name ", 12)[:255]

func msg(key string, args ...string) views.Message {
	return views.NewMessage(key, args...)
}

func frame() *views.PageContext {
	return &views.PageContext{
		User:    views.User{Name: "admin", Role: "administrator", Operator: true, Administrator: true},
		Project: "default", CSRF: "token", Running: 2, Attach: true, Revert: true, Checksums: true,
		TimeZone: "Asia/Seoul", Now: now.UnixMicro(), URL: "/storage/block-storage/snapshots",
	}
}

// testContext is a context as handlers make it: a language and the frame of the page.
func testContext(lang string, f *views.PageContext) context.Context {
	return views.WithPageContext(i18n.WithLang(context.Background(), lang), f)
}

func render(t testing.TB, ctx context.Context, c templ.Component) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Render(ctx, &b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// locked is a lock until 24:00 of the last day of the year in Seoul.
func locked() views.Locked {
	return views.Locked{Until: time.Date(2026, 12, 31, 15, 0, 0, 0, time.UTC).UnixMicro(), Reason: "audit " + hostile, By: "kim", At: us(time.Hour)}
}

func snapshotRows() []views.SnapshotRow {
	volume := views.Link{ID: uid(900), Name: "web-data"}
	deny := msg("deny.status", "CREATING")
	rows := []views.SnapshotRow{
		{ID: uid(1), Name: "web-data-1122-1530", Status: "AVAILABLE", Percent: -1, SizeGiB: 100, Volume: volume, Consistency: "clean", CreatedAt: us(2 * time.Hour), TakenAt: us(2 * time.Hour),
			Damage: msg("failure.blocks", "/srv/blockconsole/snapshots/0193/data.raw", "2", "75, 1024", "314572800", "318767103")},
		{ID: uid(2), Name: "db-before-upgrade", Status: "CREATING", Percent: 42, SizeGiB: 2048, Volume: views.Link{ID: uid(901), Name: "db-main"}, Consistency: "crash", CreatedAt: us(3 * time.Minute), TakenAt: us(2 * time.Minute), Since: us(3 * time.Minute),
			Deny: views.SnapshotDenials{Delete: deny, Restore: deny, Revert: deny, Repair: msg("deny.not_stuck")}},
		{ID: uid(3), Name: "nightly-2211", Status: "CREATING", Percent: -1, SizeGiB: 20, Volume: volume, Consistency: "clean", CreatedAt: us(90 * time.Second), Since: us(90 * time.Second),
			Deny: views.SnapshotDenials{Delete: deny, Restore: deny, Revert: deny}},
		{ID: uid(4), Name: "old-logs", Status: "ERROR_DELETING", Percent: -1, SizeGiB: 50, Volume: views.Link{ID: uid(902), Name: "logs"}, VolumeDeleted: true, CreatedAt: us(400 * time.Hour),
			Failure: views.Failure{Reason: msg("failure.busy", "1")}, Deny: views.SnapshotDenials{Delete: msg("deny.error_deleting"), Restore: msg("deny.status", "ERROR_DELETING"), Revert: msg("deny.status", "ERROR_DELETING")}},
		{ID: uid(5), Name: "web-data-1121-0100", Status: "ERROR", Percent: -1, SizeGiB: 100, Volume: volume, Consistency: "crash", CreatedAt: us(30 * time.Hour), Failure: views.Failure{Reason: msg("failure.no_space", "107374182400", "21474836480")}},
		{ID: uid(6), Name: "being-removed", Status: "DELETING", Percent: -1, SizeGiB: 10, Volume: volume, Consistency: "clean", CreatedAt: us(50 * time.Hour), TakenAt: us(50 * time.Hour), Since: us(12 * time.Second)},
		{ID: uid(7), Name: "", Status: "AVAILABLE", Percent: -1, SizeGiB: 1, Volume: views.Link{ID: uid(903)}, CreatedAt: us(60 * time.Hour), TakenAt: us(60 * time.Hour)},
		{ID: uid(8), Name: hostile, Status: "AVAILABLE", Percent: -1, SizeGiB: 5, Volume: views.Link{ID: uid(904), Name: hostile}, Consistency: "clean", CreatedAt: us(70 * time.Hour), TakenAt: us(70 * time.Hour)},
		{ID: uid(9), Name: longName, Status: "BACKING-UP-SOMEWHERE-ELSE", Percent: -1, SizeGiB: 16384, Volume: views.Link{ID: uid(905), Name: longName}, Consistency: "clean", CreatedAt: us(80 * time.Hour), TakenAt: us(80 * time.Hour)},
		{ID: uid(10), Name: "abcdefghij-123456789", Status: "AVAILABLE", Percent: -1, SizeGiB: 30, Volume: volume, Consistency: "none", CreatedAt: us(90 * time.Hour), TakenAt: us(90 * time.Hour),
			Locked: locked(), Deny: views.SnapshotDenials{Delete: msg("deny.locked_for", fmt.Sprint(locked().Until), hostile)}},
	}
	for i := len(rows); i < 50; i++ {
		rows = append(rows, views.SnapshotRow{ID: uid(i + 1), Name: fmt.Sprintf("web-data-10%02d-0100", i), Status: "AVAILABLE", Percent: -1, SizeGiB: 100,
			Volume: volume, Consistency: "clean", CreatedAt: us(time.Duration(100+24*i) * time.Hour), TakenAt: us(time.Duration(100+24*i) * time.Hour)})
	}
	return rows
}

// fewSnapshots are the rows of the full page that differ from each other.
func fewSnapshots() []views.SnapshotRow { return snapshotRows()[:10] }

func volumeRows() []views.VolumeRow {
	web := views.Link{ID: "srv-1", Name: "web-1"}
	rows := []views.VolumeRow{
		{ID: uid(900), Name: "web-data", Status: "IN-USE", Percent: -1, SizeGiB: 100, Servers: [3]views.Link{web}, ServerCount: 1, SnapshotCount: 12, CreatedAt: us(900 * time.Hour),
			Deny: views.VolumeDenials{Attach: msg("deny.attached"), Delete: msg("deny.attached"), Repair: msg("deny.not_stuck")}},
		{ID: uid(901), Name: "db-main", Status: "IN-USE", Percent: -1, SizeGiB: 2048, Servers: [3]views.Link{{ID: "s2", Name: "db-primary"}, {ID: "s3", Name: "db-standby"}, {ID: "s4", Name: "db-report"}}, ServerCount: 5, SnapshotCount: 1, CreatedAt: us(800 * time.Hour),
			Deny: views.VolumeDenials{Attach: msg("deny.attached"), Delete: msg("deny.attached")}},
		{ID: uid(910), Name: "scratch", Status: "AVAILABLE", Percent: -1, SizeGiB: 20, CreatedAt: us(20 * time.Hour), Locked: views.Locked{Until: locked().Until}, Deny: views.VolumeDenials{Detach: msg("deny.not_attached")}},
		{ID: uid(911), Name: "restore-of-web", Status: "RESTORING", Percent: 73, SizeGiB: 100, CreatedAt: us(10 * time.Minute), Since: us(10 * time.Minute)},
		{ID: uid(912), Name: "", Status: "ATTACHING", Percent: -1, SizeGiB: 1, CreatedAt: us(11 * time.Minute), Since: us(40 * time.Second)},
		{ID: uid(913), Name: hostile, Status: "ERROR", Percent: -1, SizeGiB: 7, CreatedAt: us(12 * time.Hour), Failure: views.Failure{Reason: msg("failure.unavailable")}},
		{ID: uid(914), Name: longName, Status: "maintenance", Percent: -1, SizeGiB: 3, Servers: [3]views.Link{{ID: "s9", Name: longName}}, ServerCount: 1, CreatedAt: us(13 * time.Hour)},
	}
	return rows
}

func renderedSnapshots(t testing.TB, ctx context.Context, rows []views.SnapshotRow) []views.RenderedRow {
	var all []views.RenderedRow
	for _, r := range rows {
		all = append(all, views.RenderedRow{ID: r.ID, HTML: []byte(render(t, ctx, views.SnapshotTableRow(r)))})
	}
	return all
}

func renderedVolumes(t testing.TB, ctx context.Context, rows []views.VolumeRow) []views.RenderedRow {
	var all []views.RenderedRow
	for _, r := range rows {
		all = append(all, views.RenderedRow{ID: r.ID, HTML: []byte(render(t, ctx, views.VolumeTableRow(r)))})
	}
	return all
}

func list(path string) views.List {
	at := func(query string) string { return path + "?" + query }
	return views.List{
		Path: path, Statuses: []string{"CREATING", "AVAILABLE", "DELETING", "ERROR", "ERROR_DELETING"},
		Sort: "-created_at", Size: 50, Sizes: []int{20, 50, 100, 200}, Total: 1234567, LastReadAt: us(3 * time.Second),
		Next:    at("after=abc"),
		SortURL: map[string]string{"name": at("sort=name"), "status": at("sort=status"), "size": at("sort=size"), "created_at": at("sort=created_at"), "taken_at": at("sort=taken_at")},
		SizeURL: map[int]string{20: at("size=20"), 50: path, 100: at("size=100"), 200: at("size=200")},
		CSVURL:  at("format=csv"),
	}
}

func filtered(path string) views.List {
	l := list(path)
	l.Query, l.Status, l.Filtered = "web "+hostile, "AVAILABLE", true
	l.Volume = &views.Link{ID: uid(900), Name: "web-data"}
	l.FilteredCountURL, l.Locked = "/found", true
	l.ChipURL = map[string]string{"q": path + "?status=AVAILABLE", "status": path + "?q=web", "locked": path + "?q=web", "volume": path}
	l.Notice = msg("list.first_page")
	return l
}

func attachedVolume() *views.VolumeBrief {
	return &views.VolumeBrief{ID: uid(901), Name: "db-main", Status: "IN-USE", SizeGiB: 2048, Servers: []string{"db-primary", "db-standby"}}
}

func operationRows() []views.OperationRow {
	return []views.OperationRow{
		{ID: uid(700), Kind: "snapshot.create", Subject: views.Link{ID: uid(2), Name: "db-before-upgrade"}, SubjectKind: "snapshot", State: "RUNNING", Step: 1, Steps: 2, Percent: 42, Attempts: 1, AskedBy: "admin", AskedAt: us(3 * time.Minute), StartedAt: us(3 * time.Minute)},
		{ID: uid(701), Kind: "snapshot.restore", Subject: views.Link{ID: uid(911), Name: "restore-of-web"}, SubjectKind: "volume", State: "RUNNING", Step: 2, Steps: 3, Percent: -1, Attempts: 1, AskedBy: "kim", AskedAt: us(10 * time.Minute), StartedAt: us(10 * time.Minute)},
		{ID: uid(702), Kind: "volume.attach", Subject: views.Link{ID: uid(900), Name: "web-data"}, SubjectKind: "volume", State: "PENDING", Percent: -1, Attempts: 3, AskedBy: "kim", AskedAt: us(20 * time.Minute), RunAt: us(-time.Minute), Failure: views.Failure{Reason: msg("failure.unavailable")}, Cancel: true},
		{ID: uid(703), Kind: "snapshot.delete", Subject: views.Link{ID: uid(990), Name: hostile}, SubjectKind: "snapshot", SubjectDeleted: true, State: "SUCCEEDED", Percent: -1, Attempts: 1, AskedBy: "admin", AskedAt: us(2 * time.Hour), StartedAt: us(2 * time.Hour), FinishedAt: us(2*time.Hour - 3*time.Second)},
		{ID: uid(704), Kind: "snapshot.create", Subject: views.Link{ID: uid(5), Name: longName}, SubjectKind: "snapshot", State: "FAILED", Percent: -1, Attempts: 5, AskedBy: "admin", AskedAt: us(30 * time.Hour), StartedAt: us(30 * time.Hour), FinishedAt: us(30*time.Hour - 90*time.Minute), Failure: views.Failure{Reason: msg("failure.no_space", "107374182400", "21474836480"), RequestID: "req-5f0c"}, Retry: true},
		{ID: uid(705), Kind: "volume.extend", Subject: views.Link{ID: uid(900)}, SubjectKind: "volume", State: "CANCELLED", Percent: -1, AskedAt: us(40 * time.Hour)},
	}
}
