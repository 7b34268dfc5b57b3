package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// TestWhatTheStateForbids: the popup gives the reason and what stands in the way,
// and a forged form is refused without a change.
func TestWhatTheStateForbids(t *testing.T) {
	b := newBoard(t)
	admin := b.as(models.Administrator)
	blocked := b.volume("vol-1", "10")
	s := b.snapshot(blocked, "snap-1")
	used := b.attached(b.volume("vol-2", "5"))
	free := b.volume("vol-3", "5")
	broken := b.errorDeleting(free, "snap-2")
	other := b.volume("vol-4", "5")
	older := b.snapshot(other, "snap-3")
	newer := b.snapshot(other, "snap-4")
	b.fake.Hold()
	restoring := accepted(t, b.post(snapshotPath(s, "restore"), form("name", "vol-5"), asJS...))
	going := b.heldVolume("vol-6")
	accepted(t, b.post(views.VolumesPath+"/"+going+"/delete", nil, asJS...))
	b.look()
	unchanged := b.unchanged()
	for name, tc := range map[string]struct {
		path  string
		form  url.Values
		words string
		links []string
	}{
		"delete a volume with snapshots":          {volumePath(blocked, "delete"), nil, "Block Snapshot", []string{snapshotPath(s, "")}},
		"delete an attached volume":               {volumePath(used, "delete"), nil, "web-1", nil},
		"attach an attached volume":               {volumePath(used, "attach"), form("server_id", "server-2"), "IN-USE", nil},
		"detach a free volume":                    {volumePath(free, "detach"), form("server_id", "server-1"), "AVAILABLE", nil},
		"delete a snapshot in ERROR_DELETING":     {snapshotPath(broken, "delete"), nil, "삭제할 수 없습니다. 관리자에게 문의하세요.", nil},
		"restore a snapshot in ERROR_DELETING":    {snapshotPath(broken, "restore"), form("name", "vol-9", "size_gib", "5"), "ERROR_DELETING", nil},
		"delete a snapshot that is being copied":  {snapshotPath(s, "delete"), nil, "", []string{views.VolumesPath + "/" + restoring.ID}},
		"repair what is well":                     {snapshotPath(newer, "repair"), form("reason", "x"), "", nil},
		"repair a volume that is well":            {volumePath(free, "repair"), form("reason", "x"), "", nil},
		"revert to an older snapshot":             {snapshotPath(older, "revert"), nil, "", []string{snapshotPath(newer, "")}},
		"snapshot of a volume that is being made": {views.VolumesPath + "/" + restoring.ID + "/snapshots/new", form("name", "snap-9"), "CREATING", nil},
		"extend what is being made":               {views.VolumesPath + "/" + restoring.ID + "/extend", form("size_gib", "99"), "CREATING", nil},
		"edit what is being deleted":              {views.VolumesPath + "/" + going + "/edit", form("name", "fine"), "", nil},
		"delete it twice":                         {views.VolumesPath + "/" + going + "/delete", nil, "DELETING", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, headers := range [][]string{nil, htmx} {
				popup := admin.get(tc.path, headers...)
				wantStatus(t, popup, http.StatusOK)
				wantRefusal(t, popup, tc.words, tc.links)
				send := strings.TrimSuffix(tc.path, "/new")
				forged := admin.post(send, tc.form, headers...)
				wantStatus(t, forged, http.StatusConflict)
				wantRefusal(t, forged, tc.words, tc.links)
				if len(headers) > 0 && strings.Contains(forged.body, "<html") {
					t.Error("the refusal is a page")
				}
				body := wrong(t, admin.post(send, tc.form, asJS...), http.StatusConflict)
				if body.Error.Code != "conflict" {
					t.Errorf("JSON says %+v", body.Error)
				}
			}
		})
	}
	unchanged(t)
}

// heldVolume makes a volume while the backend holds everything it begins: it comes
// from elsewhere.
func (b *board) heldVolume(name string) string {
	b.t.Helper()
	return b.found(backend.Volume{Name: name, SizeGiB: 1}).ID
}

