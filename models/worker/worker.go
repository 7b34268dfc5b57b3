// Package worker makes the storage follow the records and the records follow the
// storage: it carries out the operations that clicks have written (queue), asks
// the backend what is and takes the next step (reconcile), and copies what the
// backend has into the tables (sweep). It may be killed at any instant; another
// one goes on.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// Options of New. Zero values are sensible.
type Options struct {
	Log            *slog.Logger
	Parallel       int           // operations looked at at once; default 8
	Lease          time.Duration // how long a silent worker keeps an operation; default 30 s
	ResyncInterval time.Duration // where the backend has no pace of its own; default a minute
	Project        string        // of objects whose backend knows no projects; default models.DefaultProject
	// Reconciled is called after each look at an operation, for metrics; may be nil.
	Reconciled func(kind models.Kind, state models.OperationState)
}

// Worker carries out operations. Several may share one database.
type Worker struct {
	store    *store.Store
	backend  backend.Backend
	exporter backend.Exporter // the same, where it serves volumes itself
	options  Options
	log      *slog.Logger
	owner    string
	claims   atomic.Int64
	slots    chan struct{}
	inFlight sync.WaitGroup

	mu              sync.Mutex
	caps            backend.Capabilities
	servers         map[string]string    // names by id; nil: not read yet
	unansweredSince map[string]time.Time // since when the backend answers others, but not this operation

	inventory, quotas, delta, poll, prune, resync *task
	wake, wakeResync                              chan struct{}
	mirrored                                      mirrorState

	shutdown       context.Context // done when looks are cut off
	cancelInFlight context.CancelFunc
}

// New makes a worker; Run starts it.
func New(store *store.Store, b backend.Backend, options Options) *Worker {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.Parallel == 0 {
		options.Parallel = 8
	}
	if options.Lease == 0 {
		options.Lease = 30 * time.Second
	}
	if options.ResyncInterval == 0 {
		options.ResyncInterval = time.Minute
	}
	if options.Project == "" {
		options.Project = models.DefaultProject
	}
	exporter, _ := b.(backend.Exporter)
	w := &Worker{
		store: store, backend: b, exporter: exporter, options: options, log: options.Log,
		owner: fmt.Sprintf("%d-%s", os.Getpid(), models.NewID()),
		slots: make(chan struct{}, options.Parallel), unansweredSince: map[string]time.Time{},
	}
	w.shutdown, w.cancelInFlight = context.WithCancel(context.Background())
	w.initTasks()
	return w
}

// maxIdle is the longest time without a look at the queue: other processes on the
// same database do not signal this one.
const maxIdle = time.Second

// Run works until ctx ends, then finishes the looks under way. Call Start before,
// so that pages know what the backend can do.
func (w *Worker) Run(ctx context.Context) {
	changed, unsubscribe := w.store.Subscribe()
	defer unsubscribe()
	var sweeping sync.WaitGroup
	sweeping.Go(func() { w.runTasks(ctx) })
	sweeping.Go(func() { w.pollConnections(ctx) })
	defer sweeping.Wait()
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
	next, err := w.store.NextDue(ctx)
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
	return w.store.Claim(ctx, fmt.Sprintf("%s-%d", w.owner, w.claims.Add(1)), w.options.Lease)
}

// process looks at one claimed operation and saves what it found.
func (w *Worker) process(ctx context.Context, op *models.Operation) {
	running, stop := w.heartbeat(ctx, op)
	progress := w.reconcile(running, op)
	stop()
	if w.shutdown.Err() != nil {
		return
	}
	err := w.store.SaveProgress(ctx, op, progress)
	switch {
	case errors.Is(err, models.ErrLeaseLost):
		w.log.WarnContext(ctx, "operation is another worker's now", "operation", op.ID, "kind", op.Kind)
		return
	case err != nil:
		// The lease runs out and somebody looks again.
		w.log.ErrorContext(ctx, "cannot save what an operation did", "operation", op.ID, "kind", op.Kind, "error", err)
		return
	}
	w.refreshQuotasAfter(op, progress)
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
			switch err := w.store.Heartbeat(running, op, w.options.Lease); {
			case errors.Is(err, models.ErrLeaseLost):
				cancel()
			case err != nil && running.Err() == nil:
				w.log.WarnContext(ctx, "cannot prolong the lease of an operation", "operation", op.ID, "error", err)
			}
		}
	})
	return running, func() { release(); cancel(); done.Wait() }
}

