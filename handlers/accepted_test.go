package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// write is a form that is accepted.
type write struct {
	path string
	form url.Values
	list string
	row  string // that changes; empty: the list does
}

func (c *console) writes() map[string]write {
	v, w := c.NewVolume("vol-1", 10), c.NewVolume("vol-2", 5)
	used := c.Attach(c.NewVolume("vol-3", 1))
	s, old := c.NewSnapshot(v, "snap-1"), c.NewSnapshot(w, "snap-2")
	broken := c.NewErrorDeleting(w, "snap-3")
	bare, bare2, bare3 := c.NewVolume("vol-4", 1), c.NewVolume("vol-5", 1), c.NewVolume("vol-6", 1)
	alone := c.NewVolume("vol-7", 2)
	latest := c.NewSnapshot(alone, "snap-4")
	second := c.NewSnapshot(v, "snap-5")
	return map[string]write{
		"create volume":           {views.VolumesPath, apptest.Form("name", "vol-8", "size_gib", "3"), views.VolumesPath, ""},
		"create from an image":    {views.VolumesPath, apptest.Form("name", "vol-9", "size_gib", "1", "image", "debian.raw"), views.VolumesPath, ""},
		"create and attach":       {views.VolumesPath, apptest.Form("name", "vol-10", "size_gib", "1", "server_id", "server-2"), views.VolumesPath, ""},
		"create of a snapshot":    {views.VolumesPath, apptest.Form("name", "vol-11", "size_gib", "11", "snapshot_id", s.ID), views.VolumesPath, ""},
		"restore":                 {apptest.SnapshotPath(s.ID, "restore"), apptest.Form("name", "vol-12"), views.VolumesPath, ""},
		"edit volume":             {apptest.VolumePath(v.ID, "edit"), apptest.Form("name", "vol-1b", "description", "new"), views.VolumesPath, "volume-" + v.ID},
		"extend":                  {apptest.VolumePath(bare.ID, "extend"), apptest.Form("size_gib", "2"), views.VolumesPath, "volume-" + bare.ID},
		"attach":                  {apptest.VolumePath(bare2.ID, "attach"), apptest.Form("server_id", "server-1"), views.VolumesPath, "volume-" + bare2.ID},
		"detach":                  {apptest.VolumePath(used.ID, "detach"), apptest.Form(), views.VolumesPath, "volume-" + used.ID},
		"delete volume":           {apptest.VolumePath(bare3.ID, "delete"), apptest.Form(), views.VolumesPath, "volume-" + bare3.ID},
		"create snapshot":         {views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "snap-6"), views.SnapshotsPath, ""},
		"create snapshot, nested": {apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-7"), views.SnapshotsPath, ""},
		"edit snapshot":           {apptest.SnapshotPath(s.ID, "edit"), apptest.Form("name", "snap-1b"), views.SnapshotsPath, "snapshot-" + s.ID},
		"delete snapshot":         {apptest.SnapshotPath(old.ID, "delete"), apptest.Form(), views.SnapshotsPath, "snapshot-" + old.ID},
		"delete snapshots":        {views.SnapshotsPath + "/delete", apptest.Form("id", second.ID), views.SnapshotsPath, ""},
		"revert":                  {apptest.SnapshotPath(latest.ID, "revert"), apptest.Form(), views.SnapshotsPath, ""},
		"repair":                  {apptest.SnapshotPath(broken.ID, "repair"), apptest.Form("reason", "looked at it"), views.SnapshotsPath, "snapshot-" + broken.ID},
	}
}

// TestAccepted_WithoutScript: 303 to return_to or the list, where a message
// stands once.
func TestAccepted_WithoutScript(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	for name, w := range c.writes() {
		t.Run(name, func(t *testing.T) {
			a := admin.Post(w.path, w.form)
			apptest.WantStatus(t, a, http.StatusSeeOther)
			if got := a.Header.Get("Location"); got != w.list {
				t.Fatalf("leads to %s, want %s", got, w.list)
			}
			page := admin.Get(w.list)
			apptest.WantStatus(t, page, http.StatusOK)
			if page.Doc(t).Find("#messages a[href^='/activity/']").Length() != 1 {
				t.Errorf("no message with a link to the operation:\n%s", page.Body)
			}
			apptest.WantNone(t, admin.Get(w.list), "#messages a")
			c.Work()
		})
	}
	ops, err := c.Store.Queue.ListOperations(t.Context(), storetest.Operator(), models.OperationQuery{Limit: 100, State: models.Failed})
	if err != nil || len(ops) != 1 { // the deletion that was to fail
		t.Errorf("%d operations failed, %v: %+v", len(ops), err, ops)
	}
}

// TestAccepted_HTMX: 200, the popup closes, the changed row comes along or the list
// is read again.
func TestAccepted_HTMX(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	for name, w := range c.writes() {
		t.Run(name, func(t *testing.T) {
			a := admin.Post(w.path, w.form, c.FromList(w.list+"?sort=name")...)
			apptest.WantStatus(t, a, http.StatusOK)
			var events map[string]any
			if err := json.Unmarshal([]byte(a.Header.Get("HX-Trigger")), &events); err != nil {
				t.Fatalf("HX-Trigger %q: %v", a.Header.Get("HX-Trigger"), err)
			}
			_, closed := events["popup:close"]
			_, refresh := events["list:refresh"]
			doc := a.Doc(t)
			if !closed || refresh != (w.row == "") {
				t.Errorf("events %v", events)
			}
			if doc.Find(`hx-partial[hx-target="#messages"]`).Length() != 1 {
				t.Errorf("no message:\n%s", a.Body)
			}
			if w.row != "" && !strings.Contains(a.Body, `<hx-partial hx-target="#`+w.row+`" hx-swap="outerMorph"><tr id="`+w.row+`"`) {
				t.Errorf("the row does not come along:\n%s", a.Body)
			}
			if strings.Contains(a.Body, "<html") || a.Header.Get("Location") != "" {
				t.Error("the answer is a page")
			}
			c.Work()
		})
	}
}

