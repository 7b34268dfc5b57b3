package handlers_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// days is a day that many days from now, in the console's zone.
func days(t *testing.T, c *console, n int) string {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	return c.Store.Now().In(zone).AddDate(0, 0, n).Format(time.DateOnly)
}

// TestLock_Page: set with a popup, shown in the list, the page, JSON, CSV and the audit,
// refused everywhere with date and reason in both languages.
func TestLock_Page(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	s := c.NewSnapshot(v, "snap-1")
	other := c.NewSnapshot(v, "snap-2")
	day := days(t, c, 30)
	path := apptest.SnapshotPath(s.ID, "lock")
	popup := c.Get(path)
	apptest.WantText(t, popup, "main h1", "Block Snapshot 삭제 잠금")
	if min := popup.Doc(t).Find("input[name=until][type=date]").AttrOr("min", ""); min != days(t, c, 0) {
		t.Errorf("earliest day %q", min)
	}
	apptest.WantStatus(t, c.Post(path, apptest.FormWithKey("until", day, "reason", "분기 감사")), http.StatusSeeOther)
	c.Work()

	for lang, words := range map[string][3]string{"ko": {"잠김", day + "까지", "사유: 분기 감사"}, "en": {"Locked", "until " + day, "Reason: 분기 감사"}} {
		list := c.Get(views.SnapshotsPath, "Accept-Language", lang)
		row := list.Doc(t).Find("#snapshot-" + s.ID)
		if text := row.Find(".badge-lock").Text(); !strings.Contains(text, words[0]) || !strings.Contains(text, words[1]) {
			t.Errorf("%s: the badge says %q", lang, text)
		}
		if deny := row.AttrOr("data-deny-delete", ""); !strings.Contains(deny, day) || !strings.Contains(deny, words[2]) {
			t.Errorf("%s: deleting is denied by %q", lang, deny)
		}
		page := c.Get(apptest.SnapshotPath(s.ID), "Accept-Language", lang)
		for _, word := range []string{words[1], "분기 감사", "operator"} {
			apptest.WantText(t, page, "dl.facts", word)
		}
		refused := c.Post(apptest.SnapshotPath(s.ID, "delete"), nil, "Accept-Language", lang)
		apptest.WantStatus(t, refused, http.StatusConflict)
		apptest.WantText(t, refused, "main [role=alert]", words[2])
		apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID, "delete"), "Accept-Language", lang), "main [role=alert]", day)
		apptest.WantText(t, c.As(models.Administrator).Get("/admin/audit", "Accept-Language", lang), "main", words[1])
	}
	found := c.Get(views.SnapshotsPath + "?locked=1")
	if rows := found.Doc(t).Find("tr[data-id]"); rows.Length() != 1 || rows.AttrOr("data-id", "") != s.ID {
		t.Errorf("%d rows are locked", rows.Length())
	}
	apptest.WantText(t, found, ".chips", "잠김")
	for id, want := range map[string]bool{s.ID: true, other.ID: false} {
		var item struct {
			LockedUntil *time.Time `json:"locked_until"`
			LockReason  string     `json:"lock_reason"`
		}
		if err := json.Unmarshal([]byte(c.Get(apptest.SnapshotPath(id), apptest.AsJSON...).Body), &item); err != nil {
			t.Fatal(err)
		}
		if (item.LockedUntil != nil) != want || (item.LockReason == "분기 감사") != want || want && item.LockedUntil.Add(-time.Second).In(time.FixedZone("KST", 9*3600)).Format(time.DateOnly) != day {
			t.Errorf("%s: %+v", id, item)
		}
	}
	if csv := c.Get(views.SnapshotsPath + "?format=csv&locked=1").Body; !strings.Contains(csv, "locked_until,lock_reason") || !strings.Contains(csv, "분기 감사") || strings.Contains(csv, "snap-2") {
		t.Errorf("%s", csv)
	}
	apptest.WantProblem(t, c.Post(apptest.SnapshotPath(s.ID, "delete"), nil, apptest.AsJSON...), http.StatusConflict)
	if now := c.Snapshot(s.ID); now.Status != models.Available {
		t.Errorf("it is %s", now.Status)
	}
	if kept, err := c.Fake.Snapshot(t.Context(), backend.Key{Ref: s.ID}); err != nil || kept.Lock.Reason != "분기 감사" {
		t.Errorf("kept %+v %v", kept.Lock, err)
	}
	// The lock of a snapshot keeps nobody from restoring and renaming it.
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "restore"), apptest.Form("name", "restored"), apptest.AsJSON...))
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "edit"), apptest.Form("name", "renamed"), apptest.AsJSON...))
}

