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

// refusedNames are what the guide's rule does not allow.
var refusedNames = map[string]string{
	"empty": "", "2 bytes": "ab", "21 bytes": "a23456789012345678901", "Korean": "스냅샷", "Korean of 3 bytes": "한", "emoji": "disk-💾",
	"a space inside": "my snap", "a space before": " snap", "a space after": "snap ", "spaces": "   ", "underscore": "my_snap",
	"NUL": "sna\x00p", "HTML": "<b>snap</b>", "script": `"><script>alert(1)</script>`, "line end": "snap\n", "not UTF-8": "snap\xff",
	"dot": "snap.1", "full width": "ｓｎａｐ", "formula": "=1+1", "right to left": "snap\u202e",
}

// nameForms are the forms with a name, and the rest of what they need.
func (c *console) nameForms() map[string]struct {
	path string
	rest url.Values
} {
	v := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(v, "snap-1")
	type target = struct {
		path string
		rest url.Values
	}
	return map[string]struct {
		path string
		rest url.Values
	}{
		"create volume":                    target{views.VolumesPath, apptest.Form("size_gib", "1", "description", "kept text")},
		"restore":                          target{apptest.SnapshotPath(s.ID, "restore"), apptest.Form("size_gib", "11", "description", "kept text")},
		"edit volume":                      target{apptest.VolumePath(v.ID, "edit"), apptest.Form("description", "kept text")},
		"edit snapshot":                    target{apptest.SnapshotPath(s.ID, "edit"), apptest.Form("description", "kept text")},
		"create snapshot":                  target{views.SnapshotsPath, apptest.Form("volume_id", v.ID, "description", "kept text")},
		"create snapshot below the volume": target{apptest.VolumePath(v.ID, "snapshots"), apptest.Form("description", "kept text")},
	}
}

// TestForms_InvalidNames: 422, a message beside the field in the visitor's language, what
// was typed kept, nothing changed.
func TestForms_InvalidNames(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	forms := c.nameForms()
	unchanged := c.Unchanged()
	for what, f := range forms {
		for name, typed := range refusedNames {
			t.Run(what+"/"+name, func(t *testing.T) {
				values := url.Values{"name": {typed}, "form_key": {"key-" + name}, "return_to": {views.SnapshotsPath + "?q=a"}}
				for field, v := range f.rest {
					values[field] = v
				}
				for _, headers := range [][]string{nil, apptest.HTMX} {
					a := c.Post(f.path, values, headers...)
					apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
					apptest.WantFieldError(t, a, "name", "3Byte")
					input := a.Doc(t).Find("input[name=name]")
					if got := asTyped(input.AttrOr("value", "?")); got != asTyped(typed) {
						t.Errorf("the field holds %q, typed was %q", got, typed)
					}
					if got := a.Doc(t).Find("input[name=description]").AttrOr("value", ""); got != "kept text" {
						t.Errorf("the description holds %q", got)
					}
					for field, want := range map[string]string{"form_key": "key-" + name, "return_to": views.SnapshotsPath + "?q=a"} {
						if got := a.Doc(t).Find("form[method=post] input[name="+field+"]").AttrOr("value", ""); got != want {
							t.Errorf("%s is %q, want %q", field, got, want)
						}
					}
					if a.Doc(t).Find("#popup-form script, #popup-form c c").Length() > 0 || strings.Contains(a.Body, "<script>alert") {
						t.Errorf("what was typed is live:\n%s", a.Body)
					}
				}
				english := c.Post(f.path, values, "Accept-Language", "en")
				apptest.WantFieldError(t, english, "name", "letters")
				body := apptest.WantProblem(t, c.Post(f.path, values, apptest.AsJSON...), http.StatusUnprocessableEntity)
				if body.Code != "invalid" || !strings.Contains(body.Fields["name"], "3Byte") {
					t.Errorf("JSON says %+v", body)
				}
			})
		}
	}
	unchanged(t)
}

// asTyped is what a page can show of what was typed: HTML has no NUL and nothing
// that is not UTF-8.
func asTyped(typed string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(typed, "\x00", "\ufffd"), "\ufffd")
}

