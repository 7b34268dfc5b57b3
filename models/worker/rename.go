package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// rename renames the object. When the backend refuses, the row gets the old name back.
func (w *Worker) rename(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	err := s.rename(ctx, op.Params.Name, op.Params.Description)
	switch {
	case err == nil:
		return w.succeeded(op, nil), nil
	case errors.Is(err, backend.ErrNotFound) && s.snapshot != nil && s.snapshot.Status == models.Creating:
		return w.requeue(op, 0, backend.PercentUnknown, nil), nil // its creation waits in the lane of its volume
	case !mirror.Permanent(err):
		return store.Progress{}, err
	}
	return w.failed(op, w.mirror.FailureWithDependents(ctx, op.SubjectType, err), w.restoredName(ctx, op)), nil
}

// restoredName gives the row the name of its object, or when the backend does not answer
// the one before the edit; nil when the row was edited again.
func (w *Worker) restoredName(ctx context.Context, op *models.Operation) *store.ObservedState {
	s, err := w.loadSubject(ctx, op)
	if err != nil {
		return nil
	}
	var name, description string
	if s.snapshot != nil {
		name, description = s.snapshot.Name, s.snapshot.Description
	} else {
		name, description = s.volume.Name, s.volume.Description
	}
	if name != op.Params.Name || description != op.Params.Description {
		return nil
	}
	if name, description, err = s.getName(ctx); err != nil {
		name, description = op.Params.OldName, op.Params.OldDescription
	}
	return &store.ObservedState{Name: &name, Description: &description}
}
