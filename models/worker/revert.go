package worker

import (
	"context"
	"errors"
	"slices"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// timestampResolution is that of a cloud: an object that changed less long ago may change
// again without another timestamp.
const timestampResolution = 2 * time.Second

// revertVolume restores the bytes of a snapshot. The call is made once: a second one might
// destroy what was written after the first.
func (w *Worker) revertVolume(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	if op.Step == 0 && op.CalledAt == 0 {
		if p := w.refuseLocked(op, s); p != nil {
			return *p, nil
		}
	}
	if op.Step == 0 {
		p, err := w.requestRevert(ctx, op, s)
		if err != nil {
			return store.Progress{}, err
		}
		if p != nil {
			return *p, nil
		}
	}
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	return w.followRevert(ctx, op, s, o), nil
}

// followRevert is the progress of a revert that the backend has accepted.
func (w *Worker) followRevert(ctx context.Context, op *models.Operation, s *subject, o store.ObservedState) store.Progress {
	switch o.Status {
	case models.Available:
		return w.succeeded(op, &o)
	case models.ErrorStatus:
		return w.failAccepted(ctx, op, 1, s.key, o, o.Failure)
	}
	o.Status = models.Restoring
	return w.requeue(op, 1, o.Percent, &o)
}

// requestRevert calls RevertVolume unless an earlier call may have had an effect. A
// progress that is not nil is to be saved instead of following the revert.
func (w *Worker) requestRevert(ctx context.Context, op *models.Operation, s *subject) (*store.Progress, error) {
	volume, err := w.backend.Volume(ctx, s.key)
	if err != nil {
		return progressOf(w.failRefused(ctx, op, err, nil))
	}
	o := w.mirror.Observe(ctx, volume)
	source, err := w.store.Snapshots.SnapshotByID(ctx, op.Params.SnapshotID)
	if errors.Is(err, models.ErrNotFound) {
		return progressOf(w.failRefused(ctx, op, backend.ErrNotFound, &o))
	}
	if err != nil {
		return nil, err
	}
	snapshotKey := backend.Key{Ref: source.ID, ID: source.BackendID}
	if w.mirror.Capabilities().Shared { // others may write to the volume between two attempts
		snapshot, err := w.backend.Snapshot(ctx, snapshotKey)
		if err != nil {
			return progressOf(w.failRefused(ctx, op, err, &o))
		}
		if p, err := w.prepareRevert(ctx, op, s, o, volume.Changed, snapshot); p != nil || err != nil {
			return p, err
		}
	}
	if err := w.backend.RevertVolume(ctx, s.key, snapshotKey); err != nil {
		return progressOf(w.failRefused(ctx, op, err, &o))
	}
	return nil, nil
}

func progressOf(p store.Progress, err error) (*store.Progress, error) { return &p, err }

// prepareRevert records the call of RevertVolume, or returns what to save instead of
// calling it. When the response of an earlier call was lost, the timestamps tell whether
// it had an effect: a revert changes the volume and the snapshot, a write only the volume.
func (w *Worker) prepareRevert(ctx context.Context, op *models.Operation, s *subject, o store.ObservedState, changed time.Time, snapshot backend.Snapshot) (*store.Progress, error) {
	volumeChanged, snapshotChanged := models.Micros(changed), models.Micros(snapshot.Changed)
	if op.CalledAt > 0 {
		known := !slices.Contains([]int64{op.Params.VolumeChanged, op.Params.SnapshotChanged, volumeChanged, snapshotChanged}, 0)
		unchanged := known && op.Params.VolumeChanged == volumeChanged
		reverted := known && !unchanged && op.Params.SnapshotChanged != snapshotChanged
		switch {
		case o.Status == models.Restoring, snapshot.Status == backend.Restoring:
			o.Status = models.Restoring
			p := w.requeue(op, 1, o.Percent, &o)
			return &p, nil
		case o.Status == models.ErrorStatus, o.Status == models.Available && reverted:
			p := w.followRevert(ctx, op, s, o)
			return &p, nil
		case o.Status != models.Available || !unchanged:
			why := models.NewFailure("failure.revert_unknown")
			p := w.failed(op, why, withFailure(o, why))
			return &p, nil
		}
		if p := w.awaitSettle(op); p != nil {
			return p, nil
		}
	}
	if age := w.store.Now().Sub(changed).Abs(); age < timestampResolution {
		p := w.requeue(op, 0, backend.PercentUnknown, nil)
		p.RunAt = w.store.Now().Add(timestampResolution)
		return &p, nil
	}
	op.Params.VolumeChanged, op.Params.SnapshotChanged = volumeChanged, snapshotChanged
	return nil, w.store.Queue.RecordCall(ctx, op)
}
