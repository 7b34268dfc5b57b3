// Package storetest opens real databases for tests: a SQLite file of the test's
// own or, where BLOCKCONSOLE_TEST_POSTGRES names a server, also a PostgreSQL
// database of the test's own.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver called pgx

	"blockconsole/models"
	"blockconsole/models/store"
)

// Clock is a clock that tests set.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock starts at the minute the user guide was handed over.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)}
}

// Now is the time it was set to; each look is a microsecond later, so that rows
// written one after the other are in that order.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

// Add moves the clock on.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Operator is a user of the default project who may do everything in the guide.
func Operator() models.Actor {
	return models.Actor{UserID: "operator", Name: "operator", Role: models.Operator, Project: models.DefaultProject, Address: "192.0.2.1", RequestID: "test"}
}

// Administrator is Operator with the administrator's role.
func Administrator() models.Actor {
	a := Operator()
	a.UserID, a.Name, a.Role = "admin", "admin", models.Administrator
	return a
}

// Open opens a fresh SQLite file.
func Open(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	return openCopy(t, emptyDatabase, store.Options{Now: now})
}

func openCopy(t testing.TB, database func() ([]byte, error), options store.Options) *store.Store {
	t.Helper()
	content, err := database()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return openWith(t, path, options)
}

// emptyDatabase is a database as the first start makes it. Making it takes longer
// than most tests, so it is made once.
var emptyDatabase = sync.OnceValues(func() ([]byte, error) {
	return makeDatabase(func(*store.Store, string) error { return nil })
})

// makeDatabase returns the content of a new database, which fill gets with its path.
func makeDatabase(fill func(db *store.Store, path string) error) ([]byte, error) {
	folder, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "new.db")
	db, err := store.Open(path, store.Options{Now: NewClock().Now})
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(db, path), db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

func open(t testing.TB, dsn string, now func() time.Time) *store.Store {
	t.Helper()
	return openWith(t, dsn, store.Options{Now: now})
}

func openWith(t testing.TB, dsn string, options store.Options) *store.Store {
	t.Helper()
	options.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	db, err := store.Open(dsn, options)
	if err != nil {
		t.Fatal(err)
	}
	dsns.Store(db, dsn)
	t.Cleanup(func() {
		dsns.Delete(db)
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

var dsns sync.Map // of *store.Store, to the string it was opened with

func dsnOf(t testing.TB, db *store.Store) string {
	t.Helper()
	dsn, ok := dsns.Load(db)
	if !ok {
		t.Fatal("the store was not opened by storetest")
	}
	return dsn.(string)
}

// Second opens the database of store once more, as another process on it would.
func Second(t testing.TB, db *store.Store, now func() time.Time) *store.Store {
	t.Helper()
	return open(t, dsnOf(t, db), now)
}

// AllProjects opens the database of store once more, for a console that shows
// every project.
func AllProjects(t testing.TB, db *store.Store, now func() time.Time) *store.Store {
	t.Helper()
	return openWith(t, dsnOf(t, db), store.Options{Now: now, AllProjects: true})
}

// Each runs the test on SQLite, and on PostgreSQL where a server is named.
func Each(t *testing.T, test func(t *testing.T, db *store.Store, clock *Clock)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		clock := NewClock()
		test(t, Open(t, clock.Now), clock)
	})
	t.Run("postgres", func(t *testing.T) {
		clock := NewClock()
		test(t, OpenPostgres(t, clock.Now), clock)
	})
}

// OpenPostgres makes a database of the test's own on the server that
// BLOCKCONSOLE_TEST_POSTGRES names (a postgres:// URL of a role that may create
// databases); without it the test is skipped.
func OpenPostgres(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	return open(t, PostgresDSN(t), now)
}

// PostgresDSN makes an empty database of the test's own and returns its URL.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	server := os.Getenv("BLOCKCONSOLE_TEST_POSTGRES")
	if server == "" {
		t.Skip("PostgreSQL: BLOCKCONSOLE_TEST_POSTGRES is not set")
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	random := make([]byte, 8)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	name := "blockconsole_test_" + hex.EncodeToString(random)
	if _, err := admin.Exec("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	return u.String()
}
