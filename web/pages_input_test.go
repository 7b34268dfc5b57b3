package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// refusedNames are what the guide's rule does not allow.
var refusedNames = map[string]string{
	"empty": "", "2 bytes": "ab", "21 bytes": "a23456789012345678901", "Korean": "스냅샷", "Korean of 3 bytes": "한", "emoji": "disk-💾",
	"a space inside": "my snap", "a space before": " snap", "a space after": "snap ", "spaces": "   ", "underscore": "my_snap",
	"NUL": "sna\x00p", "HTML": "<b>snap</b>", "script": `"><script>alert(1)</script>`, "line end": "snap\n", "not UTF-8": "snap\xff",
	"dot": "snap.1", "full width": "ｓｎａｐ", "formula": "=1+1", "right to left": "snap\u202e",
}

// nameForms are the forms with a name, and the rest of what they need.
func (b *board) nameForms() map[string]struct {
	path string
	rest url.Values
} {
	v := b.volume("vol-1", "10")
	s := b.snapshot(v, "snap-1")
	type target = struct {
		path string
		rest url.Values
	}
	return map[string]struct {
		path string
		rest url.Values
	}{
		"create volume":                    target{views.VolumesPath, form("size_gib", "1", "description", "kept text")},
		"restore":                          target{snapshotPath(s, "restore"), form("size_gib", "11", "description", "kept text")},
		"edit volume":                      target{volumePath(v, "edit"), form("description", "kept text")},
		"edit snapshot":                    target{snapshotPath(s, "edit"), form("description", "kept text")},
		"create snapshot":                  target{views.SnapshotsPath, form("volume_id", v.ID, "description", "kept text")},
		"create snapshot below the volume": target{volumePath(v, "snapshots"), form("description", "kept text")},
	}
}

