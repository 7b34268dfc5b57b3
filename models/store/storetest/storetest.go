// Package storetest opens real databases for tests: a SQLite file of the test's own or,
// where BLOCKCONSOLE_TEST_POSTGRES is the URL of a server, a PostgreSQL database of the
// test's own. On the server it leaves a template database for each version of the schema.
package storetest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"io"
	"log/slog"
	"os"
	"strings"
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

// NewClock makes a clock that starts at 2026-11-22 06:30 UTC.
func NewClock() *Clock {
	return &Clock{now: time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)}
}

// Now is the time it was set to, a microsecond later at each call, so that rows have the
// order in which they were written.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

// Add advances the clock.
func (c *Clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Operator is a user of the default project with the operator's role.
func Operator() models.Actor {
	return models.Actor{UserID: "operator", Name: "operator", Role: models.Operator, Project: models.DefaultProject, Address: "192.0.2.1", RequestID: "test"}
}

// Administrator is Operator with the administrator's role.
func Administrator() models.Actor {
	a := Operator()
	a.UserID, a.Name, a.Role = "admin", "admin", models.Administrator
	return a
}

// Password is that of the users of OpenWithUsers and OpenWithFirstUser.
const Password = "correct horse"

// Open opens a fresh SQLite file.
func Open(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	return empty.openSQLite(t, store.Options{Now: now})
}

// OpenWithFirstUser opens a fresh SQLite file with the first user.
func OpenWithFirstUser(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	return firstUser.openSQLite(t, store.Options{Now: now})
}

// OpenWithUsers opens a fresh SQLite file with the first user and one more for each role,
// named like the role. Signing in with Password takes no time: the hashes are weak.
func OpenWithUsers(t testing.TB, options store.Options) *store.Store {
	t.Helper()
	return withUsers.openSQLite(t, options)
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

// Second opens the database of db again, as another process would.
func Second(t testing.TB, db *store.Store, now func() time.Time) *store.Store {
	t.Helper()
	return open(t, dsnOf(t, db), now)
}

// AllProjects opens the database of db again, for a console that shows every project.
func AllProjects(t testing.TB, db *store.Store, now func() time.Time) *store.Store {
	t.Helper()
	return openWith(t, dsnOf(t, db), store.Options{Now: now, AllProjects: true})
}

// Each runs the test in parallel with others on SQLite, and on PostgreSQL where a server is
// configured.
func Each(t *testing.T, test func(t *testing.T, db *store.Store, clock *Clock)) {
	t.Helper()
	each(t, empty, func(t *testing.T, open func(now func() time.Time) *store.Store) {
		clock := NewClock()
		test(t, open(clock.Now), clock)
	})
}

// EachWithFirstUser is Each with the first user, whose password is Password, and with a clock
// of the test's own, which it gives to open.
func EachWithFirstUser(t *testing.T, test func(t *testing.T, open func(now func() time.Time) *store.Store)) {
	t.Helper()
	each(t, firstUser, test)
}

func each(t *testing.T, tmpl *template, test func(t *testing.T, open func(now func() time.Time) *store.Store)) {
	t.Helper()
	t.Parallel()
	for name, openIn := range map[string]func(testing.TB, store.Options) *store.Store{"sqlite": tmpl.openSQLite, "postgres": tmpl.openPostgres} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(now func() time.Time) *store.Store { return openIn(t, store.Options{Now: now}) })
		})
	}
}

// OpenPostgres makes a database of the test's own on the server of
// BLOCKCONSOLE_TEST_POSTGRES (a postgres:// URL of a role that may create databases). Without
// it the test is skipped.
func OpenPostgres(t testing.TB, now func() time.Time) *store.Store {
	t.Helper()
	return empty.openPostgres(t, store.Options{Now: now})
}

// PostgresDSN makes a database of the test's own without a schema, and returns its URL.
func PostgresDSN(t testing.TB) string {
	t.Helper()
	skipWithoutPostgres(t)
	return createDatabase(t, "")
}

func skipWithoutPostgres(t testing.TB) {
	t.Helper()
	if os.Getenv("BLOCKCONSOLE_TEST_POSTGRES") == "" {
		t.Skip("PostgreSQL: BLOCKCONSOLE_TEST_POSTGRES is not set")
	}
}

// createDatabase makes a database that is dropped after the test.
func createDatabase(t testing.TB, options string) (dsn string) {
	t.Helper()
	server := os.Getenv("BLOCKCONSOLE_TEST_POSTGRES")
	admin, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Close() })
	name := "blockconsole_test_" + strings.ToLower(rand.Text())
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+name+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	if dsn, err = dsnFor(server, name); err != nil {
		t.Fatal(err)
	}
	return dsn
}
