package handlers_test

import (
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestVolumeChoices_NewestIneligible: volumes that no snapshot can be made of do not
// push the others out of the chooser.
func TestVolumeChoices_NewestIneligible(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	free, used := c.NewVolume("good-free", 1), c.Attach(c.NewVolume("good-used", 1))
	for i := range 25 {
		c.Clock.Add(time.Second)
		c.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("good-not-%d", i), SizeGiB: 1, State: backend.State{Status: backend.ErrorStatus}})
	}
	c.Resync()
	for _, search := range []string{"", "?q=good"} {
		a := c.Get(views.SnapshotsPath+"/new/volumes"+search, apptest.HTMX...)
		apptest.WantStatus(t, a, http.StatusOK)
		if strings.Contains(a.Body, "good-not") || !strings.Contains(a.Body, free.ID) || !strings.Contains(a.Body, used.ID) ||
			strings.Index(a.Body, used.ID) > strings.Index(a.Body, free.ID) {
			t.Errorf("%q finds\n%s", search, a.Body)
		}
	}
}

// TestCreateSnapshot_Attached: the alert with the servers' names and the tick, decided when
// the form is sent.
func TestCreateSnapshot_Attached(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.Attach(c.NewVolume("vol-1", 10))
	path := apptest.VolumePath(v.ID, "snapshots/new")
	for lang, words := range map[string][2]string{
		"ko": {"Volume이 서버에 연결된 상태에서 Block Snapshot을 생성하면 스냅샷의 데이터가 손상될 수 있습니다.", "데이터 손상 가능성을 확인했습니다"},
		"en": {"damaged", "I understand that the data may be damaged"},
	} {
		a := c.Get(path, "Accept-Language", lang)
		apptest.WantText(t, a, "main [role=alert]", words[0])
		apptest.WantText(t, a, "main [role=alert]", "web-1")
		apptest.WantText(t, a, "main [role=alert]", "(crash-consistent)") // a cloud's own words
		apptest.WantText(t, a, "main [role=alert] label.tick", words[1])
	}
	unchanged := c.Unchanged()
	for _, headers := range [][]string{nil, apptest.HTMX} {
		a := c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1"), headers...)
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		apptest.WantFieldError(t, a, "acknowledge", "")
		apptest.WantText(t, a, "[role=alert]", "web-1")
	}
	if body := apptest.WantProblem(t, c.Post(views.SnapshotsPath, apptest.Form("volume_id", v.ID, "name", "snap-1", "acknowledge", "0"), apptest.AsJSON...), http.StatusUnprocessableEntity); body.Fields["acknowledge"] == "" {
		t.Errorf("JSON says %+v", body)
	}
	unchanged(t)
	apptest.WantStatus(t, c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1", "acknowledge", "1")), http.StatusSeeOther)
	apptest.WantStatus(t, c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-2", "acknowledge", "1"), c.FromList(views.VolumesPath)...), http.StatusOK)
	c.Work()
	apptest.WantText(t, c.Get(views.SnapshotsPath), ".badge-crash", "")

	w := c.NewVolume("vol-2", 1)
	quiet := c.Get(apptest.VolumePath(w.ID, "snapshots/new"))
	apptest.WantText(t, quiet, "main [role=note]", "서버에 연결된 상태에서")
	apptest.WantNone(t, quiet, "main [role=alert], main input[name=acknowledge]")
	c.Attach(w) // meanwhile
	late := c.Post(apptest.VolumePath(w.ID, "snapshots"), apptest.Form("name", "snap-3"))
	apptest.WantStatus(t, late, http.StatusUnprocessableEntity)
	apptest.WantText(t, late, "main [role=alert]", "web-1")
	if got := late.Doc(t).Find("input[name=name]").AttrOr("value", ""); got != "snap-3" {
		t.Errorf("what was typed became %q", got)
	}
}

// TestCreateSnapshot_InUseWithoutServer: a cloud may say IN-USE before it says by whom.
func TestCreateSnapshot_InUseWithoutServer(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.PutVolume(backend.Volume{Name: "vol-1", SizeGiB: 1, State: backend.State{Status: backend.InUse}})
	a := c.Get(apptest.VolumePath(v.ID, "snapshots/new"))
	if a.Doc(t).Find("main [role=alert] input[name=acknowledge]").Length() != 1 {
		t.Errorf("no tick for a volume that is IN-USE:\n%s", a.Body)
	}
	apptest.WantStatus(t, c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1")), http.StatusUnprocessableEntity)
	apptest.WantStatus(t, c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1", "acknowledge", "1")), http.StatusSeeOther)
}

// TestSnapshotCreate_FindKeepsTheForm: without scripts, the search of the popup brings
// the form back with what was typed. Enter, which sends the form, does too.
func TestSnapshotCreate_FindKeepsTheForm(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.NewVolume("wanted-1", 1)
	c.NewVolume("other-1", 1)
	page := c.Get(views.SnapshotsPath + "/new")
	form := page.Doc(t).Find("#popup-form form[method=post]")
	search := form.Find("input[name=q]")
	if search.Length() != 1 || search.AttrOr("form", "") != "" || form.Find("button[name=find]").AttrOr("value", "") != "1" {
		t.Errorf("the search is not part of the form: %s", page.Body)
	}
	if first := form.Find("button[type=submit]").First(); first.AttrOr("name", "") != "" {
		t.Error("Enter in the name would find, not create")
	}
	unchanged := c.Unchanged()
	typed := apptest.Form("q", " wanted ", "name", "my-snap", "description", "kept text", "acknowledge", "1")
	for find, status := range map[string]int{"1": http.StatusOK, "": http.StatusUnprocessableEntity} {
		typed.Set("find", find)
		a := c.Post(views.SnapshotsPath, typed)
		apptest.WantStatus(t, a, status)
		doc := a.Doc(t)
		if n := doc.Find("#volume-choices .choice").Length(); n != 1 {
			t.Errorf("%d choices", n)
		}
		if doc.Find("#f-volume").AttrOr("value", "") != "wanted" || doc.Find("#f-name").AttrOr("value", "") != "my-snap" || doc.Find("[name=description]").AttrOr("value", "") != "kept text" {
			t.Errorf("what was typed is lost:\n%s", a.Body)
		}
		if marked := doc.Find("[aria-invalid=true]").Length(); (marked > 0) != (status != http.StatusOK) {
			t.Errorf("%d fields are marked", marked)
		}
	}
	unchanged(t)
}
