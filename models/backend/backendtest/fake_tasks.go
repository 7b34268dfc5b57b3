package backendtest

import (
	"cmp"
	"errors"
	"fmt"

	"blockconsole/models/backend"
)

// task is an operation under way.
type task struct {
	held    bool
	polls   int
	failure error
	finish  func()
	fail    func(error)
}

// Hold keeps operations that begin from now on under way until Release, Fail or
// Auto.
func (f *Fake) Hold() { f.setHold(true) }

// HoldCopies keeps snapshots that begin from now on CREATING, their instant being taken,
// until Release, Fail or Auto.
func (f *Fake) HoldCopies() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holdCopies = true
}

// Auto ends Hold and HoldCopies: operations, also held ones, finish at the second poll again.
func (f *Fake) Auto() { f.setHold(false) }

func (f *Fake) setHold(on bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hold = on
	if !on {
		f.holdCopies = false
		f.eachTask(func(t *task) { t.held = false })
	}
}

// Release finishes the operation under way on a volume or snapshot and reports
// whether there was one.
func (f *Fake) Release(ref string) bool { return f.endTask(ref, nil) }

// Settle finishes all operations that are not held.
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

// Fail ends the operation under way with err: a create, extend or revert leaves the
// object in ERROR, a deletion in ERROR_DELETING, an attach or detach in the status
// before it. If none is under way, the next operation of that ref fails so.
func (f *Fake) Fail(ref string, err error) {
	if f.endTask(ref, err) {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failNextOf[ref] = err
}

// FailNext makes the operation fail that the next call of method begins. Several
// calls queue up.
func (f *Fake) FailNext(method string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failNext[method] = append(f.failNext[method], err)
}

// FailDelete makes the next deletion of the object end in ERROR_DELETING.
func (f *Fake) FailDelete(ref string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failDelete[ref] = err
}

func (f *Fake) failDeletion(t *task, ref string) {
	if err, ok := f.failDelete[ref]; ok {
		t.failure = err
		delete(f.failDelete, ref)
	}
}

func (f *Fake) endTask(ref string, failure error) bool {
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

// SilentFailure is a failure that the object does not explain, as in a cloud; for
// Fail, FailNext and FailDelete.
type SilentFailure struct {
	RolledBack  bool  // the object gets its old status back; else it is in error without a reason
	LastFailure error // of Fake.LastFailure; nil: none
}

func (q SilentFailure) Error() string { return "a failure that the object does not explain" }

// begin makes the task of an operation.
func (f *Fake) begin(method, ref string, finish func(), fail func(error)) *task {
	t := &task{held: f.hold, finish: finish, fail: fail}
	if errs := f.failNext[method]; len(errs) > 0 {
		t.failure, f.failNext[method] = errs[0], errs[1:]
	}
	if err, ok := f.failNextOf[ref]; ok {
		t.failure = err
		delete(f.failNextOf, ref)
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

// poll counts a read of the object; the second one finishes the task.
func (t *task) poll() {
	if t == nil || t.held {
		return
	}
	if t.polls++; t.polls > 1 {
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

// state is a new state that begins now.
func (f *Fake) state(s backend.Status, failure error) backend.State {
	percent := backend.PercentUnknown
	switch {
	case s == backend.Available || s == backend.InUse:
		percent = 100
	case s == backend.Creating && f.caps.Progress:
		percent = 0
	}
	return backend.State{Status: s, Percent: percent, Failure: failure, RequestID: fmt.Sprintf("req-%d", len(f.calls)), Since: f.now().UTC(), Changed: f.now().UTC()}
}

// run begins an operation: the status is during until finish sets the final one. A
// failure sets failed.
func (f *Fake) run(h handle, method string, during, failed backend.Status, finish func()) {
	before := *h.State
	*h.State = f.state(during, nil)
	h.task = f.begin(method, h.key.Ref, func() {
		h.task = nil
		finish()
	}, func(err error) {
		h.task = nil
		*h.State = f.failed(h.key, before, failed, err)
	})
}

// failed is the state of an object after a failure.
func (f *Fake) failed(key backend.Key, before backend.State, failed backend.Status, err error) backend.State {
	var quiet SilentFailure
	if !errors.As(err, &quiet) {
		return f.state(failed, err)
	}
	f.setLastFailure(cmp.Or(key.Ref, key.ID), quiet.LastFailure)
	if quiet.RolledBack {
		return f.state(before.Status, nil)
	}
	return f.state(failed, nil)
}
