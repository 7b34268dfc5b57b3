package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"blockconsole/models"
	"blockconsole/models/reserve"
)

// Options of Open. Zero values are defaults.
type Options struct {
	Now func() time.Time // the clock; nil: the wall clock
	Log *slog.Logger

	// Reserve is that of the disk that the SQLite file is on; it makes room when the disk is full. nil: none.
	Reserve *reserve.Reserve

	AllProjects     bool // users see the objects of every project of the backend
	MaxConns        int  // maximum number of connections to the database; 0: as many as are of use
	SessionsPerUser int  // maximum number of sessions; 0: models.SessionsPerUser

	schema []string // tests: the steps of an older schema; nil: all
}

// Open opens a database, by the path of a SQLite file or a postgres:// URL, and brings
// its schema up to date. Errors: *StartError.
func Open(dsn string, options Options) (*Store, error) {
	s := &Store{schema: migrationSteps, log: options.Log, now: options.Now, postgres: isPostgres(dsn), allProjects: options.AllProjects,
		folder: databaseFolder(dsn), reserve: options.Reserve, sessionsPerUser: cmp.Or(options.SessionsPerUser, models.SessionsPerUser)}
	s.Volumes, s.Snapshots, s.Servers = Volumes{s}, Snapshots{s}, Servers{s}
	s.Users, s.Sessions, s.Queue, s.Sync = Users{s}, Sessions{s}, Queue{s}, Sync{s}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.postgres {
		s.db, err = openPostgres(dsn, s, options.MaxConns)
	} else {
		s.db, err = openSQLite(dsn, s, options.MaxConns)
	}
	if err != nil {
		return nil, &StartError{DSN: dsn, Err: err}
	}
	if options.schema != nil {
		s.schema = options.schema
	}
	err = s.migrate()
	if err == nil {
		err = s.loadOwnProject()
	}
	if err == nil {
		s.deviceKey, err = s.loadSecret("device")
	}
	if err != nil {
		return nil, errors.Join(&StartError{DSN: dsn, Err: err}, s.Close())
	}
	return s, nil
}

// limitConns bounds a pool by what is of use, and by what was asked for where that is
// more than none.
func limitConns(pool *sql.DB, useful, limit int) {
	if limit > 0 {
		useful = min(useful, max(limit, 2))
	}
	pool.SetMaxOpenConns(useful)
	pool.SetMaxIdleConns(useful)
}

func isPostgres(dsn string) bool {
	return strings.HasPrefix(dsn, "postgres://") || strings.HasPrefix(dsn, "postgresql://")
}

// StartError is the error of a database that cannot be opened. Its text, one sentence,
// tells the administrator at the terminal what to do.
type StartError struct {
	DSN string
	Err error
}

// Unwrap returns the cause. Errors: *NewerSchemaError, those of the database.
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

func (s *Store) gormConfig() *gorm.Config {
	return &gorm.Config{
		TranslateError:         true,
		SkipDefaultTransaction: true,        // every writing method opens its own
		PrepareStmt:            !s.postgres, // pgx keeps its own, per connection
		PrepareStmtMaxSize:     500,
		NowFunc:                s.Now,
		Logger:                 gormLog{log: s.log, now: s.now},
	}
}

// gormLog logs slow and failed statements without their values, which may be secrets.
type gormLog struct {
	log *slog.Logger
	now func() time.Time
}

const slowQuery = 200 * time.Millisecond

// maxLoggedBytes of a statement are logged: enough to recognize it.
const maxLoggedBytes = 1000

func (l gormLog) LogMode(logger.LogLevel) logger.Interface { return l }

func (l gormLog) Info(ctx context.Context, msg string, args ...any) { l.log.DebugContext(ctx, msg) }

func (l gormLog) Warn(ctx context.Context, msg string, args ...any) { l.log.WarnContext(ctx, msg) }

func (l gormLog) Error(ctx context.Context, msg string, args ...any) { l.log.ErrorContext(ctx, msg) }

func (l gormLog) ParamsFilter(_ context.Context, sql string, _ ...any) (string, []any) {
	return sql, nil
}

// Trace is called after every statement.
func (l gormLog) Trace(ctx context.Context, begin time.Time, fc func() (string, int64), err error) {
	took := time.Since(begin)
	expected := err == nil || errors.Is(err, gorm.ErrRecordNotFound) || errors.Is(err, context.Canceled) ||
		errors.Is(err, gorm.ErrDuplicatedKey)
	if expected && took < slowQuery {
		return
	}
	sql, rows := fc()
	if len(sql) > maxLoggedBytes {
		sql = strings.ToValidUTF8(sql[:maxLoggedBytes], "") + "…"
	}
	if !expected {
		l.log.ErrorContext(ctx, "statement failed", "sql", sql, "error", err)
		return
	}
	l.log.WarnContext(ctx, "slow statement", "sql", sql, "rows", rows, "took", took)
}
