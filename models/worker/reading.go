package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// How often the backend is read where it has no pace of its own, and how often
// what has nothing to do with it is done.
const (
	inventoryInterval = 5 * time.Second
	pruneInterval     = 10 * time.Minute
	soon              = time.Second
	// leaderLease is how long a silent console keeps the others from reading, and leaderRenewal how often it says
	// that it is alive.
	leaderLease   = 35 * time.Second
	leaderRenewal = 10 * time.Second
	// unsupportedRecheck is how long a backend that cannot tell what changed is believed.
	unsupportedRecheck = time.Hour
)

// task is something that is done again and again.
type task struct {
	name string
	run  func(ctx context.Context) (again time.Duration, err error)
	wake chan<- struct{}

	mu     sync.Mutex
	at     time.Time // not before; zero: at once
	failed int       // times in a row
}

// runBy lets the task be done at that time, if it is not due before.
func (t *task) runBy(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.Before(t.at) {
		return
	}
	t.at = at
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// postpone is for before the first time.
func (t *task) postpone(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = at
}

func (t *task) due() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at
}

// initTasks sets up what is read: small things and single objects on the one
// hand, whole listings, which may take long, on the other.
func (w *Worker) initTasks() {
	w.mirrored = newMirrorState()
	w.wake = make(chan struct{}, 1)
	w.wakeResync = make(chan struct{}, 1)
	w.inventory = &task{name: "refresh", run: w.refreshInventory, wake: w.wake}
	w.quotas = &task{name: "refresh the quotas", run: w.refreshQuotas, wake: w.wake, at: never}
	w.delta = &task{name: "see what changed", run: w.syncDelta, wake: w.wake}
	w.poll = &task{name: "look at what changes", run: w.pollDue, wake: w.wake}
	w.prune = &task{name: "prune", run: w.pruneExpired, wake: w.wake}
	w.resync = &task{name: "sweep", run: w.runResync, wake: w.wakeResync}
}

// never is later than anything.
var never = time.Unix(1<<40, 0)

// runTasks reads the backend until ctx ends.
func (w *Worker) runTasks(ctx context.Context) {
	now := w.store.Now()
	if w.capabilities().Name != "" { // Start has just read it
		w.inventory.postpone(now.Add(jitter(orElse(w.capabilities().Pace.Small, inventoryInterval))))
	}
	w.prune.postpone(now.Add(pruneInterval))
	var both sync.WaitGroup
	both.Go(func() { w.runLoop(ctx, w.wakeResync, w.resync) })
	both.Go(func() { w.runLoop(ctx, w.wake, w.inventory, w.quotas, w.delta, w.poll, w.prune) })
	both.Wait()
	w.logFailure(ctx, "let others read", func(ctx context.Context) error {
		return w.store.ResignLeadership(context.WithoutCancel(ctx), w.owner)
	})
}

func (w *Worker) runLoop(ctx context.Context, wake <-chan struct{}, tasks ...*task) {
	for ctx.Err() == nil {
		next := w.runDueTasks(ctx, tasks...)
		timer := time.NewTimer(min(maxIdle, max(next.Sub(w.store.Now()), 10*time.Millisecond)))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// runDueTasks does what is due and says when something is again.
func (w *Worker) runDueTasks(ctx context.Context, tasks ...*task) time.Time {
	next := never
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		if !w.store.Now().Before(t.due()) {
			w.runTask(ctx, t)
		}
		if at := t.due(); at.Before(next) {
			next = at
		}
	}
	return next
}

// runTask does one task. One that fails is tried again, the later the more often it has
// failed, but no later than it is due anyway.
func (w *Worker) runTask(ctx context.Context, t *task) {
	t.mu.Lock()
	t.at = never // whoever is in a hurry meanwhile, is heard
	t.mu.Unlock()
	again, err := t.run(ctx)
	wait := jitter(again)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.failed = 0
	} else {
		if ctx.Err() == nil {
			w.log.WarnContext(ctx, "cannot "+t.name, "error", err)
		}
		wait = min(wait, backoff(t.failed+3)) // from four seconds on
		t.failed++
		if unavailable := backend.AsError(err, backend.CodeUnavailable); unavailable != nil {
			wait = max(wait, unavailable.RetryAfter)
		}
	}
	if at := w.store.Now().Add(wait); at.Before(t.at) {
		t.at = at
	}
}

