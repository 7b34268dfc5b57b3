//go:build linux

package nbd

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"blockconsole/models/reserve/mounttest"
)

// gate gives space while it is open.
type gate struct {
	closed       atomic.Bool
	begun, ended atomic.Int64
}

func (g *gate) Begin(n int64) bool {
	if g.closed.Load() {
		return false
	}
	g.begun.Add(n)
	return true
}

func (g *gate) End(n int64) { g.ended.Add(n) }

// TestFileDevice_NoSpace: without room for more, a server may still overwrite what is its
// own: the first MiB, from memory or from the disk; not a hole, not a shared block.
func TestFileDevice_NoSpace(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, folder := range map[string]func(t *testing.T) string{
		"tmpfs": func(t *testing.T) string { return mounttest.Tmpfs(t, "size=64m") },
		"ext4": func(t *testing.T) string {
			folder, _ := mounttest.Image(t, 64*mib, "", "mkfs.ext4", "-q")
			return folder
		},
		"xfs": func(t *testing.T) string {
			folder, _ := mounttest.Image(t, 320*mib, "", "mkfs.xfs", "-q", "-m", "reflink=1")
			return folder
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := os.Create(filepath.Join(folder(t), "data.raw"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := f.Truncate(8 * mib); err != nil {
				t.Fatal(err)
			}
			g, block := &gate{}, randomBytes(64<<10)
			d := NewFileDevice(f)
			d.Space = g
			write := func(off int64) error {
				_, err := d.WriteAt(block, off)
				return err
			}
			for off := int64(0); off < mib; off += int64(len(block)) {
				if err := write(off); err != nil {
					t.Fatal(err)
				}
			}
			g.closed.Store(true)
			for _, synced := range []bool{false, true} {
				for off, want := range map[int64]error{0: nil, 4096: nil, mib - 64<<10: nil, mib - 4096: syscall.ENOSPC, mib: syscall.ENOSPC, 4 * mib: syscall.ENOSPC} {
					if err := write(off); !errors.Is(err, want) {
						t.Errorf("synced %v, at %d: %v, want %v", synced, off, err, want)
					}
				}
				if err := d.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if err := d.WriteZeroes(t.Context(), 4*mib, mib, NoHole); !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("zeroes that take space: %v", err)
			}
			if err := errors.Join(d.WriteZeroes(t.Context(), 0, 4096, 0), d.Trim(t.Context(), 8192, 4096)); err != nil {
				t.Errorf("what frees space is refused: %v", err)
			}
			if g.begun.Load() != mib || g.ended.Load() != mib {
				t.Errorf("%d bytes were begun and %d ended", g.begun.Load(), g.ended.Load())
			}
			snapshot, err := os.Create(f.Name() + ".snapshot")
			if err != nil {
				t.Fatal(err)
			}
			defer snapshot.Close()
			if unix.IoctlFileClone(int(snapshot.Fd()), int(f.Fd())) == nil {
				if err := write(256 << 10); !errors.Is(err, syscall.ENOSPC) {
					t.Errorf("a shared block: %v", err)
				}
			} else if name == "xfs" {
				t.Error("the blocks cannot be shared")
			}
		})
	}
}
