// Package worker makes the storage follow the records: it carries out the
// operations that clicks have written (queue), asks the backend what is and takes
// the next step (reconcile). It may be killed at any instant; another one goes on.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// Options of New. Zero values are sensible.
type Options struct {
	Log      *slog.Logger
	Parallel int           // number of operations reconciled at once; default 8
	Lease    time.Duration // how long a silent worker keeps an operation; default 30 s
	// Reconciled is called after each reconciliation of an operation, for metrics; may be nil.
	Reconciled func(kind models.Kind, state models.OperationState)
}

// Worker carries out operations. Several may share one database.
type Worker struct {
	store    *store.Store
	backend  backend.Backend
	mirror   *mirror.Mirror
	options  Options
	log      *slog.Logger
	owner    string
	claims   atomic.Int64
	slots    chan struct{}
	inFlight sync.WaitGroup

	mu              sync.Mutex
	unansweredSince map[string]time.Time // since when the backend answers others, but not this operation

	shutdown       context.Context // done when reconciling is cut off
	cancelInFlight context.CancelFunc
}

// New makes a worker on the backend that m mirrors; Run starts it.
func New(m *mirror.Mirror, options Options) *Worker {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Parallel == 0 {
		options.Parallel = 8
	}
	if options.Lease == 0 {
		options.Lease = 30 * time.Second
	}
	w := &Worker{
		store: m.Store, backend: m.Backend, mirror: m, options: options, log: options.Log,
		owner: fmt.Sprintf("%d-%s", os.Getpid(), models.NewID()),
		slots: make(chan struct{}, options.Parallel), unansweredSince: map[string]time.Time{},
	}
	w.shutdown, w.cancelInFlight = context.WithCancel(context.Background())
	return w
}

// maxIdle is the longest time without a look at the queue: other processes on the
// same database do not signal this one.
const maxIdle = time.Second

// Run works until ctx ends, then finishes the reconciliations under way.
func (w *Worker) Run(ctx context.Context) {
	changed, unsubscribe := w.store.Subscribe()
	defer unsubscribe()
	defer w.drain()
	for ctx.Err() == nil {
		wait := maxIdle
		if err := w.dispatchDue(ctx); err == nil {
			wait = w.untilNextDue(ctx)
		} else if ctx.Err() == nil {
			w.log.ErrorContext(ctx, "cannot read the queue", "error", err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// drainTimeout is how long looks under way may take at the end. One that is cut off then
// saves nothing, as if the process had been killed: the next worker goes on.
const drainTimeout = 10 * time.Second

func (w *Worker) drain() {
	timer := time.AfterFunc(drainTimeout, w.cancelInFlight)
	defer timer.Stop()
	w.inFlight.Wait()
}

func (w *Worker) untilNextDue(ctx context.Context) time.Duration {
	next, err := w.store.Queue.NextDue(ctx)
	if err != nil || next.IsZero() {
		return maxIdle
	}
	return min(maxIdle, max(next.Sub(w.store.Now()), time.Millisecond))
}

// dispatchDue starts a look at every operation that is due, as many at once as
// allowed.
func (w *Worker) dispatchDue(ctx context.Context) error {
	for {
		select {
		case w.slots <- struct{}{}:
		case <-ctx.Done():
			return nil
		}
		op, err := w.claim(ctx)
		if err != nil || op == nil {
			<-w.slots
			return err
		}
		w.inFlight.Go(func() {
			defer func() { <-w.slots }()
			// A look that has begun is finished: what it learned must be saved.
			w.process(context.WithoutCancel(ctx), op)
		})
	}
}

// RunDue looks once at every operation that is due now, one after the other, and
// returns how many there were. Tests drive the worker with it.
func (w *Worker) RunDue(ctx context.Context) (int, error) {
	for n := 0; ; n++ {
		op, err := w.claim(ctx)
		if err != nil || op == nil {
			return n, err
		}
		w.process(ctx, op)
	}
}

// claim takes an operation under a name of its own: a look whose lease ran out
// must not save over the next one of the same worker.
func (w *Worker) claim(ctx context.Context) (*models.Operation, error) {
	return w.store.Queue.Claim(ctx, fmt.Sprintf("%s-%d", w.owner, w.claims.Add(1)), w.options.Lease)
}

// process looks at one claimed operation and saves what it found.
func (w *Worker) process(ctx context.Context, op *models.Operation) {
	running, stop := w.heartbeat(ctx, op)
	progress := w.reconcile(running, op)
	stop()
	if w.shutdown.Err() != nil {
		return
	}
	err := w.store.Queue.SaveProgress(ctx, op, progress)
	switch {
	case errors.Is(err, models.ErrLeaseLost):
		w.log.WarnContext(ctx, "operation is another worker's now", "operation", op.ID, "kind", op.Kind)
		return
	case err != nil:
		// The lease runs out and somebody looks again.
		w.log.ErrorContext(ctx, "cannot save what an operation did", "operation", op.ID, "kind", op.Kind, "error", err)
		return
	}
	w.mirror.OperationRan(op, progress)
	if w.options.Reconciled != nil {
		w.options.Reconciled(op.Kind, progress.State)
	}
	if progress.State == models.Failed {
		w.log.WarnContext(ctx, "operation failed", "operation", op.ID, "kind", op.Kind, "subject", op.SubjectID,
			"failure", progress.Failure.Key, "backend_request", progress.RequestID)
	}
}

// heartbeat keeps the lease while a look lasts, and ends the look when another
// worker has it.
func (w *Worker) heartbeat(ctx context.Context, op *models.Operation) (running context.Context, stop func()) {
	running, cancel := context.WithCancel(ctx)
	release := context.AfterFunc(w.shutdown, cancel)
	var done sync.WaitGroup
	done.Go(func() {
		ticker := time.NewTicker(w.options.Lease / 3)
		defer ticker.Stop()
		for {
			select {
			case <-running.Done():
				return
			case <-ticker.C:
			}
			switch err := w.store.Queue.Heartbeat(running, op, w.options.Lease); {
			case errors.Is(err, models.ErrLeaseLost):
				cancel()
			case err != nil && running.Err() == nil:
				w.log.WarnContext(ctx, "cannot prolong the lease of an operation", "operation", op.ID, "error", err)
			}
		}
	})
	return running, func() { release(); cancel(); done.Wait() }
}
