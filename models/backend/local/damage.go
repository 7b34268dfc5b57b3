package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"syscall"
	"time"

	"blockconsole/models/backend"
)

// People remove, shorten and replace files below the data folder by hand. Nothing tells
// the console, so it looks: before every answer that says «on stable storage», every
// second at the files of what is attached, before an object is used, and at all others
// in turn.
const (
	inspectInterval = time.Second
	inspectRound    = 24 * time.Hour // in which each object has its turn; at least one has it each inspectInterval
)

// turn is the object that inspections in turn have come to.
type turn struct {
	kind kind
	ref  string
}

// runInspections inspects until Close.
func (b *Backend) runInspections() {
	defer close(b.inspections)
	tick := time.NewTicker(inspectInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-b.inspectNow:
		case <-b.ctx.Done():
			return
		}
		b.inspectDue()
	}
}

// inspectDue inspects what is attached, the objects known to be damaged, which may
// be whole again, and those whose turn it is.
func (b *Backend) inspectDue() {
	for _, o := range b.dueInspections() {
		if o.filesMu.TryLock() { // else a change of its files is under way, and it is due again soon
			_ = b.inspect(o) // the state shows it
			o.filesMu.Unlock()
		}
	}
}

func (b *Backend) dueInspections() []*object {
	b.mu.Lock()
	defer b.mu.Unlock()
	var due []*object
	for _, o := range b.exports {
		due = append(due, o)
	}
	for o := range b.damaged {
		if o.export == nil {
			due = append(due, o)
		}
	}
	x := b.indexOf(b.turn.kind)
	refs, next := x.page(b.turn.ref, inspectedAtOnce(len(b.volumes.order)+len(b.snapshots.order)))
	for _, ref := range refs {
		due = append(due, x.byRef[ref])
	}
	b.turn.ref = next
	if next == "" && b.turn.kind == volumes {
		b.turn.kind = snapshots
	} else if next == "" {
		b.turn.kind = volumes
	}
	return due
}

// inspectedAtOnce is how many of all objects have their turn at each inspectInterval.
// The turns for changing between volumes and snapshots are in the one too many.
func inspectedAtOnce(all int) int { return 1 + all/int(inspectRound/inspectInterval) }

// inspect looks at an object's files and returns what is wrong with them; nil: nothing,
// or it cannot be told now. The caller holds filesMu.
func (b *Backend) inspect(o *object) *backend.Error {
	b.mu.Lock()
	m, l, e, before := o.meta, o.location, o.export, o.damage
	b.mu.Unlock()
	if l != published || m.Status != backend.Available {
		return nil
	}
	found, err := b.findDamage(m, e, &o.described)
	if err != nil {
		return before // the disk does not even tell
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if found == nil && before != nil {
		b.log.Info("an object's files are whole again", "kind", m.Kind, "ref", m.Ref)
	}
	if found == nil && e != nil && e.nbd == nil && !o.isDetaching() && !b.closed { // its file is back
		if again, err := b.openExport(m); err == nil {
			b.addExportLocked(o, again)
		}
	}
	b.setDamageLocked(o, found)
	return found
}

func (b *Backend) setDamageLocked(o *object, found *backend.Error) {
	if found != nil && o.damage == nil {
		o.damagedSince = b.now().UTC()
		b.log.Error("an object's files were changed by hand", "kind", o.meta.Kind, "ref", o.meta.Ref, "path", found.Path,
			"damage", found.Damage, "kept", found.Kept)
	}
	o.damage = found
	if found == nil {
		delete(b.damaged, o)
	} else {
		b.damaged[o] = true
	}
}

// findDamage compares the files of a published object with its description and, of an
// attached one, with the file that its servers use. described is the state in which
// meta.json was readable last. Its error is that of the disk.
func (b *Backend) findDamage(m meta, e *export, described *os.FileInfo) (*backend.Error, error) {
	if e != nil {
		if shortened := e.shortened.Load(); shortened != nil {
			return shortened, nil // a later write may have made it longer again
		}
	}
	dir := b.objectDir(published, m)
	d := &backend.Error{Code: backend.CodeDamaged, Path: dir + "/" + dataFile, Want: int64(m.SizeGiB) * gib}
	fi, err := os.Lstat(d.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		d.Damage = backend.Gone
	case err != nil:
		return nil, err
	case !fi.Mode().IsRegular(), e != nil && e.nbd != nil && !os.SameFile(fi, e.opened):
		d.Damage = backend.Replaced
	case !m.hasSize(fi.Size()):
		d.Damage, d.Have = backend.WrongSize, fi.Size()
	default:
		d.Path, d.Damage = dir+"/"+metaFile, backend.NoDescription
		fi, err := os.Lstat(d.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return d, nil
		case err != nil || described != nil && sameContent(*described, fi):
			return nil, err
		}
		if _, err := readMeta(dir, m.Kind, m.Ref); err != nil {
			return d, nil
		}
		if described != nil {
			*described = fi
		}
		return nil, nil
	}
	d.Served = m.Kind == volumes && e != nil && e.nbd != nil && d.Damage != backend.NoDescription
	if d.Served && (d.Damage == backend.Gone || d.Damage == backend.Replaced) && runtime.GOOS == "linux" {
		d.Kept = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), e.file.Fd())
	}
	return d, nil
}

// checkOpened is called before each answer that says «on stable storage». It looks at
// the open file alone, which takes less than a microsecond; its error is CodeDamaged, or
// that of fstat.
func (b *Backend) checkOpened(e *export) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(e.file.Fd()), &st); err != nil {
		return err
	}
	switch want := e.size.Load(); {
	case st.Nlink == 0:
		return &backend.Error{Code: backend.CodeDamaged, Path: e.file.Name(), Damage: backend.Gone, Want: want, Served: true}
	case st.Size < want:
		e.shortened.CompareAndSwap(nil, &backend.Error{Code: backend.CodeDamaged, Path: e.file.Name(), Damage: backend.WrongSize,
			Have: st.Size, Want: want, Served: true})
	}
	if shortened := e.shortened.Load(); shortened != nil {
		return shortened
	}
	return nil
}

// dataDamage is inspect without the damages that leave the data whole.
func (b *Backend) dataDamage(o *object) error {
	if d := b.inspect(o); d != nil && d.Damage != backend.NoDescription {
		return d
	}
	return nil
}

// dataDamageOf is dataDamage of an object whose files are not locked.
func (b *Backend) dataDamageOf(o *object) error {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	return b.dataDamage(o)
}

// Faults lists the objects whose files were found changed by hand, the attached ones that
// show a failure of their disk, and the snapshots of whose bytes something is newly known,
// in the order of refs. Errors: CodeUnavailable after Close.
func (b *Backend) Faults(ctx context.Context) (backend.Faults, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Faults{}, err
	}
	var all backend.Faults
	b.mu.Lock()
	defer b.mu.Unlock()
	add := func(o *object) {
		if o.isVolume() {
			all.Volumes = append(all.Volumes, o.key())
		} else {
			all.Snapshots = append(all.Snapshots, o.key())
		}
	}
	all.Snapshots = append(all.Snapshots, b.justCheckedLocked()...)
	for o := range b.damaged {
		add(o)
	}
	for _, o := range b.exports {
		if !b.damaged[o] && o.export.failureAt(b.now()) != nil {
			add(o)
		}
	}
	for _, keys := range [][]backend.Key{all.Volumes, all.Snapshots} {
		slices.SortFunc(keys, func(a, b backend.Key) int { return cmp.Compare(a.Ref, b.Ref) })
	}
	all.Snapshots = slices.Compact(all.Snapshots)
	return all, nil
}
