package mirror

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
	maxWait           = time.Second // until the tasks are looked through again: the clock may have been set
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
func (m *Mirror) initTasks() {
	m.tracker = newTracker()
	m.wake = make(chan struct{}, 1)
	m.wakeResync = make(chan struct{}, 1)
	m.inventory = &task{name: "refresh", run: m.refreshInventory, wake: m.wake}
	m.quotas = &task{name: "refresh the quotas", run: m.refreshQuotas, wake: m.wake, at: never}
	m.delta = &task{name: "see what changed", run: m.syncDelta, wake: m.wake}
	m.poll = &task{name: "look at what changes", run: m.pollDue, wake: m.wake}
	m.prune = &task{name: "prune", run: m.pruneExpired, wake: m.wake}
	m.resync = &task{name: "sweep", run: m.runResync, wake: m.wakeResync}
}

// never is later than anything.
var never = time.Unix(1<<40, 0)

// runTasks reads the backend until ctx ends.
func (m *Mirror) runTasks(ctx context.Context) {
	now := m.Store.Now()
	if m.Capabilities().Name != "" { // Start has just read it
		m.inventory.postpone(now.Add(jitter(orElse(m.Capabilities().Pace.Small, inventoryInterval))))
	}
	m.prune.postpone(now.Add(pruneInterval))
	var both sync.WaitGroup
	both.Go(func() { m.runLoop(ctx, m.wakeResync, m.resync) })
	both.Go(func() { m.runLoop(ctx, m.wake, m.inventory, m.quotas, m.delta, m.poll, m.prune) })
	both.Wait()
	m.logFailure(ctx, "let others read", func(ctx context.Context) error {
		return m.Resign(context.WithoutCancel(ctx))
	})
}

func (m *Mirror) runLoop(ctx context.Context, wake <-chan struct{}, tasks ...*task) {
	for ctx.Err() == nil {
		next := m.runDueTasks(ctx, tasks...)
		timer := time.NewTimer(min(maxWait, max(next.Sub(m.Store.Now()), 10*time.Millisecond)))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// RunDue runs each task that is due, one after the other, and returns when the next
// one is. Tests drive the mirror with it.
func (m *Mirror) RunDue(ctx context.Context) time.Time {
	return m.runDueTasks(ctx, m.resync, m.inventory, m.quotas, m.delta, m.poll, m.prune)
}

// runDueTasks does what is due and says when something is again.
func (m *Mirror) runDueTasks(ctx context.Context, tasks ...*task) time.Time {
	next := never
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

// runTask does one task. One that fails is tried again, the later the more often it has
// failed, but no later than it is due anyway.
func (m *Mirror) runTask(ctx context.Context, t *task) {
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
			m.log.WarnContext(ctx, "cannot "+t.name, "error", err)
		}
		wait = min(wait, Backoff(t.failed+3)) // from four seconds on
		t.failed++
		if unavailable := backend.AsError(err, backend.CodeUnavailable); unavailable != nil {
			wait = max(wait, unavailable.RetryAfter)
		}
	}
	if at := m.Store.Now().Add(wait); at.Before(t.at) {
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

func (m *Mirror) logFailure(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		m.log.WarnContext(ctx, "cannot "+what, "error", err)
	}
}

// leads says whether this console is the one of those on the database that reads
// what all of them show.
func (m *Mirror) leads(ctx context.Context) (bool, error) {
	return m.Store.AcquireLeadership(ctx, m.owner, leaderLease)
}

// Resign lets another console mirror at once. Errors: those of the database.
func (m *Mirror) Resign(ctx context.Context) error { return m.Store.ResignLeadership(ctx, m.owner) }

func (m *Mirror) refreshInventory(ctx context.Context) (time.Duration, error) {
	err := m.SyncInventory(ctx)
	if m.Capabilities().Name == "" && err != nil {
		err = errors.Join(err, m.recordUnreachable(ctx, err))
	}
	return orElse(m.Capabilities().Pace.Small, inventoryInterval), err
}

func (m *Mirror) refreshQuotas(ctx context.Context) (time.Duration, error) {
	return never.Sub(m.Store.Now()) / 2, m.refreshCapabilities(ctx)
}

// OperationRan lets the quotas be read again soon after an operation that changes them.
func (m *Mirror) OperationRan(op *models.Operation, p store.Progress) {
	if len(m.Capabilities().Quotas) == 0 || p.State == models.Running && p.Step == op.Step {
		return
	}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.VolumeExtend, models.VolumeDelete, models.SnapshotCreate, models.SnapshotDelete:
		m.quotas.runBy(m.Store.Now().Add(2 * soon))
	}
}

func (m *Mirror) pruneExpired(ctx context.Context) (time.Duration, error) {
	return pruneInterval, m.Store.Prune(ctx)
}

func (m *Mirror) runResync(ctx context.Context) (time.Duration, error) {
	every := orElse(m.Capabilities().Pace.Whole, m.options.ResyncInterval)
	if reads, err := m.leads(ctx); !reads || err != nil {
		m.tracker.lostLeadership()
		return min(every, leaderRenewal), err
	}
	began := m.Store.Now()
	err := m.Resync(ctx)
	if err == nil {
		m.tracker.resynced(began)
	}
	return every, err
}

// deltaOverlap is how much earlier than the last time changes are asked for: an answer
// may have been on its way when the next change was written.
const deltaOverlap = 5 * time.Second

// syncDelta copies the volumes that have changed since the last time. Before the
// first whole listing there is nothing to compare with.
func (m *Mirror) syncDelta(ctx context.Context) (time.Duration, error) {
	every := m.Capabilities().Pace.Changed
	if every == 0 {
		return leaderRenewal, nil
	}
	reads, err := m.leads(ctx)
	since := m.tracker.deltaSince()
	if err != nil || !reads || since.IsZero() {
		return min(every, leaderRenewal), err
	}
	asked := m.Store.Now()
	volumes, err := m.Backend.ChangedVolumes(ctx, since.Add(-deltaOverlap))
	if errors.Is(err, backend.ErrUnsupported) {
		return unsupportedRecheck, nil
	}
	if err != nil {
		m.resync.runBy(asked.Add(every)) // it says what is wrong, and when that is over
		return every, errors.Join(err, m.recordUnreachable(ctx, err))
	}
	rows := make([]store.ObservedObject, 0, len(volumes))
	for _, v := range volumes {
		rows = append(rows, m.volumeObject(ctx, v))
	}
	for len(rows) > 0 {
		n := min(len(rows), pageSize)
		if _, err := m.apply(ctx, models.SubjectVolume, rows[:n], asked, true); err != nil {
			return every, err
		}
		rows = rows[n:]
	}
	m.tracker.deltaSynced(asked)
	return every, nil
}
