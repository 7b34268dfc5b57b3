//go:build linux

package local

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/reserve/mounttest"
)

// refusals are the errors of a system and what they mean.
var refusals = map[syscall.Errno]backend.Cause{
	syscall.ENOSPC: backend.NoBytes, syscall.EDQUOT: backend.OverQuota, syscall.EROFS: backend.ReadOnly, syscall.EACCES: backend.NoAccess,
	syscall.EMFILE: backend.TooManyFiles, syscall.EFBIG: backend.FileTooLarge, syscall.EIO: backend.DiskError,
}

// TestRefusals_Operations: what a disk refuses to an operation is the operation's failure,
// with its cause; and with the cause gone it succeeds.
func TestRefusals_Operations(t *testing.T) {
	t.Parallel()
	for errno, want := range refusals {
		t.Run(errno.Error(), func(t *testing.T) {
			t.Parallel()
			var failing atomic.Bool
			counted := map[backend.Cause]int{}
			var mu sync.Mutex
			b := open(t, Options{Dir: memDir(t), OnDiskError: func(_ string, cause backend.Cause) {
				mu.Lock()
				defer mu.Unlock()
				counted[cause]++
			}, hook: func(o op, path string) error {
				if failing.Load() && (o == opMkdir || o == opCreate || o == opRename) {
					return errno
				}
				return nil
			}})
			key := backend.Key{Ref: newRef(t)}
			failing.Store(true)
			if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: key.Ref, SizeGiB: 1}); err != nil {
				t.Fatal(err)
			}
			v := waitStatus(t, b, key.Ref, backend.ErrorStatus)
			if got := backend.DiskCause(v.Failure); got != want && backend.AsError(v.Failure, backend.CodeInvalid) == nil {
				t.Errorf("the failure is %v (%s), want %s", v.Failure, got, want)
			}
			mu.Lock()
			if counted[want] == 0 {
				t.Errorf("the metrics have %v", counted)
			}
			mu.Unlock()
			failing.Store(false)
			if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: key.Ref, SizeGiB: 1}); err != nil {
				t.Fatal(err)
			}
			waitStatus(t, b, key.Ref, backend.Available)
			failing.Store(true)
			if err := b.RenameVolume(t.Context(), key, "other", ""); backend.DiskCause(err) != want && backend.AsError(err, backend.CodeInvalid) == nil {
				t.Errorf("renaming: %v, want %s", err, want)
			}
			if err := b.DeleteVolume(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			v = waitStatus(t, b, key.Ref, backend.ErrorDeleting)
			if got := backend.DiskCause(v.Failure); got != want && backend.AsError(v.Failure, backend.CodeInvalid) == nil {
				t.Errorf("deleting: %v (%s), want %s", v.Failure, got, want)
			}
		})
	}
}

// TestRefusals_Servers: a server's error shows on the volume at once, whether it stays
// connected or not.
func TestRefusals_Servers(t *testing.T) {
	t.Parallel()
	for errno, want := range refusals {
		t.Run(errno.Error(), func(t *testing.T) {
			d := &failingDisk{errno: errno}
			s := newHarness(t, d.hook)
			c := useExport(t, s.b, s.used)
			d.failOn("write")
			_, err := c.WriteAt([]byte("x"), 0)
			wantErrno := syscall.EIO
			if want == backend.NoBytes || want == backend.OverQuota || want == backend.FileTooLarge {
				wantErrno = syscall.ENOSPC
			}
			if !errors.Is(err, wantErrno) {
				t.Errorf("the client receives %v, want %v", err, wantErrno)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			faults, err := s.b.Faults(t.Context())
			if err != nil || len(faults.Volumes) != 1 || faults.Volumes[0].Ref != s.used {
				t.Errorf("in fault are %v, error %v", faults.Volumes, err)
			}
			if v := getVolume(t, s.b, s.used); backend.DiskCause(v.Failure) != want {
				t.Errorf("the volume shows %v, want %s", v.Failure, want)
			}
		})
	}
}

// TestInodes: with bytes and without inodes, creating is refused with the figures of the
// inodes; deleting works, and then creating again.
func TestInodes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	mnt := mounttest.Tmpfs(t, "size=2g,nr_inodes=2048")
	b := open(t, Options{Dir: filepath.Join(mnt, "data")})
	vol := newFilledVolume(t, b)
	drop := mounttest.FillInodes(t, mnt, 0)
	var refused *backend.Error
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1}); !errors.As(err, &refused) || refused.Code != backend.CodeNoSpace || refused.Cause != backend.NoInodes {
		t.Errorf("creating: %v", err)
	}
	caps, err := b.Capabilities(ctx)
	if s := caps.Shortage; err != nil || s == nil || s.Cause != backend.NoInodes || s.Total != 2048 || s.Free > 64 || s.Disk != b.dir {
		t.Errorf("the capabilities have %+v, error %v", s, err)
	}
	if err := b.RenameVolume(ctx, vol, "renamed", ""); err != nil {
		t.Errorf("renaming, which needs an inode for a moment: %v", err)
	}
	if err := b.DeleteVolume(ctx, vol); err != nil {
		t.Error(err)
	}
	settle(t, b)
	drop()
	if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1}); err != nil {
		t.Errorf("with inodes again: %v", err)
	}
}

// TestOpen_FullDisk: a start takes no space.
func TestOpen_FullDisk(t *testing.T) {
	t.Parallel()
	mnt := mounttest.Tmpfs(t, "size=2g,nr_inodes=2048")
	dir := filepath.Join(mnt, "data")
	b := open(t, Options{Dir: dir})
	vol := newFilledVolume(t, b)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	mounttest.Fill(t, mnt, 0)
	mounttest.FillInodes(t, mnt, 0)
	b = open(t, Options{Dir: dir})
	if v := getVolume(t, b, vol.Ref); v.Status != backend.Available {
		t.Errorf("%s %v", v.Status, v.Failure)
	}
}
