package worker

import (
	"context"

	"blockconsole/models"
)

// ReconcileAndDie is RunOne by a worker that dies before it saves the progress.
func (w *Worker) ReconcileAndDie(ctx context.Context) (*models.Operation, error) {
	op, err := w.claim(ctx)
	if err != nil || op == nil {
		return nil, err
	}
	w.reconcile(ctx, op)
	return op, nil
}

// CancelInFlight cancels the reconciliations in flight, as Run does after drainTimeout.
func (w *Worker) CancelInFlight() { w.cancelInFlight() }
