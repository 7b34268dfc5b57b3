package models

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

var lockingForUpdate = clause.Locking{Strength: clause.LockingStrengthUpdate}

func openPostgres(dsn string, s *Store) (*gorm.DB, error) {
	db, err := gorm.Open(postgres.Open(dsn), s.gormConfig())
	if err != nil {
		return nil, err
	}
	pool, err := db.DB()
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(16)
	pool.SetConnMaxLifetime(time.Hour)
	return db, nil
}

func (s *Store) gormConfig() *gorm.Config {
	return &gorm.Config{
		TranslateError:         true,
		SkipDefaultTransaction: true, // every writing method opens its own
		PrepareStmt:            true,
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
	if !expected {
		l.log.ErrorContext(ctx, "statement failed", "sql", sql, "error", err)
		return
	}
	l.log.WarnContext(ctx, "slow statement", "sql", sql, "rows", rows, "took", took)
}

func onceFunc(fn func()) func() { return sync.OnceFunc(fn) }
