package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestForeignProject: what belongs to another project is not there.
func TestForeignProject(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	actor := storetest.Operator()
	actor.Project = "elsewhere"
	op, err := c.Store.Volumes.CreateVolume(t.Context(), actor, models.VolumeInput{Name: "vol-1", Size: "1"})
	if err != nil {
		t.Fatal(err)
	}
	path := views.VolumesPath + "/" + op.SubjectID
	for _, p := range []string{path, path + "/edit", path + "/delete", path + "/snapshots/new", "/activity/" + op.ID} {
		apptest.WantStatus(t, c.Get(p), http.StatusNotFound)
	}
	for _, p := range []string{path + "/edit", path + "/delete", path + "/snapshots", "/activity/" + op.ID + "/cancel"} {
		apptest.WantStatus(t, c.Post(p, apptest.Form("name", "fine")), http.StatusNotFound)
	}
	if n := c.list(t, views.VolumesPath).Total + c.list(t, views.VolumesPath+"?q="+op.SubjectID).Total; n != 0 {
		t.Errorf("%d rows of another project", n)
	}
}

const (
	ownProject   = "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0"
	otherProject = "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"
)

// TestLists_AllProjects: a column with the owners, a filter of the URL, and everything
// that follows it.
func TestLists_AllProjects(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "ALL_PROJECTS=true", "BACKEND=openstack")
	b := c.As(models.Operator)
	c.Store.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, MaxSizeGiB: -1, Project: models.Project{ID: ownProject, Name: "lab"},
		Projects: []models.Project{{ID: ownProject, Name: "lab"}, {ID: otherProject, Name: "<b>other</b>"}}})
	now := c.Clock.Now()
	for _, project := range []string{ownProject, otherProject} {
		m := store.ObservedObject{BackendID: "v-" + project, Project: project, Name: "data-" + project[:4], SizeGiB: 2, CreatedAt: now,
			ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
		if _, err := c.Store.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{m}, now); err != nil {
			t.Fatal(err)
		}
		m.Source, m.BackendID = m.BackendID, "s-"+project
		if _, err := c.Store.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{m}, now); err != nil {
			t.Fatal(err)
		}
	}
	for _, list := range []string{views.VolumesPath, views.SnapshotsPath} {
		all := b.Get(list)
		apptest.WantText(t, all, "header .project", "모든 프로젝트")
		if n := all.Doc(t).Find("tbody tr").Length(); n != 2 {
			t.Errorf("%d rows", n)
		}
		apptest.WantText(t, all, "td.c-project", "<b>other</b>")
		apptest.WantText(t, all, "th.c-project", "프로젝트")
		apptest.WantText(t, all, `select[name=project] option[value="`+ownProject+`"]`, "lab")
		apptest.WantText(t, all, ".total", "2")
		one := b.Get(list + "?project=" + otherProject)
		if n := one.Doc(t).Find("tbody tr").Length(); n != 1 {
			t.Errorf("%d rows of one project", n)
		}
		apptest.WantText(t, one, ".chip", "<b>other</b>")
		if one.Doc(t).Find(`select[name=project] option[selected][value="`+otherProject+`"]`).Length() != 1 {
			t.Error("the filter does not show what is chosen")
		}
		apptest.WantText(t, b.Get(list+"?project="+otherProject+"&status=ERROR"), ".empty-title", "조건에 맞는 항목이 없습니다")
		apptest.WantText(t, b.Get(list+"/count?project="+otherProject, apptest.HTMX...), "body", "1개")
		var body struct {
			Items []struct {
				ProjectID   string `json:"project_id"`
				ProjectName string `json:"project_name"`
			}
			Total int
		}
		if err := json.Unmarshal([]byte(b.Get(list+"?project="+otherProject, apptest.AsJSON...).Body), &body); err != nil {
			t.Fatal(err)
		}
		if body.Total != 1 || len(body.Items) != 1 || body.Items[0].ProjectID != otherProject || body.Items[0].ProjectName != "<b>other</b>" {
			t.Errorf("a program is told %+v", body)
		}
		csv := b.Get(list + "?format=csv&project=" + otherProject).Body
		if strings.Count(csv, "\n") != 2 || !strings.Contains(csv, ",project_name\n") || !strings.Contains(csv, otherProject+",,,<b>other</b>") {
			t.Errorf("the export is %q", csv)
		}
	}
	apptest.WantText(t, b.Get(views.VolumesPath+"/v-"+otherProject), ".facts", otherProject)
}

// TestLists_OneProject: nobody sees that there could be more.
func TestLists_OneProject(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	c.NewVolume("data", 1)
	apptest.WantNone(t, c.As(models.Administrator).Get(views.ServersPath), ".c-project")
	a := c.Get(views.VolumesPath + "?project=" + otherProject)
	apptest.WantNone(t, a, ".c-project, select[name=project]")
	apptest.WantText(t, a, ".empty-title", "조건에 맞는 항목이 없습니다") // it is none of ours
	apptest.WantNone(t, c.Get(views.VolumesPath), ".c-project, select[name=project]")
	apptest.WantText(t, c.Get(views.VolumesPath), "header .project", "default")
}

// TestServers_AllProjects: each says whose it is, and a volume is offered those of
// its own project.
func TestServers_AllProjects(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "ALL_PROJECTS=true", "BACKEND=openstack")
	c.Store.SetCapabilities(models.Capabilities{Attach: true, Name: "openstack", FreeBytes: -1, MaxSizeGiB: -1,
		Project: models.Project{ID: ownProject, Name: "lab"}, Projects: []models.Project{{ID: ownProject, Name: "lab"}}})
	now := c.Clock.Now()
	servers := []models.Server{{ID: "s-web", Name: "web", ProjectID: ownProject, Version: 1}, {ID: "s-db", Name: "db", ProjectID: otherProject, Version: 1}}
	if err := c.Store.Sync.SyncServers(t.Context(), servers); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Store.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{{BackendID: "v-theirs", Project: otherProject, Name: "data", SizeGiB: 2, CreatedAt: now,
		ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}}, now); err != nil {
		t.Fatal(err)
	}
	list := c.As(models.Administrator).Get(views.ServersPath)
	apptest.WantText(t, list, "#server-s-web .c-project", "lab")
	apptest.WantText(t, list, "#server-s-db .c-project", otherProject)
	b := c.As(models.Operator)
	for path, want := range map[string]string{views.VolumesPath + "/v-theirs/attach": "s-db", views.VolumesPath + "/new": "s-web"} {
		a := b.Get(path)
		if ids := a.Doc(t).Find("select[name=server_id] option[value^=s-]"); ids.Length() != 1 || ids.AttrOr("value", "") != want {
			t.Errorf("%s offers %d servers, %q", path, ids.Length(), ids.AttrOr("value", ""))
		}
	}
}
