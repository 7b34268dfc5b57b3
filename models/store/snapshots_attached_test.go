package store_test

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// importSnapshot makes a row as the mirror does, attached to servers, and returns its id.
func importSnapshot(t *testing.T, db *store.Store, volume, name string, servers ...string) string {
	t.Helper()
	attachments := []backend.Attachment{}
	for _, server := range servers {
		attachments = append(attachments, backend.Attachment{ServerID: server, ServerName: "name of " + server, AttachedAt: models.Micros(db.Now())})
	}
	ids, err := db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{{BackendID: "b-" + name, Project: models.DefaultProject, Name: name, SizeGiB: 1, Source: volume,
		CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: -1, Attachments: &attachments,
			Export: &models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: name}}}}, db.Now())
	if err != nil || len(ids) != 1 {
		t.Fatalf("%v %v", ids, err)
	}
	return ids[0]
}

// servesSnapshots sets the capabilities of a backend that attaches snapshots.
func servesSnapshots(db *store.Store) {
	caps := capabilities
	caps.OwnServers, caps.AttachSnapshots = true, true
	db.SetCapabilities(caps)
}

func snapshot(t *testing.T, db *store.Store, id string) *models.Snapshot {
	t.Helper()
	row, err := db.Snapshots.Snapshot(t.Context(), storetest.Operator(), id)
	if err != nil {
		t.Fatal(err)
	}
	return row
}

func TestAttachSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		servesSnapshots(db)
		web, other := register(t, db, "web-1", "10.0.0.5"), register(t, db, "web-2", "10.0.0.6")
		id := importSnapshot(t, db, availableVolume(t, db, "data-1"), "snap-1")
		viewer := me
		viewer.Role = models.Viewer
		if _, err := db.Snapshots.DetachSnapshot(ctx, me, id, "", false, ""); models.AsError(err) == nil || models.AsError(err).Text.Key != "deny.not_attached" {
			t.Errorf("detached where it is not attached: %v", err)
		}
		if _, err := db.Snapshots.AttachSnapshot(ctx, viewer, id, web.ID, ""); models.AsError(err) == nil || models.AsError(err).Code != models.CodeForbidden {
			t.Errorf("attached by a viewer: %v", err)
		}
		if _, err := db.Snapshots.AttachSnapshot(ctx, me, id, "nobody", ""); fieldKeys(err)["server_id"] != "server.not_found" {
			t.Errorf("attached to nobody: %v", err)
		}
		op, err := db.Snapshots.AttachSnapshot(ctx, me, id, web.ID, "")
		if err != nil || op.Kind != models.SnapshotAttach || op.SubjectID != id || op.Lane != id {
			t.Fatalf("%+v %v", op, err)
		}
		if _, err := db.Snapshots.AttachSnapshot(ctx, me, id, web.ID, ""); fieldKeys(err)["server_id"] != "server.already_attached" {
			t.Errorf("asked twice: %v", err)
		}
		if _, err := db.Snapshots.AttachSnapshot(ctx, me, id, other.ID, ""); err != nil {
			t.Errorf("several servers: %v", err)
		}
		_, err = db.Snapshots.DeleteSnapshot(ctx, me, id, "")
		if e := models.AsError(err); e == nil || e.Text.Key != "deny.attaching" || !slices.Equal(e.Denial.Servers, []string{"web-1"}) {
			t.Errorf("deleted while it is being attached: %v", err)
		}
		err = db.Servers.RemoveServer(ctx, storetest.Administrator(), web.ID)
		if e := models.AsError(err); e == nil || e.Text.Key != "deny.server_awaited" || len(e.Denial.Snaps) != 1 || e.Denial.Snaps[0].ID != id || len(e.Denial.Volumes) != 0 {
			t.Errorf("the server was removed: %v", err)
		}
		if row := snapshot(t, db, id); row.Status != models.Available || row.AttachmentCount != 0 {
			t.Errorf("%+v", row)
		}
		clock.Add(time.Second)
		if op, err := db.Queue.CancelOperation(ctx, me, op.ID); err != nil || op.State != models.Cancelled || snapshot(t, db, id).Status != models.Available {
			t.Errorf("cancelled: %+v %v", op, err)
		}
	})
}

