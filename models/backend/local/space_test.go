//go:build linux

package local

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend"
	"blockconsole/models/reserve"
)

const mib = int64(1) << 20

// fillDisk leaves left bytes free on a file system, until drop is called.
func fillDisk(t *testing.T, dir string, left int64) (drop func()) {
	t.Helper()
	sp, err := reserve.UsageOf(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "ballast")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, sp.Free-left); err != nil {
		t.Fatal(err)
	}
	return func() {
		// XFS frees an unlinked file a moment later, a truncated one at once.
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}

// newFilledVolume makes a volume with 64 MiB of data.
func newFilledVolume(t *testing.T, b *Backend) backend.Key {
	t.Helper()
	key := backend.Key{Ref: newRef(t)}
	if _, err := b.CreateVolume(context.Background(), backend.VolumeSpec{Ref: key.Ref, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	writeScattered(t, b.path("volumes", key.Ref, dataFile), 64*mib)
	return key
}

func TestNoSpace_Ext4(t *testing.T) { testNoSpace(t, ext4(t, 2*gib)) }

func TestNoSpace_XFS(t *testing.T) {
	t.Parallel()
	testNoSpace(t, loopMount(t, 2*gib, "mkfs.xfs", "-q", "-m", "reflink=0"))
}

func testNoSpace(t *testing.T, mnt string) {
	ctx := context.Background()
	var full atomic.Pointer[func()]
	var copies atomic.Int64
	b := open(t, Options{Dir: filepath.Join(mnt, "data"), Reserve: mib, hook: func(o op, _ string) error {
		if o == opCopy && copies.Add(1) == 3 { // another program fills the disk
			drop := fillDisk(t, mnt, 2*mib)
			full.Store(&drop)
		}
		return nil
	}})
	vol := newFilledVolume(t, b)

	drop := fillDisk(t, mnt, 32*mib)
	spec := backend.SnapshotSpec{Ref: newRef(t), Volume: vol}
	var space *backend.Error
	if _, err := b.CreateSnapshot(ctx, spec); !errors.As(err, &space) || space.Code != backend.CodeNoSpace || space.Need < 32*mib || space.Free > 32*mib || space.Free < 16*mib {
		t.Fatalf("before the copy: %v", err)
	}
	if _, err := b.Snapshot(ctx, backend.Key{Ref: spec.Ref}); !errors.Is(err, backend.ErrNotFound) {
		t.Error("what was refused is there:", err)
	}
	drop()

	if _, err := b.CreateSnapshot(ctx, spec); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	s, err := b.Snapshot(ctx, backend.Key{Ref: spec.Ref})
	if err != nil || s.Status != backend.ErrorStatus || !errors.As(s.Failure, &space) || space.Code != backend.CodeNoSpace || space.Need < 32*mib {
		t.Fatalf("midway: %+v %v", s, err)
	}
	if left, err := os.ReadDir(b.path("tmp")); err != nil || len(left) > 0 {
		t.Errorf("the partial file stays: %v %v", left, err)
	}
	(*full.Load())()
	if _, err := b.CreateSnapshot(ctx, spec); err != nil {
		t.Fatal("with room again:", err)
	}
	settle(t, b)
	if s, err := b.Snapshot(ctx, backend.Key{Ref: spec.Ref}); err != nil || s.Status != backend.Available {
		t.Errorf("%+v %v", s, err)
	}
}

// The bytes that a running copy still needs are not free for another one.
func TestNoSpace_RunningCopies(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	g := newCopyGate()
	b := open(t, Options{Dir: filepath.Join(ext4(t, 2*gib), "data"), Reserve: mib, hook: g.hook})
	vol, other := newFilledVolume(t, b), newFilledVolume(t, b)
	defer fillDisk(t, b.dir, 96*mib)()
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: newRef(t), Volume: other}); err != nil {
		t.Fatal(err)
	}
	<-g.reached
	if _, err := b.CreateSnapshot(ctx, backend.SnapshotSpec{Ref: newRef(t), Volume: vol}); backend.AsError(err, backend.CodeNoSpace) == nil {
		t.Errorf("%v", err)
	}
	close(g.open)
	settle(t, b)
}

func TestNoSpace_Reflink(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: filepath.Join(xfs(t, 2*gib), "data"), Reserve: mib})
	vol := newFilledVolume(t, b)
	defer fillDisk(t, b.dir, 32*mib)()
	spec := backend.SnapshotSpec{Ref: newRef(t), Volume: vol}
	s, err := b.CreateSnapshot(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if s, err = b.Snapshot(ctx, s.Key); err != nil || s.Status != backend.Available {
		t.Errorf("%+v %v", s, err)
	}
}

func TestCheckSize(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := open(t, Options{Dir: filepath.Join(ext4(t, 3*gib), "data")})
	caps, err := b.Capabilities(ctx)
	if err != nil || caps.MaxSizeGiB != 2 || caps.FreeBytes <= 0 || caps.FreeBytes > 3*gib {
		t.Fatalf("%+v %v", caps, err)
	}
	vol := newFilledVolume(t, b)
	for _, size := range []int{3, 1 << 20, 1 << 40, int(^uint(0) >> 1)} {
		var invalid *backend.Error
		if _, err := b.CreateVolume(ctx, backend.VolumeSpec{Ref: newRef(t), SizeGiB: size}); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "size_gib" {
			t.Errorf("create %d GiB: %v", size, err)
		}
		if err := b.ExtendVolume(ctx, vol, size); !errors.As(err, &invalid) || invalid.Code != backend.CodeInvalid || invalid.Field != "size_gib" {
			t.Errorf("extend to %d GiB: %v", size, err)
		}
	}
}
