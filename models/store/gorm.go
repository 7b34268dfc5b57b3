package store

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"blockconsole/models"
)

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

// takeOne loads the row of query into dest; ErrNotFound when there is none. It does not
// sort, so the query must select one row by a unique key.
func takeOne(query *gorm.DB, dest any) error {
	result := query.Limit(1).Find(dest)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return models.ErrNotFound
	}
	return nil
}

// forUpdate locks the rows that a transaction reads before it changes them. On SQLite a
// writing transaction has the whole database to itself.
func (s *Store) forUpdate(tx *gorm.DB) *gorm.DB {
	if s.postgres {
		return tx.Clauses(lockingForUpdate)
	}
	return tx
}

// unindexed writes the column so that SQLite, which has no statistics here, does not
// choose an index for it.
func (s *Store) unindexed(column string) string {
	if s.postgres {
		return column
	}
	return "+" + column
}
