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

// broken is a disk on which one kind of call fails while it is set.
type broken struct {
	call  atomic.Pointer[op]
	errno syscall.Errno
}

func (d *broken) hook(o op, _ string) error {
	if c := d.call.Load(); c != nil && *c == o {
		return d.errno
	}
	return nil
}

func (d *broken) set(o op) { d.call.Store(&o) }

func TestDiskErrorsReachClientAndPage(t *testing.T) {
	for _, tt := range []struct {
		errno syscall.Errno
		full  bool
	}{{syscall.EIO, false}, {syscall.ENOSPC, true}} {
		t.Run(tt.errno.Error(), func(t *testing.T) {
			d := &broken{errno: tt.errno}
			s := newStage(t, d.hook)
			now := time.Now()
			c := use(t, s.b, s.used)
			d.set("write")
			if _, err := c.WriteAt([]byte("x"), 0); !errors.Is(err, tt.errno) {
				t.Errorf("the client is told %v", err)
			}
			v := state(t, s.b, s.used)
			fault := backend.AsError(v.Failure, backend.CodeFault)
			if v.Status != backend.InUse || tt.full != (backend.AsError(v.Failure, backend.CodeNoSpace) != nil) || tt.full != (fault == nil) {
				t.Errorf("%s: %v", v.Status, v.Failure)
			}
			if !tt.full && fault.Op != "write" {
				t.Errorf("%+v", fault)
			}
			d.set("")
			s.b.mu.Lock()
			later := s.b.volumes.byRef[s.used].state(now.Add(time.Hour))
			s.b.mu.Unlock()
			if tt.full != (later.Failure == nil) {
				t.Errorf("an hour later: %v", later.Failure)
			}
			if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", true); err != nil {
				t.Fatal(err)
			}
			if v := becomes(t, s.b, s.used, backend.Available); v.Failure != nil {
				t.Errorf("the message outlives its cause: %v", v.Failure)
			}
		})
	}
}

func TestLostWritesEndInError(t *testing.T) {
	d := &broken{errno: syscall.EIO}
	s := newStage(t, d.hook)
	key := backend.Key{Ref: s.used}
	c := use(t, s.b, s.used)
	if _, err := c.WriteAt([]byte("x"), 0); err != nil {
		t.Fatal(err)
	}
	d.set(opSync)
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("the client is told %v", err)
	}
	d.set("")
	if err := c.Flush(); !errors.Is(err, syscall.EIO) {
		t.Errorf("what was lost is forgotten: %v", err)
	}
	if err := s.b.DetachVolume(t.Context(), key, "here", true); err != nil {
		t.Fatal(err)
	}
	var fault *backend.Error
	if v := becomes(t, s.b, s.used, backend.ErrorStatus); !errors.As(v.Failure, &fault) || fault.Code != backend.CodeFault || fault.Op != "flush" || len(v.Attachments) > 0 {
		t.Errorf("%+v", v)
	}
	s.reopen()
	if v := state(t, s.b, s.used); v.Status != backend.ErrorStatus || v.Failure == nil {
		t.Errorf("%+v", v)
	}
	if err := s.b.RepairVolume(t.Context(), key, backend.Available); err != nil {
		t.Fatal(err)
	}
	if err := s.b.AttachVolume(t.Context(), key, "here"); err != nil {
		t.Fatal(err)
	}
	if err := use(t, s.b, s.used).Flush(); err != nil {
		t.Error(err)
	}
}

func TestDetachmentThatTheDiskRefusesGoesOn(t *testing.T) {
	d := &broken{errno: syscall.EROFS}
	s := newStage(t, d.hook)
	key := backend.Key{Ref: s.used}
	c := use(t, s.b, s.used)
	if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil {
		t.Fatal(err)
	}
	d.set(opRename)
	c.Close()
	settle(t, s.b)
	if v := state(t, s.b, s.used); v.Status != backend.Detaching || v.Failure == nil {
		t.Fatalf("%s %v", v.Status, v.Failure)
	}
	d.set("")
	if err := s.b.DetachVolume(t.Context(), key, "here", false); err != nil { // as the console would, or time does
		t.Fatal(err)
	}
	if v := becomes(t, s.b, s.used, backend.Available); v.Failure != nil {
		t.Error(v.Failure)
	}
}
