package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"blockconsole/models/backend"
)

// Quarantined is something that was found among our files and is not ours. It
// was moved, never opened and never deleted.
type Quarantined struct {
	From   string // where it was found, below the data folder; empty for what an earlier start moved
	Path   string // where it is now
	Reason string
}

// Quarantined lists what the last Open and deletions since put aside, and what
// still lies in the quarantine from earlier.
func (b *Backend) Quarantined() []Quarantined {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.quarantined)
}

// load prepares the folders and fills the indexes.
func (b *Backend) load() error {
	if err := b.openDataDir(); err != nil {
		return err
	}
	if err := b.probeFilesystem(); err != nil {
		return err
	}
	if err := b.listQuarantine(); err != nil {
		return err
	}
	for _, step := range []func() error{
		b.cleanTmp,
		func() error { return b.loadKind(volumes) },
		func() error { return b.loadKind(snapshots) },
		b.loadTrash,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// openDataDir makes the folders and takes the lock. Each folder must be a real one
// on the same file system, or renames between them would not be atomic.
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

func deviceID(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Dev)
	}
	return 0
}

var probeNames = []string{"probe.a", "probe.b"}

// probeFilesystem finds out what the file system can do: the longest file, and whether
// files can share blocks.
func (b *Backend) probeFilesystem() error {
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
		return b.portError(err, overheadBytes)
	}
	b.reflink = b.disk.clone(files[1], files[0]) == nil
	return nil
}

// listQuarantine shows what earlier starts put aside.
func (b *Backend) listQuarantine() error {
	entries, err := os.ReadDir(b.path("quarantine"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		b.quarantined = append(b.quarantined, Quarantined{Path: b.path("quarantine", e.Name()), Reason: "put aside earlier"})
	}
	return nil
}

// quarantine moves something that is not ours into the quarantine. A link is
// moved, not followed.
func (b *Backend) quarantine(path, reason string) error {
	from, err := filepath.Rel(b.dir, path)
	if err != nil {
		from = path
	}
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
	b.mu.Lock()
	b.quarantined = append(b.quarantined, Quarantined{From: from, Path: to, Reason: reason})
	b.mu.Unlock()
	return parallel(
		func() error { return b.disk.syncDir(b.path("quarantine")) },
		func() error { return b.disk.syncDir(filepath.Dir(path)) },
	)
}

// cleanTmp removes what creations left that a crash cut off.
func (b *Backend) cleanTmp() error {
	entries, err := os.ReadDir(b.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, path := e.Name(), b.path("tmp", e.Name())
		ref, isMeta := strings.CutSuffix(name, ".meta")
		switch {
		case validRef(name) && e.IsDir():
			err = b.disk.removeObject(path)
		case isMeta && validRef(ref) && e.Type().IsRegular(), slices.Contains(probeNames, name) && e.Type().IsRegular():
			err = b.disk.unlink(path)
		default:
			err = errForeignFiles
		}
		if errors.Is(err, errForeignFiles) {
			err = b.quarantine(path, "nothing of ours has this name or content")
		}
		if err != nil {
			b.log.Error("a leftover cannot be removed", "path", path, "error", err)
		}
	}
	return nil
}

// loadKind reads every object of a kind, several at a time, and puts aside what
// is none.
func (b *Backend) loadKind(k kind) error {
	entries, err := os.ReadDir(b.path(string(k)))
	if err != nil {
		return err
	}
	type result struct {
		o   *object
		err error
	}
	results := make([]result, len(entries))
	var wg sync.WaitGroup
	workers := 4 * runtime.GOMAXPROCS(0)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(entries); i += workers {
				results[i].o, results[i].err = b.loadObject(k, entries[i])
			}
		})
	}
	wg.Wait()
	x := b.indexOf(k)
	for i, r := range results {
		if errors.Is(r.err, errNewerFormat) {
			return r.err
		}
		if r.err != nil {
			_ = b.quarantine(b.path(string(k), entries[i].Name()), r.err.Error()) // logged there
			continue
		}
		x.add(r.o) // entries come sorted, so this appends
		b.setChildLocked(r.o, true)
	}
	return nil
}

func (b *Backend) loadObject(k kind, e os.DirEntry) (*object, error) {
	if !e.IsDir() || !validRef(e.Name()) {
		return nil, errors.New("not a folder named by a UUID")
	}
	dir := b.path(string(k), e.Name())
	m, err := readMeta(dir, k, e.Name())
	if err != nil {
		return nil, err
	}
	size, err := m.dataSizeGiB(dir)
	if err != nil && m.Status == backend.Available {
		return nil, err
	}
	if m.ExtendingTo > 0 { // a crash cut an extension off
		if err == nil {
			m.SizeGiB = size
		}
		m.ExtendingTo = 0
		if err := b.replaceMeta(published, m); err != nil {
			b.log.Warn("the description still tells of an extension", "ref", m.Ref, "error", err)
		}
	}
	return &object{meta: m, failure: storedFailure(m), location: published}, nil
}

// loadTrash goes on with deletions that a crash cut off, in the background, and
// shows those that had failed.
func (b *Backend) loadTrash() error {
	entries, err := os.ReadDir(b.path("trash"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := b.loadTrashed(e); err != nil {
			b.log.Error("a deleted object's files cannot be removed", "path", b.path("trash", e.Name()), "error", err)
		}
	}
	return nil
}

func (b *Backend) loadTrashed(e os.DirEntry) error {
	dir := b.path("trash", e.Name())
	if !e.IsDir() || !validRef(e.Name()) {
		return b.quarantine(dir, "not a folder named by a UUID")
	}
	for _, k := range []kind{volumes, snapshots} {
		m, err := readMeta(dir, k, e.Name())
		if err != nil {
			continue
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		o := &object{meta: m, failure: storedFailure(m), location: trashed}
		if m.Status != backend.ErrorDeleting {
			if _, err := b.startJobLocked(o, 0, func(_ context.Context, j *job) { b.runDelete(o, j) }); err != nil {
				return err
			}
			b.setStatusLocked(o, backend.Deleting, nil)
		}
		b.indexOf(k).add(o)
		b.setChildLocked(o, true)
		return nil
	}
	// The description goes last, so without one there is nothing left to show.
	err := b.disk.removeObject(dir)
	if errors.Is(err, errForeignFiles) {
		err = b.quarantine(dir, errForeignFiles.Error())
	}
	return err
}
