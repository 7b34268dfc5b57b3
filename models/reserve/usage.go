package reserve

import (
	"errors"
	"os"
	"syscall"

	"blockconsole/models/backend"
)

// Usage is what a file system has, as far as the console's user may use it. Inodes is 0
// where the file system makes them as they are needed.
type Usage struct {
	Path               string // of the folder that was asked about
	Total, Free        int64  // bytes
	Inodes, FreeInodes int64
	ReadOnly           bool // it was mounted so
}

// Short is what the file system has nothing left of, as the figures tell; empty when a
// file could be made.
func (u Usage) Short() backend.Cause {
	switch {
	case u.ReadOnly:
		return backend.ReadOnly
	case u.Inodes > 0 && u.FreeInodes == 0:
		return backend.NoInodes
	case u.Free == 0:
		return backend.NoBytes
	}
	return ""
}

// Figures are what is free and the total, in inodes where those are short, else in bytes.
func (u Usage) Figures(cause backend.Cause) (free, total int64) {
	if cause == backend.NoInodes {
		return u.FreeInodes, u.Inodes
	}
	return u.Free, u.Total
}

const trialBytes = 4096

// Diagnose finds out by a small file why a folder takes no writes; empty when it does.
func Diagnose(folder string) backend.Cause {
	f, err := os.CreateTemp(folder, ".trial-*")
	if err == nil {
		_, err = f.Write(make([]byte, trialBytes))
		err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
	}
	cause := backend.DiskCause(err)
	if u, e := UsageOf(folder); e == nil && cause == backend.NoBytes && u.Short() == backend.NoInodes {
		cause = backend.NoInodes
	}
	return cause
}

// Allocated is how many bytes a file takes on the disk.
func Allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return info.Size()
}
