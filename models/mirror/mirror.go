// Package mirror makes the records follow the storage: it copies the backend's objects
// into the tables, all of them from time to time (resync.go), those that changed since
// (delta.go), and those in transition one by one (poller.go). Of the consoles on one
// database only the leader does it (scheduler.go).
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

// Options of New. Zero values are defaults.
type Options struct {
	Log            *slog.Logger
	ResyncInterval time.Duration // where the backend has no interval of its own; default one minute
	Project        string        // of objects where the backend has no projects; default models.DefaultProject
}

// Mirror copies the objects of a backend into a database. It is safe for concurrent use.
type Mirror struct {
	Store   *store.Store
	Backend backend.Backend

	exporter backend.Exporter // Backend, where it serves volumes itself; else nil
	options  Options
	log      *slog.Logger
	owner    string // of the leader's lease

	noDeltaUntil time.Time // the backend has no ChangedVolumes; only the delta task uses it

	mu      sync.Mutex
	caps    backend.Capabilities
	servers map[string]string // names by id; nil: not read yet
	faulty  []backend.Key     // volumes in use that showed a failure of their disk last

	inventory, quotas, delta, poll, prune, resync *task
	wake, wakeResync                              chan struct{}
	tracker                                       *tracker
}

// New makes a mirror; call Start, then Run.
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

// Run mirrors until ctx ends. Call Start before, so that pages know the capabilities.
func (m *Mirror) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { m.runTasks(ctx) })
	running.Go(func() { m.pollConnections(ctx) })
	running.Wait()
}

// Capabilities returns the capabilities as they were read last.
func (m *Mirror) Capabilities() backend.Capabilities {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.caps
}

// Backoff is the wait after a number of failed attempts: exponential from half a second
// to a minute, plus up to a fifth of jitter.
func Backoff(attempts int) time.Duration {
	wait := min(500*time.Millisecond<<min(attempts, 10), time.Minute)
	return wait + time.Duration(rand.Int64N(int64(wait)/5+1))
}
