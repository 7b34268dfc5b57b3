package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// TestGone_Delete: what somebody else deleted meanwhile is gone as wished. The answer
// says so by name, and the list is read again.
func TestGone_Delete(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v, w := c.NewVolume("vol-1", 1), c.NewVolume("vol-2", 1)
	s := c.NewSnapshot(w, "snap-1")
	admin := c.As(models.Administrator)
	for path, name := range map[string]string{apptest.VolumePath(v.ID, "delete"): "vol-1", apptest.SnapshotPath(s.ID, "delete"): "snap-1"} {
		apptest.WantStatus(t, admin.Post(path, nil), http.StatusSeeOther)
		c.Work()
		list, _, _ := strings.Cut(strings.TrimSuffix(path, "/delete"), "/01")
		unchanged := c.Unchanged()
		late := c.Post(path, apptest.FormWithKey(), c.FromList(list)...)
		apptest.WantStatus(t, late, http.StatusOK)
		apptest.WantText(t, late, "hx-partial .alert:not([data-sticky])", name)
		if got := late.Header.Get("HX-Trigger"); !strings.Contains(got, "popup:close") || !strings.Contains(got, "list:refresh") {
			t.Errorf("%s: events %s", path, got)
		}
		plain := c.Post(path, apptest.FormWithKey("return_to", list+"?q=x"))
		if plain.StatusCode != http.StatusSeeOther || plain.Header.Get("Location") != list+"?q=x" {
			t.Errorf("%s: %s to %s", path, plain.Status, plain.Header.Get("Location"))
		}
		apptest.WantText(t, c.Get(list), "#messages .alert", name)
		bulk := c.Post(list+"/delete", apptest.FormWithKey("id", strings.Split(path, "/")[4]), c.FromList(list)...)
		apptest.WantStatus(t, bulk, http.StatusOK)
		apptest.WantText(t, bulk, "hx-partial .alert", name)
		popup := c.Get(path, c.FromList(list)...)
		apptest.WantStatus(t, popup, http.StatusNotFound)
		apptest.WantText(t, popup, "#popup-form .lead", name)
		if !strings.Contains(popup.Header.Get("HX-Trigger"), "list:refresh") {
			t.Errorf("%s: the row stays: %v", path, popup.Header)
		}
		if body := apptest.WantProblem(t, c.Post(path, nil, apptest.AsJSON...), http.StatusNotFound); !strings.Contains(body.Message, name) {
			t.Errorf("a program is told %q", body.Message)
		}
		unchanged(t)
	}
}

// TestGone_DeleteSome: of several, those that are gone already are named beside the
// others.
func TestGone_DeleteSome(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v, w := c.NewVolume("vol-1", 1), c.NewVolume("vol-2", 1)
	apptest.WantStatus(t, c.As(models.Administrator).Post(apptest.VolumePath(v.ID, "delete"), nil), http.StatusSeeOther)
	c.Work()
	a := c.Post(views.VolumesPath+"/delete", apptest.FormWithKey("id", v.ID, "id", w.ID), c.FromList(views.VolumesPath)...)
	apptest.WantStatus(t, a, http.StatusOK)
	apptest.WantText(t, a, "hx-partial .alert p", "1")
	apptest.WantText(t, a, "hx-partial .alert-detail", "vol-1")
}

// TestGone_Others: every other action says who deleted it, and when.
func TestGone_Others(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v, w := c.NewVolume("vol-1", 1), c.NewVolume("vol-2", 1)
	s := c.NewSnapshot(w, "snap-1")
	admin := c.As(models.Administrator)
	apptest.WantStatus(t, admin.Post(apptest.VolumePath(v.ID, "delete"), nil), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Post(apptest.SnapshotPath(s.ID, "delete"), nil), http.StatusSeeOther)
	c.Work()
	when := c.Clock.Now().In(c.Config.TimeZone).Format("2006-01-02 15:04")
	for path, name := range map[string]string{
		apptest.VolumePath(v.ID, "edit"): "vol-1", apptest.VolumePath(v.ID, "extend"): "vol-1", apptest.VolumePath(v.ID, "attach"): "vol-1",
		apptest.VolumePath(v.ID, "detach"): "vol-1", apptest.VolumePath(v.ID, "repair"): "vol-1",
		apptest.SnapshotPath(s.ID, "edit"): "snap-1", apptest.SnapshotPath(s.ID, "restore"): "snap-1", apptest.SnapshotPath(s.ID, "revert"): "snap-1",
	} {
		for _, lang := range []string{"ko", "en"} {
			for _, a := range []apptest.Answer{
				admin.Get(path, "Accept-Language", lang),
				admin.Post(path, apptest.FormWithKey("name", "typed", "size_gib", "9", "server_id", "server-1", "reason", "x"), "Accept-Language", lang),
			} {
				apptest.WantStatus(t, a, http.StatusNotFound)
				text := a.Doc(t).Find("main .lead").Text()
				for _, part := range []string{name, "administrator", when} {
					if !strings.Contains(text, part) {
						t.Errorf("%s in %s says %q without %q", path, lang, text, part)
					}
				}
			}
		}
	}
	never := c.Get(apptest.VolumePath(models.NewID(), "edit"))
	apptest.WantStatus(t, never, http.StatusNotFound)
	apptest.WantText(t, never, "main .lead", "찾을 수 없습니다")
}

// TestGone_UsersAndServers: users and servers are deleted without an operation; who
// deleted them is known all the same.
func TestGone_UsersAndServers(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	admin, other := c.As(models.Administrator), c.As(models.Administrator)
	kim, err := c.Store.Users.AddUser(t.Context(), storetest.Administrator(), "kim-min", models.Viewer, storetest.Password)
	if err != nil {
		t.Fatal(err)
	}
	db := c.server("db-1", "192.0.2.7")
	for path, name := range map[string]string{"/admin/users/" + kim.ID: "kim-min", views.ServersPath + "/" + db.ID: "db-1"} {
		apptest.WantStatus(t, other.Post(path+"/delete", nil), http.StatusSeeOther)
		list := path[:strings.LastIndexByte(path, '/')]
		late := admin.Post(path+"/delete", apptest.FormWithKey())
		if late.StatusCode != http.StatusSeeOther || late.Header.Get("Location") != list {
			t.Errorf("%s: %s to %s", path, late.Status, late.Header.Get("Location"))
		}
		apptest.WantText(t, admin.Get(list), "#messages .alert", name)
		page := admin.Get(path)
		apptest.WantStatus(t, page, http.StatusNotFound)
		apptest.WantText(t, page, "main", name)
		if body := apptest.WantProblem(t, admin.Post(path+"/delete", nil, apptest.AsJSON...), http.StatusNotFound); !strings.Contains(body.Message, name) {
			t.Errorf("a program is told %q", body.Message)
		}
	}
	apptest.WantStatus(t, admin.Get("/admin/users/"+models.NewID()), http.StatusNotFound)
}
