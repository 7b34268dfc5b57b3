package handlers_test

import (
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// popups is every popup that can act, as a path.
func (c *console) popups() map[string]string {
	v := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(v, "snap-1")
	w, other := c.NewVolume("vol-2", 5), c.NewVolume("vol-3", 5)
	used := c.Attach(other)
	second := c.NewSnapshot(w, "snap-2")
	broken := c.NewErrorDeleting(w, "snap-3")
	return map[string]string{
		"create volume":                    views.VolumesPath + "/new",
		"create volume of a snapshot":      views.VolumesPath + "/new?snapshot_id=" + s.ID,
		"create snapshot":                  views.SnapshotsPath + "/new",
		"create snapshot, searching":       views.SnapshotsPath + "/new?q=vol-2",
		"create snapshot of a volume":      views.SnapshotsPath + "/new?volume_id=" + v.ID,
		"create snapshot below the volume": apptest.VolumePath(v.ID, "snapshots/new"),
		"create snapshot, attached":        apptest.VolumePath(used.ID, "snapshots/new"),
		"create snapshot, nothing ticked":  views.VolumesPath + "/new-snapshot",
		"create snapshot, one ticked":      views.VolumesPath + "/new-snapshot?id=" + v.ID,
		"create snapshot, two ticked":      views.VolumesPath + "/new-snapshot?id=" + v.ID + "&id=" + w.ID,
		"edit volume":                      apptest.VolumePath(v.ID, "edit"),
		"edit volume, ticked":              views.VolumesPath + "/edit?id=" + v.ID,
		"edit volume, nothing ticked":      views.VolumesPath + "/edit",
		"edit volume, two ticked":          views.VolumesPath + "/edit?id=" + v.ID + "&id=" + w.ID,
		"extend volume":                    apptest.VolumePath(v.ID, "extend"),
		"attach volume":                    apptest.VolumePath(v.ID, "attach"),
		"detach volume":                    apptest.VolumePath(used.ID, "detach"),
		"delete volume":                    apptest.VolumePath(c.NewVolume("vol-4", 1).ID, "delete"),
		"delete volumes, one in the way":   views.VolumesPath + "/delete?id=" + v.ID + "&id=" + c.NewVolume("vol-5", 1).ID,
		"delete volume, refused":           apptest.VolumePath(used.ID, "delete"),
		"edit snapshot":                    apptest.SnapshotPath(s.ID, "edit"),
		"edit snapshot, ticked":            views.SnapshotsPath + "/edit?id=" + s.ID,
		"edit snapshot, nothing ticked":    views.SnapshotsPath + "/edit",
		"delete snapshot":                  apptest.SnapshotPath(s.ID, "delete"),
		"delete snapshots":                 views.SnapshotsPath + "/delete?id=" + s.ID + "&id=" + second.ID,
		"delete snapshot, refused":         apptest.SnapshotPath(broken.ID, "delete"),
		"restore":                          apptest.SnapshotPath(s.ID, "restore"),
		"revert":                           apptest.SnapshotPath(s.ID, "revert"),
		"repair snapshot":                  apptest.SnapshotPath(broken.ID, "repair"),
		"repair volume, refused":           apptest.VolumePath(v.ID, "repair"),
	}
}

// TestPopups_PageAndFragment: each popup has an address that works by itself, and htmx
// gets exactly what stands in that page, in both languages.
func TestPopups_PageAndFragment(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	paths := c.popups()
	admin := c.As(models.Administrator)
	unchanged := c.Unchanged()
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			for _, lang := range []string{"ko", "en"} {
				page := admin.Get(path, "Accept-Language", lang)
				apptest.WantStatus(t, page, http.StatusOK)
				fragment := admin.Get(path, "Accept-Language", lang, "HX-Request", "true", "HX-Current-URL", c.URL()+path)
				apptest.WantStatus(t, fragment, http.StatusOK)
				if !strings.Contains(withoutKey(page.Body), withoutKey(fragment.Body)) {
					t.Errorf("the fragment is not a part of the page:\n%s\n\n%s", fragment.Body, page.Body)
				}
				popup := fragment.Doc(t).Find("body > #popup-form")
				if popup.Length() != 1 || popup.Find("h1#popup-title").Text() == "" {
					t.Errorf("the fragment has no popup with a title:\n%s", fragment.Body)
				}
				if page.Doc(t).Find("html[lang="+lang+"] main #popup-form h1").Length() != 1 {
					t.Errorf("the page in %s has no popup in its main", lang)
				}
				if strings.Contains(page.Body, "⟦") {
					t.Errorf("a text is missing:\n%s", page.Body)
				}
				for _, boosted := range []string{"HX-Boosted", "HX-History-Restore-Request"} {
					if a := admin.Get(path, "HX-Request", "true", boosted, "true"); a.Doc(t).Find("main").Length() != 1 {
						t.Errorf("%s gets no page", boosted)
					}
				}
				for _, header := range []string{"HX-Request", "Accept-Language", "Cookie"} {
					if !strings.Contains(strings.Join(page.Header.Values("Vary"), ","), header) {
						t.Errorf("Vary does not name %s", header)
					}
				}
			}
		})
	}
	unchanged(t)
}

