package worker

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// failRefused ends an operation whose request the backend refused. The row keeps the
// observed state, or without one gets the status ERROR, and the reason.
func (w *Worker) failRefused(ctx context.Context, op *models.Operation, err error, o *store.ObservedState) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	why := w.mirror.FailureWithDependents(ctx, op.SubjectType, err)
	if o == nil {
		return w.failed(op, why, inStatus(models.ErrorStatus, why)), nil
	}
	return w.failed(op, why, withFailure(*o, why)), nil
}

// maxExplainAttempts is how often LastFailure is tried before an operation ends without
// the backend's reason.
const maxExplainAttempts = 3

// failAccepted ends an operation that the backend had accepted, with step steps done, and
// then did not carry out. Without a reason in the observed state it calls LastFailure; why
// is the reason without an answer to that.
func (w *Worker) failAccepted(ctx context.Context, op *models.Operation, step int, key backend.Key, o store.ObservedState, why models.Failure) store.Progress {
	if !o.Failure.None() && o.Failure.Key != models.FailureUnknown {
		return w.failed(op, why, withFailure(o, why))
	}
	if key.ID == "" {
		key.ID = o.BackendID
	}
	since := time.UnixMicro(op.StartedAt).Truncate(time.Second) // clouds write times in seconds
	reported, requestID, err := w.mirror.LastFailure(ctx, op.SubjectType, key, since)
	if err != nil && op.Attempts < maxExplainAttempts {
		later := w.retryLater(ctx, op, err)
		later.Step = max(later.Step, step)
		return later
	}
	if !reported.None() {
		why = reported
	}
	if requestID != "" {
		o.RequestID = requestID
	}
	return w.failed(op, why, withFailure(o, why))
}

// stateAfterFailure is the state of the row when retryLater gives an operation up: a
// status from which the user can go on.
func (w *Worker) stateAfterFailure(ctx context.Context, op *models.Operation, why models.Failure) *store.ObservedState {
	switch op.Kind {
	case models.VolumeDelete, models.SnapshotDelete:
		return inStatus(models.ErrorDeleting, why)
	case models.VolumeEdit, models.SnapshotEdit:
		return w.restoredName(ctx, op)
	case models.VolumeLock, models.VolumeUnlock, models.SnapshotLock, models.SnapshotUnlock:
		return nil
	case models.VolumeRepair, models.SnapshotRepair, models.VolumeExtend, models.VolumeAttach, models.VolumeDetach,
		models.SnapshotAttach, models.SnapshotDetach:
		return inStatus(op.Params.PriorStatus, why)
	case models.SnapshotCheck:
		return nil // the snapshot is as it was
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step >= models.StepCreated {
			return inStatus(models.Available, models.NewFailure("failure.attach"))
		}
	}
	return inStatus(models.ErrorStatus, why)
}

// inStatus is the state of a row whose object was not observed.
func inStatus(status models.Status, why models.Failure) *store.ObservedState {
	return &store.ObservedState{Status: status, Percent: backend.PercentUnknown, Failure: why}
}

// withFailure is the observed state with another failure, which the backend does not know.
func withFailure(o store.ObservedState, why models.Failure) *store.ObservedState {
	o.Failure, o.Percent = why, backend.PercentUnknown
	return &o
}
