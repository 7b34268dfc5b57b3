package handlers_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// TestNameHint_WhileTyping: each popup with a name asks, by the address that its field
// has, whether the name exists already.
func TestNameHint_WhileTyping(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("taken-1", 1)
	c.NewVolume("taken-2", 1)
	s := c.NewSnapshot(v, "snap-1")
	c.NewSnapshot(v, "snap-2")
	for _, tt := range []struct{ popup, free, taken string }{
		{views.VolumesPath + "/new", "snap-1", "taken-1"},
		{apptest.SnapshotPath(s.ID, "restore"), "snap-1", "taken-1"},
		{apptest.VolumePath(v.ID, "edit"), "taken-1", "taken-2"},
		{views.SnapshotsPath + "/new", "taken-1", "snap-1"},
		{apptest.VolumePath(v.ID, "snapshots", "new"), "taken-1", "snap-2"},
		{apptest.SnapshotPath(s.ID, "edit"), "snap-1", "snap-2"},
	} {
		page := c.Get(tt.popup)
		field := page.Doc(t).Find("#f-name")
		address := field.AttrOr("hx-get", "")
		if address == "" || field.AttrOr("hx-target", "") != "#name-hint" || page.Doc(t).Find("#name-hint[role=status]").Length() != 1 ||
			!strings.Contains(field.AttrOr("aria-describedby", ""), "name-hint") {
			t.Errorf("%s: the field is %v", tt.popup, field.Nodes)
			continue
		}
		apptest.WantNone(t, page, "#name-hint *")
		ask := func(name, lang string) apptest.Answer {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			query := u.Query()
			query.Set("name", name)
			a := c.Get(u.Path+"?"+query.Encode(), append([]string{"Accept-Language", lang}, apptest.HTMX...)...)
			apptest.WantStatus(t, a, http.StatusOK)
			return a
		}
		apptest.WantText(t, ask(tt.taken, "ko"), "p", "같은 이름이 이미 있습니다")
		apptest.WantText(t, ask(tt.taken, "en"), "p", "The name exists already")
		for _, name := range []string{tt.free, "", "no such", "\x00"} {
			apptest.WantNone(t, ask(name, "ko"), "p")
		}
	}
	// What is suggested twice within a minute exists already.
	suggested := c.Get(apptest.VolumePath(v.ID, "snapshots", "new")).Doc(t).Find("#f-name").AttrOr("value", "")
	c.NewSnapshot(v, suggested)
	apptest.WantText(t, c.Get(apptest.VolumePath(v.ID, "snapshots", "new")), "#name-hint", "같은 이름이 이미 있습니다")
	apptest.WantStatus(t, c.As(models.Viewer).Get(views.VolumesPath+"/names?name=taken-1"), http.StatusForbidden)
}

// TestNameHint_WithoutScripts: a form that comes back says it too.
func TestNameHint_WithoutScripts(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("taken-1", 1)
	other := c.NewVolume("taken-2", 1)
	s := c.NewSnapshot(v, "snap-1")
	long := strings.Repeat("x", 300) // a description that is refused
	for path, form := range map[string]url.Values{
		views.VolumesPath:                       apptest.Form("name", "taken-1", "size_gib", "ten"),
		apptest.SnapshotPath(s.ID, "restore"):   apptest.Form("name", "taken-1", "size_gib", "ten"),
		views.SnapshotsPath:                     apptest.Form("name", "snap-1", "volume_id", v.ID, "description", long),
		apptest.VolumePath(other.ID, "edit"):    apptest.Form("name", "taken-1", "description", long),
		apptest.VolumePath(v.ID, "snapshots"):   apptest.Form("name", "snap-1", "description", long),
		views.SnapshotsPath + "?volume=nowhere": apptest.Form("name", "snap-1"),
	} {
		a := c.Post(path, form)
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		apptest.WantText(t, a, "#name-hint", "같은 이름이 이미 있습니다")
	}
	a := c.Post(apptest.VolumePath(v.ID, "edit"), apptest.Form("name", "taken-1", "description", long))
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantNone(t, a, "#name-hint *")
}
