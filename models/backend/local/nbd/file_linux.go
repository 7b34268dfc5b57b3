package nbd

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func fdatasync(f *os.File) error {
	return ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) })
}

func punchHole(f *os.File, off, n int64) error {
	return ignoringEINTR(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

func zeroRange(f *os.File, off, n int64) error {
	return ignoringEINTR(func() error {
		return unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	})
}

// ignoringEINTR repeats a call while signals interrupt it.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// nextData returns the first run of data in [off, end), or an empty one at end. All
// is data where the file system knows no holes.
func nextData(f *os.File, off, end int64) (start, stop int64, err error) {
	start, err = unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return end, end, nil
	case errors.Is(err, unix.EINVAL):
		return off, end, nil
	case err != nil:
		return 0, 0, err
	case start >= end:
		return end, end, nil
	}
	stop, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
	return start, min(stop, end), err
}

// fiemap is struct fiemap of linux/fiemap.h with room for extents.
type fiemap struct {
	start, length                  uint64
	flags, mapped, count, reserved uint32
	extents                        [64]fiemapExtent
}

type fiemapExtent struct {
	logical, physical, length uint64
	_                         [2]uint64
	flags                     uint32
	_                         [3]uint32
}

const (
	fsIocFiemap = 0xc020660b

	// FIEMAP_EXTENT_*: a write to such an extent needs space of its own.
	extentLast      = 0x1
	extentUnknown   = 0x2
	extentDelalloc  = 0x4 // the space is taken, only not yet where
	extentUnwritten = 0x800
	extentMerged    = 0x1000
)

// allocatedAlone reports whether all of the range is known to have space on the disk that
// it does not share with another file, so that a write there needs none.
func allocatedAlone(f *os.File, off, n int64) bool {
	end := off + n
	for off < end {
		m := fiemap{start: uint64(off), length: uint64(end - off), count: uint32(len(fiemap{}.extents))}
		err := ignoringEINTR(func() error {
			if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
				return errno
			}
			return nil
		})
		if err != nil {
			return isData(f, off, end)
		}
		before := off
		for _, e := range m.extents[:m.mapped] {
			flags := e.flags &^ (extentLast | extentUnwritten | extentMerged)
			if flags&extentDelalloc != 0 {
				flags &^= extentDelalloc | extentUnknown
			}
			if int64(e.logical) > off || flags != 0 {
				return false
			}
			off = max(off, int64(e.logical+e.length))
		}
		if off == before {
			return false
		}
	}
	return true
}

// isData is allocatedAlone for file systems that cannot list extents, such as tmpfs: they
// cannot share blocks either. One that knows no holes calls all of the file data; then
// nothing is known unless the file takes as much as it is long.
func isData(f *os.File, off, end int64) bool {
	start, stop, err := nextData(f, off, end)
	if err != nil || start > off || stop < end {
		return false
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false
	}
	if st.Blocks*512 >= st.Size {
		return true
	}
	start, stop, err = nextData(f, 0, st.Size)
	return err == nil && (start > 0 || stop < st.Size)
}

func (d *FileDevice) cache(off, n int64) error {
	return unix.Fadvise(int(d.f.Fd()), off, n, unix.FADV_WILLNEED)
}

// ReadNowait reads from the page cache only. It returns zero where the kernel or the
// file system cannot tell.
func (d *FileDevice) ReadNowait(p []byte, off int64) int {
	if d.Hook != nil || len(p) == 0 || d.noReadNowait.Load() {
		return 0
	}
	fd, have := d.f.Fd(), 0
	for have < len(p) {
		part := p[have:min(len(p), have+maxRawRead)]
		iov := unix.Iovec{Base: unsafe.SliceData(part)}
		iov.SetLen(len(part))
		at := off + int64(have)
		n, _, errno := unix.RawSyscall6(unix.SYS_PREADV2, fd, uintptr(unsafe.Pointer(&iov)), 1, uintptr(at), uintptr(uint64(at)>>32), unix.RWF_NOWAIT)
		if errno == unix.EOPNOTSUPP || errno == unix.ENOSYS {
			d.noReadNowait.Store(true)
		}
		if errno != 0 {
			break
		}
		have += int(n)
		if int(n) < len(part) {
			break
		}
	}
	return have
}

// maxRawRead is how many bytes a raw system call copies: the Go runtime cannot stop
// the world meanwhile.
const maxRawRead = 256 << 10

// LeadingHole looks for the start of data only: some file systems walk through all
// of it to find its end.
func (d *FileDevice) LeadingHole(off, n int64) int64 {
	start, err := unix.Seek(int(d.f.Fd()), off, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		return n
	case err != nil:
		return 0
	}
	return min(start-off, n)
}