// wantRefusal: one alert with the reason and links to the blockers, no form that
// writes, and a way out.
func wantRefusal(t *testing.T, a answer, words string, blockers []string) {
	t.Helper()
	popup := a.doc(t).Find("#popup-form")
	alert := popup.Find("[role=alert]")
	if popup.Length() != 1 || alert.Length() != 1 || strings.TrimSpace(alert.Text()) == "" || !strings.Contains(alert.Text(), words) {
		t.Errorf("the popup says %q, want %q:\n%s", alert.Text(), words, a.body)
	}
	for _, link := range blockers {
		if alert.Find(`a[href="`+link+`"]`).Length() != 1 {
			t.Errorf("no link to %s in %s", link, strings.TrimSpace(alert.Text()))
		}
	}
	if popup.Find("form[method=post]").Length() != 0 || popup.Find("#popup-cancel").Length() != 1 {
		t.Errorf("a form that cannot succeed, or no way out:\n%s", a.body)
	}
}

// TestErrorDeleting: nobody deletes it, in words of the contract; an administrator
// repairs it, and then it can be deleted.
func TestErrorDeleting(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "1")
	s := b.errorDeleting(v, "snap-1")
	admin := b.as(models.Administrator)
	for lang, sentence := range map[string]string{"ko": "삭제할 수 없습니다. 관리자에게 문의하세요.", "en": "ask the administrator"} {
		row := b.get(views.SnapshotsPath, "Accept-Language", lang).doc(t).Find("#snapshot-" + s.ID)
		if got := row.AttrOr("data-deny-delete", ""); !strings.Contains(got, sentence) || !strings.Contains(row.Text(), "ERROR_DELETING") {
			t.Errorf("the row in %s says %q", lang, got)
		}
		for _, who := range []*browser{b.browser, admin} {
			wantText(t, who.get(snapshotPath(s, "delete"), "Accept-Language", lang), "main [role=alert]", sentence)
			forged := who.post(snapshotPath(s, "delete"), nil, "Accept-Language", lang)
			wantStatus(t, forged, http.StatusConflict)
			wantText(t, forged, "main [role=alert]", sentence)
		}
	}
	wantStatus(t, b.get(snapshotPath(s, "repair")), http.StatusForbidden)
	wantStatus(t, b.post(snapshotPath(s, "repair"), form("reason", "x")), http.StatusForbidden)
	wantStatus(t, b.as(models.Viewer).post(snapshotPath(s, "delete"), nil), http.StatusForbidden)
	wantText(t, admin.get(snapshotPath(s, "repair")), "main h1", "복구")
	wantStatus(t, admin.post(snapshotPath(s, "repair"), form("reason", "looked at it")), http.StatusSeeOther)
	b.work()
	if now := b.snapshotNow(s.ID); now.Status != models.ErrorStatus {
		t.Fatalf("repaired it is %s", now.Status)
	}
	wantText(t, admin.get("/admin/audit"), "main", "looked at it")
	wantStatus(t, b.post(snapshotPath(s, "delete"), nil), http.StatusSeeOther)
	b.work()
	wantStatus(t, b.get(snapshotPath(s, "")), http.StatusNotFound)
}

// TestRepairThatTheCloudRefuses names the role that it wants.
func TestRepairThatTheCloudRefuses(t *testing.T) {
	b := newBoard(t)
	s := b.errorDeleting(b.volume("vol-1", "1"), "snap-1")
	b.fake.ForbidRepair("cloud-admin")
	m := accepted(t, b.as(models.Administrator).post(snapshotPath(s, "repair"), form("reason", "x"), asJS...))
	b.work()
	wantText(t, b.get(m.URL), "main", "cloud-admin")
	if now := b.snapshotNow(s.ID); now.Status != models.ErrorDeleting {
		t.Errorf("it is %s", now.Status)
	}
}

