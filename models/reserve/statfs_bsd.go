//go:build darwin || freebsd

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
	return Usage{
		Path: folder, Total: int64(st.Blocks) * int64(st.Bsize), Free: int64(st.Bavail) * int64(st.Bsize),
		Inodes: int64(st.Files), FreeInodes: int64(st.Ffree), ReadOnly: st.Flags&unix.MNT_RDONLY != 0,
	}, nil
}

func allocate(f *os.File, n int64) error { return fill(f, n) }
