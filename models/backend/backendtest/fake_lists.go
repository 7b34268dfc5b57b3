package backendtest

import (
	"context"
	"maps"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// Volumes lists in the order of creation. It does not count as a poll.
func (f *Fake) Volumes(ctx context.Context, marker string, limit int) (backend.Page[backend.Volume], error) {
	if err := f.enter(ctx, "Volumes", ""); err != nil {
		return backend.Page[backend.Volume]{}, err
	}
	defer f.mu.Unlock()
	return visiblePage(f, f.volumes, marker, limit, (*fakeVolume).show), nil
}

// Snapshots lists in the order of creation.
func (f *Fake) Snapshots(ctx context.Context, marker string, limit int) (backend.Page[backend.Snapshot], error) {
	if err := f.enter(ctx, "Snapshots", ""); err != nil {
		return backend.Page[backend.Snapshot]{}, err
	}
	defer f.mu.Unlock()
	return visiblePage(f, f.snapshots, marker, limit, (*fakeSnapshot).show), nil
}

// Servers lists in the order of ID.
func (f *Fake) Servers(ctx context.Context, marker string, limit int) (backend.Page[backend.Server], error) {
	if err := f.enter(ctx, "Servers", ""); err != nil {
		return backend.Page[backend.Server]{}, err
	}
	defer f.mu.Unlock()
	if !f.caps.Attach || f.caps.OwnServers {
		return backend.Page[backend.Server]{}, nil
	}
	byID := map[string]*backend.Server{}
	for i := range f.servers {
		byID[f.servers[i].ID] = &f.servers[i]
	}
	return pageOf(byID, marker, limit, func(s *backend.Server) backend.Server { return *s }), nil
}

// Images lists what AddImage added.
func (f *Fake) Images(ctx context.Context) ([]backend.Image, error) {
	if err := f.enter(ctx, "Images", ""); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	var images []backend.Image
	for _, id := range slices.Sorted(maps.Keys(f.images)) {
		images = append(images, backend.Image{ID: id, Name: id, SizeBytes: int64(len(f.images[id]))})
	}
	return images, nil
}

// EnableChangedVolumes makes ChangedVolumes supported.
func (f *Fake) EnableChangedVolumes() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.listsChanges = true
}

// ChangedVolumes answers [backend.ErrUnsupported] without EnableChangedVolumes.
func (f *Fake) ChangedVolumes(ctx context.Context, since time.Time) ([]backend.Volume, error) {
	if err := f.enter(ctx, "ChangedVolumes", ""); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if !f.listsChanges {
		return nil, backend.ErrUnsupported
	}
	var changed []backend.Volume
	for _, v := range f.volumes {
		if f.visible(v.handle()) && !v.Changed.Before(since) {
			changed = append(changed, v.show())
		}
	}
	slices.SortFunc(changed, func(a, b backend.Volume) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return changed, nil
}

// SetLag hides new objects from listings and from searches by Ref for d, like a
// request whose answer was lost while it is still queued: a create that is repeated
// before makes a second object. By its ID an object is found at once.
func (f *Fake) SetLag(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lag = d
}

// visible says that SetLag does not hide an object.
func (f *Fake) visible(h handle) bool { return h.known || !f.now().Before(h.created.Add(f.lag)) }

// visiblePage is a page of the visible objects.
func visiblePage[T, U any, P stored[T]](f *Fake, objects map[string]*T, marker string, limit int, as func(P) U) backend.Page[U] {
	visible := map[string]*T{}
	for id, o := range objects {
		if f.visible(P(o).handle()) {
			visible[id] = o
		}
	}
	return pageOf(visible, marker, limit, func(o *T) U { return as(o) })
}

// pageOf is a page of at most limit objects in the order of their IDs, after marker.
func pageOf[T, U any](objects map[string]*T, marker string, limit int, as func(*T) U) backend.Page[U] {
	if limit <= 0 {
		limit = 1000
	}
	var p backend.Page[U]
	last := ""
	for _, id := range slices.Sorted(maps.Keys(objects)) {
		if id <= marker {
			continue
		}
		if len(p.Items) == limit {
			p.Next = last
			break
		}
		p.Items, last = append(p.Items, as(objects[id])), id
	}
	return p
}
