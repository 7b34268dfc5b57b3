//go:build linux

package local

import (
	"errors"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"blockconsole/models/backend"
)

func TestAttachVolume_SnapshotUnderWay(t *testing.T) {
	t.Parallel()
	s, g := newGatedHarness(t)
	if _, err := s.b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: s.new, Volume: backend.Key{Ref: s.vol}}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	var unavailable *backend.Error
	if err := s.b.AttachVolume(t.Context(), backend.Key{Ref: s.vol}, "here"); !errors.As(err, &unavailable) || unavailable.Code != backend.CodeUnavailable || unavailable.RetryAfter == 0 {
		t.Errorf("a clean snapshot could be spoilt: %v", err)
	}
	close(g.open)
	settle(t, s.b)
	if err := s.b.AttachVolume(t.Context(), backend.Key{Ref: s.vol}, "here"); err != nil {
		t.Error(err)
	}
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
