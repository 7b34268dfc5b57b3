package blockcopy

import (
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// copyRange copies at most n bytes at off inside the kernel. IsUnsupported errors: the
// kernel or the file system refuses.
func copyRange(dst, src *os.File, off int64, n int) (int, error) {
	in, out, m := off, off, 0
	err := IgnoringEINTR(func() (err error) {
		m, err = unix.CopyFileRange(int(src.Fd()), &in, int(dst.Fd()), &out, n, 0)
		return err
	})
	return max(m, 0), err
}

// NextData returns the first run of data in [off, size): [start, end). io.EOF: only a hole is
// left. All is data where the file system knows no holes.
func NextData(f *os.File, off, size int64) (start, end int64, err error) {
	start, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return 0, 0, io.EOF
	case errors.Is(err, unix.EINVAL):
		return off, size, nil
	case err != nil:
		return 0, 0, err
	case start >= size:
		return 0, 0, io.EOF
	}
	end, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	return start, min(end, size), err
}

// startWriteback starts writing the range to the disk, so that the final sync, which
// also reports the errors, has little left to do.
func startWriteback(f *os.File, off, n int64) {
	_ = unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// prefetch starts reading the range into the page cache, where the kernel likes to.
func prefetch(f *os.File, off, n int64) {
	_ = unix.Fadvise(int(f.Fd()), off, n, unix.FADV_WILLNEED)
}

// IsUnsupported reports whether the kernel or a file system refuses a call for these
// files, so that read and write must do.
func IsUnsupported(err error) bool {
	for _, e := range []error{unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY, unix.EPERM, unix.EBADF} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// IgnoringEINTR repeats a call while signals interrupt it. Its error is any other of the call.
func IgnoringEINTR(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
