package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

func (w *Worker) repair(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	if err := s.repair(ctx, op.Params.ResetTo); err != nil {
		return w.failRepair(op, err)
	}
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRepair(op, err)
	}
	return w.succeeded(op, &o), nil
}

// failRepair gives the row of an object that is gone the status ERROR, so that it can be
// deleted. When the backend refuses the repair, the status stays.
func (w *Worker) failRepair(op *models.Operation, err error) (store.Progress, error) {
	switch {
	case errors.Is(err, backend.ErrNotFound):
		return w.succeeded(op, inStatus(models.ErrorStatus, models.NewFailure("failure.vanished"))), nil
	case !mirror.Permanent(err):
		return store.Progress{}, err
	}
	why := mirror.FailureOf(err)
	return w.failed(op, why, inStatus(op.Params.PriorStatus, why)), nil
}