func TestDetachSnapshot(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me, admin := t.Context(), storetest.Operator(), storetest.Administrator()
		servesSnapshots(db)
		web, other := register(t, db, "web-1", "10.0.0.5"), register(t, db, "web-2", "10.0.0.6")
		volume := availableVolume(t, db, "data-1")
		id := importSnapshot(t, db, volume, "snap-1", web.ID, other.ID)
		checkCounters(t, db, "attached")
		row := snapshot(t, db, id)
		if row.Status != models.Available || row.AttachmentCount != 2 || row.Export.Name != "snap-1" || !row.AttachedTo(web.ID) || row.Use("") != models.NeverUsed {
			t.Fatalf("%+v", row)
		}
		_, err := db.Snapshots.DeleteSnapshot(ctx, me, id, "")
		if e := models.AsError(err); e == nil || e.Text.Key != "deny.attached" || len(e.Denial.Servers) != 2 {
			t.Errorf("deleted in use: %v", err)
		}
		err = db.Servers.RemoveServer(ctx, admin, web.ID)
		if e := models.AsError(err); e == nil || e.Text.Key != "deny.server_attached" || len(e.Denial.Snaps) != 1 || e.Denial.Snaps[0].ID != id {
			t.Errorf("the server was removed: %v", err)
		}
		if use, err := db.Servers.ServerUse(ctx, []string{web.ID}); err != nil || use[web.ID] != (models.ServerUse{Snapshots: 1}) {
			t.Errorf("use: %v %v", use, err)
		}
		if _, err := db.Snapshots.DetachSnapshot(ctx, me, id, "", false, ""); fieldKeys(err)["server_id"] != "server.not_attached" {
			t.Errorf("which of two: %v", err)
		}
		first, err := db.Snapshots.DetachSnapshot(ctx, me, id, web.ID, false, "")
		if err != nil || first.Lane == id {
			t.Fatalf("a waiting detach would hold up the others: %+v %v", first, err)
		}
		if _, err := db.Snapshots.DetachSnapshot(ctx, me, id, web.ID, false, ""); fieldKeys(err)["force"] != "detach.waits" {
			t.Errorf("asked twice: %v", err)
		}
		second, err := db.Snapshots.DetachSnapshot(ctx, me, id, web.ID, true, "")
		if err != nil || second.Lane == first.Lane {
			t.Errorf("it does not overtake: %+v %v", second, err)
		}
		if _, err := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "restored-1", SnapshotID: id}); err != nil {
			t.Errorf("restored meanwhile: %v", err)
		}
		if _, err := db.Volumes.RevertVolume(ctx, me, id, ""); err != nil {
			t.Errorf("reverted meanwhile: %v", err)
		}
		checkCounters(t, db, "at the end")
	})
}

func TestListSnapshots_AttachedServer(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		servesSnapshots(db)
		web := register(t, db, "web-1", "10.0.0.5")
		volume := availableVolume(t, db, "data-1")
		id, free := importSnapshot(t, db, volume, "read", web.ID), importSnapshot(t, db, volume, "free")
		page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{ServerID: web.ID})
		if err != nil || len(page.Rows) != 1 || page.Rows[0].ID != id || page.Rows[0].ServerNames()[0] != "name of "+web.ID {
			t.Errorf("%+v %v", page.Rows, err)
		}
		if n, err := db.CountMatching(ctx, me, models.SubjectSnapshot, models.ListQuery{ServerID: web.ID}); err != nil || n != 1 {
			t.Errorf("%d %v", n, err)
		}
		c := connection(db, "c1", id, web.ID)
		c.Kind = models.SubjectSnapshot
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, []backend.Connection{c}) }); !slices.Contains(kinds, models.SubjectSnapshot) {
			t.Errorf("connected: %v", kinds)
		}
		if row := snapshot(t, db, id); row.Use(web.ID) != models.Connected {
			t.Errorf("%+v", row.Attached)
		}
		clients, err := db.Servers.ServerClients(ctx, web.ID)
		if err != nil || len(clients) != 1 || clients[0].SubjectType != models.SubjectSnapshot || clients[0].SubjectName != "read" {
			t.Errorf("%+v %v", clients, err)
		}
		// Renamed, and the page of the list is not the one from the cache.
		if _, err := db.Servers.EditServer(ctx, storetest.Administrator(), models.ServerInput{ID: web.ID, Name: "web-9", Address: "10.0.0.5"}); err != nil {
			t.Fatal(err)
		}
		if page, err := db.Snapshots.ListSnapshots(ctx, me, models.ListQuery{ServerID: web.ID}); err != nil || page.Rows[0].ServerNames()[0] != "web-9" {
			t.Errorf("%+v %v", page.Rows, err)
		}
		// With its row go the attachments and connections.
		must(t, db.Sync.RemoveGone(ctx, models.SubjectSnapshot, "b-read", db.Now()), db.Sync.RemoveGone(ctx, models.SubjectSnapshot, "b-free", db.Now()))
		db.SetCapabilities(models.Capabilities{Shared: true})
		must(t, db.Sync.RemoveGone(ctx, models.SubjectSnapshot, "b-read", db.Now().Add(time.Second)))
		var left int64
		must(t, db.DB().Raw("SELECT (SELECT count(*) FROM attachments) + (SELECT count(*) FROM connections)").Scan(&left).Error)
		if left != 0 {
			t.Errorf("%d rows are left of %s, %s", left, id, free)
		}
		checkCounters(t, db, "at the end")
	})
}

