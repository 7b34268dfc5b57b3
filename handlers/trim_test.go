package handlers_test

import (
	"net/http"
	"net/url"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// pasted is a text as it comes from a clipboard, with a space of each kind at its ends.
func pasted(text string) string { return " \u200b\u3000" + text + "\u00a0\t\ufeff\u200b " }

// TestTrim_SearchesAndFilters: what was pasted with spaces around it finds what it
// names, in every list, by every filter, as a page, in a count, as JSON and CSV.
func TestTrim_SearchesAndFilters(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("pasted-1", 1)
	s := c.NewSnapshot(v, "pasted-snap")
	c.NewVolume("other", 1)
	for _, tt := range []struct{ path, param, value string }{
		{views.VolumesPath, "q", "pasted"}, {views.VolumesPath, "q", v.ID}, {views.VolumesPath, "q", "-1"},
		{views.SnapshotsPath, "q", s.ID}, {views.SnapshotsPath, "volume", v.ID}, {views.SnapshotsPath, "status", "available"},
	} {
		query := tt.path + "?" + url.Values{tt.param: {pasted(tt.value)}, "size": {" 50\u200b"}, "sort": {"name "}}.Encode()
		if got := c.list(t, query).Total; got != 1 {
			t.Errorf("%s=%+q finds %d", tt.param, pasted(tt.value), got)
		}
		if records := c.csv(t, query); len(records) != 2 {
			t.Errorf("%s=%+q exports %d records", tt.param, pasted(tt.value), len(records))
		}
		page := c.Get(query)
		apptest.WantNone(t, page, ".inline-note")
		if ids := rowIDs(page.Doc(t)); len(ids) != 1 {
			t.Errorf("%s=%+q shows %d rows", tt.param, pasted(tt.value), len(ids))
		}
	}
	choices := c.Get(views.SnapshotsPath + "/new/volumes?q=" + url.QueryEscape(pasted("pasted")))
	apptest.WantText(t, choices, ".choice", "pasted-1")
}

// TestTrim_IDs: ids in paths, in queries and in forms.
func TestTrim_IDs(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("trimmed-1", 1)
	for _, path := range []string{
		apptest.VolumePath(url.PathEscape(pasted(v.ID))), apptest.VolumePath(url.PathEscape(pasted(v.ID)), "edit"),
		views.VolumesPath + "/edit?id=" + url.QueryEscape(pasted(v.ID)), views.SnapshotsPath + "/new?volume_id=" + url.QueryEscape(pasted(v.ID)),
	} {
		a := c.Get(path, "Accept", "text/html")
		apptest.WantStatus(t, a, http.StatusOK)
		apptest.WantNone(t, a, ".callout-warn")
	}
	if snap := c.Ask(views.SnapshotsPath, "name", "trimmed-snap", "volume_id", pasted(v.ID)); snap.ID == "" {
		t.Error("no snapshot")
	}
	if a := c.Ask(apptest.VolumePath(v.ID, "extend"), "size_gib", pasted("2")); a.ID != v.ID {
		t.Errorf("extended %s", a.ID)
	}
	other := c.NewVolume("trimmed-2", 1)
	if a := c.Ask(apptest.VolumePath(other.ID, "attach"), "server_id", pasted("server-1")); a.ID != other.ID {
		t.Errorf("attached %s", a.ID)
	}
	many := c.NewVolume("trimmed-3", 1)
	a := c.Post(views.VolumesPath+"/delete", url.Values{"id": {pasted(many.ID)}}, "Accept", "application/json")
	if a.StatusCode >= 400 {
		t.Errorf("deleting several: %s %s", a.Status, a.Body)
	}
}

// TestTrim_NamesStayAsTyped: objects keep what was typed, and the message names the
// space; sizes are numbers.
func TestTrim_NamesStayAsTyped(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for lang, want := range map[string]string{"ko": "끝에 공백이 있습니다", "en": "space at the end"} {
		for _, space := range []string{" ", "\t", "\u00a0", "\u200b"} {
			a := c.Post(views.VolumesPath, apptest.FormWithKey("name", "web-1"+space, "size_gib", pasted("3")), "Accept", "text/html", "Accept-Language", lang)
			apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
			apptest.WantFieldError(t, a, "name", want)
			if kept := a.Doc(t).Find("#f-name").AttrOr("value", ""); kept != "web-1"+space {
				t.Errorf("the field has %+q", kept)
			}
			apptest.WantNone(t, a, "#f-size_gib[aria-invalid]")
		}
	}
	if a := c.Ask(views.VolumesPath, "name", "web-1", "size_gib", pasted("3")); a.ID == "" {
		t.Error("no volume")
	}
}

// TestTrim_UserNames: one signs in, and is added, by a pasted name.
func TestTrim_UserNames(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.NewClient().SignIn(pasted("operator"), storetest.Password)
	admin := c.As(models.Administrator)
	apptest.WantStatus(t, admin.Post("/admin/users", url.Values{"name": {pasted("kim")}, "role": {" viewer "}, "password": {"correct-horse-battery"}}), http.StatusSeeOther)
	c.NewClient().SignIn("kim", "correct-horse-battery")
}
