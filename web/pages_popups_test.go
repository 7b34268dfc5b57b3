package web

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
)

// popups is every popup that can act, as a path.
func (b *board) popups() map[string]string {
	v := b.volume("vol-1", "10")
	s := b.snapshot(v, "snap-1")
	w, other := b.volume("vol-2", "5"), b.volume("vol-3", "5")
	used := b.attached(other)
	second := b.snapshot(w, "snap-2")
	broken := b.errorDeleting(w, "snap-3")
	return map[string]string{
		"create volume":                    views.VolumesPath + "/new",
		"create volume of a snapshot":      views.VolumesPath + "/new?snapshot_id=" + s.ID,
		"create snapshot":                  views.SnapshotsPath + "/new",
		"create snapshot, searching":       views.SnapshotsPath + "/new?q=vol-2",
		"create snapshot of a volume":      views.SnapshotsPath + "/new?volume_id=" + v.ID,
		"create snapshot below the volume": volumePath(v, "snapshots/new"),
		"create snapshot, attached":        volumePath(used, "snapshots/new"),
		"create snapshot, nothing ticked":  views.VolumesPath + "/new-snapshot",
		"create snapshot, one ticked":      views.VolumesPath + "/new-snapshot?id=" + v.ID,
		"create snapshot, two ticked":      views.VolumesPath + "/new-snapshot?id=" + v.ID + "&id=" + w.ID,
		"edit volume":                      volumePath(v, "edit"),
		"edit volume, ticked":              views.VolumesPath + "/edit?id=" + v.ID,
		"edit volume, nothing ticked":      views.VolumesPath + "/edit",
		"edit volume, two ticked":          views.VolumesPath + "/edit?id=" + v.ID + "&id=" + w.ID,
		"extend volume":                    volumePath(v, "extend"),
		"attach volume":                    volumePath(v, "attach"),
		"detach volume":                    volumePath(used, "detach"),
		"delete volume":                    volumePath(b.volume("vol-4", "1"), "delete"),
		"delete volumes, one in the way":   views.VolumesPath + "/delete?id=" + v.ID + "&id=" + b.volume("vol-5", "1").ID,
		"delete volume, refused":           volumePath(used, "delete"),
		"edit snapshot":                    snapshotPath(s, "edit"),
		"edit snapshot, ticked":            views.SnapshotsPath + "/edit?id=" + s.ID,
		"edit snapshot, nothing ticked":    views.SnapshotsPath + "/edit",
		"delete snapshot":                  snapshotPath(s, "delete"),
		"delete snapshots":                 views.SnapshotsPath + "/delete?id=" + s.ID + "&id=" + second.ID,
		"delete snapshot, refused":         snapshotPath(broken, "delete"),
		"restore":                          snapshotPath(s, "restore"),
		"revert":                           snapshotPath(s, "revert"),
		"repair snapshot":                  snapshotPath(broken, "repair"),
		"repair volume, refused":           volumePath(v, "repair"),
	}
}

// TestPopupsArePages: each popup has an address that works by itself, and htmx
// gets exactly what stands in that page, in both languages.
func TestPopupsArePages(t *testing.T) {
	b := newBoard(t)
	paths := b.popups()
	admin := b.as(models.Administrator)
	unchanged := b.unchanged()
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			for _, lang := range []string{"ko", "en"} {
				page := admin.get(path, "Accept-Language", lang)
				wantStatus(t, page, http.StatusOK)
				fragment := admin.get(path, "Accept-Language", lang, "HX-Request", "true", "HX-Current-URL", b.URL+path)
				wantStatus(t, fragment, http.StatusOK)
				if !strings.Contains(steady(page.body), steady(fragment.body)) {
					t.Errorf("the fragment is not a part of the page:\n%s\n\n%s", fragment.body, page.body)
				}
				popup := fragment.doc(t).Find("body > #popup-form")
				if popup.Length() != 1 || popup.Find("h1#popup-title").Text() == "" {
					t.Errorf("the fragment has no popup with a title:\n%s", fragment.body)
				}
				if page.doc(t).Find("html[lang="+lang+"] main #popup-form h1").Length() != 1 {
					t.Errorf("the page in %s has no popup in its main", lang)
				}
				if strings.Contains(page.body, "⟦") {
					t.Errorf("a text is missing:\n%s", page.body)
				}
				for _, boosted := range []string{"HX-Boosted", "HX-History-Restore-Request"} {
					if a := admin.get(path, "HX-Request", "true", boosted, "true"); a.doc(t).Find("main").Length() != 1 {
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

// TestPopupForms: what acts is a form that posts with the token, a key and a
// button at the end; what cannot act has none.
func TestPopupForms(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	for name, path := range b.popups() {
		t.Run(name, func(t *testing.T) {
			doc := admin.get(path).doc(t).Find("main")
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

// TestPopupsOfWhatIsNotThere: unknown, malformed and foreign ids, and those of the
// other kind.
func TestPopupsOfWhatIsNotThere(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "10")
	s := b.snapshot(v, "snap-1")
	admin := b.as(models.Administrator)
	unchanged := b.unchanged()
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
				a := admin.get(path)
				if a.StatusCode != http.StatusNotFound || a.doc(t).Find("html main h1").Length() != 1 {
					t.Errorf("GET %s: %d", path, a.StatusCode)
				}
				if strings.Contains(a.body, "<script>") {
					t.Errorf("GET %s repeats HTML", path)
				}
				if a := admin.get(path, asJS...); a.StatusCode != http.StatusNotFound {
					t.Errorf("GET %s as JSON: %d", path, a.StatusCode)
				}
				if strings.Contains(path, "?") || strings.HasSuffix(path, ofVolume) || strings.HasSuffix(path, ofSnapshot) {
					continue
				}
				send := strings.Replace(path, "/snapshots/new", "/snapshots", 1)
				a = admin.post(send, form("name", "fine", "size_gib", "20", "reason", "x", "server_id", "server-1"))
				if a.StatusCode != http.StatusNotFound {
					t.Errorf("POST %s: %d", send, a.StatusCode)
				}
			}
		})
	}
	unchanged(t)
}

// TestVolumeChoices_NewestIneligible: volumes that no snapshot can be made of do not
// push the others out of the chooser.
func TestVolumeChoices_NewestIneligible(t *testing.T) {
	b := newBoard(t)
	free, used := b.volume("good-free", "1"), b.attached(b.volume("good-used", "1"))
	for i := range 25 {
		b.clock.Add(time.Second)
		b.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("good-not-%d", i), SizeGiB: 1, State: backend.State{Status: backend.ErrorStatus}})
	}
	if err := b.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, search := range []string{"", "?q=good"} {
		a := b.get(views.SnapshotsPath+"/new/volumes"+search, htmx...)
		wantStatus(t, a, http.StatusOK)
		if strings.Contains(a.body, "good-not") || !strings.Contains(a.body, free.ID) || !strings.Contains(a.body, used.ID) ||
			strings.Index(a.body, used.ID) > strings.Index(a.body, free.ID) {
			t.Errorf("%q finds\n%s", search, a.body)
		}
	}
}
