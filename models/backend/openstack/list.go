package openstack

import (
	"context"
	"errors"
	"maps"
	"net/url"
	"strconv"
	"strings"
	"time"

	"blockconsole/models/backend"
)

// pageLimit is the default maximum of Cinder and Nova; they silently cut larger pages.
const pageLimit = 1000

// marker is the position after an object in the order of creation.
type marker struct {
	created time.Time
	id      string
}

func (m marker) String() string {
	return m.created.Format(time.RFC3339Nano) + "~" + m.id
}

func parseMarker(text string) marker {
	created, id, _ := strings.Cut(text, "~")
	t, err := time.Parse(time.RFC3339Nano, created)
	if err != nil {
		return marker{}
	}
	return marker{t, id}
}

func (m marker) before(o marker) bool {
	return m.created.Before(o.created) || m.created.Equal(o.created) && m.id < o.id
}

// listing reads the objects of one kind in the order of creation, so that new objects
// shift no page.
type listing[T any] struct {
	// page reads at most limit objects after the one with the ID after; "": from the beginning.
	page       func(ctx context.Context, after string, limit int) ([]T, bool, error)
	markerOf   func(T) marker
	markerGone func(*apiError) bool // the object of after does not exist
}

// pageAfter reads one page after a marker and returns the next marker.
func (l listing[T]) pageAfter(ctx context.Context, text string, limit int) ([]T, string, error) {
	m := parseMarker(text)
	limit = min(max(limit, 1), pageLimit)
	items, more, err := l.page(ctx, m.id, limit)
	if p := asAPIError(err); m.id != "" && p != nil && l.markerGone(p) {
		items, more, err = l.pageFromStart(ctx, m, limit)
	}
	if err != nil || !more || len(items) == 0 {
		return items, "", err
	}
	last := l.markerOf(items[len(items)-1])
	if last.id == m.id {
		return nil, "", errNoAdvance
	}
	return items, last.String(), nil
}

// forEach reads all pages.
func (l listing[T]) forEach(ctx context.Context, do func(T)) error {
	for next := ""; ; {
		items, after, err := l.pageAfter(ctx, next, pageLimit)
		if err != nil {
			return err
		}
		for _, item := range items {
			do(item)
		}
		if next = after; next == "" {
			return nil
		}
	}
}

// errNoAdvance ends a listing whose page ends with its own marker.
var errNoAdvance = errors.New("the listing does not advance")

// pageFromStart reads from the beginning up to the position of an object that is gone.
func (l listing[T]) pageFromStart(ctx context.Context, m marker, limit int) ([]T, bool, error) {
	for after, more := "", true; more; {
		var items []T
		var err error
		items, more, err = l.page(ctx, after, pageLimit)
		if err != nil {
			return nil, false, err
		}
		for i, item := range items {
			if m.before(l.markerOf(item)) {
				end := min(i+limit, len(items))
				return items[i:end], more || end < len(items), nil
			}
		}
		if len(items) > 0 {
			after = l.markerOf(items[len(items)-1]).id
		}
	}
	return nil, false, nil
}

func (b *Backend) query(after string, limit int) url.Values {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("marker", after)
	}
	if b.allProjects {
		q.Set("all_tenants", "1")
	}
	return q
}

func (b *Backend) volumes(s *session, filter url.Values) listing[volume] {
	return listing[volume]{
		page:       fetchPage[volume](b, s, "volumes", filter),
		markerOf:   func(v volume) marker { return marker{v.CreatedAt.Time, v.ID} },
		markerGone: (*apiError).notFound,
	}
}

func (b *Backend) snapshots(s *session, filter url.Values) listing[snapshot] {
	return listing[snapshot]{
		page:       fetchPage[snapshot](b, s, "snapshots", filter),
		markerOf:   func(sn snapshot) marker { return marker{sn.CreatedAt.Time, sn.ID} },
		markerGone: (*apiError).notFound,
	}
}

// fetchPage reads a filtered page of a collection of Cinder.
func fetchPage[T any](b *Backend, s *session, collection string, filter url.Values) func(ctx context.Context, after string, limit int) ([]T, bool, error) {
	return func(ctx context.Context, after string, limit int) ([]T, bool, error) {
		q := b.query(after, limit)
		q.Set("sort", "created_at:asc,id:asc")
		maps.Copy(q, filter)
		return getPage[T](ctx, s.volume, collection+"/detail", collection, q)
	}
}

// Volumes lists in the order of creation.
func (b *Backend) Volumes(ctx context.Context, after string, limit int) (backend.Page[backend.Volume], error) {
	return listPage(ctx, b, func(s *session) listing[volume] { return b.volumes(s, nil) }, b.volumeOf, after, limit)
}

// Snapshots lists in the order of creation.
func (b *Backend) Snapshots(ctx context.Context, after string, limit int) (backend.Page[backend.Snapshot], error) {
	return listPage(ctx, b, func(s *session) listing[snapshot] { return b.snapshots(s, nil) }, b.snapshotOf, after, limit)
}

func listPage[T, U any](ctx context.Context, b *Backend, list func(*session) listing[T], show func(*session, T) U, after string, limit int) (backend.Page[U], error) {
	var page backend.Page[U]
	s, err := b.session(ctx)
	if err != nil {
		return page, err
	}
	if b.allProjects && after == "" {
		if err := requireAdmin(ctx, s.volume); err != nil {
			return page, b.translate(ctx, err)
		}
	}
	items, next, err := list(s).pageAfter(ctx, after, limit)
	if err != nil {
		return page, b.translate(ctx, err)
	}
	page.Next, page.Items = next, make([]U, len(items))
	for i, item := range items {
		page.Items[i] = show(s, item)
	}
	return page, nil
}

// overlap is subtracted from times before the cloud compares them: the skew of its clock
// is known to the second, and its database truncates.
const overlap = 5 * time.Second

// ChangedVolumes needs microversion 3.60 and a cloud that allows its filter.
func (b *Backend) ChangedVolumes(ctx context.Context, since time.Time) ([]backend.Volume, error) {
	const needs = 60
	s, err := b.session(ctx)
	if err != nil {
		return nil, err
	}
	if s.minor < needs {
		return nil, backend.ErrUnsupported
	}
	var all []backend.Volume
	changed := b.volumes(s, updatedFilter(b.cloudTime(since).Add(-overlap)))
	err = changed.forEach(ctx, func(v volume) { all = append(all, b.volumeOf(s, v)) })
	if p := asAPIError(err); p != nil && p.contains("Invalid filters") { // not in the cloud's resource_filters
		return nil, backend.ErrUnsupported
	}
	if err != nil {
		return nil, b.translate(ctx, err)
	}
	return all, nil
}
