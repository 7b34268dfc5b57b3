package handlers_test

import (
	"net/http"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// TestFormKey_OtherUse: a form_key that was used is refused for anything but the same form again, and nothing is done.
func TestFormKey_OtherUse(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	first, second := c.NewVolume("vol-1", 1), c.NewVolume("vol-2", 1)
	c.Post(apptest.VolumePath(first.ID, "edit"), apptest.Form("name", "renamed", "form_key", "k"))
	c.Work()
	for name, tc := range map[string]struct {
		path string
		form []string
	}{
		"another action": {apptest.VolumePath(first.ID, "delete"), nil},
		"another object": {apptest.VolumePath(second.ID, "edit"), []string{"name", "renamed"}},
		"other contents": {apptest.VolumePath(first.ID, "edit"), []string{"name", "renamed-2"}},
		"a new object":   {views.VolumesPath, []string{"name", "new-one", "size_gib", "1"}},
		"a snapshot":     {apptest.VolumePath(first.ID, "snapshots"), []string{"name", "snap-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			form := apptest.Form(append([]string{"form_key", "k"}, tc.form...)...)
			unchanged := c.Unchanged()
			p := apptest.WantProblem(t, c.Post(tc.path, form, apptest.AsJSON...), http.StatusConflict)
			if !strings.Contains(p.Message, "이미") {
				t.Errorf("the message is %q", p.Message)
			}
			page := c.Post(tc.path, form)
			apptest.WantStatus(t, page, http.StatusConflict)
			// The form that is shown again can be sent: its key is a new one.
			if key := page.Doc(t).Find("main input[name=form_key]").AttrOr("value", "none"); key == "k" {
				t.Error("the form has the used key again")
			}
			unchanged(t)
		})
	}
	again := c.Post(apptest.VolumePath(first.ID, "edit"), apptest.Form("name", "renamed", "form_key", "k"), apptest.AsJSON...)
	apptest.WantAccepted(t, again)
	c.Post(views.VolumesPath, apptest.Form("name", "new-one", "size_gib", "1", "form_key", "n"))
	apptest.WantProblem(t, c.Post(views.VolumesPath, apptest.Form("name", "new-two", "size_gib", "1", "form_key", "n"), apptest.AsJSON...), http.StatusConflict)
}

// TestFormKey_OtherServer: the same where no operation is made.
func TestFormKey_OtherServer(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	admin := c.As(models.Administrator)
	add := func(name, address string) apptest.Answer {
		return admin.Post(views.ServersPath, apptest.Form("name", name, "address", address, "form_key", "k"), apptest.AsJSON...)
	}
	apptest.WantStatus(t, add("db-1", "10.0.0.1"), http.StatusCreated)
	apptest.WantStatus(t, add("db-1", "10.0.0.1"), http.StatusCreated)
	for name, a := range map[string]apptest.Answer{"another name": add("db-2", "10.0.0.1"), "another address": add("db-1", "10.0.0.2")} {
		if a.StatusCode != http.StatusConflict {
			t.Errorf("%s: %s %s", name, a.Status, a.Body)
		}
	}
}
