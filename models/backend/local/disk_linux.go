package local

import (
	"errors"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// clone makes dst share src's blocks (reflink). errors.ErrUnsupported: the file system,
// or this pair of files, cannot.
func (d disk) clone(dst, src *os.File) error {
	err := d.callHook(opClone, dst.Name())
	if err == nil {
		err = ignoringEINTR(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) })
	}
	if isUnsupported(err) {
		return errors.ErrUnsupported
	}
	return err
}

// copyRange copies at most n bytes at off inside the kernel. errors.ErrUnsupported: the
// kernel or the file system refuses.
func (d disk) copyRange(dst, src *os.File, off int64, n int) (int, error) {
	in, out, m := off, off, 0
	err := d.callHook(opCopy, dst.Name())
	if err == nil {
		err = ignoringEINTR(func() (err error) {
			m, err = unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, n, 0)
			return err
		})
	}
	if isUnsupported(err) {
		return 0, errors.ErrUnsupported
	}
	return max(m, 0), err
}

// nextData returns the first run of data at or after off: [start, end). io.EOF: only a
// hole is left. All is data where the file system knows no holes.
func (d disk) nextData(f *os.File, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL):
		return off, size, nil
	case err != nil:
		return 0, 0, err
	}
	if start >= size {
		return 0, 0, io.EOF
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	return start, min(end, size), err
}

// startWriteback starts writing the range to the disk, so that the final sync, which
// also reports the errors, has little left to do.
func (d disk) startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// prefetch starts reading the range into the page cache, where the kernel likes to.
func (d disk) prefetch(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED)
}

// forget drops the range from the page cache, but for what is not on the disk yet.
func (d disk) forget(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}

func (d disk) fdatasync(f *os.File) error {
	return d.do(opDataSync, f.Name(), func() error {
		return ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
	})
}

// fiemap is struct fiemap of linux/fiemap.h without room for extents: the kernel only
// counts them.
type fiemap struct {
	start, length                  uint64
	flags, mapped, count, reserved uint32
}

const fsIocFiemap = 0xc020660b

// extents counts the extents of a file.
func (d disk) extents(f *os.File) (int, error) {
	m := fiemap{length: ^uint64(0)}
	err := ignoringEINTR(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	return int(m.mapped), err
}

// isUnsupported reports whether the kernel or a file system refuses a call for these
// files, so that read and write must do.
func isUnsupported(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY, unix.EPERM, unix.EBADF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func ignoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
