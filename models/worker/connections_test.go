package worker_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker"
)

// exporting is a console whose backend in memory serves volumes itself, with a
// registered server.
type exporting struct {
	*testing.T
	store  *store.Store
	fake   *backendtest.Fake
	mirror *mirror.Mirror
	worker *worker.Worker
	clock  *storetest.Clock
	server string
}

func newExporting(t *testing.T) *exporting {
	t.Helper()
	e := &exporting{T: t, clock: storetest.NewClock()}
	e.store, e.fake = storetest.Open(t, e.clock.Now), backendtest.NewFake(e.clock.Now)
	e.fake.Serve("nbd", "127.0.0.1:10809", func(ctx context.Context) ([]backend.RegisteredServer, error) {
		rows, err := e.store.Servers.RegisteredServers(ctx)
		var all []backend.RegisteredServer
		for _, r := range rows {
			all = append(all, backend.RegisteredServer{ID: r.ID, Name: r.Name, Addresses: r.Addresses()})
		}
		return all, err
	})
	e.mirror = mirror.New(e.store, e.fake, mirror.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	e.worker = worker.New(e.mirror, worker.Options{Log: quiet})
	e.must(e.mirror.Start(t.Context()))
	row, err := e.store.Servers.AddServer(t.Context(), storetest.Administrator(), models.ServerInput{Name: "web-1", Address: "10.0.0.5"})
	e.must(err)
	e.server = row.ID
	return e
}

func (e *exporting) must(err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// work looks at what was asked, that often.
func (e *exporting) work(times int) {
	e.Helper()
	for range times {
		_, err := e.worker.RunDue(e.Context())
		e.must(err)
		e.clock.Add(time.Second)
	}
}

func (e *exporting) volume(id string) *models.Volume {
	e.Helper()
	v, err := e.store.Volumes.Volume(e.Context(), storetest.Operator(), id)
	e.must(err)
	return v
}

// attached makes a volume that is attached to the server.
func (e *exporting) attached(name string) string {
	e.Helper()
	op, err := e.store.Volumes.CreateVolume(e.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: "1", ServerID: e.server})
	e.must(err)
	e.work(8)
	if v := e.volume(op.SubjectID); v.Status != models.InUse || len(v.Attachments) != 1 {
		e.Fatalf("%s is %s with %d attachments", name, v.Status, len(v.Attachments))
	}
	return op.SubjectID
}

func TestTheBackendsServersAreNotMirrored(t *testing.T) {
	e := newExporting(t)
	if n := e.fake.Calls("Servers"); n > 0 {
		t.Errorf("asked %d times for servers that it does not know", n)
	}
	if !e.store.Capabilities().OwnServers {
		t.Error("the facts do not say whose servers they are")
	}
}

func TestExportAndConnectionsReachTheRow(t *testing.T) {
	e := newExporting(t)
	id := e.attached("data-1")
	v := e.volume(id)
	if v.Export != (models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: id}) || v.Use("") != models.NeverUsed {
		t.Errorf("export %+v, use %q", v.Export, v.Use(""))
	}
	c := e.fake.Connect(id, e.server, "10.0.0.5:43210")
	e.fake.Transfer(c, 4096, 512)
	e.fake.SetHold(id, 123_400*time.Microsecond)
	e.must(e.mirror.SyncConnections(t.Context()))
	v = e.volume(id)
	if v.Use(e.server) != models.Connected || v.Connections[0].BytesRead != 4096 || v.Connections[0].BytesWritten != 512 || v.HoldUS != 120_000 {
		t.Errorf("connections %+v, hold %d", v.Connections, v.HoldUS)
	}
	last, err := e.store.LastChange(t.Context())
	e.must(err)
	e.must(e.mirror.SyncConnections(t.Context()))
	if now, _ := e.store.LastChange(t.Context()); now != last {
		t.Error("nothing new was written")
	}
	op, err := e.store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: id, Name: "snap-1", Acknowledge: true})
	e.must(err)
	e.work(4)
	s, err := e.store.Snapshots.Snapshot(t.Context(), storetest.Operator(), op.SubjectID)
	if err != nil || s.Status != models.Available || s.HeldUS != 123_400 || s.Consistency != models.CrashConsistent {
		t.Errorf("snapshot %s, held %d, %s, %v", s.Status, s.HeldUS, s.Consistency, err)
	}
	// Another process begins with nobody connected.
	e.fake.Disconnect(c)
	e.must(mirror.New(e.store, e.fake, mirror.Options{}).Start(t.Context()))
	if v = e.volume(id); len(v.Connections) != 0 || v.Use("") != models.UsedBefore {
		t.Errorf("%d connections, %q", len(v.Connections), v.Use(""))
	}
}

func TestADiskErrorIsSaidWhileTheVolumeStaysInUse(t *testing.T) {
	e := newExporting(t)
	id := e.attached("data-1")
	e.fake.Connect(id, e.server, "10.0.0.5:43210")
	for _, step := range []struct {
		err  error
		want string
	}{
		{&backend.Error{Code: backend.CodeFault, Op: "write", Err: errors.New("EIO")}, models.FailureDisk}, {&backend.Error{Code: backend.CodeFault, Op: "flush"}, models.FailureDiskFlush},
		{&backend.Error{Code: backend.CodeNoSpace, Need: 1, Free: 0}, models.FailureDiskFull}, {nil, ""},
	} {
		e.fake.SetDiskFault(id, step.err)
		e.must(e.mirror.SyncConnections(t.Context()))
		if v := e.volume(id); v.Status != models.InUse || v.Failure.Key != step.want {
			t.Errorf("%v: %s %q", step.err, v.Status, v.Failure.Key)
		}
	}
}

func TestDetachingWaitsAndCanBeMadeToCutOff(t *testing.T) {
	e := newExporting(t)
	id := e.attached("data-1")
	e.fake.Connect(id, e.server, "10.0.0.5:43210")
	e.must(e.mirror.SyncConnections(t.Context()))
	waiting, err := e.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, e.server, false, "")
	e.must(err)
	e.work(5)
	v := e.volume(id)
	if v.Status != models.Detaching || len(v.Connections) != 1 {
		t.Fatalf("it is %s with %d connections", v.Status, len(v.Connections))
	}
	_, err = e.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, e.server, false, "")
	if refused := models.AsError(err); refused == nil || refused.Fields["force"].Key != "detach.waits" {
		t.Errorf("to wait twice: %v", err)
	}
	cut, err := e.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, e.server, true, "")
	e.must(err)
	e.work(6)
	e.must(e.mirror.SyncConnections(t.Context()))
	if v = e.volume(id); v.Status != models.Available || len(v.Attachments)+len(v.Connections) != 0 || !v.Export.None() {
		t.Errorf("it is %s, attached %v, connected %v, export %v", v.Status, v.Attachments, v.Connections, v.Export)
	}
	for _, id := range []string{waiting.ID, cut.ID} {
		if op, err := e.store.Queue.Operation(t.Context(), storetest.Operator(), id); err != nil || op.State != models.Succeeded {
			t.Errorf("operation %s: %v", op.State, err)
		}
	}
	// And one that waits goes on by itself when the client goes.
	id = e.attached("data-2")
	c := e.fake.Connect(id, e.server, "10.0.0.5:43211")
	_, err = e.store.Volumes.DetachVolume(t.Context(), storetest.Operator(), id, "", false, "")
	e.must(err)
	e.work(3)
	e.fake.Disconnect(c)
	e.work(4)
	if v = e.volume(id); v.Status != models.Available {
		t.Errorf("it is %s", v.Status)
	}
}
