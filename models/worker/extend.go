package worker

import (
	"context"

	"blockconsole/models"
	"blockconsole/models/store"
)

func (w *Worker) extendVolume(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	o, err := s.observe(ctx)
	if err != nil {
		return w.failRefused(ctx, op, err, nil)
	}
	if op.Step == 0 {
		if err := w.backend.ExtendVolume(ctx, s.key, op.Params.SizeGiB); err != nil {
			return w.failRefused(ctx, op, err, &o)
		}
		if o, err = s.observe(ctx); err != nil {
			return store.Progress{}, err
		}
	}
	switch {
	case o.Status == models.Extending, op.Step > 0 && !o.Status.Settled():
		return w.requeue(op, 1, o.Percent, &o), nil
	case o.SizeGiB >= op.Params.SizeGiB && o.Status != models.ErrorStatus:
		return w.succeeded(op, &o), nil
	}
	why := o.Failure
	if why.None() {
		why = models.NewFailure("failure.extend_refused")
	}
	return w.failAccepted(ctx, op, 1, s.key, o, why), nil
}
