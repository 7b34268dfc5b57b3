package worker

import (
	"context"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// checkSnapshot has a snapshot's bytes compared with its checksums. The backend forgets
// checks when it ends, so the call is repeated until there is a result newer than before
// the first. A result that is damage ends the operation as failed, for somebody to see.
func (w *Worker) checkSnapshot(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	sn, err := w.backend.Snapshot(ctx, s.key)
	if err != nil {
		return w.failCheck(op, err)
	}
	o, checks := w.mirror.ObserveSnapshot(ctx, sn), sn.Checks
	switch {
	case checks.Running:
		return w.requeue(op, 0, checks.Percent, nil), nil
	case op.CalledAt == 0:
		op.Params.ComputedAt, op.Params.CheckedAt = o.Checks.ChecksummedAt, o.Checks.CheckedAt
		if err := w.store.Queue.RecordCall(ctx, op); err != nil {
			return store.Progress{}, err
		}
	case o.Checks.ChecksummedAt != op.Params.ComputedAt || o.Checks.CheckedAt != op.Params.CheckedAt:
		if !o.Checks.Damage.None() {
			return w.failed(op, o.Checks.Damage, &o), nil
		}
		return w.succeeded(op, &o), nil
	case checks.Failure != nil:
		return w.failCheck(op, checks.Failure)
	}
	if err := w.backend.CheckSnapshot(ctx, s.key, op.Params.Renew); err != nil {
		return w.failCheck(op, err)
	}
	return w.requeue(op, 0, backend.PercentUnknown, nil), nil
}

// failCheck ends a check that the backend refuses or cannot carry out. The row stays as
// it is.
func (w *Worker) failCheck(op *models.Operation, err error) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	return w.failed(op, mirror.FailureOf(err), nil), nil
}