// TestPopups_Forms: what acts is a form that posts with the token, a key and a
// button at the end; what cannot act has none.
func TestPopups_Forms(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	for name, path := range c.popups() {
		t.Run(name, func(t *testing.T) {
			doc := admin.Get(path).Doc(t).Find("main")
			posts := doc.Find(`form[method=post]`)
			acts := !strings.Contains(name, "refused") && !strings.Contains(name, "two ticked") &&
				!(strings.Contains(name, "nothing ticked") && !strings.Contains(name, "create snapshot"))
			if (posts.Length() == 1) != acts {
				t.Fatalf("%d forms", posts.Length())
			}
			if doc.Find("form#popup-cancel").Length() != 1 {
				t.Error("no way out")
			}
			if !acts {
				if doc.Find("[role=alert], [role=note]").Text() == "" {
					t.Error("no reason")
				}
				return
			}
			if posts.AttrOr("action", "?") != posts.AttrOr("hx-post", "") {
				t.Error("with and without JavaScript it is sent to different places")
			}
			for _, field := range []string{"_csrf", "form_key"} {
				if posts.Find(`input[type=hidden][name=`+field+`]`).AttrOr("value", "") == "" {
					t.Errorf("no %s", field)
				}
			}
			if posts.Find("footer button[type=submit]").Last().Text() == "" {
				t.Error("no button at the end")
			}
		})
	}
}

// TestPopups_NotFound: unknown, malformed and foreign ids, and those of the
// other kind.
func TestPopups_NotFound(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(v, "snap-1")
	admin := c.As(models.Administrator)
	unchanged := c.Unchanged()
	for name, id := range map[string]string{
		"unknown": models.NewID(), "malformed": "x", "NUL": "%00", "dots": "..", "bad UTF-8": "%ff%fe", "long": strings.Repeat("9", 5000),
		"quotes": "'%20OR%201=1--", "HTML": "%3Cscript%3E", "of the other kind": "",
	} {
		ofVolume, ofSnapshot := id, id
		if id == "" {
			ofVolume, ofSnapshot = s.ID, v.ID
		}
		t.Run(name, func(t *testing.T) {
			var paths []string
			for _, action := range []string{"", "/edit", "/extend", "/attach", "/detach", "/delete", "/repair", "/snapshots/new"} {
				paths = append(paths, views.VolumesPath+"/"+ofVolume+action)
			}
			for _, action := range []string{"", "/edit", "/delete", "/restore", "/revert", "/repair"} {
				paths = append(paths, views.SnapshotsPath+"/"+ofSnapshot+action)
			}
			for _, query := range []string{"edit?id=", "extend?id=", "delete?id=", "new-snapshot?id=", "new?snapshot_id="} {
				of := ofVolume
				if query == "new?snapshot_id=" {
					of = ofSnapshot
				}
				paths = append(paths, views.VolumesPath+"/"+query+of)
			}
			for _, path := range paths {
				if id == ".." && !strings.Contains(path, "?") {
					continue // the client itself resolves it
				}
				a := admin.Get(path)
				if a.StatusCode != http.StatusNotFound || a.Doc(t).Find("html main h1").Length() != 1 {
					t.Errorf("GET %s: %d", path, a.StatusCode)
				}
				if strings.Contains(a.Body, "<script>") {
					t.Errorf("GET %s repeats HTML", path)
				}
				if a := admin.Get(path, apptest.AsJSON...); a.StatusCode != http.StatusNotFound {
					t.Errorf("GET %s as JSON: %d", path, a.StatusCode)
				}
				if strings.Contains(path, "?") || strings.HasSuffix(path, ofVolume) || strings.HasSuffix(path, ofSnapshot) {
					continue
				}
				send := strings.Replace(path, "/snapshots/new", "/snapshots", 1)
				a = admin.Post(send, apptest.Form("name", "fine", "size_gib", "20", "reason", "x", "server_id", "server-1"))
				if a.StatusCode != http.StatusNotFound {
					t.Errorf("POST %s: %d", send, a.StatusCode)
				}
			}
		})
	}
	unchanged(t)
}

