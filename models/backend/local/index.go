package local

import (
	"context"
	"slices"

	"blockconsole/models/backend"
)

// index finds objects by ref and lists them in the order of refs. Refs begin with
// their time, so a new one almost always goes to the end.
type index struct {
	byRef map[string]*object
	order []string
}

func newIndex() index { return index{byRef: map[string]*object{}} }

func (x *index) add(o *object) {
	ref := o.meta.Ref
	if i, found := slices.BinarySearch(x.order, ref); !found {
		x.order = slices.Insert(x.order, i, ref)
	}
	x.byRef[ref] = o
}

func (x *index) remove(ref string) {
	if i, found := slices.BinarySearch(x.order, ref); found {
		x.order = slices.Delete(x.order, i, i+1)
	}
	delete(x.byRef, ref)
}

// find looks by ID, then by Ref. Its error is ErrNotFound.
func (x *index) find(k backend.Key) (*object, error) {
	for _, ref := range []string{k.ID, k.Ref} {
		if o := x.byRef[ref]; o != nil {
			return o, nil
		}
	}
	return nil, backend.ErrNotFound
}

// page returns at most limit refs after marker; zero means 1000.
func (x *index) page(marker string, limit int) (refs []string, next string) {
	if limit <= 0 {
		limit = 1000
	}
	i, found := slices.BinarySearch(x.order, marker)
	if found {
		i++
	}
	refs = x.order[i:min(i+limit, len(x.order))]
	if i+len(refs) < len(x.order) && len(refs) > 0 {
		next = refs[len(refs)-1]
	}
	return refs, next
}

func (b *Backend) indexOf(k kind) *index {
	if k == volumes {
		return &b.volumes
	}
	return &b.snapshots
}

// relation is a set of refs for each ref.
type relation map[string]map[string]bool

func (r relation) set(of, ref string, on bool) {
	switch {
	case !on:
		delete(r[of], ref)
		if len(r[of]) == 0 {
			delete(r, of)
		}
	case r[of] == nil:
		r[of] = map[string]bool{ref: true}
	default:
		r[of][ref] = true
	}
}

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