// TestSelection: the toolbar's targets with none, one, several and too many ids.
func TestSelection(t *testing.T) {
	b := newBoard(t)
	v, w := b.volume("vol-1", "1"), b.volume("vol-2", "1")
	s, r := b.snapshot(v, "snap-1"), b.snapshot(w, "snap-2")
	two := map[string]string{views.VolumesPath: "id=" + v.ID + "&id=" + w.ID, views.SnapshotsPath: "id=" + s.ID + "&id=" + r.ID}
	one := map[string]string{views.VolumesPath: "id=" + v.ID, views.SnapshotsPath: "id=" + s.ID}
	for list, actions := range map[string][]string{
		views.VolumesPath: {"edit", "attach", "detach", "extend", "new-snapshot"}, views.SnapshotsPath: {"edit", "restore"},
	} {
		for _, action := range actions {
			for name, query := range map[string]string{"none": "", "two": two[list], "an empty one": "id=", "the same twice": one[list] + "&" + one[list]} {
				t.Run(list+"/"+action+"/"+name, func(t *testing.T) {
					a := b.get(list + "/" + action + "?" + query)
					wantStatus(t, a, http.StatusOK)
					forms := a.doc(t).Find("main form[method=post]").Length()
					if free := action == "new-snapshot" && name != "two"; (forms == 1) != (free || name == "the same twice" && action != "detach") {
						t.Errorf("%d forms:\n%s", forms, a.doc(t).Find("main").Text())
					}
					if forms == 0 && strings.TrimSpace(a.doc(t).Find("main [role=note], main [role=alert]").Text()) == "" {
						t.Error("no reason")
					}
				})
			}
			if a := b.get(list + "/" + action + "?" + one[list]); a.StatusCode != http.StatusOK {
				t.Errorf("%s of one: %d", action, a.StatusCode)
			}
		}
	}
	for list, query := range two {
		items := b.get(list + "/delete?" + query).doc(t).Find("main input[name=id]").Length()
		if want := map[string]int{views.VolumesPath: 0, views.SnapshotsPath: 2}[list]; items != want {
			t.Errorf("%s: the popup would delete %d", list, items)
		}
		wantText(t, b.get(list+"/delete"), "main [role=note]", "")
		var many strings.Builder
		for range 101 {
			fmt.Fprintf(&many, "id=%s&", models.NewID())
		}
		if a := b.get(list + "/delete?" + many.String()); a.StatusCode != http.StatusOK || a.doc(t).Find("main form[method=post]").Length() != 0 {
			t.Errorf("101 ids: %d", a.StatusCode)
		}
		ids, err := url.ParseQuery(many.String())
		if err != nil {
			t.Fatal(err)
		}
		wantStatus(t, b.post(list+"/delete", ids), http.StatusUnprocessableEntity)
		wantStatus(t, b.post(list+"/delete", nil), http.StatusUnprocessableEntity)
	}
}

// TestDeletingSeveral: what can go goes, the others stay and say why.
func TestDeletingSeveral(t *testing.T) {
	b := newBoard(t)
	v := b.volume("vol-1", "1")
	good, second := b.snapshot(v, "snap-1"), b.snapshot(v, "snap-2")
	bad := b.errorDeleting(v, "snap-3")
	gone := models.NewID()
	query := url.Values{"id": {good.ID, second.ID, bad.ID, gone, good.ID}}
	popup := b.get(views.SnapshotsPath + "/delete?" + query.Encode())
	wantStatus(t, popup, http.StatusOK)
	ids := popup.doc(t).Find("main form[method=post] input[name=id]")
	if ids.Length() != 2 {
		t.Errorf("%d would go", ids.Length())
	}
	wantText(t, popup, "main [role=alert]", "snap-3")
	wantText(t, popup, "main [role=alert]", "관리자에게 문의하세요")
	wantText(t, popup, "main [role=alert]", gone)
	query.Set("form_key", "once")
	a := b.post(views.SnapshotsPath+"/delete", query, b.fromList(views.SnapshotsPath)...)
	wantStatus(t, a, http.StatusOK)
	wantText(t, a, "hx-partial", "2")
	if a.doc(t).Find(`hx-partial a[href="/activity"]`).Length() != 1 {
		t.Error("the message does not lead to all operations")
	}
	unchanged := b.unchanged()
	wantStatus(t, b.post(views.SnapshotsPath+"/delete", query, b.fromList(views.SnapshotsPath)...), http.StatusOK)
	told := b.post(views.SnapshotsPath+"/delete", query, asJS...) // the same form: a program hears of the same operations
	last := accepted(t, told)
	var all struct {
		Operations []made
		Refused    []struct{ ID, Reason string }
	}
	if err := json.Unmarshal([]byte(told.body), &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Operations) != 2 || all.Operations[0].ID != good.ID || all.Operations[1] != last || all.Operations[0].Operation == last.Operation {
		t.Errorf("operations %+v, the last %+v", all.Operations, last)
	}
	if len(all.Refused) != 2 || all.Refused[0].ID != bad.ID || !strings.Contains(all.Refused[0].Reason, "관리자에게 문의하세요") || all.Refused[1].ID != gone || all.Refused[1].Reason == "" {
		t.Errorf("refused %+v", all.Refused)
	}
	unchanged(t)
	b.work()
	for id, status := range map[string]int{good.ID: http.StatusNotFound, second.ID: http.StatusNotFound, bad.ID: http.StatusOK} {
		wantStatus(t, b.get(views.SnapshotsPath+"/"+id), status)
	}
	none := b.post(views.SnapshotsPath+"/delete", url.Values{"id": {bad.ID, gone}})
	wantStatus(t, none, http.StatusConflict)
	wantText(t, none, "main [role=alert]", "snap-3")
	wrong(t, b.post(views.SnapshotsPath+"/delete", url.Values{"id": {bad.ID, gone}}, asJS...), http.StatusConflict)
	foreign := b.post(views.SnapshotsPath+"/delete", url.Values{"id": {v.ID}}, asJS...)
	wantStatus(t, foreign, http.StatusConflict)
	if now := b.volumeNow(v.ID); now.Status != models.Available {
		t.Errorf("a volume among the snapshots is %s", now.Status)
	}
}

