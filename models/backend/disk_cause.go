package backend

import (
	"errors"
	"slices"
	"syscall"
)

// The causes of a disk that refuses. They last until an administrator acts; only
// TooManyFiles passes by itself.
const (
	NoBytes      Cause = "no_space"       // all bytes of the file system are taken
	NoInodes     Cause = "no_inodes"      // it has bytes, and cannot have another file
	OverQuota    Cause = "over_quota"     // the quota of the console's user or folder is used up
	ReadOnly     Cause = "read_only"      // the file system takes no writes
	NoAccess     Cause = "no_access"      // the console's user may not
	TooManyFiles Cause = "too_many_files" // the process, or the machine, has too many files open
	FileTooLarge Cause = "file_too_large" // the file system cannot hold a file of that size
	DiskError    Cause = "io_error"       // the disk does not read or write
)

// diskErrnos is the only table from the system's errors to causes. What each cause means,
// what is intact and what to do stands in the text catalog.
var diskErrnos = map[syscall.Errno]Cause{
	syscall.ENOSPC: NoBytes,
	syscall.EDQUOT: OverQuota,
	syscall.EROFS:  ReadOnly,
	syscall.EACCES: NoAccess,
	syscall.EPERM:  NoAccess,
	syscall.EMFILE: TooManyFiles,
	syscall.ENFILE: TooManyFiles,
	syscall.EFBIG:  FileTooLarge,
	syscall.EIO:    DiskError,
	syscall.ENXIO:  DiskError,
	syscall.ENODEV: DiskError,
	syscall.ESTALE: DiskError,
}

// DiskCauses are all causes of a disk that refuses.
func DiskCauses() []Cause {
	return []Cause{NoBytes, NoInodes, OverQuota, ReadOnly, NoAccess, TooManyFiles, FileTooLarge, DiskError}
}

// DiskCause is why a call to the disk failed; empty for an error that is none of a disk.
// ENOSPC is NoBytes: only the file system's figures tell NoInodes.
func DiskCause(err error) Cause {
	switch e := AsError(err); {
	case e != nil && slices.Contains(DiskCauses(), e.Cause):
		return e.Cause
	case e != nil && e.Code == CodeNoSpace:
		return NoBytes
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return ""
	}
	return diskErrnos[errno]
}
