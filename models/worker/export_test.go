package worker

import (
	"context"

	"blockconsole/models"
)

// Look claims one operation that is due, looks at it once and saves what it found;
// nil when none is due.
func (w *Worker) Look(ctx context.Context) (*models.Operation, error) {
	op, err := w.claim(ctx)
	if err != nil || op == nil {
		return nil, err
	}
	w.process(ctx, op)
	return op, nil
}

// LookAndDie is Look by a worker that dies before it saves.
func (w *Worker) LookAndDie(ctx context.Context) (*models.Operation, error) {
	op, err := w.claim(ctx)
	if err != nil || op == nil {
		return nil, err
	}
	w.reconcile(ctx, op)
	return op, nil
}

// CutOff ends the looks under way, as Run does some time after its context.
func (w *Worker) CutOff() { w.cancelInFlight() }