// reconcile asks the backend what is and takes the next step.
func (w *Worker) reconcile(ctx context.Context, op *models.Operation) store.Progress {
	if err := w.ensureCapabilities(ctx); err != nil {
		return w.retryLater(ctx, op, err)
	}
	var progress store.Progress
	var err error
	if op.SubjectType == models.SubjectSnapshot {
		progress, err = w.reconcileSnapshot(ctx, op)
	} else {
		progress, err = w.reconcileVolume(ctx, op)
	}
	if err != nil {
		return w.retryLater(ctx, op, err)
	}
	w.clearStalled(op)
	return progress
}

// maxAttempts is how often a fault that nobody can name is tried again. A backend
// that does not answer is asked for ever; its silence leaves maxAttempts - countedUnanswered
// tries for other faults, and see alone.
const (
	maxAttempts       = 8
	countedUnanswered = 6
)

// retryLater turns an error that says nothing final into another try later. One that
// no backend should give is given up after maxAttempts.
func (w *Worker) retryLater(ctx context.Context, op *models.Operation, err error) store.Progress {
	w.log.WarnContext(ctx, "operation met an error", "operation", op.ID, "kind", op.Kind, "subject", op.SubjectID,
		"attempt", op.Attempts+1, "error", err)
	failure := failureOf(err)
	var other *models.IdentityError
	unavailable := backend.AsError(err, backend.CodeUnavailable)
	unanswered := unavailable != nil || errors.As(err, &other)
	if !unanswered && op.Attempts+1 >= maxAttempts || unanswered && w.stalled(ctx, op) {
		w.clearStalled(op)
		return w.failed(op, failure, w.subjectAfterFailure(ctx, op, failure))
	}
	wait := backoff(op.Attempts)
	if unavailable != nil && unavailable.RetryAfter > wait {
		wait = unavailable.RetryAfter
	}
	return store.Progress{State: models.Running, RunAt: w.store.Now().Add(wait), Step: op.Step, Percent: op.Percent,
		Failure: failure, CountAttempt: !unanswered || op.Attempts < countedUnanswered}
}

// backoff doubles from half a second to a minute, with a fifth of chance in it, so
// that many operations do not come back at once.
func backoff(attempts int) time.Duration {
	wait := min(500*time.Millisecond<<min(attempts, 10), time.Minute)
	return wait + time.Duration(rand.Int64N(int64(wait)/5+1))
}

// requeue is a Progress that looks again when the backend may have news.
func (w *Worker) requeue(op *models.Operation, step, percent int, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Running, RunAt: w.store.Now().Add(w.pollDelay(op)), Step: step, Percent: percent}, o)
}

func (w *Worker) succeeded(op *models.Operation, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Succeeded, Step: op.Steps, Percent: backend.PercentUnknown}, o)
}

func (w *Worker) failed(op *models.Operation, why models.Failure, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Failed, Step: op.Step, Percent: backend.PercentUnknown, Failure: why}, o)
}

func progress(p store.Progress, o *store.ObservedState) store.Progress {
	if o != nil {
		p.Subject, p.RequestID = o, o.RequestID
	}
	return p
}

// pollDelay is the backend's own pace: the longer an operation lasts, the longer
// between looks.
func (w *Worker) pollDelay(op *models.Operation) time.Duration {
	steps := w.capabilities().Poll
	if len(steps) == 0 {
		return time.Second
	}
	lasted := w.store.Now().Sub(time.UnixMicro(op.StartedAt))
	for _, step := range steps {
		if lasted < step {
			return step
		}
		lasted -= step
	}
	return steps[len(steps)-1]
}

func (w *Worker) capabilities() backend.Capabilities {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.caps
}
