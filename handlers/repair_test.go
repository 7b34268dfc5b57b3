package handlers_test

import (
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"net/http"
	"strings"
	"testing"
)

// TestRepair_InvalidInput: a reason is needed, and only two statuses can be set.
func TestRepair_InvalidInput(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewErrorDeleting(c.NewVolume("vol-1", 10), "snap-1")
	admin := c.As(models.Administrator)
	unchanged := c.Unchanged()
	a := admin.Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "  ", "reset_to", "available"))
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, a, "reason", "")
	if a.Doc(t).Find("input[name=reset_to][value=available][checked]").Length() != 1 {
		t.Error("the choice was not kept")
	}
	for _, to := range []string{"deleting", "AVAILABLE", "in-use", "<c>"} {
		body := apptest.WantProblem(t, admin.Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "x", "reset_to", to), apptest.AsJSON...), http.StatusUnprocessableEntity)
		if body.Fields["reset_to"] == "" {
			t.Errorf("%s: %+v", to, body)
		}
	}
	unchanged(t)
}

// TestErrorDeleting: nobody deletes it, in words of the contract; an administrator
// repairs it, and then it can be deleted.
func TestErrorDeleting(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	s := c.NewErrorDeleting(v, "snap-1")
	admin := c.As(models.Administrator)
	for lang, sentence := range map[string]string{"ko": "삭제할 수 없습니다. 관리자에게 문의하세요.", "en": "ask the administrator"} {
		row := c.Get(views.SnapshotsPath, "Accept-Language", lang).Doc(t).Find("#snapshot-" + s.ID)
		if got := row.AttrOr("data-deny-delete", ""); !strings.Contains(got, sentence) || !strings.Contains(row.Text(), "ERROR_DELETING") {
			t.Errorf("the row in %s says %q", lang, got)
		}
		for _, who := range []*apptest.Client{c.Client, admin} {
			apptest.WantText(t, who.Get(apptest.SnapshotPath(s.ID, "delete"), "Accept-Language", lang), "main [role=alert]", sentence)
			forged := who.Post(apptest.SnapshotPath(s.ID, "delete"), nil, "Accept-Language", lang)
			apptest.WantStatus(t, forged, http.StatusConflict)
			apptest.WantText(t, forged, "main [role=alert]", sentence)
		}
	}
	apptest.WantStatus(t, c.Get(apptest.SnapshotPath(s.ID, "repair")), http.StatusForbidden)
	apptest.WantStatus(t, c.Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "x")), http.StatusForbidden)
	apptest.WantStatus(t, c.As(models.Viewer).Post(apptest.SnapshotPath(s.ID, "delete"), nil), http.StatusForbidden)
	apptest.WantText(t, admin.Get(apptest.SnapshotPath(s.ID, "repair")), "main h1", "복구")
	apptest.WantStatus(t, admin.Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "looked at it")), http.StatusSeeOther)
	c.Work()
	if now := c.Snapshot(s.ID); now.Status != models.ErrorStatus {
		t.Fatalf("repaired it is %s", now.Status)
	}
	apptest.WantText(t, admin.Get("/admin/audit"), "main", "looked at it")
	apptest.WantStatus(t, c.Post(apptest.SnapshotPath(s.ID, "delete"), nil), http.StatusSeeOther)
	c.Work()
	apptest.WantStatus(t, c.Get(apptest.SnapshotPath(s.ID)), http.StatusNotFound)
}

// TestRepair_RefusedByStorage names the role that it wants.
func TestRepair_RefusedByStorage(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewErrorDeleting(c.NewVolume("vol-1", 1), "snap-1")
	c.Fake.ForbidRepair("cloud-admin")
	m := apptest.WantAccepted(t, c.As(models.Administrator).Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "x"), apptest.AsJSON...))
	c.Work()
	apptest.WantText(t, c.Get(m.URL), "main", "cloud-admin")
	if now := c.Snapshot(s.ID); now.Status != models.ErrorDeleting {
		t.Errorf("it is %s", now.Status)
	}
}

// TestRepair_RoleMissing: the cloud may want more than the console's account
// has.
func TestRepair_RoleMissing(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewErrorDeleting(c.NewVolume("data", 1), "stuck")
	c.Fake.ForbidRepair("admin")
	admin := c.As(models.Administrator)
	op := apptest.WantAccepted(t, admin.Post(apptest.SnapshotPath(s.ID, "repair"), apptest.Form("reason", "the array was restarted", "reset_to", "error"), apptest.AsJSON...))
	c.Work()
	apptest.WantText(t, c.Get("/activity/"+op.Operation), ".detail-callout .callout-title", "admin 역할이 필요합니다")
	apptest.WantText(t, c.Get(views.SnapshotsPath), "#snapshot-"+s.ID+" .st", "ERROR_DELETING")
	apptest.WantText(t, c.Get(apptest.SnapshotPath(s.ID)), ".line-why", "admin 역할이 필요합니다")
}
