package local

import (
	"context"
	"errors"
	"maps"
	"slices"

	"blockconsole/models/backend"
)

// DeleteVolume moves the volume to the trash and unlinks it. A volume that is
// still being made is given up. [backend.CodeBusy] names its snapshots and
// what is being copied from it; [backend.CodeConflict]: a server uses it.
func (b *Backend) DeleteVolume(ctx context.Context, key backend.Key) error {
	return b.delete(ctx, volumes, key)
}

// DeleteSnapshot moves the snapshot to the trash and unlinks it; volumes made
// from it are copies and stay. [backend.CodeBusy] names the volumes that are
// being copied from it at this moment.
func (b *Backend) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	return b.delete(ctx, snapshots, key)
}

func (b *Backend) delete(ctx context.Context, k kind, key backend.Key) error {
	if err := b.checkOpen(ctx); err != nil {
		return err
	}
	j, err := b.startDelete(k, key)
	if j != nil {
		waitBriefly(ctx, j)
	}
	return err
}

func (b *Backend) startDelete(k kind, key backend.Key) (*job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.indexOf(k).find(key)
	switch {
	case err != nil:
		return nil, nil // what is gone is deleted
	case o.meta.Status == backend.Deleting:
		return o.job, nil
	case o.meta.Status == backend.ErrorDeleting:
		return nil, &backend.Error{Code: backend.CodeConflict, Message: "an earlier deletion failed; it needs a repair first"}
	}
	if o.attaching || o.export != nil {
		return nil, &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to a server"}
	}
	if busy := b.dependentsLocked(o); len(busy) > 0 {
		return nil, &backend.Error{Code: backend.CodeBusy, Dependents: busy}
	}
	if o.meta.Status == backend.Creating {
		b.setStatusLocked(o, backend.Deleting, nil)
		o.job.cancel() // the creation's job goes on as the deletion's
		return o.job, nil
	}
	j, err := b.startJobLocked(o, 0, func(_ context.Context, j *job) { b.runDelete(o, j) })
	if err != nil {
		return nil, err
	}
	b.setStatusLocked(o, backend.Deleting, nil)
	return j, nil
}

// dependentsLocked is what must go or finish before o can be deleted.
func (b *Backend) dependentsLocked(o *object) []backend.Key {
	keys := maps.Clone(o.copyTargets)
	if keys == nil {
		keys = map[string]backend.Key{}
	}
	if o.meta.Kind == volumes {
		for ref := range b.children[o.meta.Ref] {
			keys[ref] = backend.Key{Ref: ref, ID: ref}
		}
	}
	busy := make([]backend.Key, 0, len(keys))
	for _, ref := range slices.Sorted(maps.Keys(keys)) {
		busy = append(busy, keys[ref])
	}
	return busy
}

// runDelete is the job of a deletion.
func (b *Backend) runDelete(o *object, j *job) {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	err := b.removeFiles(o)
	if err != nil {
		err = b.portError(err, 0)
		b.storeFailure(o, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.log.Error("deletion failed", "kind", o.meta.Kind, "ref", o.meta.Ref, "error", err)
		b.setStatusLocked(o, backend.ErrorDeleting, err)
	} else {
		b.forgetLocked(o)
	}
	b.endJobLocked(o, j)
}

// storeFailure writes ERROR_DELETING into the object's description, where
// the disk still lets it. Memory has it in any case.
func (b *Backend) storeFailure(o *object, failure error) {
	b.mu.Lock()
	p, m := o.location, b.withStatus(o.meta, backend.ErrorDeleting, failure)
	b.mu.Unlock()
	if p == unpublished {
		return
	}
	if err := b.replaceMeta(p, m); err != nil {
		b.log.Warn("the failed deletion is remembered in memory only", "ref", m.Ref, "error", err)
	}
}

// removeFiles removes the object's files wherever they lie. From home they go through
// the trash: the rename is the deletion, and a crash after it is finished at the
// next Open.
func (b *Backend) removeFiles(o *object) error {
	b.mu.Lock()
	p, m := o.location, o.meta
	b.mu.Unlock()
	if p == published {
		if err := b.disk.rename(b.objectDir(published, m), b.objectDir(trashed, m)); err != nil {
			return err
		}
		b.setPlace(o, trashed)
		p = trashed
		if err := b.syncDirs("trash", string(m.Kind)); err != nil {
			return err
		}
	}
	dir := b.objectDir(p, m)
	err := b.disk.removeObject(dir)
	if errors.Is(err, errForeignFiles) {
		err = b.quarantine(dir, errForeignFiles.Error())
	}
	if err != nil {
		return err
	}
	b.setPlace(o, unpublished)
	return nil
}

func (b *Backend) setPlace(o *object, p location) {
	b.mu.Lock()
	o.location = p
	b.mu.Unlock()
}
