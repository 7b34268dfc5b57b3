package local

import (
	"context"

	"blockconsole/models/backend"
)

// Volumes lists at most limit objects after marker, in the order of Ref. Errors:
// CodeUnavailable after Close.
func (b *Backend) Volumes(ctx context.Context, marker string, limit int) (backend.Page[backend.Volume], error) {
	b.refreshServerNames(ctx)
	return list(ctx, b, volumes, marker, limit, b.volumeLocked)
}

// Snapshots lists at most limit objects after marker, in the order of Ref. Errors:
// CodeUnavailable after Close.
func (b *Backend) Snapshots(ctx context.Context, marker string, limit int) (backend.Page[backend.Snapshot], error) {
	return list(ctx, b, snapshots, marker, limit, b.snapshotLocked)
}

// Volume finds by ID, which is the Ref here, else by Ref. Errors: CodeNotFound,
// CodeUnavailable after Close.
func (b *Backend) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	b.refreshServerNames(ctx)
	return get(ctx, b, volumes, key, b.volumeLocked)
}

// Snapshot finds by ID, which is the Ref here, else by Ref. Errors: CodeNotFound,
// CodeUnavailable after Close.
func (b *Backend) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	return get(ctx, b, snapshots, key, b.snapshotLocked)
}

// list returns a page of objects of a kind.
func list[T any](ctx context.Context, b *Backend, k kind, marker string, limit int, as func(*object) T) (backend.Page[T], error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Page[T]{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.indexOf(k)
	refs, next := x.page(marker, limit)
	p := backend.Page[T]{Items: make([]T, 0, len(refs)), Next: next}
	for _, ref := range refs {
		p.Items = append(p.Items, as(x.byRef[ref]))
	}
	return p, nil
}

// get returns an object of a kind.
func get[T any](ctx context.Context, b *Backend, k kind, key backend.Key, as func(*object) T) (found T, err error) {
	if err := b.checkOpen(ctx); err != nil {
		return found, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.indexOf(k).find(key)
	if err == nil {
		found = as(o)
	}
	return found, err
}
