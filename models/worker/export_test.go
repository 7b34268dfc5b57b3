package worker

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
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

// Refresh asks for what is small.
func (w *Worker) Refresh(ctx context.Context) error { return w.syncInventory(ctx) }

// ReadDue reads what is due to be read, as Run would, and says when something is
// again.
func (w *Worker) ReadDue(ctx context.Context) time.Time {
	return w.runDueTasks(ctx, w.resync, w.inventory, w.quotas, w.delta, w.poll, w.prune)
}

// StopReading gives the lease of reading back, as the end of Run does.
func (w *Worker) StopReading(ctx context.Context) error {
	return w.store.ResignLeadership(ctx, w.owner)
}

// Follow lets the worker follow an object, as a listing that shows it in
// transition does, and LookAlone looks at it.
func (w *Worker) Follow(ctx context.Context, kind models.SubjectType, id string) error {
	row, err := w.fetch(ctx, kind, id)
	if err != nil {
		return err
	}
	_, err = w.apply(ctx, kind, []store.ObservedObject{row}, w.store.Now(), true)
	return err
}

// LookAlone: see Follow.
func (w *Worker) LookAlone(ctx context.Context, id string) error { return w.pollOne(ctx, id) }

// CutOff ends the looks under way, as Run does some time after its context.
func (w *Worker) CutOff() { w.cancelInFlight() }
