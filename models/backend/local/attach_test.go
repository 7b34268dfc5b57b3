//go:build linux

package local

import (
	"bytes"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend"
)

// A volume that is attached while a snapshot of it is copied is served at once, and the
// snapshot holds what was there before.
func TestAttachVolume_SnapshotUnderWay(t *testing.T) {
	t.Parallel()
	s, g := newGatedHarness(t)
	sn, err := s.b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}})
	if err != nil {
		t.Fatal(err)
	}
	<-g.reached // the middle of three runs of data
	if err := s.b.AttachVolume(t.Context(), backend.Key{Ref: s.vol}, "here"); err != nil {
		t.Fatal(err)
	}
	c, changed := useExport(t, s.b, s.vol), []byte(strings.Repeat("later", 1000))
	write := func(off int64) {
		if _, err := c.WriteAt(changed, off); err != nil {
			t.Error(err)
		}
	}
	write(0)          // copied
	write(gib - 5000) // not copied yet
	write(500 << 20)  // a hole
	var waits sync.WaitGroup
	waits.Go(func() { write(300 << 20) }) // being copied
	close(g.open)
	waits.Wait()
	settle(t, s.b)
	if sn, err = s.b.Snapshot(t.Context(), sn.Key); err != nil || sn.Status != backend.Available || sn.Consistency != backend.Clean || sn.Held != 0 || sn.TakenAt.IsZero() {
		t.Errorf("%+v, %v", sn, err)
	}
	wantSameObject(t, s.b.path("snapshots", s.new, dataFile), s.b.path("snapshots", s.snap, dataFile))
}

// wantSameObject fails unless both files have the same bytes.
func wantSameObject(t *testing.T, got, want string) {
	t.Helper()
	a, errA := os.Open(got)
	b, errB := os.Open(want)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	defer a.Close()
	defer b.Close()
	p, q := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); ; off += int64(len(p)) {
		if off = min(nextDataOf(a, off), nextDataOf(b, off)); off == math.MaxInt64 {
			break
		}
		n, errA := a.ReadAt(p, off)
		m, errB := b.ReadAt(q, off)
		if !bytes.Equal(p[:n], q[:m]) || errA != errB {
			t.Fatalf("%s has other bytes than %s after %d: %v, %v", got, want, off, errA, errB)
		}
	}
	fiA, errA := a.Stat()
	fiB, errB := b.Stat()
	if errA != nil || errB != nil || fiA.Size() != fiB.Size() {
		t.Errorf("other lengths: %v, %v", errA, errB)
	}
}

// nextDataOf is where data follows in f at or after off; MaxInt64: nowhere.
func nextDataOf(f *os.File, off int64) int64 {
	start, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	if err != nil {
		return math.MaxInt64
	}
	return start
}

// failingDisk is a disk on which one kind of call fails.
type failingDisk struct {
	call  atomic.Pointer[op]
	errno syscall.Errno
}

func (d *failingDisk) hook(o op, _ string) error {
	if c := d.call.Load(); c != nil && *c == o {
		return d.errno
	}
	return nil
}

func (d *failingDisk) failOn(o op) { d.call.Store(&o) }

func TestAttachedVolume_DiskErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		errno syscall.Errno
		full  bool
	}{{syscall.EIO, false}, {syscall.ENOSPC, true}} {
		t.Run(tt.errno.Error(), func(t *testing.T) {
			d := &failingDisk{errno: tt.errno}
			s := newHarness(t, d.hook)
			now := time.Now()
			c := useExport(t, s.b, s.used)
			d.failOn("write")
			if _, err := c.WriteAt([]byte("x"), 0); !errors.Is(err, tt.errno) {
				t.Errorf("the client receives %v", err)
			}
			v := getVolume(t, s.b, s.used)
			fault := backend.AsError(v.Failure, backend.CodeFault)
			if v.Status != backend.InUse || tt.full != (backend.AsError(v.Failure, backend.CodeNoSpace) != nil) || tt.full != (fault == nil) {
				t.Errorf("%s: %v", v.Status, v.Failure)
			}
			if !tt.full && fault.Op != "write" {
				t.Errorf("%+v", fault)
			}
			d.failOn("")
			s.b.mu.Lock()
			later := s.b.volumes.byRef[s.used].state(now.Add(time.Hour))
			s.b.mu.Unlock()
			if tt.full != (later.Failure == nil) {
				t.Errorf("an hour later: %v", later.Failure)
			}
			if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", true); err != nil {
				t.Fatal(err)
			}
			if v := waitStatus(t, s.b, s.used, backend.Available); v.Failure != nil {
				t.Errorf("the message outlives its cause: %v", v.Failure)
			}
		})
	}
}
