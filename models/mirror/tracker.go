package mirror

import (
	"maps"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// tracker is what the mirror remembers beside the rows. Keys are the backend's ids
// unless said otherwise.
type tracker struct {
	mu             sync.Mutex
	polledAt       map[string]time.Time     // when a single object was fetched last
	polled         map[string]*polledObject // objects in transition
	lastResync     time.Time                // when the last complete resync of this console began; zero: none
	deltaFrom      time.Time                // when the last delta was requested
	explained      map[string]int64         // StatusSince of the objects that were explained, by the console's id
	duplicateSince map[string]time.Time     // when a duplicate was listed first
	foreignRef     map[string]bool          // objects that carry the Ref of another one and are no duplicates

	faults map[models.SubjectType]map[string]bool // objects that the backend found in fault

	explainWindow time.Time // start of the current minute
	explainCalls  int       // in this minute
}

func newTracker() *tracker {
	return &tracker{faults: map[models.SubjectType]map[string]bool{}, polledAt: map[string]time.Time{}, polled: map[string]*polledObject{},
		explained: map[string]int64{}, duplicateSince: map[string]time.Time{}, foreignRef: map[string]bool{}}
}

type polledObject struct {
	kind     models.SubjectType
	status   models.Status
	since    time.Time
	nextPoll time.Time
	polls    int
}

// dropStale forgets polls that are older than any listing under way.
func (t *tracker) dropStale(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, at := range t.polledAt {
		if now.Sub(at) > 10*time.Minute {
			delete(t.polledAt, id)
		}
	}
}

// resynced records a complete resync.
func (t *tracker) resynced(startedAt time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastResync = startedAt
	if t.deltaFrom.IsZero() {
		t.deltaFrom = startedAt
	}
}

// lostLeadership forgets what the mirror of the new leader changes.
func (t *tracker) lostLeadership() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lastResync, t.deltaFrom = time.Time{}, time.Time{}
	clear(t.polled)
	clear(t.duplicateSince)
}

// deltaSince is the time to request changes since; zero before the first resync.
func (t *tracker) deltaSince() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lastResync.IsZero() {
		return time.Time{}
	}
	return t.deltaFrom
}

func (t *tracker) deltaSynced(requestedAt time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deltaFrom = requestedAt
}

func (t *tracker) wasExplained(object store.Unexplained) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	since, ok := t.explained[object.ID]
	return ok && since == object.StatusSince
}

// allowExplain counts an explain call, and reports whether the limit per minute allows it.
func (t *tracker) allowExplain(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.explainWindow) >= time.Minute {
		t.explainWindow, t.explainCalls = now, 0
	}
	t.explainCalls++
	return t.explainCalls <= maxExplainsPerMinute
}

func (t *tracker) markExplained(object store.Unexplained) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.explained[object.ID] = object.StatusSince
}

func (t *tracker) untrack(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.polled, id)
}

// markForeign records that an object carries the Ref of another one and is no
// duplicate, and reports whether that is new.
func (t *tracker) markForeign(id string) (new bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	new = !t.foreignRef[id]
	t.foreignRef[id] = true
	return new
}

// refOf is the object's Ref; empty when it is that of another object.
func (t *tracker) refOf(key backend.Key) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.foreignRef[key.ID] {
		return ""
	}
	return key.Ref
}

// duplicateAge is how long ago a duplicate was listed first.
func (t *tracker) duplicateAge(id string, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	since, ok := t.duplicateSince[id]
	if !ok {
		t.duplicateSince[id] = now
		return 0
	}
	return now.Sub(since)
}

// dropDuplicates forgets the duplicates that are no longer listed, after a day: a
// listing may leave one out.
func (t *tracker) dropDuplicates(listed map[string]bool, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, since := range t.duplicateSince {
		if !listed[id] && now.Sub(since) > 24*time.Hour {
			delete(t.duplicateSince, id)
		}
	}
}

// replaceFaults remembers which objects of a kind are in fault now, and returns the
// backend's ids of these and of those that were before.
func (t *tracker) replaceFaults(kind models.SubjectType, keys []backend.Key) map[string]bool {
	now := map[string]bool{}
	for _, key := range keys {
		now[key.ID] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	both := maps.Clone(now)
	maps.Copy(both, t.faults[kind])
	t.faults[kind] = now
	return both
}
