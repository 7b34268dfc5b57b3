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
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return err
	}
	defer unlock()
	m, l := b.metaOf(o)
	if m.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDeleting, Message: "it is being deleted"}
	}
	if m.Name == name && m.Description == description {
		return nil
	}
	m.Name, m.Description = name, description
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
	o.meta.Name, o.meta.Description = name, description
	return nil
}
