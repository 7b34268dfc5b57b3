package nbd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
)

// FileDevice is a Device on a raw file.
type FileDevice struct {
	f *os.File

	// Hook, when set before use, is called before each operation read, write, sync,
	// punch or zero; its error replaces the operation. It is for tests of failing
	// disks.
	Hook func(op string) error

	// Check, when set before use, is called after each sync; its error replaces the
	// result of that Flush alone. It tells whether the file is still what it should be.
	Check func() error

	// Space, when set before use, is asked before every write. Where it has no room, a
	// write succeeds only if the range is known to be allocated and not shared with
	// another file; others fail with ENOSPC.
	Space SpaceGate

	filter atomic.Pointer[WriteFilter]

	noPunch, noZeroRange, noReadNowait, noSplice atomic.Bool // refused by the file system

	writing sync.Mutex

	syncsBegun atomic.Uint64
	syncing    sync.Mutex
	syncErr    error // of the first sync that failed
}

// SpaceGate decides which writes may take new space. Begin reports whether n bytes may be
// taken; End follows when the write has ended. Both are called by many goroutines at once.
type SpaceGate interface {
	Begin(n int64) bool
	End(n int64)
}

// WriteFilter is told before bytes change. It is called by many goroutines at once, with
// offsets and lengths in bytes, which may be beyond the length that the file had when the
// filter was set.
type WriteFilter interface {
	// BeforeWrite returns when the n bytes at off may change. It has no error: nothing keeps
	// a write from being done.
	BeforeWrite(off, n int64)
	// WritesAtOnce reports whether BeforeWrite of the n bytes at off would return at once.
	WritesAtOnce(off, n int64) bool
}

// SetFilter makes every write that has not begun wait for f; nil: for nothing. To set it
// between two writes, quiesce the export meanwhile.
func (d *FileDevice) SetFilter(f WriteFilter) {
	if f == nil {
		d.filter.Store(nil)
		return
	}
	d.filter.Store(&f)
}

// beforeWrite precedes every call that changes bytes.
func (d *FileDevice) beforeWrite(off, n int64) {
	if f := d.filter.Load(); f != nil {
		(*f).BeforeWrite(off, n)
	}
}

// ErrNoRoom is the ENOSPC of a SpaceGate: the file system itself has not refused.
var ErrNoRoom = fmt.Errorf("no room for servers: %w", syscall.ENOSPC)

// withSpace runs a write of n bytes at off, for which there must be room.
func (d *FileDevice) withSpace(off, n int64, write func() error) error {
	switch {
	case d.Space == nil:
		return write()
	case d.Space.Begin(n):
		defer d.Space.End(n)
		return write()
	case allocatedAlone(d.f, off, n):
		return write()
	}
	return ErrNoRoom
}

// NewFileDevice returns a device on f, a regular file open for reading and, unless
// the export is read-only, writing. The caller closes f after the export.
func NewFileDevice(f *os.File) *FileDevice { return &FileDevice{f: f} }

// Size is the file's present length in bytes. The error is that of stat.
func (d *FileDevice) Size() (int64, error) {
	fi, err := d.f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (d *FileDevice) callHook(op string) error {
	if d.Hook == nil {
		return nil
	}
	return d.Hook(op)
}

// ReadAt is that of os.File.
func (d *FileDevice) ReadAt(p []byte, off int64) (int, error) {
	if err := d.callHook("read"); err != nil {
		return 0, err
	}
	return d.f.ReadAt(p, off)
}

// WriteAt is that of os.File, one call at a time: the kernel locks the file for each
// write, and threads that wait for it cost more than goroutines.
func (d *FileDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := d.callHook("write"); err != nil {
		return 0, err
	}
	d.beforeWrite(off, int64(len(p)))
	n := 0
	err := d.withSpace(off, int64(len(p)), func() (err error) {
		d.writing.Lock()
		defer d.writing.Unlock()
		n, err = d.f.WriteAt(p, off)
		return err
	})
	return n, err
}

// Flush returns the result of sync, or else of Check. ctx has no effect: fdatasync
// cannot be interrupted.
func (d *FileDevice) Flush(context.Context) error {
	if err := d.sync(); err != nil || d.Check == nil {
		return err
	}
	return d.Check()
}

// sync returns the result of an fdatasync that began after the call; calls at the
// same time share one. The kernel reports lost writes only once, so the first error is
// also that of every later sync.
func (d *FileDevice) sync() error {
	before := d.syncsBegun.Load()
	d.syncing.Lock()
	defer d.syncing.Unlock()
	if d.syncErr != nil || d.syncsBegun.Load() > before {
		return d.syncErr
	}
	d.syncsBegun.Add(1)
	err := d.callHook("sync")
	if err == nil {
		err = fdatasync(d.f)
	}
	d.syncErr = err
	return err
}

// Trim punches a hole, or does nothing where the file system cannot. Its errors are
// those of the file system.
func (d *FileDevice) Trim(_ context.Context, off, n int64) error {
	d.beforeWrite(off, n)
	err := d.punch(off, n)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// WriteZeroes punches a hole or, with NoHole, zeroes the range in place, or writes
// zeroes where the file system cannot. errors.ErrUnsupported: not with FastZero.
func (d *FileDevice) WriteZeroes(ctx context.Context, off, n int64, flags ZeroFlags) error {
	d.beforeWrite(off, n)
	err := errors.ErrUnsupported
	if flags&NoHole == 0 {
		err = d.punch(off, n)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = d.unlessUnsupported(&d.noZeroRange, "zero", func() error {
			return d.withSpace(off, n, func() error { return zeroRange(d.f, off, n) })
		})
	}
	if !errors.Is(err, errors.ErrUnsupported) || flags&FastZero != 0 {
		return err
	}
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := d.WriteAt(zeroes[:min(n, int64(len(zeroes)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(m), n-int64(m)
	}
	return nil
}

var zeroes [1 << 20]byte

func (d *FileDevice) punch(off, n int64) error {
	return d.unlessUnsupported(&d.noPunch, "punch", func() error { return punchHole(d.f, off, n) })
}

// unlessUnsupported runs a call that some file systems refuse, until they do.
func (d *FileDevice) unlessUnsupported(refused *atomic.Bool, op string, call func() error) error {
	if refused.Load() {
		return errors.ErrUnsupported
	}
	err := d.callHook(op)
	if err == nil {
		err = call()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		refused.Store(true)
		return errors.ErrUnsupported
	}
	return err
}

// CanWriteNowait is true for whole pages that the filter does not hold up: a write to a
// part of a page may have to read it first.
func (d *FileDevice) CanWriteNowait(off int64, n int) bool {
	if off%page != 0 || n%page != 0 {
		return false
	}
	f := d.filter.Load()
	return f == nil || (*f).WritesAtOnce(off, int64(n))
}

// BlockStatus returns the holes that the file system knows. The error is that of
// lseek.
func (d *FileDevice) BlockStatus(_ context.Context, off, n int64, dst []Extent) ([]Extent, error) {
	end := off + n
	for off < end && len(dst) < cap(dst) {
		start, stop, err := nextData(d.f, off, end)
		if err != nil {
			return dst, err
		}
		if start > off {
			dst = append(dst, Extent{Length: start - off, Hole: true})
		}
		if stop > start && len(dst) < cap(dst) {
			dst = append(dst, Extent{Length: stop - start})
		}
		off = stop
	}
	return dst, nil
}

// Cache starts the kernel's read-ahead of the range, where it can. Its errors are
// those of posix_fadvise.
func (d *FileDevice) Cache(_ context.Context, off, n int64) error { return d.cache(off, n) }
