package local

import (
	"context"

	"blockconsole/models/backend"
)

// RenameVolume sets name and description. Errors: CodeInvalid, CodeNotFound,
// CodeConflict while it is being deleted, CodeDamaged without a folder, CodeNoSpace,
// CodeUnavailable.
func (b *Backend) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, volumes, key, name, description)
}

// RenameSnapshot sets name and description. Errors: those of RenameVolume.
func (b *Backend) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	return b.rename(ctx, snapshots, key, name, description)
}

func (b *Backend) rename(ctx context.Context, k kind, key backend.Key, name, description string) error {
	if err := checkText(name, description); err != nil {
		return err
	}
	return b.changeMeta(ctx, k, key, func(m *meta) bool {
		if m.Name == name && m.Description == description {
			return false
		}
		m.Name, m.Description = name, description
		return true
	})
}

// SetLock keeps a lock in meta.json. Errors: CodeNotFound, CodeConflict while it is being
// deleted, CodeDamaged without a folder, CodeNoSpace, CodeUnavailable.
func (b *Backend) SetLock(ctx context.Context, subject backend.SubjectType, key backend.Key, lock backend.Lock) error {
	k := volumes
	if subject == backend.SubjectSnapshot {
		k = snapshots
	}
	stored := storeLock(lock)
	return b.changeMeta(ctx, k, key, func(m *meta) bool {
		if m.Lock == stored || m.Lock != nil && stored != nil && *m.Lock == *stored {
			return false
		}
		m.Lock = stored
		return true
	})
}

// changeMeta changes what describes an object: its meta.json, then the index. change may
// be called twice, and reports whether anything differs.
func (b *Backend) changeMeta(ctx context.Context, k kind, key backend.Key, change func(m *meta) bool) error {
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	m, l := b.metaOf(o)
	if m.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDeleting, Message: "it is being deleted"}
	}
	if !change(&m) {
		return nil
	}
	if l != unpublished { // else publish writes it
		if err := b.replaceMeta(l, m.withFinalStatus()); err != nil {
			if d := b.inspect(o); d != nil {
				return d
			}
			return b.portError(err, overheadBytes)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&o.meta)
	return nil
}
