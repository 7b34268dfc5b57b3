// Package worker makes the storage follow the records: it claims operations from the
// queue (worker.go), compares the backend's state with what each wants, and takes the
// next step (reconcile.go; a file for each verb). It may be killed at any instant:
// another worker goes on when the lease expires.
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

// Options of New. Zero values are defaults.
type Options struct {
	Log      *slog.Logger
	Parallel int           // number of operations reconciled at once; default 8
	Lease    time.Duration // of an operation, renewed by heartbeats; default 30 seconds
	// Reconciled is called after each reconciliation, for metrics; may be nil.
	Reconciled func(kind models.Kind, state models.OperationState)
}

// Worker carries out operations. Several workers may share one database.
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
	unansweredSince map[string]time.Time // by operation id, see stalled

	shutdown       context.Context // done when reconciliations in flight are cancelled
	cancelInFlight context.CancelFunc
}

// New makes a worker on the backend that m mirrors; call Run.
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

// maxIdle is the longest time between two reads of the queue: other processes on the
// database do not wake this one.
const maxIdle = time.Second

// Run works until ctx ends, then waits for the reconciliations in flight.
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

// drainTimeout is how long Run waits for reconciliations in flight at the end. One that is
// cancelled then saves nothing, as if the process had been killed.
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

// dispatchDue starts a reconciliation of every operation that is due, Options.Parallel at
// once.
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
			w.process(context.WithoutCancel(ctx), op) // its result must be saved
		})
	}
}

// RunDue reconciles every operation that is due, one after the other, and returns the
// number of reconciliations. Tests drive the worker with it. Errors: those of the
// database.
func (w *Worker) RunDue(ctx context.Context) (int, error) {
	for n := 0; ; n++ {
		op, err := w.RunOne(ctx)
		if err != nil || op == nil {
			return n, err
		}
	}
}

// RunOne reconciles the next operation that is due, and returns it as it was claimed; nil
// when none is due. Errors: those of the database.
func (w *Worker) RunOne(ctx context.Context) (*models.Operation, error) {
	op, err := w.claim(ctx)
	if err != nil || op == nil {
		return nil, err
	}
	w.process(ctx, op)
	return op, nil
}

// claim uses a new owner each time: a reconciliation whose lease has expired must not
// save its result over that of a later one of the same worker.
func (w *Worker) claim(ctx context.Context) (*models.Operation, error) {
	return w.store.Queue.Claim(ctx, fmt.Sprintf("%s-%d", w.owner, w.claims.Add(1)), w.options.Lease)
}

// process reconciles a claimed operation and saves its progress.
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
		w.log.WarnContext(ctx, "lease of an operation lost", "operation", op.ID, "kind", op.Kind)
		return
	case err != nil:
		// When the lease expires, the operation is claimed again.
		w.log.ErrorContext(ctx, "cannot save the progress of an operation", "operation", op.ID, "kind", op.Kind, "error", err)
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

// heartbeat renews the lease until stop, and cancels the reconciliation when the lease is
// lost.
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
				w.log.WarnContext(ctx, "cannot renew the lease of an operation", "operation", op.ID, "error", err)
			}
		}
	})
	return running, func() { release(); cancel(); done.Wait() }
}
