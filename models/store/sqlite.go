package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	modernc "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// sqliteDialector is gorm's SQLite dialect with the pure Go driver. It embeds the
// concrete type: embedding gorm.Dialector would lose SavePoint, and nested transactions.
type sqliteDialector struct{ *sqlite.Dialector }

// Translate maps the driver's errors to gorm's: gorm itself knows only those of mattn's
// driver. Errors: gorm.ErrDuplicatedKey, gorm.ErrForeignKeyViolated,
// gorm.ErrCheckConstraintViolated, others unchanged.
func (d sqliteDialector) Translate(err error) error {
	var e *modernc.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return gorm.ErrDuplicatedKey
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return gorm.ErrForeignKeyViolated
	case sqlite3.SQLITE_CONSTRAINT_CHECK:
		return gorm.ErrCheckConstraintViolated
	}
	return err
}

func isCorrupt(err error) bool {
	code := primaryCode(err)
	return code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB
}

func isFull(err error) bool { return primaryCode(err) == sqlite3.SQLITE_FULL }

// primaryCode is SQLite's primary result code; SQLITE_OK for other errors.
func primaryCode(err error) int {
	var e *modernc.Error
	if !errors.As(err, &e) {
		return sqlite3.SQLITE_OK
	}
	return e.Code() & 0xff
}

// sqliteDSN sets the pragmas for every connection of the pool; an Exec would reach only
// one. busy_timeout comes first, since the others may have to wait. synchronous(FULL):
// an acknowledged click survives a power cut.
func sqliteDSN(path string) string {
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
		"cache_size(-65536)", "mmap_size(268435456)", "temp_store(MEMORY)", "journal_size_limit(67108864)",
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func openSQLite(path string, s *Store, maxConns int) (*gorm.DB, error) {
	registerGrams()
	dialector := sqliteDialector{&sqlite.Dialector{DriverName: "sqlite", DSN: sqliteDSN(path)}}
	pool, err := sql.Open(dialector.DriverName, dialector.DSN)
	if err != nil {
		return nil, err
	}
	dialector.Conn = pool
	if err := pingUntilFree(pool); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	db, err := gorm.Open(dialector, s.gormConfig())
	if err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	limitConns(pool, 8, maxConns)
	return db, nil
}

// pingUntilFree opens the first connection. When several processes create a database at
// the same time, some get SQLITE_BUSY at the change to WAL despite busy_timeout, since
// they would wait for each other (https://sqlite.org/c3ref/busy_handler.html). They try
// again, as long as busy_timeout.
func pingUntilFree(pool *sql.DB) error {
	timeout := time.After(10 * time.Second)
	for {
		err := pool.PingContext(context.Background())
		if primaryCode(err) != sqlite3.SQLITE_BUSY {
			return err
		}
		select {
		case <-timeout:
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// registerGrams registers the SQL functions name_grams, which the triggers of the gram
// tables call (see nameGrams), and fold_name (see foldName).
var registerGrams = sync.OnceFunc(func() {
	modernc.MustRegisterDeterministicScalarFunction("name_grams", 1,
		func(_ *modernc.FunctionContext, args []driver.Value) (driver.Value, error) {
			name, _ := args[0].(string)
			return strings.Join(nameGrams(name), " "), nil
		})
	modernc.MustRegisterDeterministicScalarFunction("fold_name", 1,
		func(_ *modernc.FunctionContext, args []driver.Value) (driver.Value, error) {
			name, _ := args[0].(string)
			return foldName(name), nil
		})
})
