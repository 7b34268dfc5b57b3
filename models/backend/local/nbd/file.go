package nbd

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
)

// FileDevice is a Device whose bytes are those of a raw file.
type FileDevice struct {
	f *os.File

	// Hook, when set before use, is asked before each call that changes the file
	// or makes it last, by the name read, write, sync, punch or zero: an error
	// takes the place of the call. It is for tests of dying disks.
	Hook func(op string) error

	noPunch, noZeroRange, noReadNow, noSplice atomic.Bool // the file system refused it once

	writing sync.Mutex

	begun   atomic.Uint64 // syncs begun
	syncing sync.Mutex
	failed  error // of the first sync that failed
}

// NewFileDevice returns a device of the file, which must be a regular file open
// for reading and, unless the export is read-only, for writing. The caller closes
// the file when the export is closed.
func NewFileDevice(f *os.File) *FileDevice { return &FileDevice{f: f} }

// Size is the file's length at this moment.
func (d *FileDevice) Size() (int64, error) {
	fi, err := d.f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

func (d *FileDevice) ask(op string) error {
	if d.Hook == nil {
		return nil
	}
	return d.Hook(op)
}

// ReadAt reads as os.File does.
func (d *FileDevice) ReadAt(p []byte, off int64) (int, error) {
	if err := d.ask("read"); err != nil {
		return 0, err
	}
	return d.f.ReadAt(p, off)
}

// WriteAt writes as os.File does, one after the other: the kernel lets one writer
// into a file at a time, and threads that queue for it cost more than goroutines.
func (d *FileDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := d.ask("write"); err != nil {
		return 0, err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	return d.f.WriteAt(p, off)
}

// Flush returns after an fdatasync that began after the call. Calls that wait for
// one another share one. The kernel tells about lost writes once and then forgets
// them, so a failure is kept: until the file is opened anew nothing counts as
// flushed. ctx is not looked at, since the system call cannot be interrupted.
func (d *FileDevice) Flush(context.Context) error {
	before := d.begun.Load()
	d.syncing.Lock()
	defer d.syncing.Unlock()
	if d.failed != nil || d.begun.Load() > before {
		return d.failed
	}
	d.begun.Add(1)
	err := d.ask("sync")
	if err == nil {
		err = fdatasync(d.f)
	}
	d.failed = err
	return err
}

// Trim punches a hole, where the file system can; it is a hint.
func (d *FileDevice) Trim(_ context.Context, off, n int64) error {
	err := d.punch(off, n)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}

// WriteZeroes punches a hole or, with NoHole, zeroes the range in place. Where
// the file system can do neither, it writes zeroes.
func (d *FileDevice) WriteZeroes(ctx context.Context, off, n int64, flags ZeroFlags) error {
	err := errors.ErrUnsupported
	if flags&NoHole == 0 {
		err = d.punch(off, n)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = d.refusable(&d.noZeroRange, "zero", func() error { return zeroRange(d.f, off, n) })
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
	return d.refusable(&d.noPunch, "punch", func() error { return punchHole(d.f, off, n) })
}

// refusable runs a call that some file systems do not have, and does not try
// again where it was refused.
func (d *FileDevice) refusable(refused *atomic.Bool, op string, call func() error) error {
	if refused.Load() {
		return errors.ErrUnsupported
	}
	err := d.ask(op)
	if err == nil {
		err = call()
	}
	if errors.Is(err, errors.ErrUnsupported) {
		refused.Store(true)
		return errors.ErrUnsupported
	}
	return err
}

// WriteNow is true for whole pages: what covers a page in part may have to read
// it first.
func (d *FileDevice) WriteNow(off int64, n int) bool {
	return off%page == 0 && n%page == 0
}

// BlockStatus tells holes from data as the file system does.
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

// Cache lets the kernel begin to read the range, where it can.
func (d *FileDevice) Cache(_ context.Context, off, n int64) error { return d.cache(off, n) }
