package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/web/app/apptest"
	"net/http"
	"strings"
	"testing"
)

// TestEdit_Stale: the later one is told, sees the other's value, keeps
// their own, and may then overwrite it.
func TestEdit_Stale(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	s := c.NewSnapshot(v, "snap-1")
	admin := c.As(models.Administrator)
	for kind, path := range map[string]string{"volume": apptest.VolumePath(v.ID, "edit"), "snapshot": apptest.SnapshotPath(s.ID, "edit")} {
		t.Run(kind, func(t *testing.T) {
			version := func(a apptest.Answer) string {
				return a.Doc(t).Find("form[method=post] input[name=version]").AttrOr("value", "")
			}
			opened := version(c.Get(path))
			if opened == "" {
				t.Fatal("the form does not know its version")
			}
			apptest.WantStatus(t, admin.Post(path, apptest.Form("name", "theirs-"+kind, "description", "theirs", "version", opened)), http.StatusSeeOther)
			c.Work()
			unchanged := c.Unchanged()
			for _, headers := range [][]string{nil, apptest.HTMX} {
				late := c.Post(path, apptest.Form("name", "mine-"+kind, "description", "mine", "version", opened), headers...)
				apptest.WantStatus(t, late, http.StatusConflict)
				text := late.Doc(t).Find("#popup-form").Text()
				if !strings.Contains(text, "theirs-"+kind) || !strings.Contains(text, "administrator") {
					t.Errorf("it does not show the other's value and name: %s", text)
				}
				if got := late.Doc(t).Find("input[name=name]").AttrOr("value", ""); got != "mine-"+kind {
					t.Errorf("what was typed became %q", got)
				}
				if now := version(late); now == opened || now == "" {
					t.Errorf("the form still has version %q", now)
				}
			}
			body := apptest.WantProblem(t, c.Post(path, apptest.Form("name", "mine-"+kind, "version", opened), apptest.AsJSON...), http.StatusConflict)
			if body.Code != "stale" {
				t.Errorf("JSON says %+v", body)
			}
			unchanged(t)
			late := c.Post(path, apptest.Form("name", "mine-"+kind, "version", opened))
			apptest.WantStatus(t, c.Post(path, apptest.Form("name", "mine-"+kind, "version", version(late))), http.StatusSeeOther)
			c.Work()
			apptest.WantText(t, c.Get(strings.TrimSuffix(path, "/edit")), "main h1", "mine-"+kind)
		})
	}
	for _, odd := range []string{"-1", "x", "0", "", "99999999999999999999"} {
		if a := c.Post(apptest.VolumePath(v.ID, "edit"), apptest.Form("name", "odd-version", "version", odd)); a.StatusCode != http.StatusSeeOther {
			t.Errorf("version %q: %d", odd, a.StatusCode)
		}
		c.Work()
	}
}

// TestEdit_LongNameKept: only the description is edited, in a field that has one line.
func TestEdit_LongNameKept(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.PutVolume(backend.Volume{Name: "two\nlines of a name that is long", SizeGiB: 1})
	a := c.Get(apptest.VolumePath(v.ID, "edit"))
	typed := strings.ReplaceAll(a.Doc(t).Find("input[name=name]").AttrOr("value", ""), "\n", "") // as browsers do
	apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "edit"), apptest.Form("name", typed, "description", "mine"), apptest.AsJSON...))
	c.Work()
	if now := c.Volume(v.ID); now.Name != v.Name || now.Description != "mine" {
		t.Errorf("the volume is %q, %q", now.Name, now.Description)
	}
}
