package local

import (
	"context"
	"errors"
	"fmt"
	"os"

	"blockconsole/models/backend"
)

// Volumes lists in the order of Ref.
func (b *Backend) Volumes(ctx context.Context, marker string, limit int) (backend.Page[backend.Volume], error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Page[backend.Volume]{}, err
	}
	b.refreshServerNames(ctx)
	return list(b, volumes, marker, limit, b.volumeLocked), nil
}

// Snapshots lists in the order of Ref.
func (b *Backend) Snapshots(ctx context.Context, marker string, limit int) (backend.Page[backend.Snapshot], error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Page[backend.Snapshot]{}, err
	}
	return list(b, snapshots, marker, limit, b.snapshotLocked), nil
}

// Volume finds by ID, which is the Ref here, else by Ref.
func (b *Backend) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Volume{}, err
	}
	b.refreshServerNames(ctx)
	return get(b, volumes, key, b.volumeLocked)
}

// Snapshot finds by ID, which is the Ref here, else by Ref.
func (b *Backend) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Snapshot{}, err
	}
	return get(b, snapshots, key, b.snapshotLocked)
}

// RenameVolume sets name and description.
func (b *Backend) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, volumes, key, name, description)
}

// RenameSnapshot sets name and description.
func (b *Backend) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, snapshots, key, name, description)
}

// lockObject finds an object and takes its files until release is called, so that
// what is under way with them is over.
func (b *Backend) lockObject(ctx context.Context, k kind, key backend.Key) (o *object, unlock func(), err error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	o, err = b.indexOf(k).find(key)
	b.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	o.filesMu.Lock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.indexOf(k).byRef[o.meta.Ref] != o {
		o.filesMu.Unlock()
		return nil, nil, backend.ErrNotFound
	}
	return o, o.filesMu.Unlock, nil
}

func (b *Backend) rename(ctx context.Context, k kind, key backend.Key, name, description string) error {
	if err := checkText(name, description); err != nil {
		return err
	}
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	b.mu.Lock()
	m, p, status := o.meta, o.location, o.meta.Status
	b.mu.Unlock()
	if status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being deleted"}
	}
	if m.Name == name && m.Description == description {
		return nil
	}
	m.Name, m.Description = name, description
	if p != unpublished { // else publish writes it
		if err := b.replaceMeta(p, m.withFinalStatus()); err != nil {
			return b.storeError(err)
		}
	}
	b.mu.Lock()
	o.meta.Name, o.meta.Description = name, description
	b.mu.Unlock()
	return nil
}

// withFinalStatus is m with a status that the disk may know: only final ones.
func (m meta) withFinalStatus() meta {
	if m.Status != backend.ErrorStatus && m.Status != backend.ErrorDeleting {
		m.Status = backend.Available
	}
	return m
}

// storeError is what a call that changes meta.json answers when the disk does
// not let it.
func (b *Backend) storeError(err error) error {
	return b.portError(err, overheadBytes)
}

// ExtendVolume lets the file grow to sizeGiB. The description names the new size
// before the file has it, so that a crash between leaves a volume that the next
// Open understands.
func (b *Backend) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	o, unlock, err := b.lockObject(ctx, volumes, key)
	if err != nil {
		return err
	}
	defer unlock()
	b.mu.Lock()
	m, status := o.meta, o.meta.Status
	b.mu.Unlock()
	switch {
	case m.SizeGiB == sizeGiB:
		return nil
	case sizeGiB < m.SizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "a volume can only grow"}
	case status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(status)}
	}
	if err := b.checkSize(sizeGiB); err != nil {
		return err
	}
	// From here on every description that is written tells of the extension,
	// until it is known how it ended.
	b.setSize(o, m.SizeGiB, sizeGiB)
	m.ExtendingTo = sizeGiB
	if err := b.growFile(m, sizeGiB); err != nil {
		return b.storeError(err)
	}
	b.setSize(o, sizeGiB, 0)
	return nil
}

func (b *Backend) setSize(o *object, sizeGiB, extendingTo int) {
	b.mu.Lock()
	o.meta.SizeGiB, o.meta.ExtendingTo = sizeGiB, extendingTo
	b.mu.Unlock()
}

