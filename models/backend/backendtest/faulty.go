package backendtest

import (
	"context"
	"sync"
	"time"

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
	backend.Backend

	mu     sync.Mutex
	calls  map[string]int
	faults map[string]map[int]Fault
	down   error
}

var _ backend.Backend = (*Faulty)(nil)

// NewFaulty wraps b; until Inject or Down it only counts.
func NewFaulty(b backend.Backend) *Faulty {
	return &Faulty{Backend: b, calls: map[string]int{}, faults: map[string]map[int]Fault{}}
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

type brokenError struct{ method string }

func (e brokenError) Error() string { return "injected fault in " + e.method }

// through makes one call, broken or not.
func through[T any](f *Faulty, ctx context.Context, method string, call func() (T, error)) (T, error) {
	var zero T
	fault, broken := f.take(method)
	if !broken {
		return call()
	}
	if fault.After {
		if _, err := call(); err != nil {
			return zero, err
		}
	}
	if fault.Entered != nil {
		close(fault.Entered)
	}
	if fault.Hang {
		<-ctx.Done()
		if fault.Err == nil {
			return zero, ctx.Err()
		}
	}
	if fault.Err == nil {
		fault.Err = &backend.Error{Code: backend.CodeUnavailable, Err: brokenError{method}}
	}
	return zero, fault.Err
}

func throughError(f *Faulty, ctx context.Context, method string, call func() error) error {
	_, err := through(f, ctx, method, func() (struct{}, error) { return struct{}{}, call() })
	return err
}

func (f *Faulty) Capabilities(ctx context.Context) (backend.Capabilities, error) {
	return through(f, ctx, "Capabilities", func() (backend.Capabilities, error) { return f.Backend.Capabilities(ctx) })
}

func (f *Faulty) Volumes(ctx context.Context, marker string, limit int) (backend.Page[backend.Volume], error) {
	return through(f, ctx, "Volumes", func() (backend.Page[backend.Volume], error) { return f.Backend.Volumes(ctx, marker, limit) })
}

func (f *Faulty) Snapshots(ctx context.Context, marker string, limit int) (backend.Page[backend.Snapshot], error) {
	return through(f, ctx, "Snapshots", func() (backend.Page[backend.Snapshot], error) { return f.Backend.Snapshots(ctx, marker, limit) })
}

func (f *Faulty) Servers(ctx context.Context, marker string, limit int) (backend.Page[backend.Server], error) {
	return through(f, ctx, "Servers", func() (backend.Page[backend.Server], error) { return f.Backend.Servers(ctx, marker, limit) })
}

func (f *Faulty) Images(ctx context.Context) ([]backend.Image, error) {
	return through(f, ctx, "Images", func() ([]backend.Image, error) { return f.Backend.Images(ctx) })
}

func (f *Faulty) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	return through(f, ctx, "Volume", func() (backend.Volume, error) { return f.Backend.Volume(ctx, key) })
}

func (f *Faulty) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	return through(f, ctx, "Snapshot", func() (backend.Snapshot, error) { return f.Backend.Snapshot(ctx, key) })
}

func (f *Faulty) ChangedVolumes(ctx context.Context, since time.Time) ([]backend.Volume, error) {
	return through(f, ctx, "ChangedVolumes", func() ([]backend.Volume, error) { return f.Backend.ChangedVolumes(ctx, since) })
}

func (f *Faulty) Told(ctx context.Context, subject backend.Subject, key backend.Key, since time.Time) error {
	return throughError(f, ctx, "Told", func() error { return f.Backend.Told(ctx, subject, key, since) })
}

func (f *Faulty) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	return through(f, ctx, "CreateVolume", func() (backend.Volume, error) { return f.Backend.CreateVolume(ctx, spec) })
}

func (f *Faulty) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	return through(f, ctx, "CreateSnapshot", func() (backend.Snapshot, error) { return f.Backend.CreateSnapshot(ctx, spec) })
}

func (f *Faulty) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	return throughError(f, ctx, "RenameVolume", func() error { return f.Backend.RenameVolume(ctx, key, name, description) })
}

func (f *Faulty) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	return throughError(f, ctx, "RenameSnapshot", func() error { return f.Backend.RenameSnapshot(ctx, key, name, description) })
}

func (f *Faulty) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	return throughError(f, ctx, "ExtendVolume", func() error { return f.Backend.ExtendVolume(ctx, key, sizeGiB) })
}

func (f *Faulty) DeleteVolume(ctx context.Context, key backend.Key) error {
	return throughError(f, ctx, "DeleteVolume", func() error { return f.Backend.DeleteVolume(ctx, key) })
}

func (f *Faulty) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	return throughError(f, ctx, "DeleteSnapshot", func() error { return f.Backend.DeleteSnapshot(ctx, key) })
}

func (f *Faulty) RevertVolume(ctx context.Context, volume, snapshot backend.Key) error {
	return throughError(f, ctx, "RevertVolume", func() error { return f.Backend.RevertVolume(ctx, volume, snapshot) })
}

func (f *Faulty) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	return throughError(f, ctx, "AttachVolume", func() error { return f.Backend.AttachVolume(ctx, key, serverID) })
}

func (f *Faulty) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	return throughError(f, ctx, "DetachVolume", func() error { return f.Backend.DetachVolume(ctx, key, serverID, force) })
}

func (f *Faulty) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	return throughError(f, ctx, "RepairVolume", func() error { return f.Backend.RepairVolume(ctx, key, to) })
}

func (f *Faulty) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	return throughError(f, ctx, "RepairSnapshot", func() error { return f.Backend.RepairSnapshot(ctx, key, to) })
}
