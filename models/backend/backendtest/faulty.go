package backendtest

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"blockconsole/models/backend"
)

// Fault says how a call goes wrong.
type Fault struct {
	Err     error           // the answer; nil with Hang false means backend.CodeUnavailable
	After   bool            // the call takes effect first, and its answer is lost
	Hang    bool            // nothing is answered until the caller's context ends
	Entered chan<- struct{} // closed when the fault strikes, for tests that must know
}

// Faulty wraps a backend and breaks chosen calls. It is safe for concurrent use.
type Faulty struct {
	backend.Backend // with the faults

	mu     sync.Mutex
	calls  map[string]int
	faults map[string]map[int]Fault
	down   error
}

var _ backend.Backend = (*Faulty)(nil)

// NewFaulty wraps b; until Inject or Down it only counts.
func NewFaulty(b backend.Backend) *Faulty {
	f := &Faulty{calls: map[string]int{}, faults: map[string]map[int]Fault{}}
	f.Backend = backend.Intercept(b, f.intercept)
	return f
}

// Inject breaks the n-th call of method from now on, 1 being the next.
func (f *Faulty) Inject(method string, n int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults[method] == nil {
		f.faults[method] = map[int]Fault{}
	}
	f.faults[method][f.calls[method]+n] = fault
}

// Down lets every call answer backend.CodeUnavailable with err, without
// effect; nil ends it.
func (f *Faulty) Down(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Calls counts the calls of method so far, broken ones included.
func (f *Faulty) Calls(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

// take counts a call and finds its fault.
func (f *Faulty) take(method string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[method]++
	if f.down != nil {
		return Fault{Err: &backend.Error{Code: backend.CodeUnavailable, Err: f.down}}, true
	}
	n := f.calls[method]
	fault, ok := f.faults[method][n]
	delete(f.faults[method], n)
	return fault, ok
}

// intercept makes one call, broken or not.
func (f *Faulty) intercept(ctx context.Context, method string, call func(context.Context) error) error {
	fault, broken := f.take(method)
	if !broken {
		return call(ctx)
	}
	if fault.After {
		if err := call(ctx); err != nil {
			return err
		}
	}
	if fault.Entered != nil {
		close(fault.Entered)
	}
	if fault.Hang {
		<-ctx.Done()
		return cmp.Or(fault.Err, ctx.Err())
	}
	return cmp.Or(fault.Err, error(&backend.Error{Code: backend.CodeUnavailable, Err: errors.New("injected fault in " + method)}))
}
