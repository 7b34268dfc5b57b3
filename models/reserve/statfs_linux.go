package reserve

import (
	"os"

	"golang.org/x/sys/unix"
)

// UsageOf reads the figures of the file system that a folder is on. Errors: those of
// statfs.
func UsageOf(folder string) (Usage, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(folder, &st); err != nil {
		return Usage{}, &os.PathError{Op: "statfs", Path: folder, Err: err}
	}
	block := int64(st.Frsize)
	if block == 0 {
		block = int64(st.Bsize)
	}
	return Usage{
		Path: folder, Total: int64(st.Blocks) * block, Free: int64(st.Bavail) * block,
		Inodes: int64(st.Files), FreeInodes: int64(st.Ffree), ReadOnly: st.Flags&unix.ST_RDONLY != 0,
	}, nil
}

// allocate gives the file its first n bytes of the disk.
func allocate(f *os.File, n int64) error {
	for {
		err := unix.Fallocate(int(f.Fd()), 0, 0, n)
		switch err {
		case unix.EINTR:
		case unix.EOPNOTSUPP, unix.ENOSYS:
			return fill(f, n)
		default:
			return err
		}
	}
}
