package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestDetach_WaitsUntilForced(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	id := h.CreateAttached("data-1", server)
	h.Fake.Connect(id, server, "10.0.0.5:43210")
	h.Must(h.Mirror.SyncConnections(t.Context()))
	waiting, err := h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, false, "")
	h.Must(err)
	h.RunFor(5)
	v := h.Volume(id)
	if v.Status != models.Detaching || len(v.Connections) != 1 {
		t.Fatalf("it is %s with %d connections", v.Status, len(v.Connections))
	}
	_, err = h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, false, "")
	if refused := models.AsError(err); refused == nil || refused.Fields["force"].Key != "detach.waits" {
		t.Errorf("a second detach without force: %v", err)
	}
	forced, err := h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, server, true, "")
	h.Must(err)
	h.RunFor(6)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	if v = h.Volume(id); v.Status != models.Available || len(v.Attachments)+len(v.Connections) != 0 || !v.Export.None() {
		t.Errorf("it is %s, attached %v, connected %v, export %v", v.Status, v.Attachments, v.Connections, v.Export)
	}
	for _, id := range []string{waiting.ID, forced.ID} {
		if op, err := h.Store.Queue.Operation(t.Context(), storetest.Operator(), id); err != nil || op.State != models.Succeeded {
			t.Errorf("operation %s: %v", op.State, err)
		}
	}
	// A waiting detach continues when the client disconnects.
	id = h.CreateAttached("data-2", server)
	c := h.Fake.Connect(id, server, "10.0.0.5:43211")
	_, err = h.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, "", false, "")
	h.Must(err)
	h.RunFor(3)
	h.Fake.Disconnect(c)
	h.RunFor(4)
	if v = h.Volume(id); v.Status != models.Available {
		t.Errorf("it is %s", v.Status)
	}
}

// Servers leave a snapshot one by one, and meanwhile it is as good as any.
func TestDetachSnapshot_WaitsUntilForced(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	me := storetest.Operator()
	other, err := h.Store.Servers.AddServer(t.Context(), storetest.Administrator(), models.ServerInput{Name: "web-2", Address: "10.0.0.6"})
	h.Must(err)
	id := h.CreateVolumeAndSnapshot()
	for _, s := range []string{server, other.ID} {
		h.Accepted(h.Store.Snapshots.AttachSnapshot(t.Context(), me, id, s, ""))
	}
	h.RunFor(6)
	h.Fake.Connect(id, server, "10.0.0.5:43210")
	h.Must(h.Mirror.SyncConnections(t.Context()))
	read := func() *models.Snapshot {
		t.Helper()
		row, err := h.Store.Snapshots.Snapshot(t.Context(), me, id)
		h.Must(err)
		return row
	}
	if row := read(); row.Status != models.Available || row.AttachmentCount != 2 || len(row.Connections) != 1 || row.Export.Name != id || row.Use(server) != models.Connected {
		t.Fatalf("%+v", row)
	}
	waiting := h.Accepted(h.Store.Snapshots.DetachSnapshot(t.Context(), me, id, server, false, ""))
	h.RunFor(5)
	if row := read(); row.Status != models.Available || !row.Leaving(server) || row.Leaving(other.ID) || len(row.LeavingClients()) != 1 {
		t.Fatalf("%+v", row.Attached)
	}
	if _, err := h.Store.Snapshots.DetachSnapshot(t.Context(), me, id, server, false, ""); models.AsError(err) == nil || models.AsError(err).Fields["force"].Key != "detach.waits" {
		t.Errorf("a second detach without force: %v", err)
	}
	// The wait holds up nothing else.
	edited := h.Accepted(h.Store.Snapshots.EditSnapshot(t.Context(), me, models.EditInput{ID: id, Name: "renamed-1"}))
	left := h.Accepted(h.Store.Snapshots.DetachSnapshot(t.Context(), me, id, other.ID, false, ""))
	restored := h.Accepted(h.Store.Volumes.CreateVolume(t.Context(), me, models.VolumeInput{Name: "restored-1", SnapshotID: id}))
	h.RunFor(6)
	for _, op := range []*models.Operation{edited, left, restored} {
		if now := h.Operation(op.ID); now.State != models.Succeeded {
			t.Errorf("%s: %s %+v", now.Kind, now.State, now.LastError)
		}
	}
	forced := h.Accepted(h.Store.Snapshots.DetachSnapshot(t.Context(), me, id, server, true, ""))
	h.RunFor(6)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	if row := read(); row.AttachmentCount != 0 || len(row.Connections) != 0 || !row.Export.None() {
		t.Errorf("%+v", row.Attached)
	}
	for _, op := range []*models.Operation{waiting, forced} {
		if now := h.Operation(op.ID); now.State != models.Succeeded {
			t.Errorf("%s: %s", now.Kind, now.State)
		}
	}
}

// What the rules do not know, the backend refuses, and the snapshot is as before.
func TestDeleteSnapshot_AttachedMeanwhile(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	me := storetest.Operator()
	id := h.CreateVolumeAndSnapshot()
	deleted := h.Accepted(h.Store.Snapshots.DeleteSnapshot(t.Context(), me, id, ""))
	if _, err := h.Store.Snapshots.AttachSnapshot(t.Context(), me, id, server, ""); models.AsError(err) == nil || models.AsError(err).Code != models.CodeConflict {
		t.Errorf("attached while it is being deleted: %v", err)
	}
	h.Must(h.Fake.AttachSnapshot(t.Context(), backend.Key{Ref: id}, server)) // by another console, before this one's delete
	h.RunFor(4)
	row, err := h.Store.Snapshots.Snapshot(t.Context(), me, id)
	if op := h.Operation(deleted.ID); op.State != models.Failed || err != nil || row.Status != models.Available {
		t.Errorf("%s, %+v %v", op.State, row, err)
	}
}
