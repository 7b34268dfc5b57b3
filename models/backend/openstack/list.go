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

// pageLimit is the most that Cinder and Nova give in one page by default; they cut
// larger pages silently.
const pageLimit = 1000

// marker is the place after an object in the order of creation.
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

// listing reads the objects of one kind in the order of their creation: what is made
// meanwhile comes last, so no page shifts.
type listing[T any] struct {
	// page reads limit objects after the one with this id; "" is the beginning.
	page  func(ctx context.Context, after string, limit int) ([]T, bool, error)
	place func(T) marker
	// lost says that an error means that the object with the id is gone.
	lost func(*problem) bool
}

// from reads one page after a marker.
func (l listing[T]) from(ctx context.Context, text string, limit int) ([]T, string, error) {
	m := parseMarker(text)
	limit = min(max(limit, 1), pageLimit)
	items, more, err := l.page(ctx, m.id, limit)
	if p := problemOf(err); m.id != "" && p != nil && l.lost(p) {
		items, more, err = l.again(ctx, m, limit)
	}
	if err != nil || !more || len(items) == 0 {
		return items, "", err
	}
	last := l.place(items[len(items)-1])
	if last.id == m.id {
		return nil, "", errNoAdvance
	}
	return items, last.String(), nil
}

// each reads all pages.
func (l listing[T]) each(ctx context.Context, do func(T)) error {
	for next := ""; ; {
		items, after, err := l.from(ctx, next, pageLimit)
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

// errNoAdvance says that a page ends where it should begin: there would be no end.
var errNoAdvance = errors.New("the listing does not advance")

// again reads from the beginning to the place of an object that has vanished.
func (l listing[T]) again(ctx context.Context, m marker, limit int) ([]T, bool, error) {
	for after, more := "", true; more; {
		var items []T
		var err error
		items, more, err = l.page(ctx, after, pageLimit)
		if err != nil {
			return nil, false, err
		}
		for i, item := range items {
			if m.before(l.place(item)) {
				end := min(i+limit, len(items))
				return items[i:end], more || end < len(items), nil
			}
		}
		if len(items) > 0 {
			after = l.place(items[len(items)-1]).id
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
		page:  inOrder[volume](b, s, "volumes", filter),
		place: func(v volume) marker { return marker{v.CreatedAt.Time, v.ID} },
		lost:  (*problem).gone,
	}
}

func (b *Backend) snapshots(s *session, filter url.Values) listing[snapshot] {
	return listing[snapshot]{
		page:  inOrder[snapshot](b, s, "snapshots", filter),
		place: func(sn snapshot) marker { return marker{sn.CreatedAt.Time, sn.ID} },
		lost:  (*problem).gone,
	}
}

// inOrder reads pages of what passes the filter in a collection of Cinder.
func inOrder[T any](b *Backend, s *session, collection string, filter url.Values) func(ctx context.Context, after string, limit int) ([]T, bool, error) {
	return func(ctx context.Context, after string, limit int) ([]T, bool, error) {
		q := b.query(after, limit)
		q.Set("sort", "created_at:asc,id:asc")
		maps.Copy(q, filter)
		return getPage[T](ctx, s.volume, collection+"/detail", collection, q)
	}
}

// Volumes lists the volumes in the order of their creation.
func (b *Backend) Volumes(ctx context.Context, after string, limit int) (backend.Page[backend.Volume], error) {
	return pageOf(ctx, b, func(s *session) listing[volume] { return b.volumes(s, nil) }, b.volumeOf, after, limit)
}

// Snapshots lists the snapshots in the order of their creation.
func (b *Backend) Snapshots(ctx context.Context, after string, limit int) (backend.Page[backend.Snapshot], error) {
	return pageOf(ctx, b, func(s *session) listing[snapshot] { return b.snapshots(s, nil) }, b.snapshotOf, after, limit)
}

func pageOf[T, U any](ctx context.Context, b *Backend, list func(*session) listing[T], show func(*session, T) U, after string, limit int) (backend.Page[U], error) {
	var page backend.Page[U]
	s, err := b.session(ctx)
	if err != nil {
		return page, err
	}
	if b.allProjects && after == "" {
		if err := administers(ctx, s.volume); err != nil {
			return page, b.explain(ctx, err)
		}
	}
	items, next, err := list(s).from(ctx, after, limit)
	if err != nil {
		return page, b.explain(ctx, err)
	}
	page.Next, page.Items = next, make([]U, len(items))
	for i, item := range items {
		page.Items[i] = show(s, item)
	}
	return page, nil
}

// overlap is how much earlier than asked changes are looked for: the cloud's clock is
// known to the second, and its databases cut.
const overlap = 5 * time.Second

// ChangedVolumes lists what has changed since then, by the cloud's own clock.
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
	changed := b.volumes(s, updatedSince(b.theirs(since).Add(-overlap)))
	err = changed.each(ctx, func(v volume) { all = append(all, b.volumeOf(s, v)) })
	if p := problemOf(err); p != nil && p.says("Invalid filters") { // the operator allows no such filter
		return nil, backend.ErrUnsupported
	}
	if err != nil {
		return nil, b.explain(ctx, err)
	}
	return all, nil
}
