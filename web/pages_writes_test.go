package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// write is a form that is accepted.
type write struct {
	path string
	form url.Values
	list string
	row  string // that changes; empty: the list does
}

func (b *board) writes() map[string]write {
	v, w := b.volume("vol-1", "10"), b.volume("vol-2", "5")
	used := b.attached(b.volume("vol-3", "1"))
	s, old := b.snapshot(v, "snap-1"), b.snapshot(w, "snap-2")
	broken := b.errorDeleting(w, "snap-3")
	bare, bare2, bare3 := b.volume("vol-4", "1"), b.volume("vol-5", "1"), b.volume("vol-6", "1")
	alone := b.volume("vol-7", "2")
	latest := b.snapshot(alone, "snap-4")
	second := b.snapshot(v, "snap-5")
	return map[string]write{
		"create volume":           {views.VolumesPath, form("name", "vol-8", "size_gib", "3"), views.VolumesPath, ""},
		"create from an image":    {views.VolumesPath, form("name", "vol-9", "size_gib", "1", "image", "debian.raw"), views.VolumesPath, ""},
		"create and attach":       {views.VolumesPath, form("name", "vol-10", "size_gib", "1", "server_id", "server-2"), views.VolumesPath, ""},
		"create of a snapshot":    {views.VolumesPath, form("name", "vol-11", "size_gib", "11", "snapshot_id", s.ID), views.VolumesPath, ""},
		"restore":                 {snapshotPath(s, "restore"), form("name", "vol-12"), views.VolumesPath, ""},
		"edit volume":             {volumePath(v, "edit"), form("name", "vol-1b", "description", "new"), views.VolumesPath, "volume-" + v.ID},
		"extend":                  {volumePath(bare, "extend"), form("size_gib", "2"), views.VolumesPath, "volume-" + bare.ID},
		"attach":                  {volumePath(bare2, "attach"), form("server_id", "server-1"), views.VolumesPath, "volume-" + bare2.ID},
		"detach":                  {volumePath(used, "detach"), form(), views.VolumesPath, "volume-" + used.ID},
		"delete volume":           {volumePath(bare3, "delete"), form(), views.VolumesPath, "volume-" + bare3.ID},
		"create snapshot":         {views.SnapshotsPath, form("volume_id", v.ID, "name", "snap-6"), views.SnapshotsPath, ""},
		"create snapshot, nested": {volumePath(v, "snapshots"), form("name", "snap-7"), views.SnapshotsPath, ""},
		"edit snapshot":           {snapshotPath(s, "edit"), form("name", "snap-1b"), views.SnapshotsPath, "snapshot-" + s.ID},
		"delete snapshot":         {snapshotPath(old, "delete"), form(), views.SnapshotsPath, "snapshot-" + old.ID},
		"delete snapshots":        {views.SnapshotsPath + "/delete", form("id", second.ID), views.SnapshotsPath, ""},
		"revert":                  {snapshotPath(latest, "revert"), form(), views.SnapshotsPath, ""},
		"repair":                  {snapshotPath(broken, "repair"), form("reason", "looked at it"), views.SnapshotsPath, "snapshot-" + broken.ID},
	}
}

// TestWritesWithoutJavaScript: 303 to return_to or the list, where a message
// stands once.
func TestWritesWithoutJavaScript(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	for name, w := range b.writes() {
		t.Run(name, func(t *testing.T) {
			a := admin.post(w.path, w.form)
			wantStatus(t, a, http.StatusSeeOther)
			if got := a.Header.Get("Location"); got != w.list {
				t.Fatalf("leads to %s, want %s", got, w.list)
			}
			page := admin.get(w.list)
			wantStatus(t, page, http.StatusOK)
			if page.doc(t).Find("#messages a[href^='/activity/']").Length() != 1 {
				t.Errorf("no message with a link to the operation:\n%s", page.body)
			}
			wantNone(t, admin.get(w.list), "#messages a")
			b.work()
		})
	}
	ops, err := b.store.Queue.ListOperations(t.Context(), storetest.Operator(), models.OperationQuery{Limit: 100, State: models.Failed})
	if err != nil || len(ops) != 1 { // the deletion that was to fail
		t.Errorf("%d operations failed, %v: %+v", len(ops), err, ops)
	}
}