// TestLock_InvalidInput: a sentence in the form, and nothing changes.
func TestLock_InvalidInput(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	path := apptest.VolumePath(v.ID, "lock")
	unchanged := c.Unchanged()
	for until, text := range map[string]string{
		"": "입력하세요", days(t, c, -1): "지난 날짜", "2225-01-01": "100년", "2027-02-29": "실제로 있는 날짜", "2026-13-01": "실제로 있는", "내일": "YYYY-MM-DD", "<b>": "YYYY-MM-DD",
	} {
		a := c.Post(path, apptest.Form("until", until, "reason", "kept"))
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		apptest.WantFieldError(t, a, "until", text)
		if a.Doc(t).Find("input[name=reason]").AttrOr("value", "") != "kept" {
			t.Errorf("%q: what was typed is lost", until)
		}
		if p := apptest.WantProblem(t, c.Post(path, apptest.Form("until", until), apptest.AsJSON...), http.StatusUnprocessableEntity); p.Fields["until"] == "" {
			t.Errorf("%q: %+v", until, p)
		}
		apptest.WantStatus(t, c.Post(views.VolumesPath+"/lock", url.Values{"id": {v.ID}, "until": {until}}), http.StatusUnprocessableEntity)
	}
	long := c.Post(path, apptest.Form("until", days(t, c, 1), "reason", strings.Repeat("가", 1000)))
	apptest.WantStatus(t, long, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, long, "reason", "255")
	stale := c.Post(path, apptest.Form("until", days(t, c, 1), "version", "999"))
	apptest.WantStatus(t, stale, http.StatusConflict)
	if version := stale.Doc(t).Find("input[name=version]").AttrOr("value", ""); version != "1" {
		t.Errorf("the form comes back with version %q", version)
	}
	apptest.WantStatus(t, c.Post(views.VolumesPath+"/lock", nil, apptest.AsJSON...), http.StatusUnprocessableEntity)
	apptest.WantStatus(t, c.As(models.Viewer).Post(path, apptest.Form("until", days(t, c, 1))), http.StatusForbidden)
	unchanged(t)
	apptest.WantAccepted(t, c.Post(path, apptest.Form("until", days(t, c, 0)), apptest.AsJSON...)) // today: until 24:00
}

// TestUnlock: operators lengthen, administrators shorten and unlock with a reason.
func TestUnlock(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	admin := c.As(models.Administrator)
	lock, unlock := apptest.VolumePath(v.ID, "lock"), apptest.VolumePath(v.ID, "unlock")
	apptest.WantText(t, admin.Get(unlock), "main [role=alert]", "잠겨 있지 않습니다")
	apptest.WantAccepted(t, c.Post(lock, apptest.Form("until", days(t, c, 10), "reason", "audit"), apptest.AsJSON...))
	apptest.WantAccepted(t, c.Post(lock, apptest.Form("until", days(t, c, 20)), apptest.AsJSON...))
	popup := c.Get(lock)
	if doc := popup.Doc(t); doc.Find("input[name=until]").AttrOr("value", "") != days(t, c, 20) || doc.Find("input[name=reason]").AttrOr("value", "") != "audit" {
		t.Errorf("%s", popup.Body)
	}
	unchanged := c.Unchanged()
	shorter := c.Post(lock, apptest.Form("until", days(t, c, 5), "reason", "enough"))
	apptest.WantStatus(t, shorter, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, shorter, "until", "관리자만")
	apptest.WantProblem(t, c.Post(lock, apptest.Form("until", days(t, c, 5), "reason", "enough"), apptest.AsJSON...), http.StatusForbidden)
	apptest.WantFieldError(t, admin.Post(lock, apptest.Form("until", days(t, c, 5), "reason", " ")), "reason", "사유")
	apptest.WantStatus(t, c.Get(unlock), http.StatusForbidden)
	apptest.WantStatus(t, c.Post(unlock, apptest.Form("reason", "x")), http.StatusForbidden)
	apptest.WantFieldError(t, admin.Post(unlock, apptest.Form("reason", "")), "reason", "사유")
	apptest.WantStatus(t, admin.Post(unlock, apptest.Form("reason", strings.Repeat("x", 1000))), http.StatusUnprocessableEntity)
	unchanged(t)
	if doc := c.Get(apptest.VolumePath(v.ID)).Doc(t); doc.Find(".toolbar a[href$='/unlock']").Length() != 0 {
		t.Error("an operator is offered to unlock")
	}
	if doc := admin.Get(apptest.VolumePath(v.ID)).Doc(t); doc.Find(".toolbar a[href$='/unlock']").Length() != 1 {
		t.Error("an administrator is not offered to unlock")
	}
	apptest.WantAccepted(t, admin.Post(lock, apptest.Form("until", days(t, c, 5), "reason", "enough"), apptest.AsJSON...))
	apptest.WantStatus(t, admin.Post(unlock, apptest.Form("reason", "agreed with kim")), http.StatusSeeOther)
	c.Work()
	apptest.WantText(t, admin.Get("/admin/audit"), "main", "agreed with kim")
	apptest.WantText(t, admin.Get("/admin/audit"), "main", "Volume 잠금 해제")
	apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "delete"), nil, apptest.AsJSON...))
}

