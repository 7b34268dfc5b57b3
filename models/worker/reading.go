package worker

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// How often the backend is read where it has no pace of its own, and how often
// what has nothing to do with it is done.
const (
	smallEvery = 5 * time.Second
	pruneEvery = 10 * time.Minute
	soon       = time.Second
	// readingLease is how long a silent console keeps the others from reading, and leaseEvery how often it says
	// that it is alive.
	readingLease = 35 * time.Second
	leaseEvery   = 10 * time.Second
	// askAgain is how long a backend that cannot tell what changed is believed.
	askAgain = time.Hour
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

// hurry lets the task be done at that time, if it is not due before.
func (t *task) hurry(at time.Time) {
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

// planReading sets up what is read: small things and single objects on the one
// hand, whole listings, which may take long, on the other.
func (w *Worker) planReading() {
	w.mirrored = newMirrored()
	w.wake = make(chan struct{}, 1)
	w.wakeWhole = make(chan struct{}, 1)
	w.small = &task{name: "refresh", run: w.readSmall, wake: w.wake}
	w.quotas = &task{name: "refresh the quotas", run: w.readQuotas, wake: w.wake, at: farAway}
	w.changed = &task{name: "see what changed", run: w.readChanged, wake: w.wake}
	w.looks = &task{name: "look at what changes", run: w.lookAtFollowed, wake: w.wake}
	w.prune = &task{name: "prune", run: w.pruneOld, wake: w.wake}
	w.whole = &task{name: "sweep", run: w.readWhole, wake: w.wakeWhole}
}

// farAway is later than anything.
var farAway = time.Unix(1<<40, 0)

// readUntil reads the backend until ctx ends.
func (w *Worker) readUntil(ctx context.Context) {
	now := w.store.Now()
	if w.capabilities().Name != "" { // Start has just read it
		w.small.postpone(now.Add(spread(orElse(w.capabilities().Pace.Small, smallEvery))))
	}
	w.prune.postpone(now.Add(pruneEvery))
	var both sync.WaitGroup
	both.Go(func() { w.until(ctx, w.wakeWhole, w.whole) })
	both.Go(func() { w.until(ctx, w.wake, w.small, w.quotas, w.changed, w.looks, w.prune) })
	both.Wait()
	w.logged(ctx, "let others read", func(ctx context.Context) error {
		return w.store.EndReading(context.WithoutCancel(ctx), w.owner)
	})
}

func (w *Worker) until(ctx context.Context, wake <-chan struct{}, tasks ...*task) {
	for ctx.Err() == nil {
		next := w.doDue(ctx, tasks...)
		timer := time.NewTimer(min(idle, max(next.Sub(w.store.Now()), 10*time.Millisecond)))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// doDue does what is due and says when something is again.
func (w *Worker) doDue(ctx context.Context, tasks ...*task) time.Time {
	next := farAway
	for _, t := range tasks {
		if ctx.Err() != nil {
			break
		}
		if !w.store.Now().Before(t.due()) {
			w.do(ctx, t)
		}
		if at := t.due(); at.Before(next) {
			next = at
		}
	}
	return next
}

// do does one task. One that fails is tried again, the later the more often it has
// failed, but no later than it is due anyway.
func (w *Worker) do(ctx context.Context, t *task) {
	t.mu.Lock()
	t.at = farAway // whoever is in a hurry meanwhile, is heard
	t.mu.Unlock()
	again, err := t.run(ctx)
	wait := spread(again)
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

// spread is d give or take a tenth, so that consoles that start together do not
// ask together.
func spread(d time.Duration) time.Duration {
	return d - d/10 + time.Duration(rand.Int64N(int64(d)/5+1))
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

func (w *Worker) logged(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "cannot "+what, "error", err)
	}
}

// reads says whether this console is the one of those on the database that reads
// what all of them show.
func (w *Worker) reads(ctx context.Context) (bool, error) {
	return w.store.HoldReading(ctx, w.owner, readingLease)
}

func (w *Worker) readSmall(ctx context.Context) (time.Duration, error) {
	err := w.refreshSmall(ctx)
	if w.capabilities().Name == "" && err != nil {
		err = errors.Join(err, w.noteUnread(ctx, err))
	}
	return orElse(w.capabilities().Pace.Small, smallEvery), err
}

func (w *Worker) readQuotas(ctx context.Context) (time.Duration, error) {
	return farAway.Sub(w.store.Now()) / 2, w.refreshCapabilities(ctx)
}

// usedUp lets the quotas be read again soon after an operation that changes them.
func (w *Worker) usedUp(op *models.Operation, p models.Progress) {
	if len(w.capabilities().Quotas) == 0 || p.State == models.Running && p.Step == op.Step {
		return
	}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.VolumeExtend, models.VolumeDelete, models.SnapshotCreate, models.SnapshotDelete:
		w.quotas.hurry(w.store.Now().Add(2 * soon))
	}
}

func (w *Worker) pruneOld(ctx context.Context) (time.Duration, error) {
	return pruneEvery, w.store.Prune(ctx)
}

func (w *Worker) readWhole(ctx context.Context) (time.Duration, error) {
	every := orElse(w.capabilities().Pace.Whole, w.options.SweepEvery)
	if reads, err := w.reads(ctx); !reads || err != nil {
		w.mirrored.notOurs()
		return min(every, leaseEvery), err
	}
	began := w.store.Now()
	err := w.Sweep(ctx)
	if err == nil {
		w.mirrored.wasRead(began)
	}
	return every, err
}

// overlap is how much earlier than the last time changes are asked for: an answer
// may have been on its way when the next change was written.
const overlap = 5 * time.Second

// readChanged copies the volumes that have changed since the last time. Before the
// first whole listing there is nothing to compare with.
func (w *Worker) readChanged(ctx context.Context) (time.Duration, error) {
	every := w.capabilities().Pace.Changed
	if every == 0 {
		return leaseEvery, nil
	}
	reads, err := w.reads(ctx)
	since := w.mirrored.since()
	if err != nil || !reads || since.IsZero() {
		return min(every, leaseEvery), err
	}
	asked := w.store.Now()
	volumes, err := w.backend.ChangedVolumes(ctx, since.Add(-overlap))
	if errors.Is(err, backend.ErrUnsupported) {
		return askAgain, nil
	}
	if err != nil {
		w.whole.hurry(asked.Add(every)) // it says what is wrong, and when that is over
		return every, errors.Join(err, w.noteUnread(ctx, err))
	}
	rows := make([]models.Mirrored, 0, len(volumes))
	for _, v := range volumes {
		rows = append(rows, w.mirroredVolume(ctx, v))
	}
	for len(rows) > 0 {
		n := min(len(rows), pageSize)
		if _, err := w.save(ctx, models.SubjectVolume, rows[:n], asked, true); err != nil {
			return every, err
		}
		rows = rows[n:]
	}
	w.mirrored.changedAt(asked)
	return every, nil
}