// TestAccepted_JSON: 202 and where the operation is. The same form again gives
// the same answer, before and after the operation has ended.
func TestAccepted_JSON(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	for name, w := range c.writes() {
		t.Run(name, func(t *testing.T) {
			w.form.Set("form_key", "key of "+name)
			first := apptest.WantAccepted(t, admin.Post(w.path, w.form, apptest.AsJSON...))
			unchanged := c.Unchanged()
			if again := apptest.WantAccepted(t, admin.Post(w.path, w.form, apptest.AsJSON...)); again != first {
				t.Errorf("again %+v, first %+v", again, first)
			}
			unchanged(t)
			c.Work()
			unchanged = c.Unchanged()
			if later := apptest.WantAccepted(t, admin.Post(w.path, w.form, apptest.AsJSON...)); later != first {
				t.Errorf("later %+v, first %+v", later, first)
			}
			for _, headers := range [][]string{nil, c.FromList(w.list)} {
				if a := admin.Post(w.path, w.form, headers...); a.StatusCode != http.StatusSeeOther && a.StatusCode != http.StatusOK {
					t.Errorf("the same form from a page: %d", a.StatusCode)
				}
			}
			unchanged(t)
			var op struct{ ID, State, Kind string }
			if err := json.Unmarshal([]byte(admin.Get(first.URL, apptest.AsJSON...).Body), &op); err != nil || op.ID != first.Operation || op.State != "SUCCEEDED" {
				t.Errorf("the operation is %+v, %v", op, err)
			}
		})
	}
}

// TestAccepted_ReturnTo: back to the state of the list, and never to another site.
func TestAccepted_ReturnTo(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	s := c.NewSnapshot(c.NewVolume("vol-1", 1), "snap-1")
	state := views.SnapshotsPath + "?q=snap&sort=name"
	popup := c.Get(apptest.SnapshotPath(s.ID, "edit") + "?return_to=" + url.QueryEscape(state)).Doc(t)
	if got := popup.Find("form[method=post] input[name=return_to]").AttrOr("value", ""); got != state {
		t.Errorf("the form holds %q", got)
	}
	for sent, want := range map[string]string{
		state: state, "/activity": "/activity", "": views.SnapshotsPath, "https://evil.example/": views.SnapshotsPath, "//evil.example": views.SnapshotsPath,
		`/\evil.example`: views.SnapshotsPath, "javascript:alert(1)": views.SnapshotsPath, "/ok\r\nSet-Cookie: a=c": views.SnapshotsPath,
		"http:/evil.example": views.SnapshotsPath, "evil": views.SnapshotsPath, "/" + strings.Repeat("x", 5000): views.SnapshotsPath,
	} {
		a := c.Post(apptest.SnapshotPath(s.ID, "edit"), apptest.Form("name", "snap-2", "return_to", sent))
		apptest.WantStatus(t, a, http.StatusSeeOther)
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", sent, got, want)
		}
		c.Work()
	}
	evil := c.Get(apptest.SnapshotPath(s.ID, "edit") + "?return_to=//evil.example")
	apptest.WantNone(t, evil, `input[name=return_to], [href^="//"], [action^="//"]`)
}

// TestNotice_Foreign: only a notice that the console made for this session is shown.
func TestNotice_Foreign(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	notices := func(b *apptest.Client) int { return b.Get("/account").Doc(t).Find("#messages .alert").Length() }
	other := c.As(models.Viewer)
	apptest.WantStatus(t, other.Post("/account/sessions/end-others", nil), http.StatusSeeOther)
	mine := c.As(models.Viewer)
	stolen := *other.Cookie("blockconsole-notice")
	if notices(other) != 1 {
		t.Error("the console's own notice is not shown")
	}
	made := base64.RawURLEncoding.EncodeToString([]byte(`{"Message":{"Key":"accepted.password"},"Detail":{"Key":"audit.noun","Args":["call 555 0100"]}}`))
	for name, value := range map[string]string{"by hand": made, "another session's": stolen.Value, "signed with nothing": "." + made, "empty": "",
		"changed": stolen.Value[:len(stolen.Value)-2]} {
		mine.SetCookies(&http.Cookie{Name: "blockconsole-notice", Value: value})
		if n := notices(mine); n != 0 {
			t.Errorf("%s: %d notices are shown", name, n)
		}
	}
}

// TestCookies_UnderHTTPS: all of them have the prefix with which browsers refuse those of another host.
func TestCookies_UnderHTTPS(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "PUBLIC_URL=https://console.example.com")
	b := c.NewClient()
	b.SignIn("viewer", storetest.Password)
	for name, a := range map[string]apptest.Answer{
		"sign-in form": c.NewClient().Get("/login"), "preferences": b.Get("/account?lang=en&theme=dark&density=compact"),
		"notice": b.Post("/account/sessions/end-others", nil), "shown": b.Get("/account"), "sign-out": b.Post("/logout", nil),
	} {
		for _, cookie := range a.Cookies() {
			if !strings.HasPrefix(cookie.Name, "__Host-") || !cookie.Secure || cookie.Path != "/" || cookie.Domain != "" {
				t.Errorf("%s: %s", name, cookie)
			}
		}
		if len(a.Cookies()) == 0 && name != "shown" {
			t.Errorf("%s: no cookie", name)
		}
	}
}
