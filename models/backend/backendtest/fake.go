// Package backendtest holds what tests need of a backend: a conformance suite that
// every backend passes ([Run]), a backend in memory ([Fake]), one that fails at chosen
// calls ([Faulty]), and a check of doc comments ([MissingDocs]).
package backendtest

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"blockconsole/models/backend"
)

// Fake is a backend in memory. Out of the box it can do everything, has no
// servers, and finishes an operation at the second look at its object: the first
// Volume or Snapshot call still shows CREATING, the second AVAILABLE. Hold puts
// the test in charge of that. It is safe for concurrent use.
type Fake struct {
	mu           sync.Mutex
	now          func() time.Time
	caps         backend.Capabilities
	volumes      map[string]*fakeVolume // by ID
	snapshots    map[string]*fakeSnapshot
	servers      []backend.Server
	images       map[string][]byte
	quota        map[string]int64
	role         string // wanted for a repair
	down         error
	lastID       int
	hold         bool
	failNext     map[string][]error // by method: how the operations it begins end
	failRef      map[string]error   // by ref: how the next operation ends
	failDel      map[string]error   // by ref: how the next deletion ends
	calls        []Call
	exports      exports
	lastFailures map[string]lastFailure // by ref or id
	changes      bool
	lag          time.Duration
}

// Call is one call of the port that a Fake has received.
type Call struct {
	Method string
	Ref    string // Key.Ref or Spec.Ref of the object; empty for listings
	At     time.Time
}

type fakeVolume struct {
	backend.Volume
	data   []byte
	task   *task
	server string // that it is being attached to or detached from
	known  bool   // somebody has looked at it by its id: no lag any more
}

type fakeSnapshot struct {
	backend.Snapshot
	data  []byte
	task  *task
	known bool
}

// task is an operation under way.
type task struct {
	held    bool
	looks   int
	failure error
	finish  func()
	fail    func(error)
}

var _ backend.Backend = (*Fake)(nil)

// NewFake makes an empty backend whose times come from now; nil means the system
// clock.
func NewFake(now func() time.Time) *Fake {
	if now == nil {
		now = time.Now
	}
	return &Fake{
		now: now,
		caps: backend.Capabilities{
			Name: "fake", Attach: true, Revert: true, ExtendAttached: true, Progress: true, Repair: true, Images: true,
			CrashSafe: true, MaxSizeGiB: 16384, FreeBytes: 1 << 44, Poll: []time.Duration{10 * time.Millisecond},
		},
		volumes: map[string]*fakeVolume{}, snapshots: map[string]*fakeSnapshot{}, images: map[string][]byte{}, quota: map[string]int64{},
		failNext: map[string][]error{}, failRef: map[string]error{}, failDel: map[string]error{}, lastFailures: map[string]lastFailure{},
	}
}

// SetCapabilities changes what the backend says it can do, and does.
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

// RemoveServer removes a server as if somebody else had deleted it.
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

// SetQuota limits volumes, snapshots or gigabytes; a negative limit is none.
func (f *Fake) SetQuota(what string, limit int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if limit < 0 {
		delete(f.quota, what)
		return
	}
	f.quota[what] = limit
}

// ForbidRepair lets repairs answer backend.CodeForbidden with role; an empty
// role allows them again.
func (f *Fake) ForbidRepair(role string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.role = role
}

// SetDown lets every call answer backend.CodeUnavailable with err; nil ends it.
func (f *Fake) SetDown(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Hold keeps operations that begin from now on under way until Release, Fail or
// Auto.
func (f *Fake) Hold() { f.setHold(true) }

// Auto goes back to finishing operations at the second look, those that are held
// too.
func (f *Fake) Auto() { f.setHold(false) }

func (f *Fake) setHold(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = on
	if !on {
		f.eachTask(func(t *task) { t.held = false })
	}
}

// Release finishes the operation that is under way with the volume or snapshot
// and reports whether there was one.
func (f *Fake) Release(ref string) bool { return f.end(ref, nil) }

// Settle finishes everything under way that is not held.
func (f *Fake) Settle() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.eachTask(func(t *task) {
		if !t.held {
			t.complete()
		}
	})
}

