package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

func TestCheck_OneSnapshot(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewSnapshot(c.NewVolume("vol-1", 10), "snap-1")
	path := apptest.SnapshotPath(s.ID, "check")
	for _, who := range []*apptest.Client{c.Client, c.As(models.Viewer)} {
		for _, address := range []string{path, views.SnapshotsPath + "/check"} {
			apptest.WantStatus(t, who.Get(address), http.StatusForbidden)
			apptest.WantStatus(t, who.Post(address, apptest.Form("id", s.ID)), http.StatusForbidden)
		}
	}
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID)), "dl.facts", "아직 없음")
	admin := c.As(models.Administrator)
	apptest.WantText(t, admin.Get(path), "main h1", "Block Snapshot 검증")
	apptest.WantStatus(t, admin.Post(path, nil), http.StatusSeeOther)
	c.Work()
	apptest.WantStatus(t, admin.Post(path, nil), http.StatusSeeOther)
	c.Work()
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID)), "dl.facts", "이상 없음")
	c.Fake.SetDamage(s.ID, &backend.Error{Code: backend.CodeDamaged, Damage: backend.BadBlocks, Path: "/srv/x", Blocks: []int64{75}, Bad: 1, BlockBytes: 4 << 20, Want: 10 << 30})
	apptest.WantStatus(t, admin.Post(path, nil), http.StatusSeeOther)
	c.Work()
	for lang, words := range map[string]string{"ko": "번호 75", "en": "number 75"} {
		apptest.WantText(t, c.Get(views.SnapshotsPath, "Accept-Language", lang), "#snapshot-"+s.ID, words)
		apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID), "Accept-Language", lang), "main", words)
		apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID, "restore"), "Accept-Language", lang), "main", words)
	}
	var item struct {
		CheckedAt *string `json:"checked_at"`
		Damage    string
	}
	c.Client.JSON().Read(apptest.SnapshotPath(s.ID), &item)
	if item.CheckedAt == nil || !strings.Contains(item.Damage, "75") {
		t.Errorf("%+v", item)
	}
	if csv := c.Get(views.SnapshotsPath, "Accept", "text/csv").Body; !strings.Contains(string(csv), "checked_at,damage") || !strings.Contains(string(csv), "failure.blocks") {
		t.Errorf("%s", csv)
	}
	apptest.WantStatus(t, admin.Post(path, apptest.Form("renew", "1")), http.StatusSeeOther)
	c.Work()
	if now := c.Snapshot(s.ID); !now.Checks.Damage.None() {
		t.Errorf("renewed: %+v", now.Checks)
	}
}

func TestCheck_Many(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	one, two := c.NewSnapshot(v, "snap-1"), c.NewSnapshot(v, "snap-2")
	admin, path := c.As(models.Administrator), views.SnapshotsPath+"/check"
	apptest.WantText(t, admin.Get(path), "main", "2개")
	apptest.WantText(t, admin.Get(path+"?id="+one.ID+"&id="+two.ID), "main", "snap-2")
	apptest.WantProblem(t, admin.Post(path, nil, apptest.AsJSON...), http.StatusUnprocessableEntity)
	apptest.WantStatus(t, admin.Post(path, apptest.Form("all", "1"), apptest.AsJSON...), http.StatusAccepted)
	apptest.WantText(t, admin.Get(path), "main", "검증할 수 있는 Block Snapshot이 없습니다.")
	apptest.WantProblem(t, admin.Post(path, apptest.Form("all", "1"), apptest.AsJSON...), http.StatusConflict)
	c.Work()
	for _, s := range []*models.Snapshot{one, two} {
		if now := c.Snapshot(s.ID); now.Checks.ChecksummedAt == 0 {
			t.Errorf("%s: %+v", s.Name, now.Checks)
		}
	}
	apptest.WantStatus(t, admin.Post(path, apptest.Form("id", one.ID, "id", two.ID)), http.StatusSeeOther)
	c.Work()
	if now := c.Snapshot(two.ID); now.Checks.CheckedAt == 0 {
		t.Errorf("%+v", now.Checks)
	}
}

// TestCheck_Unsupported: without checksums nothing of them is offered.
func TestCheck_Unsupported(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewSnapshot(c.NewVolume("vol-1", 1), "snap-1")
	c.Fake.SetCapabilities(func(can *backend.Capabilities) { can.Checksums = false })
	c.Refresh()
	admin := c.As(models.Administrator)
	if page := admin.Get(views.SnapshotsPath); strings.Contains(string(page.Body), "/check") {
		t.Error("the list offers checks")
	}
	apptest.WantStatus(t, admin.Post(apptest.SnapshotPath(s.ID, "check"), nil), http.StatusConflict)
	apptest.WantText(t, admin.Get(views.SnapshotsPath+"/check"), "main", "지원하지")
}
