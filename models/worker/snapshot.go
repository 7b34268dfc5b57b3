package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// reconcileSnapshot takes the next step of an operation on a snapshot. An error that it
// returns is not final: the operation is tried again.
func (w *Worker) reconcileSnapshot(ctx context.Context, op *models.Operation) (store.Progress, error) {
	row, err := w.store.Snapshots.SnapshotByID(ctx, op.SubjectID)
	if errors.Is(err, models.ErrNotFound) {
		// Somebody removed the record; there is nothing left to follow.
		return w.failed(op, models.NewFailure("failure.not_found"), nil), nil
	}
	if err != nil {
		return store.Progress{}, err
	}
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	switch op.Kind {
	case models.SnapshotCreate:
		return w.createSnapshot(ctx, op, row, key)
	case models.SnapshotEdit:
		return w.renameSnapshot(ctx, op, row, key)
	case models.SnapshotDelete:
		return w.deleteSnapshot(ctx, op, key)
	case models.SnapshotRepair:
		return w.repairSnapshot(ctx, op, key)
	}
	return w.failed(op, models.NewFailure("failure.unsupported"), nil), nil
}

func (w *Worker) deleteSnapshot(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	var refused error
	if op.Step == 0 {
		refused = w.backend.DeleteSnapshot(ctx, key)
	}
	now, err := w.backend.Snapshot(ctx, key)
	if refused != nil && (err != nil || now.Status != backend.ErrorDeleting) {
		return w.failDelete(ctx, op, refused)
	}
	return w.followDelete(ctx, op, key, mirror.ObserveSnapshot(now), err)
}

// failDelete puts the row back as it was when the backend will not delete it.
func (w *Worker) failDelete(ctx context.Context, op *models.Operation, err error) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	why := w.mirror.FailureWithDependents(ctx, op.SubjectType, err)
	return w.failed(op, why, &store.ObservedState{Status: op.Params.PriorStatus, Percent: backend.PercentUnknown, Failure: why}), nil
}

// followDelete follows a deletion that the backend accepted: it is over when the
// object is not found. One that is AVAILABLE again was refused after all.
func (w *Worker) followDelete(ctx context.Context, op *models.Operation, key backend.Key, o store.ObservedState, err error) (store.Progress, error) {
	if errors.Is(err, backend.ErrNotFound) {
		return w.succeeded(op, &store.ObservedState{Gone: true}), nil
	}
	if err != nil {
		return store.Progress{}, err
	}
	switch o.Status {
	case models.Deleting:
		return w.requeue(op, 1, o.Percent, &o), nil
	case models.ErrorDeleting:
		return w.failAccepted(ctx, op, 1, key, o, o.Failure), nil
	}
	return w.failAccepted(ctx, op, 1, key, o, models.NewFailure("failure.delete_refused")), nil
}

func (w *Worker) repairSnapshot(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	if err := w.backend.RepairSnapshot(ctx, key, op.Params.ResetTo); err != nil {
		return w.failRepair(op, err)
	}
	now, err := w.backend.Snapshot(ctx, key)
	if err != nil {
		return w.failRepair(op, err)
	}
	o := mirror.ObserveSnapshot(now)
	return w.succeeded(op, &o), nil
}

// failRepair: what the backend no longer has is ERROR and can be deleted; what
// it refuses stays as it was, and says why.
func (w *Worker) failRepair(op *models.Operation, err error) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	why := mirror.FailureOf(err)
	if errors.Is(err, backend.ErrNotFound) {
		gone := models.NewFailure("failure.vanished")
		return w.succeeded(op, &store.ObservedState{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: gone}), nil
	}
	return w.failed(op, why, &store.ObservedState{Status: op.Params.PriorStatus, Percent: backend.PercentUnknown, Failure: why}), nil
}