// TestPopups_Selection: the toolbar's targets with none, one, several and too many ids.
func TestPopups_Selection(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v, w := c.NewVolume("vol-1", 1), c.NewVolume("vol-2", 1)
	s, r := c.NewSnapshot(v, "snap-1"), c.NewSnapshot(w, "snap-2")
	two := map[string]string{views.VolumesPath: "id=" + v.ID + "&id=" + w.ID, views.SnapshotsPath: "id=" + s.ID + "&id=" + r.ID}
	one := map[string]string{views.VolumesPath: "id=" + v.ID, views.SnapshotsPath: "id=" + s.ID}
	for list, actions := range map[string][]string{
		views.VolumesPath: {"edit", "attach", "detach", "extend", "new-snapshot"}, views.SnapshotsPath: {"edit", "restore"},
	} {
		for _, action := range actions {
			for name, query := range map[string]string{"none": "", "two": two[list], "an empty one": "id=", "the same twice": one[list] + "&" + one[list]} {
				t.Run(list+"/"+action+"/"+name, func(t *testing.T) {
					a := c.Get(list + "/" + action + "?" + query)
					apptest.WantStatus(t, a, http.StatusOK)
					forms := a.Doc(t).Find("main form[method=post]").Length()
					if free := action == "new-snapshot" && name != "two"; (forms == 1) != (free || name == "the same twice" && action != "detach") {
						t.Errorf("%d forms:\n%s", forms, a.Doc(t).Find("main").Text())
					}
					if forms == 0 && strings.TrimSpace(a.Doc(t).Find("main [role=note], main [role=alert]").Text()) == "" {
						t.Error("no reason")
					}
				})
			}
			if a := c.Get(list + "/" + action + "?" + one[list]); a.StatusCode != http.StatusOK {
				t.Errorf("%s of one: %d", action, a.StatusCode)
			}
		}
	}
	for list, query := range two {
		items := c.Get(list + "/delete?" + query).Doc(t).Find("main input[name=id]").Length()
		if want := map[string]int{views.VolumesPath: 0, views.SnapshotsPath: 2}[list]; items != want {
			t.Errorf("%s: the popup would delete %d", list, items)
		}
		apptest.WantText(t, c.Get(list+"/delete"), "main [role=note]", "")
		var many strings.Builder
		for range 101 {
			fmt.Fprintf(&many, "id=%s&", models.NewID())
		}
		if a := c.Get(list + "/delete?" + many.String()); a.StatusCode != http.StatusOK || a.Doc(t).Find("main form[method=post]").Length() != 0 {
			t.Errorf("101 ids: %d", a.StatusCode)
		}
		ids, err := url.ParseQuery(many.String())
		if err != nil {
			t.Fatal(err)
		}
		apptest.WantStatus(t, c.Post(list+"/delete", ids), http.StatusUnprocessableEntity)
		apptest.WantStatus(t, c.Post(list+"/delete", nil), http.StatusUnprocessableEntity)
	}
}
