package local

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sync/errgroup"

	"blockconsole/models/backend/local/nbd"
	"blockconsole/models/reserve"
)

// op names a kind of call to the operating system.
type op string

const (
	opMkdir    op = "mkdir"
	opCreate   op = "create"
	opOpen     op = "open"
	opWrite    op = "write"
	opTruncate op = "truncate"
	opChmod    op = "chmod"
	opClone    op = "clone"
	opCopy     op = "copy"
	opSync     op = "sync"
	opDataSync op = "datasync"
	opSyncDir  op = "syncdir"
	opRename   op = "rename"
	opUnlink   op = "unlink"
	opRmdir    op = "rmdir"
)

// disk is every call that changes the disk and can fail. An error of hook replaces
// the call. In tests, a hook that fails everything from one call on leaves the disk as
// a process does that is killed there.
type disk struct {
	hook  func(op, string) error
	space *reserve.Reserve // of which copies take; nil: they need not ask
}

func (d disk) callHook(o op, path string) error {
	if d.hook == nil {
		return nil
	}
	if err := d.hook(o, path); err != nil {
		return &os.PathError{Op: string(o), Path: path, Err: err}
	}
	return nil
}

// guardCopy runs a piece of a copy to the file path, of n bytes, where there is room.
func (d disk) guardCopy(path string, n int64, piece func() error) error {
	if d.space != nil {
		if !d.space.Begin(n) {
			return nbd.ErrNoRoom
		}
		defer d.space.End(n)
	}
	return d.do(opCopy, path, piece)
}

func (d disk) do(o op, path string, call func() error) error {
	if err := d.callHook(o, path); err != nil {
		return err
	}
	return call()
}

func (d disk) mkdir(path string) error {
	return d.do(opMkdir, path, func() error { return os.Mkdir(path, 0o700) })
}

func (d disk) create(path string) (*os.File, error) {
	if err := d.callHook(opCreate, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
}

// open opens a regular file: it follows no link and does not block on a pipe.
func (d disk) open(path string, flag int) (*os.File, error) {
	if err := d.callHook(opOpen, path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, flag|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &os.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

var errNotRegular = errors.New("not a regular file")

// Write writes to a file that the hook is asked about.
func (w hookedFile) Write(p []byte) (int, error) {
	if err := w.disk.write(w.File, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// hookedFile is the writer of a file.
type hookedFile struct {
	disk
	*os.File
}

func (d disk) write(f *os.File, p []byte) error {
	return d.do(opWrite, f.Name(), func() error {
		_, err := f.Write(p)
		return err
	})
}

func (d disk) truncate(f *os.File, size int64) error {
	return d.do(opTruncate, f.Name(), func() error { return f.Truncate(size) })
}

func (d disk) readOnly(f *os.File) error {
	return d.do(opChmod, f.Name(), func() error { return f.Chmod(0o400) })
}

func (d disk) sync(f *os.File) error { return d.do(opSync, f.Name(), f.Sync) }

func (d disk) syncDir(path string) error {
	if err := d.callHook(opSyncDir, path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (d disk) rename(from, to string) error {
	return d.do(opRename, to, func() error { return os.Rename(from, to) })
}

func (d disk) unlink(path string) error {
	return d.do(opUnlink, path, func() error { return syscall.Unlink(path) })
}

func (d disk) rmdir(path string) error {
	return d.do(opRmdir, path, func() error { return syscall.Rmdir(path) })
}

// removeObject deletes an object's folder: its bytes, their checksums, then its description. The error
// is errForeignFiles where the folder holds other files; they stay.
func (d disk) removeObject(dir string) error {
	for _, name := range []string{dataFile, checksumFile, metaFile} {
		if err := d.unlink(dir + "/" + name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return &os.PathError{Op: "unlink", Path: dir + "/" + name, Err: err}
		}
	}
	err := d.rmdir(dir)
	switch {
	case err == nil, errors.Is(err, os.ErrNotExist):
		return nil
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EEXIST):
		return errForeignFiles
	}
	return &os.PathError{Op: "rmdir", Path: dir, Err: err}
}

var errForeignFiles = errors.New("the folder holds files that the console did not make")

// syncDirs makes renames between two folders of the data folder durable.
func (b *Backend) syncDirs(to, from string) error {
	return parallel(
		func() error { return b.disk.syncDir(b.path(to)) },
		func() error { return b.disk.syncDir(b.path(from)) },
	)
}

// parallel runs all steps at once and returns the first error. Syncs that run at once
// share one commit of the file system's journal.
func parallel(steps ...func() error) error {
	var group errgroup.Group
	for _, step := range steps {
		group.Go(step)
	}
	return group.Wait()
}
