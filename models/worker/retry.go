package worker

import (
	"context"
	"errors"
	"slices"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// maxAttempts is how often an operation is tried that meets errors without a code. While
// the backend does not answer there is no limit (but see stalled): of these attempts only
// countedUnanswered count, so that some are left for other errors.
const (
	maxAttempts       = 8
	countedUnanswered = 6
)

// retryLater is the progress of an operation after an error that is not final: it is tried
// again after a backoff, or fails after maxAttempts.
func (w *Worker) retryLater(ctx context.Context, op *models.Operation, err error) store.Progress {
	w.log.WarnContext(ctx, "operation met an error", "operation", op.ID, "kind", op.Kind, "subject", op.SubjectID,
		"attempt", op.Attempts+1, "error", err)
	failure := mirror.FailureOf(err)
	var identity *models.IdentityError
	unavailable := backend.AsError(err, backend.CodeUnavailable)
	unanswered := unavailable != nil || errors.As(err, &identity)
	if !unanswered && op.Attempts+1 >= maxAttempts || unanswered && w.stalled(ctx, op) {
		w.clearStalled(op)
		return w.failed(op, failure, w.stateAfterFailure(ctx, op, failure))
	}
	wait := mirror.Backoff(op.Attempts)
	if unavailable != nil {
		wait = max(wait, unavailable.RetryAfter)
	}
	return store.Progress{State: models.Running, RunAt: w.store.Now().Add(wait), Step: op.Step, Percent: op.Percent,
		Failure: failure, CountAttempt: !unanswered || op.Attempts < countedUnanswered}
}

// unrepairable are the kinds of operations that an administrator cannot end by a repair of
// the object. They block their lane.
var unrepairable = []models.Kind{models.VolumeExtend, models.VolumeRevert, models.VolumeEdit, models.SnapshotEdit,
	models.VolumeLock, models.VolumeUnlock, models.SnapshotLock, models.SnapshotUnlock}

// stalled reports whether the backend has answered resyncs, but not this operation, for
// models.StuckAfter: something is wrong with the object, and the operation would never end.
func (w *Worker) stalled(ctx context.Context, op *models.Operation) bool {
	if !slices.Contains(unrepairable, op.Kind) {
		return false
	}
	healthy, err := w.store.Sync.SyncHealthy(ctx)
	now := w.store.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || !healthy {
		delete(w.unansweredSince, op.ID)
		return false
	}
	since, ok := w.unansweredSince[op.ID]
	if !ok {
		w.unansweredSince[op.ID] = now
		return false
	}
	return now.Sub(since) >= models.StuckAfter
}

func (w *Worker) clearStalled(op *models.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unansweredSince, op.ID)
}
