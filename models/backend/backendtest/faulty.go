package backendtest

import (
	"cmp"
	"context"
	"errors"
	"sync"

	"blockconsole/models/backend"
)

// Fault is how a call fails.
type Fault struct {
	Err     error           // the answer; nil: CodeUnavailable, or with Hang the context's error
	After   bool            // the call takes effect first, only its answer is lost
	Hang    bool            // there is no answer until the caller's context ends
	Entered chan<- struct{} // is closed when the call meets the fault; may be nil
}

// Faulty injects faults into chosen calls of a backend. It is safe for concurrent use.
type Faulty struct {
	backend.Backend // with faults

	mu     sync.Mutex
	calls  map[string]int
	faults map[string]map[int]Fault
	down   error
}

var _ backend.Backend = (*Faulty)(nil)

// NewFaulty wraps b. Until Inject or Down it only counts calls.
func NewFaulty(b backend.Backend) *Faulty {
	f := &Faulty{calls: map[string]int{}, faults: map[string]map[int]Fault{}}
	f.Backend = backend.Intercept(b, f.intercept)
	return f
}

// Inject makes the n-th call of method from now on fail; 1 is the next.
func (f *Faulty) Inject(method string, n int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.faults[method] == nil {
		f.faults[method] = map[int]Fault{}
	}
	f.faults[method][f.calls[method]+n] = fault
}

// Down makes every call answer CodeUnavailable with err, without effect; nil ends it.
func (f *Faulty) Down(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = err
}

// Calls counts the calls of method so far, failed ones included.
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

// intercept makes one call with its fault, if any.
func (f *Faulty) intercept(ctx context.Context, method string, call func(context.Context) error) error {
	fault, ok := f.take(method)
	if !ok {
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
