package mirror_test

import (
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestConnections_ExportAndCounters(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	id := h.CreateAttached("data-1", server)
	v := h.Volume(id)
	if v.Export != (models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: id}) || v.Use("") != models.NeverUsed {
		t.Errorf("export %+v, use %q", v.Export, v.Use(""))
	}
	c := h.Fake.Connect(id, server, "10.0.0.5:43210")
	h.Fake.Transfer(c, 4096, 512)
	h.Fake.SetHold(id, 123_400*time.Microsecond)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	v = h.Volume(id)
	if v.Use(server) != models.Connected || v.Connections[0].BytesRead != 4096 || v.Connections[0].BytesWritten != 512 || v.HoldUS != 120_000 {
		t.Errorf("connections %+v, hold %d", v.Connections, v.HoldUS)
	}
	last, err := h.Store.LastChange(t.Context())
	h.Must(err)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	if now, _ := h.Store.LastChange(t.Context()); now != last {
		t.Error("a change without news")
	}
	op, err := h.Store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: id, Name: "snap-1", Acknowledge: true})
	h.Must(err)
	h.RunFor(4)
	s, err := h.Store.Snapshots.Snapshot(t.Context(), storetest.Operator(), op.SubjectID)
	if err != nil || s.Status != models.Available || s.HeldUS != 123_400 || s.Consistency != models.CrashConsistent {
		t.Errorf("snapshot %s, held %d, %s, %v", s.Status, s.HeldUS, s.Consistency, err)
	}
	// A new process starts without connections.
	h.Fake.Disconnect(c)
	h.Must(mirror.New(h.Store, h.Fake, mirror.Options{}).Start(t.Context()))
	if v = h.Volume(id); len(v.Connections) != 0 || v.Use("") != models.UsedBefore {
		t.Errorf("%d connections, %q", len(v.Connections), v.Use(""))
	}
}

func TestConnections_DiskFailureInUse(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	id := h.CreateAttached("data-1", server)
	h.Fake.Connect(id, server, "10.0.0.5:43210")
	for _, step := range []struct {
		err  error
		want string
	}{
		{&backend.Error{Code: backend.CodeFault, Op: "write", Err: errors.New("EIO")}, models.FailureDisk}, {&backend.Error{Code: backend.CodeFault, Op: "flush"}, models.FailureDiskFlush},
		{&backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0}, models.FailureDiskFull}, {nil, ""},
	} {
		h.Fake.SetDiskFault(id, step.err)
		h.Must(h.Mirror.SyncConnections(t.Context()))
		if v := h.Volume(id); v.Status != models.InUse || v.Failure.Key != step.want {
			t.Errorf("%v: %s %q", step.err, v.Status, v.Failure.Key)
		}
	}
}

// TestConnections_Damaged: what the backend finds out about files reaches the rows
// without a listing, of objects without clients too, and so does their recovery.
func TestConnections_Damaged(t *testing.T) {
	t.Parallel()
	h, server := workertest.NewExporter(t)
	attached := h.CreateAttached("data-1", server)
	snapshot := h.CreateVolumeAndSnapshot()
	damage := &backend.Error{Code: backend.CodeDamaged, Path: "/data/x", Damage: backend.WrongSize, Have: 5, Want: 7}
	whole, err := h.Fake.Volume(t.Context(), backend.Key{Ref: attached})
	h.Must(err)
	wholeSnapshot, err := h.Fake.Snapshot(t.Context(), backend.Key{Ref: snapshot})
	h.Must(err)
	v, s := whole, wholeSnapshot
	v.Status, v.Failure, s.Status, s.Failure = backend.ErrorStatus, damage, backend.ErrorStatus, damage
	h.Fake.PutVolume(v)
	h.Fake.PutSnapshot(s)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	want := models.NewFailure("failure.damaged.size", "/data/x", "5", "7")
	row := h.Volume(attached)
	if row.Status != models.ErrorStatus || !row.Failure.Equal(want) || row.AttachmentCount != 1 || h.Snapshot(snapshot).Status != models.ErrorStatus {
		t.Errorf("%s %+v, snapshot %s", row.Status, row.Failure, h.Snapshot(snapshot).Status)
	}
	rules := h.Store.Rules()
	if d := rules.Volume(models.ActDetach, row); d != nil {
		t.Errorf("detach: %+v", d)
	}
	if rules.Volume(models.ActRepair, row) == nil || rules.Snapshot(models.ActRepair, h.Snapshot(snapshot)) != nil {
		t.Error("repaired while attached, or not at all")
	}
	h.Fake.PutVolume(whole)
	h.Fake.PutSnapshot(wholeSnapshot)
	h.Must(h.Mirror.SyncConnections(t.Context()))
	if row := h.Volume(attached); row.Status != models.InUse || !row.Failure.None() || h.Snapshot(snapshot).Status != models.Available {
		t.Errorf("whole again: %s %+v", row.Status, row.Failure)
	}
}
