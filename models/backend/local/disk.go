package local

import (
	"errors"
	"os"
	"syscall"

	"blockconsole/models/backend"
)

const gib = int64(1) << 30

// op names one kind of call to the operating system; tests fail them by name.
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

// disk is every call that changes the disk and can fail. Before each of them
// hook, when set, is asked: an error takes the place of the call, which then has
// no effect. A hook that fails everything from one point on leaves the disk
// exactly as a process leaves it that was killed at that point.
type disk struct{ hook func(op, string) error }

func (d disk) callHook(o op, path string) error {
	if d.hook == nil {
		return nil
	}
	if err := d.hook(o, path); err != nil {
		return &os.PathError{Op: string(o), Path: path, Err: err}
	}
	return nil
}

func (d disk) mkdir(path string) error {
	if err := d.callHook(opMkdir, path); err != nil {
		return err
	}
	return os.Mkdir(path, 0o700)
}

func (d disk) create(path string) (*os.File, error) {
	if err := d.callHook(opCreate, path); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
}

// open opens a regular file and nothing else: not through a link, not a pipe
// that would block.
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

func (d disk) write(f *os.File, p []byte) error {
	if err := d.callHook(opWrite, f.Name()); err != nil {
		return err
	}
	_, err := f.Write(p)
	return err
}

func (d disk) truncate(f *os.File, size int64) error {
	if err := d.callHook(opTruncate, f.Name()); err != nil {
		return err
	}
	return f.Truncate(size)
}

func (d disk) readOnly(f *os.File) error {
	if err := d.callHook(opChmod, f.Name()); err != nil {
		return err
	}
	return f.Chmod(0o400)
}

func (d disk) sync(f *os.File) error {
	if err := d.callHook(opSync, f.Name()); err != nil {
		return err
	}
	return f.Sync()
}

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
	if err := d.callHook(opRename, to); err != nil {
		return err
	}
	return os.Rename(from, to)
}

func (d disk) unlink(path string) error {
	if err := d.callHook(opUnlink, path); err != nil {
		return err
	}
	return syscall.Unlink(path)
}

func (d disk) rmdir(path string) error {
	if err := d.callHook(opRmdir, path); err != nil {
		return err
	}
	return syscall.Rmdir(path)
}

// parallel runs every step at once and joins their errors. Syncs that run
// together share one commit of the file system's journal.
func parallel(steps ...func() error) error {
	errs := make([]error, len(steps))
	done := make(chan struct{})
	for i, step := range steps[1:] {
		go func() {
			errs[i+1] = step()
			done <- struct{}{}
		}()
	}
	errs[0] = steps[0]()
	for range steps[1:] {
		<-done
	}
	return errors.Join(errs...)
}

// removeObject deletes an object's folder: its bytes, then its description. Files
// that are not ours stay, and the folder with them: errForeignFiles.
func (d disk) removeObject(dir string) error {
	for _, name := range []string{dataFile, metaFile} {
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

// space is what a file system has, in bytes.
type space struct{ total, free int64 }

// portError turns an error of the disk into one of the port's. need is what the
// work wanted to write, in bytes.
func (b *Backend) portError(err error, need int64) error {
	switch {
	case err == nil, backend.AsError(err) != nil:
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		free := int64(-1)
		if sp, e := b.disk.space(b.dir); e == nil {
			free = max(0, sp.free-b.reservedBytes(sp))
		}
		return &backend.Error{Code: backend.CodeNoSpace, Need: need, Free: free}
	case errors.Is(err, syscall.EFBIG):
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "the file system cannot hold a file of that size"}
	}
	return &backend.Error{Code: backend.CodeUnavailable, Err: err}
}