// TestBadNames: 422, a message beside the field in the visitor's language, what
// was typed kept, nothing changed.
func TestBadNames(t *testing.T) {
	b := newBoard(t)
	forms := b.nameForms()
	unchanged := b.unchanged()
	for what, f := range forms {
		for name, typed := range refusedNames {
			t.Run(what+"/"+name, func(t *testing.T) {
				values := url.Values{"name": {typed}, "form_key": {"key-" + name}, "return_to": {views.SnapshotsPath + "?q=a"}}
				for field, v := range f.rest {
					values[field] = v
				}
				for _, headers := range [][]string{nil, htmx} {
					a := b.post(f.path, values, headers...)
					wantStatus(t, a, http.StatusUnprocessableEntity)
					wantFieldError(t, a, "name", "3Byte")
					input := a.doc(t).Find("input[name=name]")
					if got := asTyped(input.AttrOr("value", "?")); got != asTyped(typed) {
						t.Errorf("the field holds %q, typed was %q", got, typed)
					}
					if got := a.doc(t).Find("input[name=description]").AttrOr("value", ""); got != "kept text" {
						t.Errorf("the description holds %q", got)
					}
					for field, want := range map[string]string{"form_key": "key-" + name, "return_to": views.SnapshotsPath + "?q=a"} {
						if got := a.doc(t).Find("form[method=post] input[name="+field+"]").AttrOr("value", ""); got != want {
							t.Errorf("%s is %q, want %q", field, got, want)
						}
					}
					if a.doc(t).Find("#popup-form script, #popup-form b b").Length() > 0 || strings.Contains(a.body, "<script>alert") {
						t.Errorf("what was typed is live:\n%s", a.body)
					}
				}
				english := b.post(f.path, values, "Accept-Language", "en")
				wantFieldError(t, english, "name", "letters")
				body := wrong(t, b.post(f.path, values, asJS...), http.StatusUnprocessableEntity)
				if body.Error.Code != "invalid" || !strings.Contains(body.Error.Fields["name"], "3Byte") {
					t.Errorf("JSON says %+v", body.Error)
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

// wantFieldError: the field is marked, and says why in the element that it names.
func wantFieldError(t *testing.T, a answer, field, text string) {
	t.Helper()
	doc := a.doc(t)
	input := doc.Find("#popup-form [name=" + field + "]").First()
	if input.AttrOr("aria-invalid", "") != "true" {
		t.Errorf("%s is not marked in\n%s", field, a.body)
		return
	}
	message := ""
	for id := range strings.FieldsSeq(input.AttrOr("aria-describedby", "")) {
		message += doc.Find("#" + id).Text()
	}
	if !strings.Contains(message, text) {
		t.Errorf("%s says %q, want %q", field, message, text)
	}
}

// TestBadSizes: of volumes made, restored and extended.
func TestBadSizes(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "10")
	s := b.snapshot(v, "snap-1")
	unchanged := b.unchanged()
	for name, typed := range map[string]string{
		"empty": "", "0": "0", "negative": "-1", "fraction": "1.5", "comma": "1,5", "exponent": "1e3", "hexadecimal": "0x10", "plus": "+1", "leading zero": "012",
		"more than the disk": "16385", "more than a number": "99999999999999999999", "more than 32 bits": "4294967306", "words": "ten", "space": " 10",
		"unit": "10G", "Arabic digits": "١٠", "NUL": "1\x00", "HTML": "<i>",
	} {
		t.Run(name, func(t *testing.T) {
			for what, path := range map[string]string{"create": views.VolumesPath, "restore": snapshotPath(s, "restore"), "extend": volumePath(v, "extend")} {
				if what == "restore" && name == "empty" {
					continue // the snapshot's own size
				}
				values := form("name", "vol-2", "size_gib", typed)
				a := b.post(path, values, htmx...)
				wantStatus(t, a, http.StatusUnprocessableEntity)
				wantFieldError(t, a, "size_gib", "GiB")
				if got := a.doc(t).Find("input[name=size_gib]").AttrOr("value", "?"); got != asTyped(typed) {
					t.Errorf("%s: the field holds %q", what, got)
				}
				wantFieldError(t, b.post(path, values, "Accept-Language", "en"), "size_gib", "GiB")
				if body := wrong(t, b.post(path, values, asJS...), http.StatusUnprocessableEntity); body.Error.Fields["size_gib"] == "" {
					t.Errorf("%s: JSON says %+v", what, body.Error)
				}
			}
		})
	}
	for what, tc := range map[string]struct{ path, size string }{
		"smaller than the snapshot": {snapshotPath(s, "restore"), "9"}, "as large as it is": {volumePath(v, "extend"), "10"}, "smaller than it is": {volumePath(v, "extend"), "1"},
	} {
		t.Run(what, func(t *testing.T) {
			a := b.post(tc.path, form("name", "vol-2", "size_gib", tc.size))
			wantStatus(t, a, http.StatusUnprocessableEntity)
			wantFieldError(t, a, "size_gib", "1")
		})
	}
	unchanged(t)
}

// TestBadChoices: ids in fields that are unknown, malformed, or of another kind.
func TestBadChoices(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "10")
	s := b.snapshot(v, "snap-1")
	used := b.attached(b.volume("vol-2", "1"))
	unchanged := b.unchanged()
	for name, id := range map[string]string{"unknown": models.NewID(), "malformed": "x", "NUL": "\x00", "not UTF-8": "\xff", "long": strings.Repeat("x", 9000), "HTML": "<script>"} {
		t.Run(name, func(t *testing.T) {
			for _, tc := range []struct{ field, path string }{
				{"volume_id", views.SnapshotsPath}, {"snapshot_id", views.VolumesPath}, {"image", views.VolumesPath}, {"server_id", views.VolumesPath},
				{"server_id", volumePath(v, "attach")}, {"server_id", volumePath(used, "detach")}, {"volume_type", views.VolumesPath},
				{"availability_zone", views.VolumesPath}, {"server_id", snapshotPath(s, "restore")},
			} {
				values := form("name", "fine-name", "size_gib", "10", tc.field, id)
				body := wrong(t, b.post(tc.path, values, asJS...), http.StatusUnprocessableEntity)
				if body.Error.Fields[tc.field] == "" {
					t.Errorf("%s of %s: JSON says %+v", tc.field, tc.path, body.Error)
				}
				for _, headers := range [][]string{nil, htmx} {
					a := b.post(tc.path, values, headers...)
					wantStatus(t, a, http.StatusUnprocessableEntity)
					if strings.Contains(a.body, "<script>") && len(headers) > 0 {
						t.Error("what was sent is live")
					}
					if a.doc(t).Find("#popup-form .field-error, #popup-form [data-form-error]").Text() == "" {
						t.Errorf("%s of %s: the form says nothing\n%s", tc.field, tc.path, a.body)
					}
				}
			}
		})
	}
	t.Run("of another kind", func(t *testing.T) {
		wantFieldError(t, b.post(views.SnapshotsPath, form("name", "fine", "volume_id", s.ID)), "q", "Volume")
		a := b.post(views.VolumesPath, form("name", "fine", "size_gib", "20", "snapshot_id", v.ID), asJS...)
		if body := wrong(t, a, http.StatusUnprocessableEntity); body.Error.Fields["snapshot_id"] == "" {
			t.Errorf("JSON says %+v", body.Error)
		}
	})
	t.Run("nothing chosen", func(t *testing.T) {
		a := b.post(views.SnapshotsPath, form("name", "fine"))
		wantStatus(t, a, http.StatusUnprocessableEntity)
		wantFieldError(t, a, "q", "Volume")
		if a.doc(t).Find("input[type=radio][name=volume_id]").Length() == 0 {
			t.Error("no volumes to choose from")
		}
	})
	t.Run("a server it has already", func(t *testing.T) {
		b.fake.SetCapabilities(func(c *backend.Capabilities) { c.MultiAttach = true })
		if err := b.mirror.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantFieldError(t, b.post(volumePath(used, "attach"), form("server_id", "server-1")), "server_id", "")
	})
	unchanged(t)
}

// TestBadDescriptions: too long, or with characters that a backend refuses.
func TestBadDescriptions(t *testing.T) {
	b := newBoard(t)
	forms := b.nameForms()
	unchanged := b.unchanged()
	for name, typed := range map[string]string{"long": strings.Repeat("가", 256), "control": "a\x07", "NUL": "a\x00", "lines": "a\nb", "not UTF-8": "\xff"} {
		for what, f := range forms {
			t.Run(name+"/"+what, func(t *testing.T) {
				values := url.Values{"name": {"fine"}, "description": {typed}}
				for _, field := range []string{"size_gib", "volume_id"} {
					values[field] = f.rest[field]
				}
				a := b.post(f.path, values)
				wantStatus(t, a, http.StatusUnprocessableEntity)
				wantFieldError(t, a, "description", "255")
			})
		}
	}
	unchanged(t)
}

// TestBadRepairs: a reason is needed, and only two statuses can be set.
func TestBadRepairs(t *testing.T) {
	b := newBoard(t)
	s := b.errorDeleting(b.volume("vol-1", "10"), "snap-1")
	admin := b.as(models.Administrator)
	unchanged := b.unchanged()
	a := admin.post(snapshotPath(s, "repair"), form("reason", "  ", "reset_to", "available"))
	wantStatus(t, a, http.StatusUnprocessableEntity)
	wantFieldError(t, a, "reason", "")
	if a.doc(t).Find("input[name=reset_to][value=available][checked]").Length() != 1 {
		t.Error("the choice was not kept")
	}
	for _, to := range []string{"deleting", "AVAILABLE", "in-use", "<b>"} {
		body := wrong(t, admin.post(snapshotPath(s, "repair"), form("reason", "x", "reset_to", to), asJS...), http.StatusUnprocessableEntity)
		if body.Error.Fields["reset_to"] == "" {
			t.Errorf("%s: %+v", to, body.Error)
		}
	}
	unchanged(t)
}

// TestHostileNamesAreInert: names that come from a cloud are shown as they are,
// and do nothing. What cannot be seen is shown as a sign.
func TestHostileNamesAreInert(t *testing.T) {
	b := newBoard(t)
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</table></form>`, "{{7*7}}", "javascript:alert(1)",
		"\u202egnp.exe", "bell\x07\u200b", " \u200b\u2066 ", "אבג-data", strings.Repeat("가", 255), "", "=HYPERLINK(\"http://evil\")",
	} {
		v := b.found(backend.Volume{Name: name, SizeGiB: 1})
		op, err := b.store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: "snap-1"})
		if err != nil {
			t.Fatal(err)
		}
		b.work()
		shown := name
		switch name {
		case "", " \u200b\u2066 ":
			shown = v.ID
		case "\u202egnp.exe":
			shown = "\ufffdgnp.exe"
		case "bell\x07\u200b":
			shown = "bell\ufffd\ufffd"
		}
		s := b.snapshotNow(op.SubjectID)
		for _, path := range []string{views.VolumesPath, volumePath(v, ""), volumePath(v, "edit"), volumePath(v, "delete"), volumePath(v, "snapshots/new"),
			views.SnapshotsPath, snapshotPath(s, ""), views.SnapshotsPath + "?volume=" + v.ID, "/activity"} {
			a := b.get(path)
			wantStatus(t, a, http.StatusOK)
			doc := a.doc(t)
			if bad := doc.Find(`main script, main img, [onerror], [onmouseover], a[href^="javascript"]`); bad.Length() > 0 {
				t.Errorf("%s: %q is live", path, name)
			}
		}
		wantText(t, b.get(views.VolumesPath), "#volume-"+v.ID+" .c-name a", shown)
		wantText(t, b.get(volumePath(v, "")), "title", shown)
	}
}