// Operations for different servers overlap: what one has observed before another ended
// takes nothing away from that one.
func TestSaveProgress_OtherServers(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		servesSnapshots(db)
		web, other := register(t, db, "web-1", "10.0.0.5"), register(t, db, "web-2", "10.0.0.6")
		id := importSnapshot(t, db, availableVolume(t, db, "data-1"), "snap-1", web.ID)
		detach, err := db.Snapshots.DetachSnapshot(ctx, me, id, web.ID, false, "")
		must(t, err)
		attach, err := db.Snapshots.AttachSnapshot(ctx, me, id, other.ID, "")
		must(t, err)
		one, two := claim(t, db), claim(t, db)
		if one.ID != detach.ID || two.ID != attach.ID {
			t.Fatal("the two do not overlap")
		}
		export := models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: "snap-1"}
		finish(t, db, two, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1, OnlyServer: other.ID, Export: &export,
			Attachments: &[]backend.Attachment{{ServerID: web.ID}, {ServerID: other.ID, ServerName: "web-2"}}})
		finish(t, db, one, models.Succeeded, store.ObservedState{Status: models.Available, Percent: -1, OnlyServer: web.ID, Export: &models.Export{},
			Attachments: &[]backend.Attachment{}}) // observed when nobody was attached
		if row := snapshot(t, db, id); row.AttachmentCount != 1 || !row.AttachedTo(other.ID) || row.Export.None() {
			t.Errorf("%+v", row.Attached)
		}
		checkCounters(t, db, "at the end")
	})
}

// An attachment of the schema before is there after the migration, and is counted on.
func TestMigrate_KeepsAttachments(t *testing.T) {
	t.Parallel()
	eachDSN(t, func(t *testing.T, dsn string) {
		db := store.OpenBefore(t, dsn, "0008_snapshot_attachments")
		for _, statement := range []string{
			"INSERT INTO volumes (num, id, project_id, name, status, status_since, size_gib, created_at) VALUES (1, 'v1', 'default', 'data-1', 'IN-USE', 1, 1, 1)",
			"INSERT INTO attachments (volume_id, server_id, server_name, attached_at, used_at) VALUES ('v1', 's1', 'web-1', 5, 7)",
			"INSERT INTO connections (id, volume_id, server_id, since, active_at) VALUES ('c1', 'v1', 's1', 1, 1)",
		} {
			if err := db.DB().Exec(statement).Error; err != nil {
				t.Fatal(err)
			}
		}
		closeStore(t, db, nil)
		db, err := store.Open(dsn, quiet)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, db, nil)
		row, err := db.Volumes.Volume(t.Context(), storetest.Operator(), "v1")
		if err != nil || row.AttachmentCount != 1 || len(row.Attachments) != 1 || row.Attachments[0].UsedAt != 7 || row.Attachments[0].AttachedAt != 5 || row.ServerNames()[0] != "web-1" {
			t.Fatalf("%+v %v", row, err)
		}
		if err := db.DB().Exec("DELETE FROM attachments").Error; err != nil {
			t.Fatal(err)
		}
		checkCounters(t, db, filepath.Base(dsn))
	})
}
