package local

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"blockconsole/models/backend/local/blockcopy"
)

// clone makes dst share src's blocks (reflink). errors.ErrUnsupported: the file system,
// or this pair of files, cannot.
func (d disk) clone(dst, src *os.File) error {
	err := d.callHook(opClone, dst.Name())
	if err == nil {
		err = blockcopy.IgnoringEINTR(func() error { return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) })
	}
	if blockcopy.IsUnsupported(err) {
		return errors.ErrUnsupported
	}
	return err
}

// forget drops the range from the page cache, but for what is not on the disk yet.
func (d disk) forget(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_DONTNEED)
}

func (d disk) fdatasync(f *os.File) error {
	return d.do(opDataSync, f.Name(), func() error {
		return blockcopy.IgnoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
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
	err := blockcopy.IgnoringEINTR(func() error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m)))
		if errno != 0 {
			return errno
		}
		return nil
	})
	return int(m.mapped), err
}
