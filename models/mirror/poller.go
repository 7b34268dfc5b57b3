package mirror

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// Objects in transition without an operation are polled until they have settled, at
// growing intervals.
const (
	maxPolled       = 200 // objects
	pollConcurrency = 4   // objects at once
	pollBatch       = 8   // objects per run
	pollWindow      = time.Hour
	maxPollInterval = time.Minute
)

// track starts polling objects in transition, and stops for those that have settled.
// The caller holds the tracker's lock.
func (m *Mirror) track(kind models.SubjectType, objects []store.ObservedObject) {
	now := m.Store.Now()
	for _, o := range objects {
		polled := m.tracker.polled[o.BackendID]
		switch {
		case o.Outdated:
		case !o.Status.InTransition():
			delete(m.tracker.polled, o.BackendID)
		case polled != nil && polled.status == o.Status:
		case polled != nil || len(m.tracker.polled) < maxPolled:
			polled = &polledObject{kind: kind, status: o.Status, since: now, nextPoll: now.Add(m.pollInterval(0))}
			m.tracker.polled[o.BackendID] = polled
			m.poll.runBy(polled.nextPoll)
		}
	}
}

// pollInterval is the time between a poll and the next one: the backend's intervals,
// and then growing ones.
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

// pollDue polls the objects that are due.
func (m *Mirror) pollDue(ctx context.Context) (next time.Duration, err error) {
	due, next := m.duePolls()
	if len(due) == 0 {
		return next, nil
	}
	busy, err := m.Store.Sync.BusyBackendIDs(ctx, due)
	if err != nil {
		return soon, err
	}
	var polls errgroup.Group
	polls.SetLimit(pollConcurrency)
	for _, id := range due {
		if busy[id] { // the worker polls it, and the next resync lists it
			m.tracker.untrack(id)
			continue
		}
		polls.Go(func() error { return m.pollObject(ctx, id) })
	}
	return soon, polls.Wait()
}

// duePolls returns the ids of the objects that are due, or else the time until one is.
func (m *Mirror) duePolls() (ids []string, next time.Duration) {
	m.tracker.mu.Lock()
	defer m.tracker.mu.Unlock()
	now := m.Store.Now()
	next = maxPollInterval
	for id, polled := range m.tracker.polled {
		switch {
		case now.Sub(polled.since) > pollWindow: // it stays in the map, so that polling does not start again
		case now.Before(polled.nextPoll):
			next = min(next, polled.nextPoll.Sub(now))
		case len(ids) < pollBatch:
			ids = append(ids, id)
			polled.polls++
			polled.nextPoll = now.Add(m.pollInterval(polled.polls))
		}
	}
	return ids, next
}

// pollObject copies one polled object. The row of one that is gone is deleted when it
// was being deleted; otherwise the next resync decides.
func (m *Mirror) pollObject(ctx context.Context, id string) error {
	m.tracker.mu.Lock()
	polled := m.tracker.polled[id]
	m.tracker.mu.Unlock()
	if polled == nil {
		return nil
	}
	requestedAt := m.Store.Now()
	object, err := m.fetch(ctx, polled.kind, id)
	switch {
	case errors.Is(err, backend.ErrNotFound):
		m.tracker.untrack(id)
		if polled.status == models.Deleting && m.Capabilities().Shared {
			return m.Store.Sync.RemoveGone(ctx, polled.kind, id, requestedAt)
		}
		m.resync.runBy(requestedAt.Add(soon))
		return nil
	case err != nil:
		return err
	}
	_, err = m.apply(ctx, polled.kind, []store.ObservedObject{object}, requestedAt, true)
	return err
}

func (m *Mirror) fetch(ctx context.Context, kind models.SubjectType, id string) (store.ObservedObject, error) {
	if kind == models.SubjectSnapshot {
		s, err := m.Backend.Snapshot(ctx, backend.Key{ID: id})
		return m.snapshotObject(ctx, s), err
	}
	v, err := m.Backend.Volume(ctx, backend.Key{ID: id})
	if err != nil {
		return store.ObservedObject{}, err
	}
	return m.volumeObject(ctx, v), nil
}
