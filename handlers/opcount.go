package handlers

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// OpCountStore is what OpCounter needs.
type OpCountStore interface {
	CountRunning(ctx context.Context, project string) (int64, error)
	Subscribe() (<-chan struct{}, func())
}

// opCountFresh is how long a count is used when other processes on the same database
// change it. Changes of this process are seen at once.
const opCountFresh = 2 * time.Second

// OpCounter counts the operations under way, for the header of every page. It asks the
// database only after a change.
type OpCounter struct {
	store   OpCountStore
	changed <-chan struct{}
	now     func() time.Time
	log     *slog.Logger

	mu     sync.Mutex
	counts map[string]opCount
}

type opCount struct {
	n  int
	at time.Time
}

// NewOpCounter makes a counter, which subscribes to the store for good.
func NewOpCounter(store OpCountStore, now func() time.Time, log *slog.Logger) *OpCounter {
	changed, _ := store.Subscribe()
	return &OpCounter{store: store, changed: changed, now: now, log: log, counts: map[string]opCount{}}
}

// Forget makes the next Running count anew, for who reads a change before it is
// signalled.
func (o *OpCounter) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.counts)
}

// Running returns how many operations of the project are under way; the last known
// number when the database does not answer.
func (o *OpCounter) Running(ctx context.Context, project string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.changed:
		clear(o.counts)
	default:
	}
	known, ok := o.counts[project]
	if ok && o.now().Sub(known.at) < opCountFresh {
		return known.n
	}
	n, err := o.store.CountRunning(ctx, project)
	if err != nil {
		if ctx.Err() == nil {
			o.log.WarnContext(ctx, "operations not counted", "error", err)
		}
		return known.n
	}
	o.counts[project] = opCount{n: int(n), at: o.now()}
	return int(n)
}
