package local

import (
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"blockconsole/models/backend"
)

// load prepares the data folder, removes what a crash left and fills the indexes.
func (b *Backend) load(o Options) error {
	for _, step := range []func() error{
		b.openDataDir,
		func() error { return b.openReserve(o) },
		b.probeFilesystem,
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

// cleanTmp removes unfinished creations.
func (b *Backend) cleanTmp() error {
	entries, err := os.ReadDir(b.path("tmp"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, path := e.Name(), b.path("tmp", e.Name())
		ref, isReplacement := strings.CutSuffix(name, ".meta")
		if !isReplacement {
			ref, isReplacement = strings.CutSuffix(name, ".sums")
		}
		switch {
		case validRef(name) && e.IsDir():
			err = b.disk.removeObject(path)
		case isReplacement && validRef(ref) && e.Type().IsRegular(), slices.Contains(probeNames, name) && e.Type().IsRegular():
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

// loadKind reads all objects of a kind and quarantines everything else. Its error is
// errNewerFormat, or that of reading the folder.
func (b *Backend) loadKind(k kind) error {
	entries, err := os.ReadDir(b.path(string(k)))
	if err != nil {
		return err
	}
	type result struct {
		o      *object
		damage *backend.Error
		err    error
	}
	results := make([]result, len(entries))
	var wg sync.WaitGroup
	workers := 4 * runtime.GOMAXPROCS(0)
	for w := range workers { // a goroutine per entry takes twice as long
		wg.Go(func() {
			for i := w; i < len(entries); i += workers {
				results[i].o, results[i].damage, results[i].err = b.loadObject(k, entries[i])
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
			_ = b.quarantine(b.path(string(k), entries[i].Name()), r.err.Error()) // which logs its error
			continue
		}
		x.add(r.o) // entries come sorted, so this appends
		b.setChildLocked(r.o, true)
		b.setDamageLocked(r.o, r.damage)
	}
	return nil
}

// loadObject reads an object, and finds out whether its data is there. Its error says
// why the entry is none.
func (b *Backend) loadObject(k kind, e os.DirEntry) (*object, *backend.Error, error) {
	if !e.IsDir() || !validRef(e.Name()) {
		return nil, nil, errors.New("not a folder named by a UUID")
	}
	dir := b.path(string(k), e.Name())
	m, err := readMeta(dir, k, e.Name())
	if err != nil {
		return nil, nil, err
	}
	var damage *backend.Error
	size, err := m.dataSizeGiB(dir)
	if err != nil && m.Status == backend.Available {
		if damage, _ = b.findDamage(m, nil, nil); damage == nil {
			return nil, nil, err
		}
	}
	if m.ExtendingTo > 0 { // interrupted by a crash
		if err == nil {
			m.SizeGiB = size
		}
		m.ExtendingTo = 0
		if err := b.replaceMeta(published, m); err != nil {
			b.log.Warn("the description still tells of an extension", "ref", m.Ref, "error", err)
		}
	}
	return &object{meta: m, failure: b.storedFailure(dir, m), location: published}, damage, nil
}

// loadTrash starts again the deletions that a crash interrupted, and loads those that
// failed.
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
		o := &object{meta: m, failure: b.storedFailure(dir, m), location: trashed}
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
	// meta.json is removed last, so nothing else is left.
	return b.removeDir(dir)
}