// TestWithoutABackend: before the worker has ever reached the storage, lists and
// popups work and clicks wait.
func TestWithoutABackend(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Operator)
	for _, path := range []string{views.VolumesPath, views.SnapshotsPath, "/activity", views.VolumesPath + "/new", views.SnapshotsPath + "/new"} {
		wantStatus(t, b.get(path), http.StatusOK)
	}
	m := accepted(t, b.post(views.VolumesPath, form("name", "vol-1", "size_gib", "1"), asJS...))
	wantText(t, b.get(views.VolumesPath), "#volume-"+m.ID, "CREATING")
	wantText(t, b.get(m.URL), "main", "vol-1")
	wantStatus(t, b.post(m.URL+"/cancel", nil), http.StatusSeeOther)
	wantStatus(t, b.get(views.VolumesPath+"/"+m.ID), http.StatusNotFound)
	wrong(t, b.post(m.URL+"/cancel", nil, asJS...), http.StatusConflict)
	for _, path := range []string{"/activity/" + models.NewID(), "/activity/x", "/activity/%00"} {
		wantStatus(t, b.get(path), http.StatusNotFound)
		wantStatus(t, b.post(path+"/cancel", nil), http.StatusNotFound)
		wantStatus(t, b.post(path+"/retry", nil), http.StatusNotFound)
	}
}

// TestRetry: what failed can be tried again, once it is worth it.
func TestRetry(t *testing.T) {
	b := newBoard(t)
	b.fake.SetQuota("volumes", 0)
	m := accepted(t, b.post(views.VolumesPath, form("name", "vol-1", "size_gib", "1"), asJS...))
	b.work()
	wantText(t, b.get(views.VolumesPath), "#volume-"+m.ID, "ERROR")
	wantText(t, b.get(m.URL), "main", "실패")
	b.fake.SetQuota("volumes", -1)
	again := accepted(t, b.post(m.URL+"/retry", nil, asJS...))
	if again != m {
		t.Errorf("again it is %+v", again)
	}
	b.work()
	wantText(t, b.get(views.VolumesPath), "#volume-"+m.ID, "AVAILABLE")
	wrong(t, b.post(m.URL+"/retry", nil, asJS...), http.StatusConflict)
}

// TestForeignProject: what belongs to another project is not there.
func TestForeignProject(t *testing.T) {
	b := newBoard(t)
	actor := storetest.Operator()
	actor.Project = "elsewhere"
	op, err := b.store.Volumes.CreateVolume(t.Context(), actor, models.VolumeInput{Name: "vol-1", Size: "1"})
	if err != nil {
		t.Fatal(err)
	}
	path := views.VolumesPath + "/" + op.SubjectID
	for _, p := range []string{path, path + "/edit", path + "/delete", path + "/snapshots/new", "/activity/" + op.ID} {
		wantStatus(t, b.get(p), http.StatusNotFound)
	}
	for _, p := range []string{path + "/edit", path + "/delete", path + "/snapshots", "/activity/" + op.ID + "/cancel"} {
		wantStatus(t, b.post(p, form("name", "fine")), http.StatusNotFound)
	}
	if n := b.list(t, views.VolumesPath).Total + b.list(t, views.VolumesPath+"?q="+op.SubjectID).Total; n != 0 {
		t.Errorf("%d rows of another project", n)
	}
}
