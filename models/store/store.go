package store

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// Store is the console's database, and what holds for all of it; each field has
// the queries and the clicks of one kind of row. It is safe for concurrent use.
type Store struct {
	Volumes   Volumes
	Snapshots Snapshots
	Servers   Servers
	Users     Users
	Sessions  Sessions
	Queue     Queue
	Sync      Sync

	db       *gorm.DB
	log      *slog.Logger
	now      func() time.Time
	postgres bool

	// SQLite has one writer. Waiting for it here, in order of arrival, is fair;
	// SQLite's own busy handler is a lottery.
	writer sync.Mutex

	snapshotPages pageCache[models.Snapshot]
	volumePages   pageCache[models.Volume]

	signals signals
	caps    atomic.Pointer[models.Capabilities]

	allProjects bool                           // users see every project of the backend
	ownProject  atomic.Pointer[models.Project] // that new objects belong to; nil: not known
	hasProjects atomic.Bool                    // the backend has projects of its own
}

// The parts of a Store. Each is a Store itself, so that they share transactions,
// the clock and the project's scope.
type (
	// Volumes lists volumes, and asks for what is done with them.
	Volumes struct{ *Store }
	// Snapshots lists snapshots, and asks for what is done with them.
	Snapshots struct{ *Store }
	// Servers has the servers that volumes are attached to, and the images.
	Servers struct{ *Store }
	// Users has the people.
	Users struct{ *Store }
	// Sessions has who is signed in.
	Sessions struct{ *Store }
	// Queue has the operations: what clicks have asked for and workers carry out.
	Queue struct{ *Store }
	// Sync makes the records say what the backend says.
	Sync struct{ *Store }
)

// SetCapabilities is called by the worker.
func (s *Store) SetCapabilities(caps models.Capabilities) { s.caps.Store(&caps) }

// Capabilities returns what the worker told last.
func (s *Store) Capabilities() models.Capabilities {
	if caps := s.caps.Load(); caps != nil {
		return *caps
	}
	return models.Capabilities{FreeBytes: -1}
}

// Rules are the rules as of now.
func (s *Store) Rules() models.Rules {
	return models.Rules{Capabilities: s.Capabilities(), Now: s.Now()}
}

// Configured is the store's clock, in UTC.
func (s *Store) Now() time.Time { return s.now().UTC() }

// Ping says whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	db, err := s.db.DB()
	if err != nil {
		return err
	}
	return db.PingContext(ctx)
}

// Close ends the use of the database.
func (s *Store) Close() error {
	db, err := s.db.DB()
	if err != nil {
		return err
	}
	return db.Close()
}

// write runs fn in one transaction, and wakes whoever waits for changes once it
// is committed. The backend is never called inside: transactions are short. Of
// two that waited for each other PostgreSQL ends one; it runs once more, so fn
// must not count on what it left outside the database.
func (s *Store) write(ctx context.Context, fn func(tx *gorm.DB) error) error {
	err := s.writeUnsignalled(ctx, fn)
	if err == nil {
		s.signals.wake()
	}
	return err
}

const deadlockTries = 10

// writeUnsignalled is write for what nobody waits for.
func (s *Store) writeUnsignalled(ctx context.Context, fn func(tx *gorm.DB) error) error {
	if !s.postgres {
		s.writer.Lock()
		defer s.writer.Unlock()
	}
	for try := 1; ; try++ {
		err := s.db.WithContext(ctx).Transaction(fn)
		if err == nil || !isDeadlock(err) || try == deadlockTries {
			return err
		}
	}
}

func (s *Store) read(ctx context.Context) *gorm.DB { return s.db.WithContext(ctx) }

// IsPostgres says which of the two databases this is, for tests that ask for
// query plans.
func (s *Store) IsPostgres() bool { return s.postgres }
