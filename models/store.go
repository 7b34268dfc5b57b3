// Package models keeps what the console knows: volumes, snapshots, servers, the
// operations under way on them, users and their sessions. One file per table;
// the rules that need no database (names, statuses, what is allowed) stand in
// files without gorm. Every query is scoped by a project. Its errors carry keys
// idOf the text catalog, never text.
package models

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

// Micros is a time as every table keeps it: microseconds of Unix time, UTC. Both
// databases sort and compare it alike.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// DefaultProject is the only project of an installation of one machine.
const DefaultProject = "default"

// Store is the console's database. It is safe for concurrent use.
type Store struct {
	db       *gorm.DB
	log      *slog.Logger
	now      func() time.Time
	postgres bool

	// SQLite has one writer. Waiting for it here, in order of arrival, is fair;
	// SQLite's own busy handler is a lottery.
	writer sync.Mutex

	snapshotPages pageCache[Snapshot]
	volumePages   pageCache[Volume]

	signals signals
	caps    atomic.Pointer[Capabilities]

	allProjects bool                    // users see every project of the backend
	ownProject  atomic.Pointer[Project] // that new objects belong to; nil: not known
	hasProjects atomic.Bool             // the backend has projects of its own
}

// Capabilities is what the backend can do and hold at present, told by the worker, so
// that a page never asks the backend.
type Capabilities struct {
	Abilities
	Backend    string // local, openstack
	CrashSafe  bool   // a snapshot of an attached volume is one instant
	Images     bool
	Shared     bool
	MaxSizeGiB int   // 0: not known
	FreeBytes  int64 // -1: not known
	Types      []string
	Zones      []string
	Quotas     []Quota   // idOf Project
	Project    Project   // that new objects belong to; empty: the backend knows none
	Projects   []Project // whose objects are shown, where that is more than Project
}

// Quota is a limit of the console's own project. What is in the backend's words:
// volumes, snapshots, gigabytes, or one of those for a type, such as
// gigabytes_ssd. Used counts what is reserved, too.
type Quota struct {
	What        string
	Used, Limit int64 // Limit -1: none
}

// Project is an owner of objects.
type Project struct{ ID, Name string }

// SetCapabilities is called by the worker.
func (s *Store) SetCapabilities(f Capabilities) { s.caps.Store(&f) }

// Capabilities returns what the worker told last.
func (s *Store) Capabilities() Capabilities {
	if f := s.caps.Load(); f != nil {
		return *f
	}
	return Capabilities{FreeBytes: -1}
}

// Rules are the rules as of now.
func (s *Store) Rules() Rules { return Rules{Abilities: s.Capabilities().Abilities, Now: s.Now()} }

// Options of Open. Zero values are sensible.
type Options struct {
	Now func() time.Time // the clock; nil: the wall clock
	Log *slog.Logger

	AllProjects bool // show the objects of every project of the backend
}

// Configured is the store's clock, in UTC.
func (s *Store) Now() time.Time { return s.now().UTC() }

// NewID returns a UUIDv7: unique, and in order of creation.
func NewID() string { return uuid.Must(uuid.NewV7()).String() }

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

// takeOne loads the one row of query into dest; ErrNotFound when there is none. It
// does not sort, so the query must name one row by a unique key.
func takeOne(query *gorm.DB, dest any) error {
	result := query.Limit(1).Find(dest)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return ErrNotFound
	}
	return nil
}

// forUpdate locks the rows that a transaction reads before it changes them. On
// SQLite the whole database already belongs to the writing transaction.
func (s *Store) forUpdate(tx *gorm.DB) *gorm.DB {
	if s.postgres {
		return tx.Clauses(lockingForUpdate)
	}
	return tx
}

// unindexed is the column such that SQLite, which has no statistics here, does not
// choose an index for it.
func (s *Store) unindexed(column string) string {
	if s.postgres {
		return column
	}
	return "+" + column
}

// IsPostgres says which of the two databases this is, for tests that ask for
// query plans.
func (s *Store) IsPostgres() bool { return s.postgres }

// signals wakes those who wait for a committed change of this process.
type signals struct {
	mu      sync.Mutex
	waiters map[chan struct{}]struct{}
}

// Subscribe returns a channel that receives after each committed change (several
// may fall together), and a function that ends it.
func (s *Store) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.signals.mu.Lock()
	defer s.signals.mu.Unlock()
	if s.signals.waiters == nil {
		s.signals.waiters = map[chan struct{}]struct{}{}
	}
	s.signals.waiters[ch] = struct{}{}
	return ch, func() {
		s.signals.mu.Lock()
		defer s.signals.mu.Unlock()
		delete(s.signals.waiters, ch)
	}
}

func (g *signals) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for ch := range g.waiters {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Open opens the database that dsn names, a path of a SQLite file or a
// postgres:// URL, and brings its schema up to date. *StartError tells in one
// sentence what to do when it cannot.
func Open(dsn string, options Options) (*Store, error) {
	s := &Store{log: options.Log, now: options.Now, postgres: isPostgres(dsn), allProjects: options.AllProjects}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.postgres {
		s.db, err = openPostgres(dsn, s)
	} else {
		s.db, err = openSQLite(dsn, s)
	}
	if err != nil {
		return nil, &StartError{DSN: dsn, Err: err}
	}
	err = s.migrate()
	if err == nil {
		err = s.loadOwnProject()
	}
	if err != nil {
		return nil, errors.Join(&StartError{DSN: dsn, Err: err}, s.Close())
	}
	return s, nil
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// StartError is a database that cannot be used. Its Error is for the
// administrator's terminal: what is wrong, and what to do.
type StartError struct {
	DSN string
	Err error
}

func (e *StartError) Unwrap() error { return e.Err }

func (e *StartError) Error() string {
	name := e.DSN
	if isPostgres(name) {
		name = "the PostgreSQL database"
	}
	var newer *NewerSchemaError
	switch {
	case errors.As(e.Err, &newer):
		return fmt.Sprintf("%s was written by a newer blockconsole (schema step %s); start that version, or restore a backup made before the upgrade", name, newer.Step)
	case isCorrupt(e.Err):
		return fmt.Sprintf("%s is damaged or not a SQLite database (%v); move it away and restore a backup, volumes and snapshots in the data folder are untouched", name, e.Err)
	case isFull(e.Err):
		return fmt.Sprintf("there is no space for %s; free some on that disk, or name another place in BLOCKCONSOLE_DATA or BLOCKCONSOLE_DATABASE", name)
	}
	why := strings.Join(strings.Fields(e.Err.Error()), " ") // one sentence, whatever the driver wrote
	if isPostgres(e.DSN) {
		return fmt.Sprintf("cannot open %s: %s; check BLOCKCONSOLE_DATABASE, that the server runs and that this role may use the database", name, why)
	}
	if info, err := os.Stat(e.DSN); err == nil && info.IsDir() {
		return fmt.Sprintf("cannot open %s: it is a folder; let BLOCKCONSOLE_DATABASE name a file in it", name)
	}
	return fmt.Sprintf("cannot open %s: %s; check BLOCKCONSOLE_DATABASE, that the folder exists and that this user may write there", name, why)
}
