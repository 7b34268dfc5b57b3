package mirror

import (
	"context"
	"errors"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// What somebody else changes is looked at again and again until it has settled:
// so many objects at most, so many at once, for so long, and the longer it lasts
// the more seldom.
const (
	maxPolled       = 200
	pollConcurrency = 4
	pollBatch       = 8
	pollWindow      = time.Hour
	maxPollInterval = time.Minute
)

// tracker is what the worker knows of the tables beside their rows.
type tracker struct {
	*sync.Mutex
	polledAt       map[string]time.Time     // when objects were looked at alone, by the backend's id
	polled         map[string]*polledObject // what changes by itself, by the backend's id
	lastResync     time.Time                // when the last whole listing by this console began
	deltaFrom      time.Time                // when it was asked last what changed
	explained      map[string]int64         // in error, and asked why: since when, by our id
	duplicateSince map[string]time.Time     // when a twin was seen first, by the backend's id
	foreignRef     map[string]bool          // what carries another object's id and is no twin, by the backend's id

	explainWindow time.Time // that began at this time, and how often it was asked in it why something is in error
	explainCalls  int
}

func newTracker() tracker {
	return tracker{Mutex: &sync.Mutex{}, polledAt: map[string]time.Time{}, polled: map[string]*polledObject{},
		explained: map[string]int64{}, duplicateSince: map[string]time.Time{}, foreignRef: map[string]bool{}}
}

type polledObject struct {
	kind     models.SubjectType
	status   models.Status
	since    time.Time
	nextPoll time.Time
	polls    int
}

// dropStale drops what no listing can be older than.
func (m tracker) dropStale(now time.Time) {
	m.Lock()
	defer m.Unlock()
	for id, at := range m.polledAt {
		if now.Sub(at) > 10*time.Minute {
			delete(m.polledAt, id)
		}
	}
}

func (m *tracker) resynced(began time.Time) {
	m.Lock()
	defer m.Unlock()
	m.lastResync = began
	if m.deltaFrom.IsZero() {
		m.deltaFrom = began
	}
}

// lostLeadership says that another console reads: what this one knew is no longer so.
func (m *tracker) lostLeadership() {
	m.Lock()
	defer m.Unlock()
	m.lastResync, m.deltaFrom = time.Time{}, time.Time{}
	clear(m.polled)
	clear(m.duplicateSince)
}

// deltaSince is from when on changes are asked for; zero: not yet.
func (m *tracker) deltaSince() time.Time {
	m.Lock()
	defer m.Unlock()
	if m.lastResync.IsZero() {
		return time.Time{}
	}
	return m.deltaFrom
}

func (m *tracker) deltaSynced(asked time.Time) {
	m.Lock()
	defer m.Unlock()
	m.deltaFrom = asked
}

func (m *tracker) wasExplained(object store.Unexplained) bool {
	m.Lock()
	defer m.Unlock()
	since, done := m.explained[object.ID]
	return done && since == object.StatusSince
}

// allowExplain says that it was not asked too often in this minute, and counts.
func (m *tracker) allowExplain(now time.Time) bool {
	m.Lock()
	defer m.Unlock()
	if now.Sub(m.explainWindow) >= time.Minute {
		m.explainWindow, m.explainCalls = now, 0
	}
	m.explainCalls++
	return m.explainCalls <= maxExplainsPerMinute
}

func (m *tracker) markExplained(object store.Unexplained) {
	m.Lock()
	defer m.Unlock()
	m.explained[object.ID] = object.StatusSince
}

// track notes which rows will change by themselves, and which have settled. The
// caller holds the lock.
func (m *Mirror) track(kind models.SubjectType, rows []store.ObservedObject) {
	now := m.Store.Now()
	for _, row := range rows {
		f, there := m.tracker.polled[row.BackendID]
		switch {
		case row.Outdated:
		case !row.Status.InTransition():
			delete(m.tracker.polled, row.BackendID)
		case there && f.status == row.Status:
		case there || len(m.tracker.polled) < maxPolled:
			f := &polledObject{kind: kind, status: row.Status, since: now, nextPoll: now.Add(m.pollInterval(0))}
			m.tracker.polled[row.BackendID] = f
			m.poll.runBy(f.nextPoll)
		}
	}
}

// pollInterval is the backend's own pace, and then slower and slower.
func (m *Mirror) pollInterval(polls int) time.Duration {
	steps := m.Capabilities().Poll
	if len(steps) == 0 {
		steps = []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second}
	}
	if polls < len(steps) {
		return steps[polls]
	}
	last := max(steps[len(steps)-1], time.Second)
	return min(last<<min(polls-len(steps)+1, 10), maxPollInterval)
}