func (b *Backend) growFile(m meta, sizeGiB int) error {
	plan := m.withFinalStatus()
	if err := b.replaceMeta(published, plan); err != nil {
		return err
	}
	f, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, os.O_RDWR)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.disk.truncate(f, int64(sizeGiB)*gib); err != nil {
		return err
	}
	if err := b.disk.sync(f); err != nil {
		return err
	}
	plan.SizeGiB, plan.ExtendingTo = sizeGiB, 0
	return b.replaceMeta(published, plan)
}

// RepairVolume ends a failed state. AVAILABLE is given only to a volume whose
// file is whole; what really is under way cannot be repaired, except a detachment
// that waits for clients: they are cut off.
func (b *Backend) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	if err := errors.Join(checkRepair(to), b.checkOpen(ctx)); err != nil {
		return first(err)
	}
	if err := b.forceDetach(ctx, key); err != nil {
		return err
	}
	return b.repair(ctx, volumes, key, to)
}

func checkRepair(to backend.Status) error {
	if to != backend.ErrorStatus && to != backend.Available {
		return &backend.Error{Code: backend.CodeInvalid, Field: "status", Message: "ERROR or AVAILABLE"}
	}
	return nil
}

// RepairSnapshot ends a failed state as RepairVolume does.
func (b *Backend) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	return b.repair(ctx, snapshots, key, to)
}

func (b *Backend) repair(ctx context.Context, k kind, key backend.Key, to backend.Status) error {
	if err := checkRepair(to); err != nil {
		return err
	}
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	b.mu.Lock()
	m, p, status, working := o.meta, o.location, o.meta.Status, o.job != nil
	b.mu.Unlock()
	switch {
	case working:
		return &backend.Error{Code: backend.CodeConflict, Message: "the work is still going on"}
	case status == to:
		return nil
	}
	size, err := m.dataSizeGiB(b.objectDir(p, m))
	whole := p != unpublished && err == nil
	if to == backend.Available && !whole {
		return &backend.Error{Code: backend.CodeConflict, Message: "the data file is missing or has the wrong size"}
	}
	if whole {
		m.SizeGiB, m.ExtendingTo = size, 0
	}
	if p != unpublished {
		if err := b.writeRepaired(o, p, m, to, whole); err != nil {
			return b.storeError(err)
		}
	}
	b.setSize(o, m.SizeGiB, m.ExtendingTo)
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.job != nil {
		return nil // a delete call came meanwhile and waits for us
	}
	b.setStatusLocked(o, to, nil)
	if whole && o.createFailed { // its making failed after all of it was there
		o.createFailed = false
		b.setChildLocked(o, true)
	}
	return nil
}

// writeRepaired brings a whole object back from the trash and writes its new
// status. What is left of another stays there: the next Open removes it.
func (b *Backend) writeRepaired(o *object, p location, m meta, to backend.Status, whole bool) error {
	if p == trashed && whole {
		if err := b.disk.rename(b.objectDir(trashed, m), b.objectDir(published, m)); err != nil {
			return err
		}
		b.setPlace(o, published)
		if err := b.syncDirs(string(m.Kind), "trash"); err != nil {
			return err
		}
		p = published
	}
	return b.replaceMeta(p, b.withStatus(m, to, nil))
}

// dataSizeGiB is the size in GiB that the object in dir has, or an error where its
// data file is not what the description tells. While an extension has no known
// end the file tells how far it came.
func (m meta) dataSizeGiB(dir string) (int, error) {
	fi, err := os.Lstat(dir + "/" + dataFile)
	switch {
	case err != nil:
		return 0, err
	case !fi.Mode().IsRegular():
		return 0, errors.New(dataFile + " is not a regular file")
	}
	n := fi.Size()
	if n == int64(m.SizeGiB)*gib || m.ExtendingTo > 0 && n > int64(m.SizeGiB)*gib && n%gib == 0 {
		return int(n / gib), nil
	}
	return 0, fmt.Errorf("%s has %d bytes instead of %d GiB", dataFile, n, m.SizeGiB)
}
