package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
)

var lockingForUpdate = clause.Locking{Strength: clause.LockingStrengthUpdate}

func openPostgres(dsn string, s *Store) (*gorm.DB, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	if _, set := config.RuntimeParams["plan_cache_mode"]; !set {
		// The best plan depends on how many rows a value matches, so each value gets a plan of its own.
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

// isDeadlock reports whether PostgreSQL aborted a transaction that may simply run again.
func isDeadlock(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "40P01" || e.Code == "40001")
}

// Keys of advisory locks. The schema's note_change uses the last one, too.
const (
	lockMigrations = 7236211
	lockClaims     = 7236212
	lockChanges    = 7236213
	lockUsers      = 7236214
)

// locked runs fn while holding the advisory lock.
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
