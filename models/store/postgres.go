package store

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

var lockingForUpdate = clause.Locking{Strength: clause.LockingStrengthUpdate}

func openPostgres(dsn string, s *Store) (*gorm.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if _, set := config.RuntimeParams["plan_cache_mode"]; !set {
		// How many rows a filter finds decides the plan, so each value gets its own.
		config.RuntimeParams["plan_cache_mode"] = "force_custom_plan"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(16)
	pool.SetConnMaxLifetime(time.Hour)
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: pool}), s.gormConfig())
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return db, nil
}

// isDeadlock says that PostgreSQL ended a transaction that may simply run again.
func isDeadlock(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40P01" || e.Code == "40001")
}

// Numbers of advisory locks. The last is also that of note_change in the schema.
const (
	lockMigrations = 7236211
	lockClaims     = 7236212
	lockChanges    = 7236213
)

// locked runs fn while this process alone has the advisory lock.
func locked(pool *sql.DB, lock int64, fn func() error) error {
	ctx := context.Background()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", lock); err != nil {
		return err
	}
	err = fn()
	_, unlockErr := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", lock)
	return errors.Join(err, unlockErr)
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

// gormLog reports slow and failed statements to slog, without their values: they
// may hold what a log must not.
type gormLog struct {
	log *slog.Logger
	now func() time.Time
}

const slowQuery = 200 * time.Millisecond

// longestStatement is how much of a statement the log needs to tell which one it is.
const longestStatement = 1000

func (l gormLog) LogMode(logger.LogLevel) logger.Interface           { return l }
func (l gormLog) Info(ctx context.Context, msg string, args ...any)  { l.log.DebugContext(ctx, msg) }
func (l gormLog) Warn(ctx context.Context, msg string, args ...any)  { l.log.WarnContext(ctx, msg) }
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
	if len(sql) > longestStatement {
		sql = strings.ToValidUTF8(sql[:longestStatement], "") + "…"
	}
	if !expected {
		l.log.ErrorContext(ctx, "statement failed", "sql", sql, "error", err)
		return
	}
	l.log.WarnContext(ctx, "slow statement", "sql", sql, "rows", rows, "took", took)
}

func onceFunc(fn func()) func() { return sync.OnceFunc(fn) }
