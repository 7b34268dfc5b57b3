package local

import (
	"context"
	"log/slog"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"blockconsole/models/backend"
	"blockconsole/models/reserve"
)

func newRef(t testing.TB) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// open opens a backend that is closed at the test's end.
func open(t testing.TB, o Options) *Backend {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Reserve == 0 {
		o.Reserve = mib // most tests run in memory
	}
	if o.ChecksumRate == 0 {
		o.ChecksumRate = -1 // tests of checksums ask for them
	}
	waitForks()
	b, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// waitForks waits for the processes that other tests are starting: until its exec, such
// a process holds the locks and files that were open at its fork.
func waitForks() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

// testServers are the registered servers. This machine is the first and the last.
var testServers = []backend.RegisteredServer{
	{ID: "here", Name: "web-1", Addresses: []string{"127.0.0.1"}},
	{ID: "there", Name: "web-2", Addresses: []string{"127.0.0.2", "10.0.0.0/8"}},
	{ID: "near", Name: "web-3", Addresses: []string{"127.0.0.0/24"}},
}

// withNBD adds NBD on a free port, for testServers unless o.Servers is set.
func withNBD(t testing.TB, o Options) Options {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o.NBD = l
	if o.Servers == nil {
		o.Servers = func(context.Context) ([]backend.RegisteredServer, error) { return testServers, nil }
	}
	return o
}

// waitJobs waits until no job and no check that was asked for is under way.
func waitJobs(ctx context.Context, b *Backend) error {
	for {
		b.mu.Lock()
		var ends []chan struct{}
		for j := range b.jobs {
			ends = append(ends, j.done)
		}
		for _, o := range b.snapshots.byRef {
			if o.check != nil {
				ends = append(ends, o.check.ended)
			}
		}
		b.mu.Unlock()
		if len(ends) == 0 {
			return nil
		}
		select {
		case <-ends[0]:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func settle(t testing.TB, b *Backend) {
	t.Helper()
	if err := waitJobs(context.Background(), b); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_BytesAfterSnapshotAndRestore(t *testing.T) {
	t.Parallel()
	ctx, dir := context.Background(), t.TempDir()
	b := open(t, Options{Dir: dir})
	vol, snap, copied := newRef(t), newRef(t), newRef(t)
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: vol, Name: "data", SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	f, err := os.OpenFile(b.path("volumes", vol, dataFile), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte("hello"), 700<<20)
	f.Close()
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: snap, Name: "s", Volume: backend.Key{Ref: vol}}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	b.Close()
	b = open(t, Options{Dir: dir})
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: copied, SizeGiB: 2, Snapshot: &backend.Key{Ref: snap}}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	v, err := b.Volume(ctx, backend.Key{Ref: copied})
	if err != nil || v.Status != backend.Available || v.Percent != 100 || v.Source.Ref != snap {
		t.Fatalf("%+v %v", v, err)
	}
	f, err = os.Open(b.path("volumes", copied, dataFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fi, _ := f.Stat()
	got := make([]byte, 5)
	f.ReadAt(got, 700<<20)
	if string(got) != "hello" || fi.Size() != 2*gib || reserve.Allocated(fi) > 1<<20 {
		t.Fatalf("%q, %d bytes, %d allocated", got, fi.Size(), reserve.Allocated(fi))
	}
}

func getVolume(t testing.TB, b *Backend, ref string) backend.Volume {
	t.Helper()
	v, err := b.Volume(context.Background(), backend.Key{Ref: ref})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// waitStatus waits until the volume has the status.
func waitStatus(t testing.TB, b *Backend, ref string, want backend.Status) backend.Volume {
	t.Helper()
	deadline, look := time.After(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for {
		v := getVolume(t, b, ref)
		if v.Status == want {
			return v
		}
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("still %s (%v)", v.Status, v.Failure)
		}
	}
}

// memDir is a folder on a tmpfs where there is one with enough room, for tests to which
// only the calls to the disk matter.
func memDir(t testing.TB) string {
	sp, err := reserve.UsageOf("/dev/shm")
	if err != nil || sp.Free < 2*gib {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp("/dev/shm", "blockconsole-test")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
