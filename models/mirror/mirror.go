// Package mirror makes the records follow the storage: it copies what the backend
// has into the tables, whole lists from time to time (resync), what has changed
// since (delta), and alone what will change by itself (poll). Of the consoles on one
// database one does it for all, the leader.
package mirror

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// Options of a Mirror. Zero values are sensible.
type Options struct {
	Log            *slog.Logger
	ResyncInterval time.Duration // where the backend has no pace of its own; default a minute
	Project        string        // of objects whose backend knows no projects; default models.DefaultProject
}

// Mirror copies what a backend has into a database.
type Mirror struct {
	Store   *store.Store
	Backend backend.Backend

	exporter backend.Exporter // Backend, where it serves volumes itself
	options  Options
	log      *slog.Logger
	owner    string

	mu      sync.Mutex
	caps    backend.Capabilities
	servers map[string]string // names by id; nil: not read yet

	inventory, quotas, delta, poll, prune, resync *task
	wake, wakeResync                              chan struct{}
	tracker                                       tracker
}

// New makes a mirror; Start asks the backend first, and Run goes on.
func New(st *store.Store, b backend.Backend, options Options) *Mirror {
	if options.Log == nil {
		options.Log = slog.Default()
	}
	if options.ResyncInterval == 0 {
		options.ResyncInterval = time.Minute
	}
	if options.Project == "" {
		options.Project = models.DefaultProject
	}
	exporter, _ := b.(backend.Exporter)
	m := &Mirror{Store: st, Backend: b, exporter: exporter, options: options, log: options.Log,
		owner: fmt.Sprintf("%d-%s", os.Getpid(), models.NewID())}
	m.initTasks()
	return m
}

// Run mirrors until ctx ends. Call Start before, so that pages know what the backend
// can do.
func (m *Mirror) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { m.runTasks(ctx) })
	running.Go(func() { m.pollConnections(ctx) })
	running.Wait()
}

// Capabilities is what the backend said last.
func (m *Mirror) Capabilities() backend.Capabilities {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.caps
}

// Backoff doubles from half a second to a minute, with a fifth of chance in it, so
// that many do not come back at once.
func Backoff(attempts int) time.Duration {
	wait := min(500*time.Millisecond<<min(attempts, 10), time.Minute)
	return wait + time.Duration(rand.Int64N(int64(wait)/5+1))
}
