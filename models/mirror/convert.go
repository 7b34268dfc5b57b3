package mirror

import (
	"cmp"
	"context"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// observedState converts what volumes and snapshots have in common.
func observedState(key backend.Key, state backend.State) store.ObservedState {
	o := store.ObservedState{
		BackendID: key.ID, Status: state.Status, Percent: state.Percent, RequestID: state.RequestID,
	}
	if !o.Status.InTransition() {
		o.Percent = backend.PercentUnknown
	}
	switch o.Status {
	case models.ErrorStatus, models.ErrorDeleting:
		o.Failure = FailureOf(state.Failure)
		if o.Failure.None() {
			o.Failure = models.NewFailure(models.FailureUnknown)
		}
	case models.InUse, models.Detaching:
		o.Failure = diskFailure(state.Failure)
	}
	return o
}

// ObserveSnapshot converts the state of a snapshot, and adds its export and the names of
// its servers.
func (m *Mirror) ObserveSnapshot(ctx context.Context, s backend.Snapshot) store.ObservedState {
	o := observedState(s.Key, s.State)
	o.SizeGiB, o.Consistency = s.SizeGiB, s.Consistency
	if taken := backend.Micros(s.TakenAt); taken > 0 {
		o.TakenAt = &taken
	}
	m.observeAttached(ctx, &o, s.Key, s.Attachments)
	if o.Status == models.Available && len(s.Attachments) > 0 {
		o.Failure = diskFailure(s.Failure)
	}
	if held := s.Held.Microseconds(); held > 0 {
		o.Hold = &held
	}
	o.Checks = &models.Checks{ChecksummedAt: models.Micros(s.Checks.ComputedAt), CheckedAt: models.Micros(s.Checks.CheckedAt)}
	if d := s.Checks.Damage; d != nil {
		o.Checks.Damage = FailureOf(d)
	}
	return o
}

func (m *Mirror) volumeObjects(ctx context.Context, volumes []backend.Volume) []store.ObservedObject {
	var objects []store.ObservedObject
	for _, v := range volumes {
		objects = append(objects, m.volumeObject(ctx, v))
	}
	return objects
}

func (m *Mirror) volumeObject(ctx context.Context, v backend.Volume) store.ObservedObject {
	o := store.ObservedObject{
		ID: m.tracker.refOf(v.Key), BackendID: v.ID, Project: m.project(v.Project), Name: v.Name, Description: v.Description, SizeGiB: v.SizeGiB,
		ImageID: v.Image, Type: v.Type, Zone: v.Zone, CreatedAt: v.CreatedAt, Lock: lockOf(v.Lock), ObservedState: m.Observe(ctx, v),
	}
	if v.Source != nil {
		o.Source = eitherID(*v.Source)
	}
	return o
}

func (m *Mirror) snapshotObject(ctx context.Context, s backend.Snapshot) store.ObservedObject {
	return store.ObservedObject{
		ID: m.tracker.refOf(s.Key), BackendID: s.ID, Project: m.project(s.Project), Name: s.Name, Description: s.Description, SizeGiB: s.SizeGiB,
		Source: eitherID(s.Volume), CreatedAt: s.CreatedAt, Lock: lockOf(s.Lock), ObservedState: m.ObserveSnapshot(ctx, s),
	}
}

// lockOf converts a lock that the backend kept.
func lockOf(l backend.Lock) models.Lock {
	return models.Lock{LockedUntil: models.Micros(l.Until), LockReason: l.Reason, LockedBy: l.By, LockedAt: models.Micros(l.At)}
}

func eitherID(key backend.Key) string { return cmp.Or(key.Ref, key.ID) }

// project is an object's project, or that of the options where the backend has none.
func (m *Mirror) project(id string) string { return cmp.Or(id, m.options.Project) }
