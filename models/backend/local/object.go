package local

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
)

// location says where an object's folder lies.
type location int

const (
	unpublished location = iota // being made, or the making failed
	published                   // in volumes/ or snapshots/
	trashed                     // its deletion began and could not be finished
)

// object is one volume or snapshot in memory.
type object struct {
	filesMu sync.Mutex // held while the folder changes; taken before Backend.mu

	// The rest is guarded by Backend.mu.
	meta         meta
	failure      error
	location     location
	job          *job                   // what is under way
	copyTargets  map[string]backend.Key // objects being copied from this one, by ref
	createFailed bool                   // the creation failed; a create call tries again
	attaching    bool                   // an attachment is being written down
	export       *export                // while it is attached and NBD is on
}

// job is one creation or deletion under way.
type job struct {
	cancel      func()
	done        chan struct{}
	bytesNeeded int64        // bytes that a copy may write
	bytesCopied atomic.Int64 // of need
	copying     atomic.Bool  // the copy has its turn, so percent means something
}

func (o *object) key() backend.Key { return backend.Key{Ref: o.meta.Ref, ID: o.meta.Ref} }

func (o *object) state(now time.Time) backend.State {
	s := backend.State{Status: o.meta.Status, Percent: backend.PercentUnknown, Failure: o.failure, Since: o.meta.Since}
	switch {
	case o.attaching:
		s.Status = backend.Attaching
	case o.export != nil:
		a := o.meta.Attachments[0]
		s.Status, s.Since, s.Failure = backend.InUse, a.Since, o.export.failureAt(now)
		if o.isDetaching() {
			s.Status, s.Since = backend.Detaching, a.DetachingSince
		}
	case o.meta.Status == backend.Available:
		s.Percent = 100
	case o.meta.Status == backend.Creating && o.job != nil && o.job.copying.Load() && o.job.bytesNeeded > 0:
		// 100 is kept for the moment it is durable.
		s.Percent = int(min(99, o.job.bytesCopied.Load()*100/o.job.bytesNeeded))
	}
	return s
}

func (b *Backend) volumeLocked(o *object) backend.Volume {
	m := o.meta
	v := backend.Volume{
		Key: o.key(), State: o.state(b.now()), Name: m.Name, Description: m.Description, SizeGiB: m.SizeGiB,
		Image: m.Image, Project: m.Project, Type: m.Type, Zone: m.Zone, CreatedAt: m.CreatedAt,
	}
	if m.Source != "" {
		v.Source = &backend.Key{Ref: m.Source, ID: m.Source}
	}
	if o.export == nil {
		return v
	}
	for _, a := range m.Attachments {
		v.Attachments = append(v.Attachments, backend.Attachment{ServerID: a.Server, ServerName: b.nbd.registry.currentName(a.Server, a.Name), AttachedAt: a.Since, UsedAt: o.export.lastUsed})
	}
	v.Hold = b.estimateHoldLocked(o)
	return v
}

func (b *Backend) snapshotLocked(o *object) backend.Snapshot {
	m := o.meta
	return backend.Snapshot{
		Key: o.key(), State: o.state(b.now()), Name: m.Name, Description: m.Description, SizeGiB: m.SizeGiB,
		Volume: backend.Key{Ref: m.Volume, ID: m.Volume}, Project: m.Project, CreatedAt: m.CreatedAt,
		Held: m.Held,
	}
}

// setStatusLocked changes the status; the caller holds Backend.mu.
func (b *Backend) setStatusLocked(o *object, s backend.Status, failure error) {
	o.meta, o.failure = b.withStatus(o.meta, s, failure), failure
}

// withStatus is m with a new status.
func (b *Backend) withStatus(m meta, s backend.Status, failure error) meta {
	m.Status, m.Failure, m.Since = s, "", b.now().UTC()
	if failure != nil {
		m.Failure = failure.Error()
	}
	return m
}

// storedFailure is the failure that meta.json remembers.
func storedFailure(m meta) error {
	if m.Failure == "" {
		return nil
	}
	return &backend.Error{Code: backend.CodeUnavailable, Err: errors.New(m.Failure)}
}

// objectDir is where an object's files lie.
func (b *Backend) objectDir(p location, m meta) string {
	switch p {
	case published:
		return b.path(string(m.Kind), m.Ref)
	case trashed:
		return b.path("trash", m.Ref)
	}
	return b.path("tmp", m.Ref)
}

// indexOf finds objects by ref and lists them in its order. References begin with
// the time they were made, so a new one almost always goes to the end.
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

// lookup looks by ID, then by Ref.
func (x *index) find(k backend.Key) (*object, error) {
	for _, ref := range []string{k.ID, k.Ref} {
		if o := x.byRef[ref]; o != nil {
			return o, nil
		}
	}
	return nil, backend.ErrNotFound
}

// page lists at most limit refs after marker.
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

// list makes one page of a kind; the caller holds no lock.
func list[T any](b *Backend, k kind, marker string, limit int, as func(*object) T) backend.Page[T] {
	b.mu.Lock()
	defer b.mu.Unlock()
	x := b.indexOf(k)
	refs, next := x.page(marker, limit)
	p := backend.Page[T]{Items: make([]T, 0, len(refs)), Next: next}
	for _, ref := range refs {
		p.Items = append(p.Items, as(x.byRef[ref]))
	}
	return p
}

// get finds one object of a kind.
func get[T any](b *Backend, k kind, key backend.Key, as func(*object) T) (T, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.indexOf(k).find(key)
	if err != nil {
		var zero T
		return zero, err
	}
	return as(o), nil
}