// pollDue looks at those whose time has come.
func (m *Mirror) pollDue(ctx context.Context) (time.Duration, error) {
	due, next := m.nextDue()
	if len(due) == 0 {
		return next, nil
	}
	under, err := m.Store.Sync.BusyBackendIDs(ctx, due)
	if err != nil {
		return soon, err
	}
	var mu sync.Mutex
	var errs []error
	var polling sync.WaitGroup
	free := make(chan struct{}, pollConcurrency)
	for _, id := range due {
		if under[id] { // the operation looks itself, and the next listing sees what is left of it
			m.untrack(id)
			continue
		}
		free <- struct{}{}
		polling.Go(func() {
			defer func() { <-free }()
			if err := m.PollObject(ctx, id); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	polling.Wait()
	return soon, errors.Join(errs...)
}

// nextDue is whose time has come, and otherwise how long that takes.
func (m *Mirror) nextDue() (ids []string, next time.Duration) {
	m.tracker.Lock()
	defer m.tracker.Unlock()
	now := m.Store.Now()
	next = maxPollInterval
	for id, f := range m.tracker.polled {
		switch {
		case now.Sub(f.since) > pollWindow: // it stays listed, so that it is not begun again
		case now.Before(f.nextPoll):
			next = min(next, f.nextPoll.Sub(now))
		case len(ids) < pollBatch:
			ids = append(ids, id)
			f.polls++
			f.nextPoll = now.Add(m.pollInterval(f.polls))
		}
	}
	return ids, next
}

func (m *Mirror) untrack(id string) {
	m.tracker.Lock()
	defer m.tracker.Unlock()
	delete(m.tracker.polled, id)
}

// PollObject copies one object. One that is gone leaves the list when it was being
// deleted; otherwise the next whole listing decides.
func (m *Mirror) PollObject(ctx context.Context, id string) error {
	m.tracker.Lock()
	f, there := m.tracker.polled[id]
	m.tracker.Unlock()
	if !there {
		return nil
	}
	asked := m.Store.Now()
	row, err := m.fetch(ctx, f.kind, id)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		m.untrack(id)
		if f.status == models.Deleting && m.Capabilities().Shared {
			return m.Store.Sync.RemoveGone(ctx, f.kind, id, asked)
		}
		m.resync.runBy(asked.Add(soon))
		return nil
	case err != nil:
		return err
	}
	_, err = m.apply(ctx, f.kind, []store.ObservedObject{row}, asked, true)
	return err
}

// SyncObject copies one object by the backend's id, and polls it while it is in
// transition. Errors: those of the port and of the database.
func (m *Mirror) SyncObject(ctx context.Context, kind models.SubjectType, id string) error {
	asked := m.Store.Now()
	row, err := m.fetch(ctx, kind, id)
	if err != nil {
		return err
	}
	_, err = m.apply(ctx, kind, []store.ObservedObject{row}, asked, true)
	return err
}

func (m *Mirror) fetch(ctx context.Context, kind models.SubjectType, id string) (store.ObservedObject, error) {
	if kind == models.SubjectSnapshot {
		s, err := m.Backend.Snapshot(ctx, backend.Key{ID: id})
		return m.snapshotObject(s), err
	}
	v, err := m.Backend.Volume(ctx, backend.Key{ID: id})
	if err != nil {
		return store.ObservedObject{}, err
	}
	return m.volumeObject(ctx, v), nil
}