// SetPercent sets the progress that the object reports while work is under way.
func (f *Fake) SetPercent(ref string, percent int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{Ref: ref}); v != nil {
		v.Percent = percent
	}
	if s := f.findSnapshot(backend.Key{Ref: ref}); s != nil {
		s.Percent = percent
	}
}

// Fail ends the operation under way with the object in failure: a creation,
// extension or revert in ERROR, a deletion in ERROR_DELETING, an attach or
// detach where it began. With nothing under way it is the next operation of that
// ref that will end so, at once or when it is released.
func (f *Fake) Fail(ref string, err error) {
	if f.end(ref, err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failRef[ref] = err
}

// FailNext lets the operation that the next call of method begins end in
// failure. Several calls queue up.
func (f *Fake) FailNext(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failNext[method] = append(f.failNext[method], err)
}

// FailDelete lets the next deletion of the object end in ERROR_DELETING.
func (f *Fake) FailDelete(ref string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failDel[ref] = err
}

func (f *Fake) end(ref string, failure error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	var t *task
	if v := f.findVolume(backend.Key{Ref: ref}); v != nil {
		t = v.task
	}
	if s := f.findSnapshot(backend.Key{Ref: ref}); t == nil && s != nil {
		t = s.task
	}
	if t == nil {
		return false
	}
	if failure != nil {
		t.failure = failure
	}
	t.complete()
	return true
}

// begin makes the task of an operation; the caller keeps it in the object.
func (f *Fake) begin(method, ref string, finish func(), fail func(error)) *task {
	t := &task{held: f.hold, finish: finish, fail: fail}
	if errs := f.failNext[method]; len(errs) > 0 {
		t.failure, f.failNext[method] = errs[0], errs[1:]
	}
	if err, ok := f.failRef[ref]; ok {
		t.failure = err
		delete(f.failRef, ref)
	}
	return t
}

func (t *task) complete() {
	if t.failure != nil {
		t.fail(t.failure)
		return
	}
	t.finish()
}

// look is one look at an object: the second finishes what is under way.
func (t *task) look() {
	if t == nil || t.held {
		return
	}
	if t.looks++; t.looks > 1 {
		t.complete()
	}
}

func (f *Fake) eachTask(do func(*task)) {
	for _, v := range f.volumes {
		if v.task != nil {
			do(v.task)
		}
	}
	for _, s := range f.snapshots {
		if s.task != nil {
			do(s.task)
		}
	}
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

// newID makes ids that look like a cloud's and sort in the order of creation.
func (f *Fake) newID() string {
	f.lastID++
	return fmt.Sprintf("%08d-fa4e-4000-8000-%012d", f.lastID, f.lastID)
}

// findVolume finds by ID, else by Ref; the caller holds the lock.
func (f *Fake) findVolume(k backend.Key) *fakeVolume {
	if v := f.volumes[k.ID]; v != nil {
		return v
	}
	return findRef(f.volumes, k.Ref, func(v *fakeVolume) string { return v.Ref })
}

func (f *Fake) findSnapshot(k backend.Key) *fakeSnapshot {
	if s := f.snapshots[k.ID]; s != nil {
		return s
	}
	return findRef(f.snapshots, k.Ref, func(s *fakeSnapshot) string { return s.Ref })
}

// findRef finds the oldest object with a ref.
func findRef[T any](objects map[string]*T, ref string, refOf func(*T) string) *T {
	if ref == "" {
		return nil
	}
	var oldest string
	for id, o := range objects {
		if refOf(o) == ref && (oldest == "" || id < oldest) {
			oldest = id
		}
	}
	return objects[oldest]
}

// only are the objects that keep.
func only[T any](objects map[string]*T, keep func(*T) bool) map[string]*T {
	kept := map[string]*T{}
	for id, o := range objects {
		if keep(o) {
			kept[id] = o
		}
	}
	return kept
}

// pageOf cuts a page out of objects in the order of their ids.
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
