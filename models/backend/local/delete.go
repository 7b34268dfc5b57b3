package local

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"

	"blockconsole/models/backend"
)

// DeleteVolume moves the volume to the trash and unlinks it; it cancels a creation.
// Errors: CodeBusy with its snapshots and what is being copied from it, CodeConflict
// while it is attached or after a failed deletion, CodeUnavailable.
func (b *Backend) DeleteVolume(ctx context.Context, key backend.Key) error {
	return b.delete(ctx, volumes, key)
}

// DeleteSnapshot moves the snapshot to the trash and unlinks it; it cancels a
// creation. Volumes made from it are copies and stay. Errors: CodeBusy with the
// volumes that are being copied from it, CodeConflict with the servers that it is
// attached to or after a failed deletion, CodeUnavailable.
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
		return nil, nil // deleted already
	case o.meta.Status == backend.Deleting:
		return o.job, nil
	case o.meta.Status == backend.ErrorDeleting:
		return nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDeletionFailed, Message: "an earlier deletion failed; it needs a repair first"}
	case !o.isVolume() && len(o.meta.Attachments) > 0 && o.export != nil:
		names := strings.Join(o.meta.serverNames(), ", ")
		return nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhySnapshotAttached, WhyArg: names, Message: "the snapshot is attached to " + names}
	case o.attaching, o.export != nil:
		return nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttached, Message: "it is attached to a server"}
	}
	if busy := b.dependentsLocked(o); len(busy) > 0 {
		return nil, &backend.Error{Code: backend.CodeBusy, Dependents: busy}
	}
	if o.meta.Status == backend.Creating {
		b.setStatusLocked(o, backend.Deleting, nil)
		o.job.cancel() // runCreate becomes runDelete
		return o.job, nil
	}
	j, err := b.startJobLocked(o, 0, func(_ context.Context, j *job) { b.runDelete(o, j) })
	if err != nil {
		return nil, err
	}
	b.setStatusLocked(o, backend.Deleting, nil)
	return j, nil
}

// dependentsLocked are the objects that keep o from being deleted.
func (b *Backend) dependentsLocked(o *object) (keys []backend.Key) {
	refs := maps.Clone(b.children[o.meta.Ref])
	if refs == nil {
		refs = map[string]bool{}
	}
	maps.Copy(refs, b.copyTargets[o.meta.Ref])
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		keys = append(keys, backend.Key{Ref: ref, ID: ref})
	}
	return keys
}

// runDelete is the job of a deletion.
func (b *Backend) runDelete(o *object, j *job) {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	err := b.withReserve(func() error { return b.removeFiles(o) })
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

// storeFailure writes ERROR_DELETING into meta.json, where the disk allows it.
func (b *Backend) storeFailure(o *object, failure error) {
	m, l := b.metaOf(o)
	if l == unpublished {
		return
	}
	if err := b.replaceMeta(l, b.withStatus(m, backend.ErrorDeleting, failure)); err != nil {
		b.log.Warn("the failed deletion is remembered in memory only", "ref", m.Ref, "error", err)
	}
}

// removeFiles removes the object's folder. A published one goes through the trash: the
// rename is the deletion, and the next Open finishes it after a crash.
func (b *Backend) removeFiles(o *object) error {
	m, l := b.metaOf(o)
	if l == published {
		err := b.disk.rename(b.objectDir(published, m), b.objectDir(trashed, m))
		if errors.Is(err, fs.ErrNotExist) {
			if _, gone := os.Lstat(b.objectDir(published, m)); errors.Is(gone, fs.ErrNotExist) { // removed by hand
				b.setLocation(o, unpublished)
				return nil
			}
		}
		if err != nil {
			return err
		}
		b.setLocation(o, trashed)
		l = trashed
		if err := b.syncDirs("trash", string(m.Kind)); err != nil {
			return err
		}
	}
	if err := b.removeDir(b.objectDir(l, m)); err != nil {
		return err
	}
	b.setLocation(o, unpublished)
	return nil
}

// removeDir removes an object's folder, or quarantines it where it holds files that
// are not ours.
func (b *Backend) removeDir(dir string) error {
	err := b.disk.removeObject(dir)
	if errors.Is(err, errForeignFiles) {
		err = b.quarantine(dir, errForeignFiles.Error())
	}
	return err
}