// TestWritesByHTMX: 200, the popup closes, the changed row comes along or the list
// is read again.
func TestWritesByHTMX(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	for name, w := range b.writes() {
		t.Run(name, func(t *testing.T) {
			a := admin.post(w.path, w.form, b.fromList(w.list+"?sort=name")...)
			wantStatus(t, a, http.StatusOK)
			var events map[string]any
			if err := json.Unmarshal([]byte(a.Header.Get("HX-Trigger")), &events); err != nil {
				t.Fatalf("HX-Trigger %q: %v", a.Header.Get("HX-Trigger"), err)
			}
			_, closed := events["popup:close"]
			_, refresh := events["list:refresh"]
			doc := a.doc(t)
			if !closed || refresh != (w.row == "") {
				t.Errorf("events %v", events)
			}
			if doc.Find(`hx-partial[hx-target="#messages"]`).Length() != 1 {
				t.Errorf("no message:\n%s", a.body)
			}
			if w.row != "" && !strings.Contains(a.body, `<hx-partial hx-target="#`+w.row+`" hx-swap="outerMorph"><tr id="`+w.row+`"`) {
				t.Errorf("the row does not come along:\n%s", a.body)
			}
			if strings.Contains(a.body, "<html") || a.Header.Get("Location") != "" {
				t.Error("the answer is a page")
			}
			b.work()
		})
	}
}

// TestWritesByPrograms: 202 and where the operation is. The same form again gives
// the same answer, before and after the operation has ended.
func TestWritesByPrograms(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	for name, w := range b.writes() {
		t.Run(name, func(t *testing.T) {
			w.form.Set("form_key", "key of "+name)
			first := accepted(t, admin.post(w.path, w.form, asJS...))
			unchanged := b.unchanged()
			if again := accepted(t, admin.post(w.path, w.form, asJS...)); again != first {
				t.Errorf("again %+v, first %+v", again, first)
			}
			unchanged(t)
			b.work()
			unchanged = b.unchanged()
			if later := accepted(t, admin.post(w.path, w.form, asJS...)); later != first {
				t.Errorf("later %+v, first %+v", later, first)
			}
			for _, headers := range [][]string{nil, b.fromList(w.list)} {
				if a := admin.post(w.path, w.form, headers...); a.StatusCode != http.StatusSeeOther && a.StatusCode != http.StatusOK {
					t.Errorf("the same form from a page: %d", a.StatusCode)
				}
			}
			unchanged(t)
			var op struct{ ID, State, Kind string }
			if err := json.Unmarshal([]byte(admin.get(first.URL, asJS...).body), &op); err != nil || op.ID != first.Operation || op.State != "SUCCEEDED" {
				t.Errorf("the operation is %+v, %v", op, err)
			}
		})
	}
}