// TestForms_InvalidSizes: of volumes made, restored and extended.
func TestForms_InvalidSizes(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(v, "snap-1")
	unchanged := c.Unchanged()
	for name, typed := range map[string]string{
		"empty": "", "0": "0", "negative": "-1", "fraction": "1.5", "comma": "1,5", "exponent": "1e3", "hexadecimal": "0x10", "plus": "+1", "leading zero": "012",
		"more than the disk": "16385", "more than a number": "99999999999999999999", "more than 32 bits": "4294967306", "words": "ten", "space inside": "1 0",
		"unit": "10G", "Arabic digits": "١٠", "NUL": "1\x00", "HTML": "<i>",
	} {
		t.Run(name, func(t *testing.T) {
			for what, path := range map[string]string{"create": views.VolumesPath, "restore": apptest.SnapshotPath(s.ID, "restore"), "extend": apptest.VolumePath(v.ID, "extend")} {
				if what == "restore" && name == "empty" {
					continue // the snapshot's own size
				}
				values := apptest.Form("name", "vol-2", "size_gib", typed)
				a := c.Post(path, values, apptest.HTMX...)
				apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
				apptest.WantFieldError(t, a, "size_gib", "GiB")
				if got := a.Doc(t).Find("input[name=size_gib]").AttrOr("value", "?"); got != asTyped(typed) {
					t.Errorf("%s: the field holds %q", what, got)
				}
				apptest.WantFieldError(t, c.Post(path, values, "Accept-Language", "en"), "size_gib", "GiB")
				if body := apptest.WantProblem(t, c.Post(path, values, apptest.AsJSON...), http.StatusUnprocessableEntity); body.Fields["size_gib"] == "" {
					t.Errorf("%s: JSON says %+v", what, body)
				}
			}
		})
	}
	for what, tc := range map[string]struct{ path, size string }{
		"smaller than the snapshot": {apptest.SnapshotPath(s.ID, "restore"), "9"}, "as large as it is": {apptest.VolumePath(v.ID, "extend"), "10"}, "smaller than it is": {apptest.VolumePath(v.ID, "extend"), "1"},
	} {
		t.Run(what, func(t *testing.T) {
			a := c.Post(tc.path, apptest.Form("name", "vol-2", "size_gib", tc.size))
			apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
			apptest.WantFieldError(t, a, "size_gib", "1")
		})
	}
	unchanged(t)
}

// TestForms_InvalidChoices: ids in fields that are unknown, malformed, or of another kind.
func TestForms_InvalidChoices(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 10)
	s := c.NewSnapshot(v, "snap-1")
	used := c.Attach(c.NewVolume("vol-2", 1))
	unchanged := c.Unchanged()
	for name, id := range map[string]string{"unknown": models.NewID(), "malformed": "x", "NUL": "\x00", "not UTF-8": "\xff", "long": strings.Repeat("x", 9000), "HTML": "<script>"} {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct{ field, path string }{
				{"volume_id", views.SnapshotsPath}, {"snapshot_id", views.VolumesPath}, {"image", views.VolumesPath}, {"server_id", views.VolumesPath},
				{"server_id", apptest.VolumePath(v.ID, "attach")}, {"server_id", apptest.VolumePath(used.ID, "detach")}, {"volume_type", views.VolumesPath},
				{"availability_zone", views.VolumesPath}, {"server_id", apptest.SnapshotPath(s.ID, "restore")},
			} {
				values := apptest.Form("name", "fine-name", "size_gib", "10", tc.field, id)
				body := apptest.WantProblem(t, c.Post(tc.path, values, apptest.AsJSON...), http.StatusUnprocessableEntity)
				if body.Fields[tc.field] == "" {
					t.Errorf("%s of %s: JSON says %+v", tc.field, tc.path, body)
				}
				for _, headers := range [][]string{nil, apptest.HTMX} {
					a := c.Post(tc.path, values, headers...)
					apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
					if strings.Contains(a.Body, "<script>") && len(headers) > 0 {
						t.Error("what was sent is live")
					}
					if a.Doc(t).Find("#popup-form .field-error, #popup-form [data-form-error]").Text() == "" {
						t.Errorf("%s of %s: the form says nothing\n%s", tc.field, tc.path, a.Body)
					}
				}
			}
		})
	}
	t.Run("of another kind", func(t *testing.T) {
		apptest.WantFieldError(t, c.Post(views.SnapshotsPath, apptest.Form("name", "fine", "volume_id", s.ID)), "q", "Volume")
		a := c.Post(views.VolumesPath, apptest.Form("name", "fine", "size_gib", "20", "snapshot_id", v.ID), apptest.AsJSON...)
		if body := apptest.WantProblem(t, a, http.StatusUnprocessableEntity); body.Fields["snapshot_id"] == "" {
			t.Errorf("JSON says %+v", body)
		}
	})
	t.Run("nothing chosen", func(t *testing.T) {
		a := c.Post(views.SnapshotsPath, apptest.Form("name", "fine"))
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		apptest.WantFieldError(t, a, "q", "Volume")
		if a.Doc(t).Find("input[type=radio][name=volume_id]").Length() == 0 {
			t.Error("no volumes to choose from")
		}
	})
	t.Run("a server it has already", func(t *testing.T) {
		c.Fake.SetCapabilities(func(c *backend.Capabilities) { c.MultiAttach = true })
		if err := c.Mirror.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		apptest.WantFieldError(t, c.Post(apptest.VolumePath(used.ID, "attach"), apptest.Form("server_id", "server-1")), "server_id", "")
	})
	unchanged(t)
}

// TestForms_InvalidDescriptions: too long, or with characters that a backend refuses.
func TestForms_InvalidDescriptions(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	forms := c.nameForms()
	unchanged := c.Unchanged()
	for name, typed := range map[string]string{"long": strings.Repeat("가", 256), "control": "a\x07", "NUL": "a\x00", "lines": "a\nb", "not UTF-8": "\xff"} {
		for what, f := range forms {
			t.Run(name+"/"+what, func(t *testing.T) {
				values := url.Values{"name": {"fine"}, "description": {typed}}
				for _, field := range []string{"size_gib", "volume_id"} {
					values[field] = f.rest[field]
				}
				a := c.Post(f.path, values)
				apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
				apptest.WantFieldError(t, a, "description", "255")
			})
		}
	}
	unchanged(t)
}
