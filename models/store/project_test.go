package store_test

import (
	"errors"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

const (
	tenant  = "5f0c7e1fa2b8c3d7a2b8c3d70193a5c0"
	another = "77aa7e1fa2b8c3d7a2b8c3d70193a5c0"
)

// cloudRows are two volumes with a snapshot each, of two projects, as a cloud
// lists them.
func cloudRows(t *testing.T, db *store.Store) {
	t.Helper()
	now := db.Now()
	for _, p := range []string{tenant, another} {
		v := store.ObservedObject{BackendID: "v-" + p, Project: p, Name: "data-" + p[:4], SizeGiB: 2, CreatedAt: now,
			ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}
		_, err := db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{v}, now)
		none(t, err)
		s := v
		s.BackendID, s.Source, s.Name = "s-"+p, v.BackendID, "shot-"+p[:4]
		_, err = db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{s}, now)
		none(t, err)
	}
}

func TestOneProjectIsTheCloudsOwn(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, Project: models.Project{ID: tenant, Name: "lab"}})
		none(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		cloudRows(t, db)
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
			t.Errorf("%d users, %v", len(users), err) // they stay the installation's
		}
		if !db.InScope(me.Project, tenant) || db.InScope(me.Project, another) || db.OwnProjectName() != "lab" {
			t.Errorf("the scope is not %s: %s", tenant, db.OwnProjectName())
		}
		if again := storetest.Second(t, db, clock.Now); again.OwnProjectID() != tenant || again.OwnProjectName() != "lab" {
			t.Errorf("before the cloud has answered, pages show %q (%s)", again.OwnProjectID(), again.OwnProjectName())
		}
	})
}

func TestAllProjectsAreShown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, one *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db := storetest.AllProjects(t, one, clock.Now)
		db.SetCapabilities(models.Capabilities{Name: "openstack", Shared: true, FreeBytes: -1, Project: models.Project{ID: tenant, Name: "lab"},
			Projects: []models.Project{{ID: another, Name: "other"}}})
		none(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		cloudRows(t, db)
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
		// What is done to their object is theirs; what is made is ours.
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

// TestServersOfAnotherProject: a cloud attaches nothing to them, so nobody is offered
// them, and who asks all the same is told at once.
func TestServersOfAnotherProject(t *testing.T) {
	storetest.Each(t, func(t *testing.T, one *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		db := storetest.AllProjects(t, one, clock.Now)
		db.SetCapabilities(models.Capabilities{Attach: true, Name: "openstack", FreeBytes: -1, Project: models.Project{ID: tenant, Name: "lab"}})
		none(t, db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		none(t, db.Sync.SyncServers(ctx, []models.Server{{ID: "s-ours", Name: "web", ProjectID: tenant, Version: 1}, {ID: "s-theirs", Name: "db", ProjectID: another, Version: 1}}))
		cloudRows(t, db)
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
		if _, err := db.Volumes.AttachVolume(ctx, me, theirs, "s-ours", ""); wrongFields(err)["server_id"] != "server.not_found" {
			t.Errorf("a server of another project: %v", err)
		}
		if _, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "data-1", Size: "1", ServerID: "s-theirs"}); wrongFields(err)["server_id"] != "server.not_found" {
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

func TestADatabaseBelongsToOneBackend(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		cloud := models.Identity{Backend: "openstack", Cloud: "keystone.example.com:5000", Region: "east"}
		none(t, db.CheckIdentity(ctx, cloud), db.CheckIdentity(ctx, cloud), db.CheckProject(ctx, models.Project{ID: tenant, Name: "lab"}))
		elsewhere := cloud
		elsewhere.Cloud, elsewhere.Region = "moved.example.com", ""
		none(t, db.CheckIdentity(ctx, elsewhere)) // the same cloud at another address: its project tells
		west := cloud
		west.Region = "west"
		again := storetest.Second(t, db, clock.Now)
		for want, err := range map[string]error{
			"BLOCKCONSOLE_BACKEND": again.CheckIdentity(ctx, models.Identity{Backend: "local"}),
			"OS_REGION_NAME":       again.CheckIdentity(ctx, west),
			"OS_PROJECT_ID":        again.CheckProject(ctx, models.Project{ID: another, Name: "other"}),
		} {
			var refused *models.IdentityError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "BLOCKCONSOLE_DATABASE") ||
				strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v", want, err)
			}
		}
		if again.OwnProjectID() != tenant {
			t.Errorf("the refused project became home: %s", again.OwnProjectID())
		}
		none(t, again.CheckProject(ctx, models.Project{}), again.CheckProject(ctx, models.Project{ID: tenant, Name: "renamed"}))
		if again.OwnProjectName() != "renamed" {
			t.Errorf("the project is called %s", again.OwnProjectName())
		}
	})
}

func TestAnOlderDatabaseIsLocal(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx := t.Context()
		_, err := db.Volumes.CreateVolume(ctx, storetest.Operator(), models.VolumeInput{Name: "from-before", Size: "1"})
		none(t, err)
		var refused *models.IdentityError
		if err := db.CheckIdentity(ctx, models.Identity{Backend: "openstack"}); !errors.As(err, &refused) {
			t.Errorf("a database with local volumes became a cloud's: %v", err)
		}
		none(t, storetest.Second(t, db, clock.Now).CheckIdentity(ctx, models.Identity{Backend: "local"}))
	})
}

// TestNothingIsMadeBeforeTheCloudIsKnown: it would belong to no project.
func TestNothingIsMadeBeforeTheCloudIsKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		none(t, db.CheckIdentity(ctx, models.Identity{Backend: "openstack"}))
		in := models.VolumeInput{Name: "too-early", Size: "1"}
		if _, err := db.Volumes.CreateVolume(ctx, me, in); !errors.Is(err, &models.Error{Code: models.CodeConflict, Text: models.NewText("deny.not_ready")}) {
			t.Errorf("%v", err)
		}
		none(t, db.CheckProject(ctx, models.Project{ID: tenant}))
		op, err := db.Volumes.CreateVolume(ctx, me, in)
		if err != nil || op.ProjectID != tenant {
			t.Errorf("%+v, %v", op, err)
		}
	})
}
