// Package backendtest holds what tests need of a backend: a conformance suite that
// every backend passes ([Run]), a backend in memory ([Fake]), and one that fails at chosen
// calls ([Faulty]).
package backendtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"blockconsole/models/backend"
)

// Fake is a backend in memory. By default it has every capability and no servers,
// and an operation finishes when its object is polled twice: the first Volume or
// Snapshot call still shows CREATING, the second AVAILABLE. After Hold the test
// finishes operations itself. It is safe for concurrent use.
type Fake struct {
	mu           sync.Mutex
	now          func() time.Time
	caps         backend.Capabilities
	volumes      map[string]*fakeVolume // by ID
	snapshots    map[string]*fakeSnapshot
	servers      []backend.Server
	images       map[string][]byte
	quota        map[string]int64
	repairRole   string // that a repair takes; empty: none
	down         error
	lastID       int
	hold         bool
	holdCopies   bool
	failNext     map[string][]error // failures of the next operations, by method
	failNextOf   map[string]error   // failure of the next operation, by ref
	failDelete   map[string]error   // failure of the next deletion, by ref
	calls        []Call
	exports      exports
	lastFailures map[string]lastFailure // by ref or id
	listsChanges bool
	lag          time.Duration
}

// Call is one call of the port that a Fake has received.
type Call struct {
	Method string
	Ref    string // Key.Ref or Spec.Ref of the object; empty for listings
	At     time.Time
}

// object is what is not in the port's types.
type object struct {
	data  []byte
	task  *task // nil: no operation is under way
	known bool  // was read by its ID: SetLag hides it no longer
}

type fakeVolume struct {
	backend.Volume
	object
	server string // that it is being attached to or detached from
}

type fakeSnapshot struct {
	backend.Snapshot
	object
	damage *backend.Error // what checks find
}

// handle is access to what volumes and snapshots have in common.
type handle struct {
	key     backend.Key
	created time.Time
	*backend.State
	*object
}

func (v *fakeVolume) handle() handle   { return handle{v.Key, v.CreatedAt, &v.State, &v.object} }
func (s *fakeSnapshot) handle() handle { return handle{s.Key, s.CreatedAt, &s.State, &s.object} }

// stored is *fakeVolume or *fakeSnapshot.
type stored[T any] interface {
	*T
	handle() handle
}

var _ backend.Backend = (*Fake)(nil)

// NewFake makes an empty backend. Its times come from now; nil: the system clock.
func NewFake(now func() time.Time) *Fake {
	if now == nil {
		now = time.Now
	}
	return &Fake{
		now: now,
		caps: backend.Capabilities{
			Name: "fake", Attach: true, Revert: true, ExtendAttached: true, Progress: true, Repair: true, Checksums: true, Locks: true, Images: true,
			MaxSizeGiB: 16384, FreeBytes: 1 << 44, Poll: []time.Duration{10 * time.Millisecond},
		},
		volumes: map[string]*fakeVolume{}, snapshots: map[string]*fakeSnapshot{}, images: map[string][]byte{}, quota: map[string]int64{},
		failNext: map[string][]error{}, failNextOf: map[string]error{}, failDelete: map[string]error{}, lastFailures: map[string]lastFailure{},
	}
}

// SetCapabilities changes what the backend can do.
func (f *Fake) SetCapabilities(change func(*backend.Capabilities)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.caps)
}

// AddServer adds a server that volumes can be attached to and returns it.
func (f *Fake) AddServer(id, name string) backend.Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := backend.Server{ID: id, Name: name, Status: "ACTIVE", CreatedAt: f.now().UTC()}
	f.servers = append(f.servers, s)
	return s
}

// RemoveServer removes a server out of band.
func (f *Fake) RemoveServer(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.servers = slices.DeleteFunc(f.servers, func(s backend.Server) bool { return s.ID == id })
}

// AddImage adds a raw image.
func (f *Fake) AddImage(id string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.images[id] = slices.Clone(content)
}

// ForbidRepair makes repairs answer CodeForbidden with role; "" allows them again.
func (f *Fake) ForbidRepair(role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.repairRole = role
}

// SetDown makes every call answer CodeUnavailable with err; nil ends it.
func (f *Fake) SetDown(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Calls counts the calls of method so far; an empty method counts all.
func (f *Fake) Calls(method string) int {
	n := 0
	for _, c := range f.CallLog() {
		if method == "" || c.Method == method {
			n++
		}
	}
	return n
}

// CallLog is every call so far, in order.
func (f *Fake) CallLog() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// newID makes IDs that look like a cloud's and sort in the order of creation.
func (f *Fake) newID() string {
	f.lastID++
	return fmt.Sprintf("%08d-fa4e-4000-8000-%012d", f.lastID, f.lastID)
}

// enter logs a call and locks; the caller unlocks when the error is nil.
func (f *Fake) enter(ctx context.Context, method, ref string) error {
	f.mu.Lock()
	f.calls = append(f.calls, Call{Method: method, Ref: ref, At: f.now()})
	err := ctx.Err()
	if err == nil && f.down != nil {
		err = &backend.Error{Code: backend.CodeUnavailable, Err: f.down}
	}
	if err != nil {
		f.mu.Unlock()
	}
	return err
}

// Capabilities includes the quotas of SetQuota.
func (f *Fake) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	if err := f.enter(ctx, "Capabilities", ""); err != nil {
		return backend.Capabilities{}, err
	}
	defer f.mu.Unlock()
	c := f.caps
	c.Poll, c.Types, c.Zones = slices.Clone(c.Poll), slices.Clone(c.Types), slices.Clone(c.Zones)
	c.Quotas, c.Projects = append(slices.Clone(c.Quotas), f.quotas()...), slices.Clone(c.Projects)
	return c, nil
}

func (f *Fake) findVolume(k backend.Key) *fakeVolume { return find(f.volumes, k, nil) }

func (f *Fake) findSnapshot(k backend.Key) *fakeSnapshot { return find(f.snapshots, k, nil) }

// find finds by ID, else the oldest with the Ref that is visible; nil: all are.
func find[T any, P stored[T]](objects map[string]*T, k backend.Key, visible func(handle) bool) *T {
	if o := objects[k.ID]; o != nil {
		return o
	}
	var oldest string
	for id, o := range objects {
		h := P(o).handle()
		if k.Ref != "" && h.key.Ref == k.Ref && (oldest == "" || id < oldest) && (visible == nil || visible(h)) {
			oldest = id
		}
	}
	return objects[oldest]
}

// read finds what the port shows; the caller holds the lock.
func read[T any, P stored[T]](f *Fake, objects map[string]*T, k backend.Key) *T {
	o := find[T, P](objects, k, f.visible)
	if o != nil && P(o).handle().key.ID == k.ID {
		P(o).handle().known = true
	}
	return o
}

// enterObject is enter for a call on one object. Errors: CodeNotFound.
func enterObject[T any, P stored[T]](ctx context.Context, f *Fake, method string, objects map[string]*T, k backend.Key) (*T, error) {
	if err := f.enter(ctx, method, k.Ref); err != nil {
		return nil, err
	}
	if o := read[T, P](f, objects, k); o != nil {
		return o, nil
	}
	f.mu.Unlock()
	return nil, backend.ErrNotFound
}
