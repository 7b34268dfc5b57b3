//go:build linux

package local

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/reserve/mounttest"
)

// faultyDisk fails every at-th call of one kind to the files below a folder.
type faultyDisk struct {
	op     op
	folder string
	errno  syscall.Errno
	at     int64
	calls  atomic.Int64
	armed  atomic.Bool
}

func (f *faultyDisk) hook(o op, path string) error {
	if f.armed.Load() && o == f.op && strings.Contains(path, "/"+f.folder+"/") && f.calls.Add(1)%f.at == 0 {
		return f.errno
	}
	return nil
}

// broken waits for a snapshot that fails, and checks what it says and leaves behind.
func (s *served) broken(key backend.Key, cause backend.Cause) {
	s.t.Helper()
	settle(s.t, s.b)
	sn, err := s.b.Snapshot(s.t.Context(), key)
	if err != nil || sn.Status != backend.ErrorStatus || backend.DiskCause(sn.Failure) != cause {
		s.t.Errorf("%+v %v, %v (%s); want %s", sn, err, sn.Failure, backend.DiskCause(sn.Failure), cause)
	}
	if left, err := os.ReadDir(s.b.path("tmp")); err != nil || len(left) > 0 {
		s.t.Errorf("the partial file stays: %v %v", left, err)
	}
	if _, err := os.Stat(s.b.path("snapshots", key.Ref)); !errors.Is(err, os.ErrNotExist) {
		s.t.Error("there is a snapshot:", err)
	}
}

func (s *served) begin() backend.Key {
	s.t.Helper()
	key := backend.Key{Ref: newRef(s.t)}
	if _, err := s.b.CreateSnapshot(s.t.Context(), backend.SnapshotSpec{Ref: key.Ref, Volume: backend.Key{Ref: s.ref}}); err != nil {
		s.t.Fatal(err)
	}
	return key
}

// TestInstant_SnapshotSideFails: the disk refuses what the snapshot needs. That is the end
// of the snapshot; servers write on, and lose nothing.
func TestInstant_SnapshotSideFails(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]backend.Cause{syscall.ENOSPC: backend.NoBytes, syscall.EIO: backend.DiskError} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			f := &faultyDisk{op: opCopy, folder: "tmp", errno: errno, at: 20}
			b := open(t, withNBD(t, Options{Dir: memDir(t), hook: f.hook}))
			s := newServed(t, b, 2)
			s.start() // an error would end it
			for range 3 {
				f.armed.Store(true)
				s.broken(s.begin(), want)
			}
			f.armed.Store(false)
			if err := s.snapshot(); err != nil {
				t.Error("with the fault gone:", err)
			}
			s.end()
			if v := getVolume(t, b, s.ref); v.Failure != nil {
				t.Errorf("the volume: %v", v.Failure)
			}
		})
	}
}

// TestInstant_VolumeSideFails: the disk refuses writes of servers. They are told, and so is
// who looks at the volume; the snapshot is right all the same.
func TestInstant_VolumeSideFails(t *testing.T) {
	t.Parallel()
	for errno, want := range map[syscall.Errno]backend.Cause{syscall.ENOSPC: backend.NoBytes, syscall.EIO: backend.DiskError} {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			f := &faultyDisk{op: "write", folder: "volumes", errno: errno, at: 7}
			b := open(t, withNBD(t, Options{Dir: memDir(t), hook: f.hook}))
			s := newServed(t, b, 3)
			f.armed.Store(true)
			var refused atomic.Int64
			s.load.Refused = func(got syscall.Errno) {
				refused.Add(1)
				if got != errno {
					t.Errorf("a server was told %s, want %s", got, errno)
				}
			}
			s.start()
			for range 2 {
				if err := s.snapshot(); err != nil {
					t.Error(err)
				}
			}
			s.end()
			if v := getVolume(t, b, s.ref); refused.Load() == 0 || backend.DiskCause(v.Failure) != want {
				t.Errorf("%d writes were refused; the volume: %v, want %s", refused.Load(), v.Failure, want)
			}
		})
	}
}

// TestInstant_VolumeCannotBeFlushed: what a snapshot is to hold cannot be made durable.
func TestInstant_VolumeCannotBeFlushed(t *testing.T) {
	t.Parallel()
	f := &faultyDisk{op: opDataSync, folder: "volumes", errno: syscall.EIO, at: 1}
	b := open(t, withNBD(t, Options{Dir: memDir(t), hook: f.hook}))
	s := newServed(t, b, 4)
	s.start()
	f.armed.Store(true)
	s.broken(s.begin(), backend.DiskError)
	s.end()
}

// TestInstant_FullDisk: others fill the disk in the middle of a copy. The snapshot ends, with
// the figures; servers overwrite what they have.
func TestInstant_FullDisk(t *testing.T) {
	t.Parallel()
	mnt := ext4(t, 3*gib)
	var fill atomic.Pointer[func()]
	b := open(t, withNBD(t, Options{Dir: filepath.Join(mnt, "data"), hook: func(o op, _ string) error {
		if o == opCopy {
			if f := fill.Swap(nil); f != nil {
				(*f)()
			}
		}
		return nil
	}}))
	s := newServed(t, b, 5)
	s.load.Refused = func(got syscall.Errno) { // of what they trimmed before
		if got != syscall.ENOSPC {
			t.Error("a server was told", got)
		}
	}
	var drop func()
	full := func() { drop = mounttest.Fill(t, mnt, 2*mib) }
	fill.Store(&full)
	s.start()
	key := s.begin()
	s.broken(key, backend.NoBytes)
	var space *backend.Error
	if sn, err := b.Snapshot(t.Context(), key); err != nil || !errors.As(sn.Failure, &space) || space.Need < loadSpan/2 {
		t.Errorf("%+v %v: %+v", sn, err, space)
	}
	c := s.dial()
	drop()
	if _, err := c.WriteAt(make([]byte, mib), 0); err != nil {
		t.Error("with room again:", err)
	}
	s.end()
}