// jitter is d give or take a tenth, so that consoles that start together do not
// ask together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (w *Worker) logFailure(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "cannot "+what, "error", err)
	}
}

// leads says whether this console is the one of those on the database that reads
// what all of them show.
func (w *Worker) leads(ctx context.Context) (bool, error) {
	return w.store.AcquireLeadership(ctx, w.owner, leaderLease)
}

func (w *Worker) refreshInventory(ctx context.Context) (time.Duration, error) {
	err := w.syncInventory(ctx)
	if w.capabilities().Name == "" && err != nil {
		err = errors.Join(err, w.recordUnreachable(ctx, err))
	}
	return orElse(w.capabilities().Pace.Small, inventoryInterval), err
}

func (w *Worker) refreshQuotas(ctx context.Context) (time.Duration, error) {
	return never.Sub(w.store.Now()) / 2, w.refreshCapabilities(ctx)
}

// refreshQuotasAfter lets the quotas be read again soon after an operation that changes them.
func (w *Worker) refreshQuotasAfter(op *models.Operation, p store.Progress) {
	if len(w.capabilities().Quotas) == 0 || p.State == models.Running && p.Step == op.Step {
		return
	}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.VolumeExtend, models.VolumeDelete, models.SnapshotCreate, models.SnapshotDelete:
		w.quotas.runBy(w.store.Now().Add(2 * soon))
	}
}

func (w *Worker) pruneExpired(ctx context.Context) (time.Duration, error) {
	return pruneInterval, w.store.Prune(ctx)
}

func (w *Worker) runResync(ctx context.Context) (time.Duration, error) {
	every := orElse(w.capabilities().Pace.Whole, w.options.ResyncInterval)
	if reads, err := w.leads(ctx); !reads || err != nil {
		w.mirrored.lostLeadership()
		return min(every, leaderRenewal), err
	}
	began := w.store.Now()
	err := w.Resync(ctx)
	if err == nil {
		w.mirrored.resynced(began)
	}
	return every, err
}

// deltaOverlap is how much earlier than the last time changes are asked for: an answer
// may have been on its way when the next change was written.
const deltaOverlap = 5 * time.Second

// syncDelta copies the volumes that have changed since the last time. Before the
// first whole listing there is nothing to compare with.
func (w *Worker) syncDelta(ctx context.Context) (time.Duration, error) {
	every := w.capabilities().Pace.Changed
	if every == 0 {
		return leaderRenewal, nil
	}
	reads, err := w.leads(ctx)
	since := w.mirrored.deltaSince()
	if err != nil || !reads || since.IsZero() {
		return min(every, leaderRenewal), err
	}
	asked := w.store.Now()
	volumes, err := w.backend.ChangedVolumes(ctx, since.Add(-deltaOverlap))
	if errors.Is(err, backend.ErrUnsupported) {
		return unsupportedRecheck, nil
	}
	if err != nil {
		w.resync.runBy(asked.Add(every)) // it says what is wrong, and when that is over
		return every, errors.Join(err, w.recordUnreachable(ctx, err))
	}
	rows := make([]store.ObservedObject, 0, len(volumes))
	for _, v := range volumes {
		rows = append(rows, w.volumeObject(ctx, v))
	}
	for len(rows) > 0 {
		n := min(len(rows), pageSize)
		if _, err := w.apply(ctx, models.SubjectVolume, rows[:n], asked, true); err != nil {
			return every, err
		}
		rows = rows[n:]
	}
	w.mirrored.deltaSynced(asked)
	return every, nil
}
