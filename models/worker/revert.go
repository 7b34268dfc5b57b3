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

// timestampResolution is how exactly clouds write times: what changed so recently may change
// once more without showing it.
const timestampResolution = 2 * time.Second

// revertVolume puts the bytes of a snapshot back. It is asked for once: a second
// time might destroy what was written after the first.
func (w *Worker) revertVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	if op.Step == 0 {
		progress, err := w.requestRevert(ctx, op, key)
		if err != nil {
			return store.Progress{}, err
		}
		if progress != nil {
			return *progress, nil
		}
	}
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.failRefused(ctx, op, err, backend.Volume{})
	}
	return w.followRevert(ctx, op, key, w.mirror.Observe(ctx, now)), nil
}

// followRevert follows a revert that the backend accepted.
func (w *Worker) followRevert(ctx context.Context, op *models.Operation, key backend.Key, o store.ObservedState) store.Progress {
	switch o.Status {
	case models.Available:
		return w.succeeded(op, &o)
	case models.ErrorStatus:
		return w.failAccepted(ctx, op, 1, key, o, o.Failure)
	}
	o.Status = models.Restoring
	return w.requeue(op, 1, o.Percent, &o)
}

// requestRevert asks for the revert, unless it may have been asked for already. Nil
// and no error: the backend has accepted it.
func (w *Worker) requestRevert(ctx context.Context, op *models.Operation, key backend.Key) (*store.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return progressOf(w.failRefused(ctx, op, err, backend.Volume{}))
	}
	source, err := w.store.Snapshots.SnapshotByID(ctx, op.Params.SnapshotID)
	if errors.Is(err, models.ErrNotFound) {
		return progressOf(w.failRefused(ctx, op, backend.ErrNotFound, now))
	}
	if err != nil {
		return nil, err
	}
	snapshotKey := backend.Key{Ref: source.ID, ID: source.BackendID}
	if w.mirror.Capabilities().Shared { // others may write between one try and the next
		snapshot, err := w.backend.Snapshot(ctx, snapshotKey)
		if err != nil {
			return progressOf(w.failRefused(ctx, op, err, now))
		}
		if wait, err := w.prepareRevert(ctx, op, key, now, snapshot); wait != nil || err != nil {
			return wait, err
		}
	}
	if err := w.backend.RevertVolume(ctx, key, snapshotKey); err != nil {
		return progressOf(w.failRefused(ctx, op, err, now))
	}
	return nil, nil
}

func progressOf(p store.Progress, err error) (*store.Progress, error) { return &p, err }

// prepareRevert says what to do instead of asking for the revert; nil: it may be
// asked for. After an answer was lost, what changed since tells whether it arrived:
// a revert changes the volume and its snapshot, whoever writes changes the volume
// alone.
func (w *Worker) prepareRevert(ctx context.Context, op *models.Operation, key backend.Key, volume backend.Volume, snapshot backend.Snapshot) (*store.Progress, error) {
	o := w.mirror.Observe(ctx, volume)
	if op.CalledAt > 0 {
		volumeIs, snapshotIs := models.Micros(volume.Changed), models.Micros(snapshot.Changed)
		known := !slices.Contains([]int64{op.Params.VolumeChanged, op.Params.SnapshotChanged, volumeIs, snapshotIs}, 0)
		same := known && op.Params.VolumeChanged == volumeIs
		happened := known && !same && op.Params.SnapshotChanged != snapshotIs
		switch {
		case o.Status == models.Restoring, snapshot.Status == backend.Restoring:
			o.Status = models.Restoring
			next := w.requeue(op, 1, o.Percent, &o)
			return &next, nil
		case o.Status == models.ErrorStatus, o.Status == models.Available && happened:
			over := w.followRevert(ctx, op, key, o)
			return &over, nil
		case o.Status != models.Available || !same:
			why := models.NewFailure("failure.revert_unknown")
			unknown := w.failed(op, why, withStatus(o, o.Status, why))
			return &unknown, nil
		}
		if wait := w.awaitSettle(op); wait != nil {
			return wait, nil
		}
	}
	if age := w.store.Now().Sub(volume.Changed); age > -timestampResolution && age < timestampResolution {
		next := w.requeue(op, 0, backend.PercentUnknown, nil)
		next.RunAt = w.store.Now().Add(timestampResolution)
		return &next, nil
	}
	op.Params.VolumeChanged, op.Params.SnapshotChanged = models.Micros(volume.Changed), models.Micros(snapshot.Changed)
	return nil, w.store.Queue.RecordCall(ctx, op)
}
