package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"

	"blockconsole/models/backend"
)

// enter logs a call and takes the lock; the caller unlocks when err is nil.
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

// Capabilities tells what SetCapabilities left.
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

// Volumes lists in the order of creation. A listing is not a look: it finishes
// nothing.
func (f *Fake) Volumes(ctx context.Context, marker string, limit int) (backend.Page[backend.Volume], error) {
	if err := f.enter(ctx, "Volumes", ""); err != nil {
		return backend.Page[backend.Volume]{}, err
	}
	defer f.mu.Unlock()
	return pageOf(only(f.volumes, func(v *fakeVolume) bool { return v.known || !f.late(v.CreatedAt) }), marker, limit, (*fakeVolume).show), nil
}

// Snapshots lists in the order of creation.
func (f *Fake) Snapshots(ctx context.Context, marker string, limit int) (backend.Page[backend.Snapshot], error) {
	if err := f.enter(ctx, "Snapshots", ""); err != nil {
		return backend.Page[backend.Snapshot]{}, err
	}
	defer f.mu.Unlock()
	return pageOf(only(f.snapshots, func(s *fakeSnapshot) bool { return s.known || !f.late(s.CreatedAt) }), marker, limit, (*fakeSnapshot).show), nil
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

func (v *fakeVolume) show() backend.Volume {
	out := v.Volume
	out.Attachments = slices.Clone(out.Attachments)
	return out
}

func (s *fakeSnapshot) show() backend.Snapshot { return s.Snapshot }

// Volume is a look: the second one finishes what is under way.
func (f *Fake) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	if err := f.enter(ctx, "Volume", key.Ref); err != nil {
		return backend.Volume{}, err
	}
	defer f.mu.Unlock()
	if v := f.seeVolume(key); v != nil {
		v.task.look()
	}
	v := f.seeVolume(key)
	if v == nil {
		return backend.Volume{}, backend.ErrNotFound
	}
	return v.show(), nil
}

// Snapshot is a look: the second one finishes what is under way.
func (f *Fake) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	if err := f.enter(ctx, "Snapshot", key.Ref); err != nil {
		return backend.Snapshot{}, err
	}
	defer f.mu.Unlock()
	if s := f.seeSnapshot(key); s != nil {
		s.task.look()
	}
	s := f.seeSnapshot(key)
	if s == nil {
		return backend.Snapshot{}, backend.ErrNotFound
	}
	return s.show(), nil
}

// state is a new state at this moment.
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

// run puts v into status while an operation is under way. finish must set the
// status that it ends in; a failure sets failed.
func (f *Fake) run(v *fakeVolume, method string, during, failed backend.Status, finish func()) {
	before := v.State
	v.State = f.state(during, nil)
	v.task = f.begin(method, v.Ref, func() {
		v.task = nil
		finish()
	}, func(err error) {
		v.task = nil
		v.State = f.failed(v.Key, before, failed, err)
	})
}

func (f *Fake) runSnapshot(s *fakeSnapshot, method string, during, failed backend.Status, finish func()) {
	before := s.State
	s.State = f.state(during, nil)
	s.task = f.begin(method, s.Ref, func() {
		s.task = nil
		finish()
	}, func(err error) {
		s.task = nil
		s.State = f.failed(s.Key, before, failed, err)
	})
}

// failed is the state in which a failure leaves an object.
func (f *Fake) failed(key backend.Key, before backend.State, failed backend.Status, err error) backend.State {
	quiet, ok := err.(Quiet)
	if !ok {
		return f.state(failed, err)
	}
	f.setLastFailure(cmp.Or(key.Ref, key.ID), quiet.LastFailure)
	if quiet.Back {
		return f.state(before.Status, nil)
	}
	return f.state(failed, nil)
}

// checkQuota answers backend.CodeQuota when asked more of what would be too
// many.
func (f *Fake) checkQuota(what string, used, asked int64) error {
	if limit, ok := f.quota[what]; ok && used+asked > limit {
		return &backend.Error{Code: backend.CodeQuota, What: what, Used: used, Limit: limit, Asked: asked}
	}
	return nil
}

func (f *Fake) gigabytes() int64 {
	var sum int64
	for _, v := range f.volumes {
		sum += int64(v.SizeGiB)
	}
	return sum
}

func (f *Fake) server(id string) *backend.Server {
	for i := range f.servers {
		if f.servers[i].ID == id {
			return &f.servers[i]
		}
	}
	return f.ownServer(id)
}
