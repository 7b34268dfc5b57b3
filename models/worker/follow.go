package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// What somebody else changes is looked at again and again until it has settled:
// so many objects at most, so many at once, for so long, and the longer it lasts
// the more seldom.
const (
	followAtMost = 200
	looksAtOnce  = 4
	looksPerTurn = 8
	followFor    = time.Hour
	slowestLook  = time.Minute
)

// mirrored is what the worker knows of the tables beside their rows.
type mirrored struct {
	*sync.Mutex
	looked    map[string]time.Time // when objects were looked at alone, by the backend's id
	followed  map[string]*followed // what changes by itself, by the backend's id
	whole     time.Time            // when the last whole listing by this console began
	changes   time.Time            // when it was asked last what changed
	asked     map[string]int64     // in error, and asked why: since when, by our id
	twins     map[string]time.Time // when a twin was seen first, by the backend's id
	strangers map[string]bool      // what carries another object's id and is no twin, by the backend's id

	minute   time.Time // that began at this time, and how often it was asked in it why something is in error
	inMinute int
}

func newMirrored() mirrored {
	return mirrored{Mutex: &sync.Mutex{}, looked: map[string]time.Time{}, followed: map[string]*followed{},
		asked: map[string]int64{}, twins: map[string]time.Time{}, strangers: map[string]bool{}}
}

type followed struct {
	kind   models.SubjectType
	status models.Status
	since  time.Time
	next   time.Time
	looks  int
}

// forget drops what no listing can be older than.
func (m mirrored) forget(now time.Time) {
	m.Lock()
	defer m.Unlock()
	for id, at := range m.looked {
		if now.Sub(at) > 10*time.Minute {
			delete(m.looked, id)
		}
	}
}

func (m *mirrored) wasRead(began time.Time) {
	m.Lock()
	defer m.Unlock()
	m.whole = began
	if m.changes.IsZero() {
		m.changes = began
	}
}

// notOurs says that another console reads: what this one knew is no longer so.
func (m *mirrored) notOurs() {
	m.Lock()
	defer m.Unlock()
	m.whole, m.changes = time.Time{}, time.Time{}
	clear(m.followed)
	clear(m.twins)
}

// since is from when on changes are asked for; zero: not yet.
func (m *mirrored) since() time.Time {
	m.Lock()
	defer m.Unlock()
	if m.whole.IsZero() {
		return time.Time{}
	}
	return m.changes
}

func (m *mirrored) changedAt(asked time.Time) {
	m.Lock()
	defer m.Unlock()
	m.changes = asked
}

func (m *mirrored) wasAsked(object models.Unexplained) bool {
	m.Lock()
	defer m.Unlock()
	since, done := m.asked[object.ID]
	return done && since == object.StatusSince
}

// mayAsk says that it was not asked too often in this minute, and counts.
func (m *mirrored) mayAsk(now time.Time) bool {
	m.Lock()
	defer m.Unlock()
	if now.Sub(m.minute) >= time.Minute {
		m.minute, m.inMinute = now, 0
	}
	m.inMinute++
	return m.inMinute <= explainAtMost
}

func (m *mirrored) nowAsked(object models.Unexplained) {
	m.Lock()
	defer m.Unlock()
	m.asked[object.ID] = object.StatusSince
}

// follow notes which rows will change by themselves, and which have settled. The
// caller holds the lock.
func (w *Worker) follow(kind models.SubjectType, rows []models.Mirrored) {
	now := w.store.Now()
	for _, row := range rows {
		f, there := w.mirrored.followed[row.BackendID]
		switch {
		case row.Outdated:
		case !row.Status.InTransition():
			delete(w.mirrored.followed, row.BackendID)
		case there && f.status == row.Status:
		case there || len(w.mirrored.followed) < followAtMost:
			f := &followed{kind: kind, status: row.Status, since: now, next: now.Add(w.lookDelay(0))}
			w.mirrored.followed[row.BackendID] = f
			w.looks.hurry(f.next)
		}
	}
}

// lookDelay is the backend's own pace, and then slower and slower.
func (w *Worker) lookDelay(looks int) time.Duration {
	steps := w.capabilities().Poll
	if len(steps) == 0 {
		steps = []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second}
	}
	if looks < len(steps) {
		return steps[looks]
	}
	last := max(steps[len(steps)-1], time.Second)
	return min(last<<min(looks-len(steps)+1, 10), slowestLook)
}

// lookAtFollowed looks at those whose time has come.
func (w *Worker) lookAtFollowed(ctx context.Context) (time.Duration, error) {
	turn, next := w.turn()
	if len(turn) == 0 {
		return next, nil
	}
	under, err := w.store.UnderOperation(ctx, turn)
	if err != nil {
		return soon, err
	}
	var mu sync.Mutex
	var errs []error
	var looking sync.WaitGroup
	free := make(chan struct{}, looksAtOnce)
	for _, id := range turn {
		if under[id] { // the operation looks itself, and the next listing sees what is left of it
			w.unfollow(id)
			continue
		}
		free <- struct{}{}
		looking.Go(func() {
			defer func() { <-free }()
			if err := w.lookAlone(ctx, id); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	looking.Wait()
	return soon, errors.Join(errs...)
}

// turn is whose time has come, and otherwise how long that takes.
func (w *Worker) turn() (ids []string, next time.Duration) {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	now := w.store.Now()
	next = slowestLook
	for id, f := range w.mirrored.followed {
		switch {
		case now.Sub(f.since) > followFor: // it stays listed, so that it is not begun again
		case now.Before(f.next):
			next = min(next, f.next.Sub(now))
		case len(ids) < looksPerTurn:
			ids = append(ids, id)
			f.looks++
			f.next = now.Add(w.lookDelay(f.looks))
		}
	}
	return ids, next
}

func (w *Worker) unfollow(id string) {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	delete(w.mirrored.followed, id)
}

// lookAlone copies one object. One that is gone leaves the list when it was being
// deleted; otherwise the next whole listing decides.
func (w *Worker) lookAlone(ctx context.Context, id string) error {
	w.mirrored.Lock()
	f, there := w.mirrored.followed[id]
	w.mirrored.Unlock()
	if !there {
		return nil
	}
	asked := w.store.Now()
	row, err := w.lookAt(ctx, f.kind, id)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		w.unfollow(id)
		if f.status == models.Deleting && w.capabilities().Shared {
			return w.store.MirrorGone(ctx, f.kind, id, asked)
		}
		w.whole.hurry(asked.Add(soon))
		return nil
	case err != nil:
		return err
	}
	_, err = w.save(ctx, f.kind, []models.Mirrored{row}, asked, true)
	return err
}

func (w *Worker) lookAt(ctx context.Context, kind models.SubjectType, id string) (models.Mirrored, error) {
	if kind == models.SubjectSnapshot {
		s, err := w.backend.Snapshot(ctx, backend.Key{ID: id})
		return w.mirroredSnapshot(s), err
	}
	v, err := w.backend.Volume(ctx, backend.Key{ID: id})
	if err != nil {
		return models.Mirrored{}, err
	}
	return w.mirroredVolume(ctx, v), nil
}
