package worker

import (
	"context"

	"blockconsole/models"
	"blockconsole/models/store"
)

// reconcile asks the backend what is and takes the next step.
func (w *Worker) reconcile(ctx context.Context, op *models.Operation) store.Progress {
	if err := w.mirror.EnsureCapabilities(ctx); err != nil {
		return w.retryLater(ctx, op, err)
	}
	var progress store.Progress
	var err error
	if op.SubjectType == models.SubjectSnapshot {
		progress, err = w.reconcileSnapshot(ctx, op)
	} else {
		progress, err = w.reconcileVolume(ctx, op)
	}
	if err != nil {
		return w.retryLater(ctx, op, err)
	}
	w.clearStalled(op)
	return progress
}
