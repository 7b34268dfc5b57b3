package store_test

import (
	"errors"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

const (
	tenant  = "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0"
	another = "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"
)

// insertCloudRows inserts a volume and a snapshot in each of two projects, as the mirror does.
func insertCloudRows(t *testing.T, db *store.Store) {
	t.Helper()
	now := db.Now()
	for _, p := range []string{tenant, another} {
		v := store.ObservedObject{BackendID: "v-" + p, Project: p, Name: "data-" + p[:4], SizeGiB: 2, CreatedAt: now,
			ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
		_, err := db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{v}, now)
		must(t, err)
		s := v
		s.BackendID, s.Source, s.Name = "s-"+p, v.BackendID, "shot-"+p[:4]
		_, err = db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{s}, now)
		must(t, err)
	}
}

func TestProjects_OwnOnly(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, MaxSizeGiB: -1, Project: models.Project{ID: tenant, Name: "lab"}})
		must(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		insertCloudRows(t, db)
		page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].ProjectID != tenant {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		facts, err := db.ListSummary(ctx, me, models.SubjectSnapshot)
		if total, _ := db.Total(ctx, me, models.SubjectVolume); err != nil || facts.Total != 1 || total != 1 {
			t.Errorf("%d volumes, %+v, %v", total, facts, err)
		}
		if _, err := db.Volumes.Volume(ctx, me, "v-"+another); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("another project's volume: %v", err)
		}
		if page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Project: another}); err != nil || len(page.Rows) != 0 {
			t.Errorf("another project by the filter: %+v, %v", page.Rows, err)
		}
		op, err := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: page.Rows[0].ID, Name: "mine"})
		if err != nil || op.ProjectID != tenant {
			t.Fatalf("%+v, %v", op, err)
		}
		made, err := db.Snapshots.Snapshot(ctx, me, op.SubjectID)
		if n, _ := db.Queue.CountRunning(ctx, me.Project); err != nil || made.ProjectID != tenant || n != 1 {
			t.Errorf("%+v, %d running, %v", made, n, err)
		}
		if users, err := db.Users.ListUsers(ctx, storetest.Administrator()); err != nil || len(users) != 0 {
			t.Errorf("%d users, %v", len(users), err) // users do not belong to projects of the cloud
		}
		if !db.InScope(me.Project, tenant) || db.InScope(me.Project, another) || db.OwnProjectName() != "lab" {
			t.Errorf("the scope is not %s: %s", tenant, db.OwnProjectName())
		}
		if again := storetest.Second(t, db, clock.Now); again.OwnProjectID() != tenant || again.OwnProjectName() != "lab" {
			t.Errorf("before the cloud has answered, pages show %q (%s)", again.OwnProjectID(), again.OwnProjectName())
		}
	})
}

func TestProjects_All(t *testing.T) {
	storetest.Each(t, func(t *testing.T, one *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db := storetest.AllProjects(t, one, clock.Now)
		db.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, MaxSizeGiB: -1, Project: models.Project{ID: tenant, Name: "lab"},
			Projects: []models.Project{{ID: another, Name: "other"}}})
		must(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		insertCloudRows(t, db)
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{})
		if err != nil || len(page.Rows) != 2 {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		facts, err := db.ListSummary(ctx, me, models.SubjectSnapshot)
		if total, _ := db.Total(ctx, me, models.SubjectVolume); err != nil || facts.Total != 2 || total != 2 {
			t.Errorf("%d volumes, %+v, %v", total, facts, err)
		}
		theirs := models.ListQuery{Project: another}
		page, err = db.Snapshots.ListSnapshots(ctx, me, theirs)
		if err != nil || len(page.Rows) != 1 || page.Rows[0].ProjectID != another || !theirs.Filtered() {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		if n, err := db.CountMatching(ctx, me, models.SubjectSnapshot, theirs); err != nil || n != 1 {
			t.Errorf("%d found, %v", n, err)
		}
		// An edit belongs to the project of the object, a new object to the own project.
		op, err := db.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: page.Rows[0].ID, Name: "renamed"})
		if err != nil || op.ProjectID != another {
			t.Fatalf("%+v, %v", op, err)
		}
		op, err = db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: page.Rows[0].VolumeID, Name: "ours"})
		if err != nil || op.ProjectID != tenant {
			t.Fatalf("%+v, %v", op, err)
		}
		ops, err := db.Queue.ListOperations(ctx, me, models.OperationQuery{Limit: 10})
		if there, _ := db.Queue.ExistingSubjects(ctx, me, ops); err != nil || len(ops) != 2 || len(there) != 2 {
			t.Errorf("%d operations, %v", len(ops), err)
		}
		if n, err := db.Queue.CountRunning(ctx, me.Project); err != nil || n != 2 {
			t.Errorf("%d running, %v", n, err)
		}
		if names := db.Capabilities().ProjectNames(); names[another] != "other" || names[tenant] != "lab" {
			t.Errorf("names %v", names)
		}
	})
}