// TestReturnTo: back to the state of the list, and never to another site.
func TestReturnTo(t *testing.T) {
	b := newBoard(t)
	s := b.snapshot(b.volume("vol-1", "1"), "snap-1")
	state := views.SnapshotsPath + "?q=snap&sort=name"
	popup := b.get(snapshotPath(s, "edit") + "?return_to=" + url.QueryEscape(state)).doc(t)
	if got := popup.Find("form[method=post] input[name=return_to]").AttrOr("value", ""); got != state {
		t.Errorf("the form holds %q", got)
	}
	for sent, want := range map[string]string{
		state: state, "/activity": "/activity", "": views.SnapshotsPath, "https://evil.example/": views.SnapshotsPath, "//evil.example": views.SnapshotsPath,
		`/\evil.example`: views.SnapshotsPath, "javascript:alert(1)": views.SnapshotsPath, "/ok\r\nSet-Cookie: a=b": views.SnapshotsPath,
		"http:/evil.example": views.SnapshotsPath, "evil": views.SnapshotsPath, "/" + strings.Repeat("x", 5000): views.SnapshotsPath,
	} {
		a := b.post(snapshotPath(s, "edit"), form("name", "snap-2", "return_to", sent))
		wantStatus(t, a, http.StatusSeeOther)
		if got := a.Header.Get("Location"); got != want {
			t.Errorf("%q leads to %q, want %q", sent, got, want)
		}
		b.work()
	}
	evil := b.get(snapshotPath(s, "edit") + "?return_to=//evil.example")
	wantNone(t, evil, `input[name=return_to], [href^="//"], [action^="//"]`)
}

// TestTwoAdministrators: the later one is told, sees the other's value, keeps
// their own, and may then overwrite it.
func TestTwoAdministrators(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "1")
	s := b.snapshot(v, "snap-1")
	admin := b.as(models.Administrator)
	for kind, path := range map[string]string{"volume": volumePath(v, "edit"), "snapshot": snapshotPath(s, "edit")} {
		t.Run(kind, func(t *testing.T) {
			version := func(a answer) string {
				return a.doc(t).Find("form[method=post] input[name=version]").AttrOr("value", "")
			}
			opened := version(b.get(path))
			if opened == "" {
				t.Fatal("the form does not know its version")
			}
			wantStatus(t, admin.post(path, form("name", "theirs-"+kind, "description", "theirs", "version", opened)), http.StatusSeeOther)
			b.work()
			unchanged := b.unchanged()
			for _, headers := range [][]string{nil, htmx} {
				late := b.post(path, form("name", "mine-"+kind, "description", "mine", "version", opened), headers...)
				wantStatus(t, late, http.StatusConflict)
				text := late.doc(t).Find("#popup-form").Text()
				if !strings.Contains(text, "theirs-"+kind) || !strings.Contains(text, "administrator") {
					t.Errorf("it does not show the other's value and name: %s", text)
				}
				if got := late.doc(t).Find("input[name=name]").AttrOr("value", ""); got != "mine-"+kind {
					t.Errorf("what was typed became %q", got)
				}
				if now := version(late); now == opened || now == "" {
					t.Errorf("the form still has version %q", now)
				}
			}
			body := wrong(t, b.post(path, form("name", "mine-"+kind, "version", opened), asJS...), http.StatusConflict)
			if body.Error.Code != "stale" {
				t.Errorf("JSON says %+v", body.Error)
			}
			unchanged(t)
			late := b.post(path, form("name", "mine-"+kind, "version", opened))
			wantStatus(t, b.post(path, form("name", "mine-"+kind, "version", version(late))), http.StatusSeeOther)
			b.work()
			wantText(t, b.get(strings.TrimSuffix(path, "/edit")), "main h1", "mine-"+kind)
		})
	}
	for _, odd := range []string{"-1", "x", "0", "", "99999999999999999999"} {
		if a := b.post(volumePath(v, "edit"), form("name", "odd-version", "version", odd)); a.StatusCode != http.StatusSeeOther {
			t.Errorf("version %q: %d", odd, a.StatusCode)
		}
		b.work()
	}
}

