package mirror

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"blockconsole/models/backend"
)

const (
	maxSleep      = time.Second // between two checks of what is due: the clock may have been set
	soon          = time.Second
	pruneInterval = 10 * time.Minute
	leaderLease   = 35 * time.Second // another console leads after this time without a renewal
	leaderRenewal = 10 * time.Second
)

// task runs again and again. run returns the time until the next run.
type task struct {
	name string
	run  func(ctx context.Context) (next time.Duration, err error)
	wake chan<- struct{}

	mu       sync.Mutex
	dueAt    time.Time // zero: at once
	failures int       // in a row
}

// runBy moves the next run forward to at, if it is later.
func (t *task) runBy(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !at.Before(t.dueAt) {
		return
	}
	t.dueAt = at
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *task) setDue(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dueAt = at
}

func (t *task) due() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dueAt
}

// initTasks sets up two loops: resyncs, which may take long, and everything else.
func (m *Mirror) initTasks() {
	m.tracker = newTracker()
	m.wake = make(chan struct{}, 1)
	m.wakeResync = make(chan struct{}, 1)
	m.inventory = &task{name: "sync the inventory", run: m.refreshInventory, wake: m.wake}
	m.quotas = &task{name: "refresh the quotas", run: m.refreshQuotas, wake: m.wake, dueAt: never}
	m.delta = &task{name: "sync the delta", run: m.syncDelta, wake: m.wake}
	m.poll = &task{name: "poll objects in transition", run: m.pollDue, wake: m.wake}
	m.prune = &task{name: "prune", run: m.pruneExpired, wake: m.wake}
	m.resync = &task{name: "resync", run: m.runResync, wake: m.wakeResync}
}

// never is later than any time.
var never = time.Unix(1<<40, 0)

// runTasks runs the tasks until ctx ends.
func (m *Mirror) runTasks(ctx context.Context) {
	now := m.Store.Now()
	if m.Capabilities().Name != "" { // Start has just read the inventory
		m.inventory.setDue(now.Add(jitter(cmp.Or(m.Capabilities().Pace.Small, inventoryInterval))))
	}
	m.prune.setDue(now.Add(pruneInterval))
	var loops sync.WaitGroup
	loops.Go(func() { m.runLoop(ctx, m.wakeResync, m.resync) })
	loops.Go(func() { m.runLoop(ctx, m.wake, m.inventory, m.quotas, m.delta, m.poll, m.prune) })
	loops.Wait()
	m.logFailure(ctx, "resign as the leader", func(ctx context.Context) error {
		return m.Resign(context.WithoutCancel(ctx))
	})
}

func (m *Mirror) runLoop(ctx context.Context, wake <-chan struct{}, tasks ...*task) {
	for ctx.Err() == nil {
		next := m.runDueTasks(ctx, tasks...)
		timer := time.NewTimer(min(maxSleep, max(next.Sub(m.Store.Now()), 10*time.Millisecond)))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// RunDue runs each task that is due, one after the other, and returns when the next one
// is. Tests drive the mirror with it.
func (m *Mirror) RunDue(ctx context.Context) time.Time {
	return m.runDueTasks(ctx, m.resync, m.inventory, m.quotas, m.delta, m.poll, m.prune)
}

func (m *Mirror) runDueTasks(ctx context.Context, tasks ...*task) (next time.Time) {
	next = never
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		if !m.Store.Now().Before(t.due()) {
			m.runTask(ctx, t)
		}
		if at := t.due(); at.Before(next) {
			next = at
		}
	}
	return next
}

// runTask runs a task and sets when it is due again. After an error that is after a
// backoff, but no later than otherwise, unless the backend asks for more time.
func (m *Mirror) runTask(ctx context.Context, t *task) {
	t.setDue(never) // a runBy meanwhile counts
	next, err := t.run(ctx)
	wait := jitter(next)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.failures = 0
	} else {
		if ctx.Err() == nil {
			m.log.WarnContext(ctx, "cannot "+t.name, "error", err)
		}
		wait = min(wait, Backoff(t.failures+3)) // at least four seconds
		t.failures++
		if unavailable := backend.AsError(err, backend.CodeUnavailable); unavailable != nil {
			wait = max(wait, unavailable.RetryAfter)
		}
	}
	if at := m.Store.Now().Add(wait); at.Before(t.dueAt) {
		t.dueAt = at
	}
}

// jitter varies d by up to a tenth, so that consoles that start together do not call the
// backend together.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

func (m *Mirror) logFailure(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "cannot "+what, "error", err)
	}
}

// leads acquires or renews the leadership, and reports whether this console has it.
func (m *Mirror) leads(ctx context.Context) (bool, error) {
	return m.Store.AcquireLeadership(ctx, m.owner, leaderLease)
}

// Resign lets another console lead at once. Errors: those of the database.
func (m *Mirror) Resign(ctx context.Context) error { return m.Store.ResignLeadership(ctx, m.owner) }

func (m *Mirror) pruneExpired(ctx context.Context) (time.Duration, error) {
	return pruneInterval, m.Store.Prune(ctx)
}

func (m *Mirror) runResync(ctx context.Context) (time.Duration, error) {
	interval := cmp.Or(m.Capabilities().Pace.Whole, m.options.ResyncInterval)
	if leads, err := m.leads(ctx); !leads || err != nil {
		m.tracker.lostLeadership()
		return min(interval, leaderRenewal), err
	}
	startedAt := m.Store.Now()
	err := m.Resync(ctx)
	if err == nil {
		m.tracker.resynced(startedAt)
	}
	return interval, err
}
