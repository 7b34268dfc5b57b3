package local

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"syscall"

	"blockconsole/models/backend"
)

// openDataDir makes the folders and takes the lock. Each folder must be a real one on
// the same file system, or renames between them would not be atomic.
func (b *Backend) openDataDir() error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	root, err := os.Stat(b.dir)
	if err != nil {
		return err
	}
	for _, name := range []string{"tmp", string(volumes), string(snapshots), "images", "quarantine", "trash"} {
		path := b.path(name)
		if err := b.disk.mkdir(path); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		fi, err := os.Lstat(path)
		switch {
		case err != nil:
			return err
		case !fi.IsDir():
			return fmt.Errorf("%s is not a folder", path)
		case name != "images" && deviceID(fi) != deviceID(root):
			return fmt.Errorf("%s is on another file system than %s", path, b.dir)
		}
	}
	if b.lock, err = os.Open(b.path("tmp")); err != nil {
		return err
	}
	switch err := syscall.Flock(int(b.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return fmt.Errorf("%s: %w", b.dir, ErrInUse)
	case err != nil: // some network file systems have no locks on folders
		b.log.Warn("the data folder cannot be locked", "dir", b.dir, "error", err)
	}
	return nil
}

// unlockDataDir gives up the lock. It does so explicitly: a program that is being started
// at this moment shares the open file until it runs, and closing ours would leave it
// locked.
func (b *Backend) unlockDataDir() error {
	_ = syscall.Flock(int(b.lock.Fd()), syscall.LOCK_UN) // fails only where there is no lock
	return b.lock.Close()
}

func deviceID(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

var probeNames = []string{"probe.a", "probe.b"}

// probeFilesystem finds out how long a file can be, and whether files share blocks. A
// start must not need space: on a full disk that has no reserve, a file may be of any
// length, and blocks are not shared until the next start.
func (b *Backend) probeFilesystem() error {
	err := b.withReserve(b.probe)
	if backend.AsError(b.portError(err, overheadBytes), backend.CodeNoSpace) == nil {
		return err
	}
	b.log.Warn("what the file system can do is not known until the next start with free space", "dir", b.dir, "error", err)
	b.maxFile = math.MaxInt64
	return nil
}

func (b *Backend) probe() error {
	var files [2]*os.File
	for i, name := range probeNames {
		path := b.path("tmp", name)
		if err := b.disk.unlink(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		f, err := b.disk.create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := b.disk.unlink(path); err != nil {
			return err
		}
		files[i] = f
	}
	low, high := gib, int64(1)<<62 // low fits, or nothing does
	for high-low > gib {
		mid := low + (high-low)/2
		if files[0].Truncate(mid) == nil {
			low = mid
		} else {
			high = mid
		}
	}
	b.maxFile = low
	if err := errors.Join(files[0].Truncate(0), b.disk.write(files[0], make([]byte, 4096))); err != nil {
		return err
	}
	b.reflink = b.disk.clone(files[1], files[0]) == nil
	return nil
}

// quarantine moves something that is not ours out of the way; a link is not followed.
// Nothing in the quarantine is ever opened or deleted.
func (b *Backend) quarantine(path, reason string) error {
	base := b.path("quarantine", b.now().UTC().Format("20060102T150405.000000000Z")+"-"+filepath.Base(path))
	to := base
	for i := 2; ; i++ {
		if _, err := os.Lstat(to); errors.Is(err, os.ErrNotExist) {
			break
		}
		to = fmt.Sprintf("%s-%d", base, i)
	}
	if err := b.disk.rename(path, to); err != nil {
		b.log.Error("not ours and cannot be put aside", "path", path, "reason", reason, "error", err)
		return err
	}
	b.log.Warn("not ours, put aside", "path", path, "now", to, "reason", reason)
	return parallel(
		func() error { return b.disk.syncDir(b.path("quarantine")) },
		func() error { return b.disk.syncDir(filepath.Dir(path)) },
	)
}