// TestLock_Several: a result that says how many, and why not the others.
func TestLock_Several(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	first, second, third := c.NewSnapshot(v, "snap-1"), c.NewSnapshot(v, "snap-2"), c.NewSnapshot(v, "snap-3")
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(second.ID, "lock"), apptest.Form("until", days(t, c, 20), "reason", "longer"), apptest.AsJSON...))
	apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(third.ID, "delete"), nil, apptest.AsJSON...))
	gone := models.NewID()
	query := url.Values{"id": {first.ID, second.ID, third.ID, gone}}
	popup := c.Get(views.SnapshotsPath + "/lock?" + query.Encode())
	if n := popup.Doc(t).Find("main form[method=post] input[name=id]").Length(); n != 2 {
		t.Errorf("%d would be locked", n)
	}
	apptest.WantText(t, popup, "main [role=alert]", "2개는 잠글 수 없습니다")
	apptest.WantText(t, popup, "main [role=alert]", "삭제하는 중")
	query.Set("until", days(t, c, 10))
	query.Set("form_key", "once")
	a := c.Post(views.SnapshotsPath+"/lock", query, c.FromList(views.SnapshotsPath)...)
	apptest.WantStatus(t, a, http.StatusOK)
	apptest.WantText(t, a, "hx-partial", "1개를 잠갔습니다. 나머지 3개는")
	apptest.WantText(t, a, "hx-partial", days(t, c, 20)+"까지 잠겨 있습니다")
	apptest.WantText(t, a, "hx-partial", "삭제하는 중입니다. (1)")
	unchanged := c.Unchanged()
	var all struct {
		Operations []apptest.Accepted
		Refused    []struct{ ID, Reason string }
	}
	if err := json.Unmarshal([]byte(c.Post(views.SnapshotsPath+"/lock", query, apptest.AsJSON...).Body), &all); err != nil || len(all.Operations) != 1 || len(all.Refused) != 3 {
		t.Errorf("%+v %v", all, err)
	}
	unchanged(t)
	none := url.Values{"id": {third.ID, gone}, "until": {days(t, c, 1)}}
	apptest.WantStatus(t, c.Post(views.SnapshotsPath+"/lock", none), http.StatusConflict)
	apptest.WantProblem(t, c.Post(views.SnapshotsPath+"/lock", none, apptest.AsJSON...), http.StatusConflict)

	// The same for a deletion: the locked ones stay, and the message says why.
	fourth := c.NewSnapshot(v, "snap-4")
	deleted := c.Post(views.SnapshotsPath+"/delete", url.Values{"id": {first.ID, second.ID, fourth.ID}}, c.FromList(views.SnapshotsPath)...)
	apptest.WantStatus(t, deleted, http.StatusOK)
	apptest.WantText(t, deleted, "hx-partial", days(t, c, 10)+"까지 삭제가 잠겨 있습니다. (1)")
	apptest.WantText(t, deleted, "hx-partial", "사유: longer (1)")
}

// TestLock_NewSnapshot: a lock as part of the creation.
func TestLock_NewSnapshot(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	bad := c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "snap-1", "lock_until", days(t, c, -1)))
	apptest.WantStatus(t, bad, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, bad, "lock_until", "지난 날짜")
	m := apptest.WantAccepted(t, c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "snap-1", "lock_until", days(t, c, 7)), apptest.AsJSON...))
	c.Work()
	apptest.WantText(t, c.Get(apptest.SnapshotPath(m.ID, "delete")), "main [role=alert]", days(t, c, 7))
}

// TestLock_Cloud: the popup says that others do not know of the lock.
func TestLock_Cloud(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.Fake.SetCapabilities(func(caps *backend.Capabilities) { caps.Shared, caps.Locks = true, false })
	v := c.NewVolume("vol-1", 1)
	apptest.WantNone(t, c.Get(apptest.VolumePath(v.ID, "lock")), ".callout-quiet")
	c.Refresh()
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID, "lock")), ".callout-quiet", "클라우드의 다른 도구")
}
