//go:build linux

package local

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"blockconsole/models/reserve"
)

// newSparseFile makes a file of size bytes with data at the given offsets.
func newSparseFile(t *testing.T, size int64, data map[int64][]byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "source"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	for off, p := range data {
		if _, err := f.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func TestCopyData(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("0123456789abcdef"), (3*chunkBytes+4096)/16)
	files := map[string]map[int64][]byte{
		"empty":                {},
		"starts with data":     {0: []byte("x")},
		"ends with data":       {40<<20 - 1: []byte("x")},
		"longer than a chunk":  {5 << 20: big},
		"an odd place":         {12345: []byte("odd")},
		"two runs and a hole":  {1 << 20: []byte("a"), 36 << 20: big[:4096]},
		"zeros that take room": {8 << 20: make([]byte, 1<<20)},
	}
	for name, data := range files {
		for _, kernel := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " in the kernel", false: " plain"}[kernel], func(t *testing.T) {
				const size = 40 << 20
				src, dst := newSparseFile(t, size, data), newSparseFile(t, 0, nil)
				var first atomic.Bool
				d := disk{hook: func(o op, _ string) error {
					if !kernel && o == opCopy && first.CompareAndSwap(false, true) {
						return syscall.ENOSYS
					}
					return nil
				}}
				var copied atomic.Int64
				if err := d.copyData(context.Background(), dst, src, size, &copied); err != nil {
					t.Fatal(err)
				}
				if err := dst.Truncate(size); err != nil {
					t.Fatal(err)
				}
				wantSameContent(t, dst, src)
				a, err := src.Stat()
				if err != nil {
					t.Fatal(err)
				}
				b, err := dst.Stat()
				if err != nil {
					t.Fatal(err)
				}
				if reserve.Allocated(b) > reserve.Allocated(a)+64<<10 || copied.Load() > reserve.Allocated(a)+64<<10 {
					t.Errorf("%d bytes became %d, %d were copied", reserve.Allocated(a), reserve.Allocated(b), copied.Load())
				}
			})
		}
	}
}

// Zeroes become holes where the file system hides its holes.
func TestCopyPiece_HiddenHoles(t *testing.T) {
	t.Parallel()
	const size = 40 << 20
	src, dst := newSparseFile(t, size, map[int64][]byte{7 << 20: []byte("x")}), newSparseFile(t, 0, nil)
	var copied atomic.Int64
	c := copier{ctx: context.Background(), dst: dst, src: src, copied: &copied, userspace: true}
	if err := c.copyPiece(piece{0, size}); err != nil {
		t.Fatal(err)
	}
	if err := dst.Truncate(size); err != nil {
		t.Fatal(err)
	}
	wantSameContent(t, dst, src)
	if fi, err := dst.Stat(); err != nil || reserve.Allocated(fi) > 2*zeroBlockBytes {
		t.Errorf("%d bytes allocated, %v", reserve.Allocated(fi), err)
	}
}

func wantSameContent(t *testing.T, got, want *os.File) {
	t.Helper()
	a, b := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; off += int64(len(a)) {
		n, errA := got.ReadAt(a, off)
		m, errB := want.ReadAt(b, off)
		if !bytes.Equal(a[:n], b[:m]) || errA != errB {
			t.Fatalf("other bytes after %d: %v, %v", off, errA, errB)
		}
		if errA != nil {
			return
		}
	}
}

func TestCopyData_Cancelled(t *testing.T) {
	t.Parallel()
	src, dst := newSparseFile(t, 1<<20, map[int64][]byte{0: []byte("x")}), newSparseFile(t, 0, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var copied atomic.Int64
	if err := (disk{}).copyData(ctx, dst, src, 1<<20, &copied); err != context.Canceled || copied.Load() != 0 {
		t.Error(err, copied.Load())
	}
}
