package web

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// OperationCounter is what Running asks of the database.
type OperationCounter interface {
	CountRunning(ctx context.Context, project string) (int64, error)
	Subscribe() (<-chan struct{}, func())
}

// runningFresh is how long a count may be old when another process on the same
// database changes it; changes of this process are seen at once.
const runningFresh = 2 * time.Second

// Running counts the operations under way for the header of every page, and asks
// the database only after something has changed.
type Running struct {
	store   OperationCounter
	changed <-chan struct{}
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	counts map[string]runningCount
}

type runningCount struct {
	n  int
	at time.Time
}

// NewRunning makes a counter that lasts as long as the store.
func NewRunning(store OperationCounter, now func() time.Time, log *slog.Logger) *Running {
	changed, _ := store.Subscribe()
	return &Running{store: store, changed: changed, now: now, log: log, counts: map[string]runningCount{}}
}

// Count returns how many operations of the project are under way. When the
// database does not answer, the last count is repeated: the page says the rest.
func (r *Running) Count(ctx context.Context, project string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.changed:
		clear(r.counts)
	default:
	}
	known, ok := r.counts[project]
	if ok && r.now().Sub(known.at) < runningFresh {
		return known.n
	}
	n, err := r.store.CountRunning(ctx, project)
	if err != nil {
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "operations not counted", "error", err)
		}
		return known.n
	}
	r.counts[project] = runningCount{n: int(n), at: r.now()}
	return int(n)
}