// TestProjects_ServersOfAnother expects that servers of another project than the volume's are
// neither listed nor accepted.
func TestProjects_ServersOfAnother(t *testing.T) {
	storetest.Each(t, func(t *testing.T, one *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db := storetest.AllProjects(t, one, clock.Now)
		db.SetCapabilities(models.Capabilities{Attach: true, Name: "openstack", FreeBytes: -1, MaxSizeGiB: -1, Project: models.Project{ID: tenant, Name: "lab"}})
		must(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		must(t, db.Sync.SyncServers(ctx, []models.Server{{ID: "s-ours", Name: "web", ProjectID: tenant, Version: 1}, {ID: "s-theirs", Name: "db", ProjectID: another, Version: 1}}))
		insertCloudRows(t, db)
		for project, want := range map[string]string{"": "s-ours", tenant: "s-ours", another: "s-theirs"} {
			if rows, err := db.Servers.ServersOfProject(ctx, me, project, 10); err != nil || len(rows) != 1 || rows[0].ID != want {
				t.Errorf("%q: %+v, %v", project, rows, err)
			}
		}
		page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Project: another})
		if err != nil || len(page.Rows) != 1 {
			t.Fatalf("%+v, %v", page.Rows, err)
		}
		theirs := page.Rows[0].ID
		if _, err := db.Volumes.AttachVolume(ctx, me, theirs, "s-ours", ""); fieldKeys(err)["server_id"] != "server.not_found" {
			t.Errorf("a server of another project: %v", err)
		}
		if _, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "1", ServerID: "s-theirs"}); fieldKeys(err)["server_id"] != "server.not_found" {
			t.Errorf("a new volume and a server of another project: %v", err)
		}
		if op, err := db.Volumes.AttachVolume(ctx, me, theirs, "s-theirs", ""); err != nil || op.ProjectID != another {
			t.Errorf("%+v, %v", op, err)
		}
		narrow := storetest.Second(t, one, clock.Now)
		narrow.SetCapabilities(db.Capabilities())
		if rows, err := narrow.Servers.ServersOfProject(ctx, me, another, 10); err != nil || len(rows) != 0 {
			t.Errorf("who sees one project: %+v, %v", rows, err)
		}
	})
}

// TestProjects_OwnUnknown refuses to create what would belong to no project.
func TestProjects_OwnUnknown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		must(t, db.CheckIdentity(ctx, models.Identity{Backend: "openstack"}))
		in := models.VolumeInput{Name: "too-early", Size: "1"}
		if _, err := db.Volumes.CreateVolume(ctx, me, in); !errors.Is(err, &models.Error{Code: models.CodeConflict, Text: models.NewText("deny.not_ready")}) {
			t.Errorf("%v", err)
		}
		must(t, db.CheckProject(ctx, models.Project{ID: tenant}))
		op, err := db.Volumes.CreateVolume(ctx, me, in)
		if err != nil || op.ProjectID != tenant {
			t.Errorf("%+v, %v", op, err)
		}
	})
}

func TestProjects_Other(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx := t.Context()
		elsewhere := storetest.Operator()
		elsewhere.Project = "elsewhere"
		op, err := db.Volumes.CreateVolume(ctx, elsewhere, models.VolumeInput{Name: "theirs", Size: "1"})
		if err != nil {
			t.Fatal(err)
		}
		me := storetest.Operator()
		queryAny(t, db, models.ListQuery{Search: "theirs"})
		for _, search := range []string{"", "t", "theirs", op.SubjectID} {
			page, err := db.Volumes.ListVolumes(ctx, me, models.ListQuery{Search: search})
			n, err2 := db.CountMatching(ctx, me, models.SubjectVolume, models.ListQuery{Search: search})
			if err != nil || err2 != nil || len(page.Rows) != 0 || n != 0 {
				t.Errorf("search %q: %d rows, found %d, %v, %v", search, len(page.Rows), n, err, err2)
			}
		}
		_, errRow := db.Volumes.Volume(ctx, me, op.SubjectID)
		_, errOp := db.Queue.Operation(ctx, me, op.ID)
		_, errDelete := db.Volumes.DeleteVolume(ctx, me, op.SubjectID, "")
		_, errCancel := db.Queue.CancelOperation(ctx, me, op.ID)
		for _, err := range []error{errRow, errOp, errDelete, errCancel} {
			if models.AsError(err) == nil || models.AsError(err).Code != models.CodeNotFound {
				t.Errorf("%v", err)
			}
		}
		if n, err := db.Total(ctx, me, models.SubjectVolume); n != 0 || err != nil {
			t.Errorf("total %d, %v", n, err)
		}
	})
}
