package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestRefusals_ByState: the popup gives the reason and what stands in the way,
// and a forged form is refused without a change.
func TestRefusals_ByState(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	blocked := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(blocked, "snap-1")
	used := c.Attach(c.NewVolume("vol-2", 5))
	free := c.NewVolume("vol-3", 5)
	broken := c.NewErrorDeleting(free, "snap-2")
	other := c.NewVolume("vol-4", 5)
	older := c.NewSnapshot(other, "snap-3")
	newer := c.NewSnapshot(other, "snap-4")
	c.Fake.Hold()
	restoring := apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "restore"), apptest.Form("name", "vol-5"), apptest.AsJSON...))
	going := c.heldVolume("vol-6")
	apptest.WantAccepted(t, c.Post(views.VolumesPath+"/"+going+"/delete", nil, apptest.AsJSON...))
	c.WorkOnce()
	unchanged := c.Unchanged()
	for name, tc := range map[string]struct {
		path  string
		form  url.Values
		words string
		links []string
	}{
		"delete a volume with snapshots":          {apptest.VolumePath(blocked.ID, "delete"), nil, "Block Snapshot", []string{apptest.SnapshotPath(s.ID)}},
		"delete an attached volume":               {apptest.VolumePath(used.ID, "delete"), nil, "web-1", nil},
		"attach an attached volume":               {apptest.VolumePath(used.ID, "attach"), apptest.Form("server_id", "server-2"), "IN-USE", nil},
		"detach a free volume":                    {apptest.VolumePath(free.ID, "detach"), apptest.Form("server_id", "server-1"), "AVAILABLE", nil},
		"delete a snapshot in ERROR_DELETING":     {apptest.SnapshotPath(broken.ID, "delete"), nil, "삭제할 수 없습니다. 관리자에게 문의하세요.", nil},
		"restore a snapshot in ERROR_DELETING":    {apptest.SnapshotPath(broken.ID, "restore"), apptest.Form("name", "vol-9", "size_gib", "5"), "ERROR_DELETING", nil},
		"delete a snapshot that is being copied":  {apptest.SnapshotPath(s.ID, "delete"), nil, "", []string{views.VolumesPath + "/" + restoring.ID}},
		"repair what is well":                     {apptest.SnapshotPath(newer.ID, "repair"), apptest.Form("reason", "x"), "", nil},
		"repair a volume that is well":            {apptest.VolumePath(free.ID, "repair"), apptest.Form("reason", "x"), "", nil},
		"revert to an older snapshot":             {apptest.SnapshotPath(older.ID, "revert"), nil, "", []string{apptest.SnapshotPath(newer.ID)}},
		"snapshot of a volume that is being made": {views.VolumesPath + "/" + restoring.ID + "/snapshots/new", apptest.Form("name", "snap-9"), "CREATING", nil},
		"extend what is being made":               {views.VolumesPath + "/" + restoring.ID + "/extend", apptest.Form("size_gib", "99"), "CREATING", nil},
		"edit what is being deleted":              {views.VolumesPath + "/" + going + "/edit", apptest.Form("name", "fine"), "", nil},
		"delete it twice":                         {views.VolumesPath + "/" + going + "/delete", nil, "DELETING", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, headers := range [][]string{nil, apptest.HTMX} {
				popup := admin.Get(tc.path, headers...)
				apptest.WantStatus(t, popup, http.StatusOK)
				wantRefusal(t, popup, tc.words, tc.links)
				send := strings.TrimSuffix(tc.path, "/new")
				forged := admin.Post(send, tc.form, headers...)
				apptest.WantStatus(t, forged, http.StatusConflict)
				wantRefusal(t, forged, tc.words, tc.links)
				if len(headers) > 0 && strings.Contains(forged.Body, "<html") {
					t.Error("the refusal is a page")
				}
				body := apptest.WantProblem(t, admin.Post(send, tc.form, apptest.AsJSON...), http.StatusConflict)
				if body.Code != "conflict" {
					t.Errorf("JSON says %+v", body)
				}
			}
		})
	}
	unchanged(t)
}

// heldVolume makes a volume while the backend holds everything it begins: it comes
// from elsewhere.
func (c *console) heldVolume(name string) string {
	c.t.Helper()
	return c.PutVolume(backend.Volume{Name: name, SizeGiB: 1}).ID
}

// wantRefusal: one alert with the reason and links to the blockers, no form that
// writes, and a way out.
func wantRefusal(t *testing.T, a apptest.Answer, words string, blockers []string) {
	t.Helper()
	popup := a.Doc(t).Find("#popup-form")
	alert := popup.Find("[role=alert]")
	if popup.Length() != 1 || alert.Length() != 1 || strings.TrimSpace(alert.Text()) == "" || !strings.Contains(alert.Text(), words) {
		t.Errorf("the popup says %q, want %q:\n%s", alert.Text(), words, a.Body)
	}
	for _, link := range blockers {
		if alert.Find(`a[href="`+link+`"]`).Length() != 1 {
			t.Errorf("no link to %s in %s", link, strings.TrimSpace(alert.Text()))
		}
	}
	if popup.Find("form[method=post]").Length() != 0 || popup.Find("#popup-cancel").Length() != 1 {
		t.Errorf("a form that cannot succeed, or no way out:\n%s", a.Body)
	}
}

// TestRefusals_StorageUnknown: before the worker has ever reached the storage, lists and
// popups work and clicks wait.
func TestRefusals_StorageUnknown(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Operator)
	for _, path := range []string{views.VolumesPath, views.SnapshotsPath, "/activity", views.VolumesPath + "/new", views.SnapshotsPath + "/new"} {
		apptest.WantStatus(t, b.Get(path), http.StatusOK)
	}
	m := apptest.WantAccepted(t, b.Post(views.VolumesPath, apptest.Form("name", "vol-1", "size_gib", "1"), apptest.AsJSON...))
	apptest.WantText(t, b.Get(views.VolumesPath), "#volume-"+m.ID, "CREATING")
	apptest.WantText(t, b.Get(m.URL), "main", "vol-1")
	apptest.WantStatus(t, b.Post(m.URL+"/cancel", nil), http.StatusSeeOther)
	apptest.WantStatus(t, b.Get(views.VolumesPath+"/"+m.ID), http.StatusNotFound)
	apptest.WantProblem(t, b.Post(m.URL+"/cancel", nil, apptest.AsJSON...), http.StatusConflict)
	for _, path := range []string{"/activity/" + models.NewID(), "/activity/x", "/activity/%00"} {
		apptest.WantStatus(t, b.Get(path), http.StatusNotFound)
		apptest.WantStatus(t, b.Post(path+"/cancel", nil), http.StatusNotFound)
		apptest.WantStatus(t, b.Post(path+"/retry", nil), http.StatusNotFound)
	}
}
