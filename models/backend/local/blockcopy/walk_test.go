//go:build linux

package blockcopy

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

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

// newCopy prepares a copy of src that can be changed before it runs.
func newCopy(t *testing.T, src *os.File, change func(*Options)) *Copy {
	t.Helper()
	fi, err := src.Stat()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dst: newSparseFile(t, 0, nil), Src: src, Size: fi.Size(), Copied: new(atomic.Int64), Now: time.Now}
	if change != nil {
		change(&o)
	}
	return New(o)
}

// wantCopy fails unless c has the bytes of want.
func wantCopy(t *testing.T, c *Copy, want *os.File) {
	t.Helper()
	if err := c.Dst.Truncate(c.Size); err != nil {
		t.Fatal(err)
	}
	wantSameContent(t, c.Dst, want)
}

func allocated(t *testing.T, f *os.File) int64 {
	t.Helper()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	return reserve.Allocated(fi)
}

func TestRun(t *testing.T) {
	t.Parallel()
	big := bytes.Repeat([]byte("0123456789abcdef"), (3*chunkBytes+4096)/16)
	many := map[int64][]byte{}
	for i := range int64(1000) {
		many[i*20_000] = []byte("x")
	}
	files := map[string]map[int64][]byte{
		"empty":                {},
		"starts with data":     {0: []byte("x")},
		"ends with data":       {40<<20 - 1: []byte("x")},
		"longer than a chunk":  {5 << 20: big},
		"an odd place":         {12345: []byte("odd")},
		"two runs and a hole":  {1 << 20: []byte("a"), 36 << 20: big[:4096]},
		"two runs in a block":  {1 << 20: []byte("a"), 1<<20 + 32<<10: []byte("b")},
		"many runs":            many,
		"zeros that take room": {8 << 20: make([]byte, 1<<20)},
	}
	for name, data := range files {
		for _, kernel := range []bool{true, false} {
			t.Run(name+map[bool]string{true: " in the kernel", false: " plain"}[kernel], func(t *testing.T) {
				src := newSparseFile(t, 40<<20, data)
				c := newCopy(t, src, nil)
				c.userspace.Store(!kernel)
				if err := c.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				wantCopy(t, c, src)
				if allocated(t, c.Dst) > allocated(t, src)+64<<10 || c.Copied.Load() > allocated(t, src)+64<<10 {
					t.Errorf("%d bytes became %d, %d were copied", allocated(t, src), allocated(t, c.Dst), c.Copied.Load())
				}
			})
		}
	}
}

// A kernel that refuses to copy between these files is asked once.
func TestRun_KernelRefuses(t *testing.T) {
	t.Parallel()
	src := newSparseFile(t, 4<<20, map[int64][]byte{0: bytes.Repeat([]byte("x"), 3<<20)})
	var refused atomic.Bool
	c := newCopy(t, src, func(o *Options) {
		o.Guard = func(_ int64, piece func() error) error {
			if refused.CompareAndSwap(false, true) {
				return syscall.ENOSYS
			}
			return piece()
		}
	})
	if err := c.Run(t.Context()); err != nil || !c.userspace.Load() {
		t.Fatal(err)
	}
	wantCopy(t, c, src)
}

// Zeroes become holes where the file system hides its holes.
func TestCopyPiece_HiddenHoles(t *testing.T) {
	t.Parallel()
	const size = 40 << 20
	src := newSparseFile(t, size, map[int64][]byte{7 << 20: []byte("x")})
	c := newCopy(t, src, nil)
	c.userspace.Store(true)
	w := walker{Copy: c}
	if err := w.copyPiece(piece{0, size}); err != nil {
		t.Fatal(err)
	}
	wantCopy(t, c, src)
	if n := allocated(t, c.Dst); n > 2*pageBytes {
		t.Errorf("%d bytes allocated", n)
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

func TestRun_Cancelled(t *testing.T) {
	t.Parallel()
	c := newCopy(t, newSparseFile(t, 1<<20, map[int64][]byte{0: []byte("x")}), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Run(ctx); err != context.Canceled || c.Copied.Load() != 0 {
		t.Error(err, c.Copied.Load())
	}
}