// TestAttachedVolume: the alert with the servers' names and the tick, decided when
// the form is sent.
func TestAttachedVolume(t *testing.T) {
	b := newBoard(t)
	v := b.attached(b.volume("vol-1", "10"))
	path := volumePath(v, "snapshots/new")
	for lang, words := range map[string][2]string{
		"ko": {"Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다.", "데이터 손상 가능성을 확인했습니다"},
		"en": {"damaged", "I understand that the data may be damaged"},
	} {
		a := b.get(path, "Accept-Language", lang)
		wantText(t, a, "main [role=alert]", words[0])
		wantText(t, a, "main [role=alert]", "web-1")
		wantText(t, a, "main [role=alert] label.tick", words[1])
	}
	unchanged := b.unchanged()
	for _, headers := range [][]string{nil, htmx} {
		a := b.post(volumePath(v, "snapshots"), form("name", "snap-1"), headers...)
		wantStatus(t, a, http.StatusUnprocessableEntity)
		wantFieldError(t, a, "acknowledge", "")
		wantText(t, a, "[role=alert]", "web-1")
	}
	if body := wrong(t, b.post(views.SnapshotsPath, form("volume_id", v.ID, "name", "snap-1", "acknowledge", "0"), asJS...), http.StatusUnprocessableEntity); body.Error.Fields["acknowledge"] == "" {
		t.Errorf("JSON says %+v", body.Error)
	}
	unchanged(t)
	wantStatus(t, b.post(volumePath(v, "snapshots"), form("name", "snap-1", "acknowledge", "1")), http.StatusSeeOther)
	wantStatus(t, b.post(volumePath(v, "snapshots"), form("name", "snap-2", "acknowledge", "1"), b.fromList(views.VolumesPath)...), http.StatusOK)
	b.work()
	wantText(t, b.get(views.SnapshotsPath), ".badge-crash", "")

	w := b.volume("vol-2", "1")
	quiet := b.get(volumePath(w, "snapshots/new"))
	wantText(t, quiet, "main [role=note]", "서버에 연결된 상태에서")
	wantNone(t, quiet, "main [role=alert], main input[name=acknowledge]")
	b.attached(w) // meanwhile
	late := b.post(volumePath(w, "snapshots"), form("name", "snap-3"))
	wantStatus(t, late, http.StatusUnprocessableEntity)
	wantText(t, late, "main [role=alert]", "web-1")
	if got := late.doc(t).Find("input[name=name]").AttrOr("value", ""); got != "snap-3" {
		t.Errorf("what was typed became %q", got)
	}
}

// TestAttachedWithoutAServer: a cloud may say IN-USE before it says by whom.
func TestAttachedWithoutAServer(t *testing.T) {
	b := newBoard(t)
	v := b.found(backend.Volume{Name: "vol-1", SizeGiB: 1, State: backend.State{Status: backend.InUse}})
	a := b.get(volumePath(v, "snapshots/new"))
	if a.doc(t).Find("main [role=alert] input[name=acknowledge]").Length() != 1 {
		t.Errorf("no tick for a volume that is IN-USE:\n%s", a.body)
	}
	wantStatus(t, b.post(volumePath(v, "snapshots"), form("name", "snap-1")), http.StatusUnprocessableEntity)
	wantStatus(t, b.post(volumePath(v, "snapshots"), form("name", "snap-1", "acknowledge", "1")), http.StatusSeeOther)
}

// TestBytesComeBack: a volume made of a snapshot holds what the snapshot held.
func TestBytesComeBack(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "1")
	if err := b.fake.WriteVolume(v.ID, 512, []byte("before")); err != nil {
		t.Fatal(err)
	}
	s := b.snapshot(v, "snap-1")
	if err := b.fake.WriteVolume(v.ID, 512, []byte("after!")); err != nil {
		t.Fatal(err)
	}
	restored := accepted(t, b.post(snapshotPath(s, "restore"), form("name", "vol-2"), asJS...))
	b.work()
	got, err := b.fake.ReadVolume(restored.ID, 512, 6)
	if err != nil || string(got) != "before" {
		t.Errorf("the restored volume holds %q, %v", got, err)
	}
	sources := b.get(volumePath(b.volumeNow(restored.ID), "")).doc(t).Find("main a").Map(func(_ int, link *goquery.Selection) string { return link.AttrOr("href", "") })
	if !slices.Contains(sources, snapshotPath(s, "")) {
		t.Error("the volume's page does not lead to its snapshot")
	}
}
