package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// deleteSubject requests the deletion and follows it: it has succeeded when the object is
// not found. A status such as AVAILABLE means that the backend refused it after all.
func (w *Worker) deleteSubject(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	var refused error
	if op.Step == 0 {
		if p := w.refuseLocked(op, s); p != nil {
			return *p, nil
		}
		refused = s.delete(ctx)
	}
	o, err := s.observe(ctx)
	switch {
	case refused != nil && (err != nil || o.Status != models.ErrorDeleting):
		return w.failDelete(ctx, op, refused)
	case errors.Is(err, backend.ErrNotFound):
		return w.succeeded(op, &store.ObservedState{Gone: true}), nil
	case err != nil:
		return store.Progress{}, err
	case o.Status == models.Deleting:
		return w.requeue(op, 1, o.Percent, &o), nil
	case o.Status == models.ErrorDeleting:
		return w.failAccepted(ctx, op, 1, s.key, o, o.Failure), nil
	}
	return w.failAccepted(ctx, op, 1, s.key, o, models.NewFailure("failure.delete_refused")), nil
}

// failDelete restores the row's status when the backend refuses the deletion.
func (w *Worker) failDelete(ctx context.Context, op *models.Operation, err error) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	why := w.mirror.FailureWithDependents(ctx, op.SubjectType, err)
	return w.failed(op, why, inStatus(op.Params.PriorStatus, why)), nil
}
