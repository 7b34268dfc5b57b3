package backendtest

import (
	"context"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// CreateSnapshot starts a snapshot of the volume's present bytes, or returns the one
// that has spec.Ref. An attached volume needs spec.Attached and spec.Acknowledged. Its
// instant is taken at once and its bytes are copied later, one snapshot of a volume at a
// time; with the capability Shared, as in a cloud, the instant is known at the end.
func (f *Fake) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	if err := f.enter(ctx, "CreateSnapshot", spec.Ref); err != nil {
		return backend.Snapshot{}, err
	}
	defer f.mu.Unlock()
	if s := read(f, f.snapshots, backend.Key{Ref: spec.Ref}); s != nil {
		return s.show(), nil
	}
	v := f.findVolume(spec.Volume)
	switch {
	case spec.Ref == "":
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "empty"}
	case v == nil:
		return backend.Snapshot{}, backend.ErrNotFound
	case v.Status == backend.InUse && !(spec.Attached && spec.Acknowledged):
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached and nobody accepted the risk"}
	case v.Status != backend.Available && v.Status != backend.InUse:
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	if !f.caps.Shared && f.copying(v) {
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeUnavailable, Why: backend.WhyCopying, RetryAfter: time.Second, Unsent: true}
	}
	if err := f.checkQuota("snapshots", int64(len(f.snapshots)), 1); err != nil {
		return backend.Snapshot{}, err
	}
	s := &fakeSnapshot{object: object{data: slices.Clone(v.data)}, Snapshot: backend.Snapshot{
		Key: backend.Key{Ref: spec.Ref, ID: f.newID()}, Name: spec.Name, Description: spec.Description,
		SizeGiB: v.SizeGiB, Volume: v.Key, Project: spec.Project, CreatedAt: f.now().UTC(), Lock: spec.Lock,
	}}
	if v.Status == backend.InUse {
		s.Held = v.Hold
	}
	if !f.caps.Shared {
		s.TakenAt, s.Consistency = s.CreatedAt, backend.Clean
		if v.Status == backend.InUse {
			s.Consistency = backend.CrashConsistent
		}
	}
	f.snapshots[s.ID] = s
	f.run(s.handle(), "CreateSnapshot", backend.Creating, backend.ErrorStatus, func() {
		s.State, s.TakenAt = f.state(backend.Available, nil), s.CreatedAt
	})
	s.task.held = s.task.held || f.holdCopies
	return s.show(), nil
}

// copying reports whether a snapshot of the volume is being copied.
func (f *Fake) copying(v *fakeVolume) bool {
	for _, s := range f.snapshots {
		if s.Volume == v.Key && s.Status == backend.Creating {
			return true
		}
	}
	return false
}

// Snapshot counts as a poll, like Volume.
func (f *Fake) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	if err := f.enter(ctx, "Snapshot", key.Ref); err != nil {
		return backend.Snapshot{}, err
	}
	defer f.mu.Unlock()
	if s := read(f, f.snapshots, key); s != nil {
		s.task.poll()
	}
	s := read(f, f.snapshots, key)
	if s == nil {
		return backend.Snapshot{}, backend.ErrNotFound
	}
	return s.show(), nil
}

func (s *fakeSnapshot) show() backend.Snapshot {
	out := s.Snapshot
	out.Attachments = slices.Clone(out.Attachments)
	return out
}

// CheckSnapshot begins a check, which ends at the second poll after it: with the damage
// of SetDamage.
func (f *Fake) CheckSnapshot(ctx context.Context, key backend.Key, renew bool) error {
	s, err := enterObject(ctx, f, "CheckSnapshot", f.snapshots, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	switch {
	case !f.caps.Checksums:
		return backend.ErrUnsupported
	case s.Status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyStatus, WhyArg: string(s.Status), Message: "the snapshot is " + string(s.Status)}
	case s.Checks.Running:
		return nil
	}
	s.Checks.Running, s.Checks.Percent, s.Checks.Failure = true, backend.PercentUnknown, nil
	s.task = f.begin("CheckSnapshot", s.Ref, func() {
		s.task, s.Checks.Running, s.Checks.Damage = nil, false, s.damage
		if renew || s.Checks.ComputedAt.IsZero() {
			s.damage, s.Checks = nil, backend.Checks{ComputedAt: f.now().UTC(), Percent: backend.PercentUnknown}
			return
		}
		s.Checks.CheckedAt = f.now().UTC()
	}, func(err error) { s.task, s.Checks.Running, s.Checks.Failure = nil, false, err })
	return nil
}

// RenameSnapshot sets name and description.
func (f *Fake) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	s, err := enterObject(ctx, f, "RenameSnapshot", f.snapshots, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if s.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being deleted"}
	}
	s.Name, s.Description, s.Changed = name, description, f.now().UTC()
	return nil
}

// DeleteSnapshot starts the deletion. With the capability BusySnapshots it is busy
// while volumes made from it exist.
func (f *Fake) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	s, err := enterObject(ctx, f, "DeleteSnapshot", f.snapshots, key)
	if err != nil {
		return ignoreNotFound(err)
	}
	defer f.mu.Unlock()
	switch {
	case s.Status == backend.Deleting:
		return nil
	case len(s.Attachments) > 0:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is attached"}
	case s.Status != backend.Available && s.Status != backend.ErrorStatus:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is " + string(s.Status)}
	}
	var busy []backend.Key
	for _, v := range pageOf(f.volumes, "", len(f.volumes)+1, (*fakeVolume).show).Items {
		if v.Source != nil && v.Source.ID == s.ID && (f.caps.BusySnapshots || v.Status == backend.Creating) {
			busy = append(busy, v.Key)
		}
	}
	if len(busy) > 0 {
		return &backend.Error{Code: backend.CodeBusy, Dependents: busy}
	}
	f.run(s.handle(), "DeleteSnapshot", backend.Deleting, backend.ErrorDeleting, func() { delete(f.snapshots, s.ID) })
	f.failDeletion(s.task, s.Ref)
	return nil
}

// SetLock keeps the lock.
func (f *Fake) SetLock(ctx context.Context, subject backend.SubjectType, key backend.Key, lock backend.Lock) error {
	if err := f.enter(ctx, "SetLock", key.Ref); err != nil {
		return err
	}
	defer f.mu.Unlock()
	var state backend.State
	var kept *backend.Lock
	if s := read(f, f.snapshots, key); s != nil && subject == backend.SubjectSnapshot {
		state, kept = s.State, &s.Lock
	}
	if v := read(f, f.volumes, key); v != nil && subject == backend.SubjectVolume {
		state, kept = v.State, &v.Lock
	}
	switch {
	case !f.caps.Locks:
		return backend.ErrUnsupported
	case kept == nil:
		return backend.ErrNotFound
	case state.Status == backend.Deleting:
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being deleted"}
	}
	*kept = lock
	return nil
}

// RepairSnapshot sets the status.
func (f *Fake) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	s, err := enterObject(ctx, f, "RepairSnapshot", f.snapshots, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if err := f.checkRepair(to); err != nil {
		return err
	}
	s.State, s.task = f.state(to, nil), nil
	return nil
}
