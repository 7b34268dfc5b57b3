package store

import (
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gorm.io/gorm"
)

// Internals for the tests of this package.
var (
	EncodeCursor   = encodeCursor
	FoldName       = foldName
	MigrationSteps = migrationSteps
)

// Migrate migrates an open store again.
func Migrate(s *Store) error { return s.migrate() }

// DecodeCursor is decodeCursor with the key and the id.
func DecodeCursor(text, sort string) (key any, id string, err error) {
	c, err := decodeCursor(text, sort)
	return c.key, c.id, err
}

// DelayRefusals lets refusals wait until they are read.
func (s *Store) DelayRefusals() { s.refusals.delay = time.Hour }

// DB is the store's database handle.
func (s *Store) DB() *gorm.DB { return s.db }

// Statement is a statement that the store has sent.
type Statement struct {
	SQL  string
	Vars []any
}

// Capture collects all statements until end is called.
func (s *Store) Capture() (end func() []Statement) {
	var mu sync.Mutex
	var all []Statement
	on := true
	note := func(db *gorm.DB) {
		mu.Lock()
		defer mu.Unlock()
		sql := strings.TrimSpace(db.Statement.SQL.String())
		if on && sql != "" && db.Error == nil {
			all = append(all, Statement{sql, append([]any(nil), db.Statement.Vars...)})
		}
	}
	c := s.db.Callback()
	for _, err := range []error{
		c.Query().After("gorm:query").Register("test:query", note),
		c.Row().After("gorm:row").Register("test:row", note),
		c.Raw().After("gorm:raw").Register("test:raw", note),
		c.Update().After("gorm:update").Register("test:update", note),
		c.Delete().After("gorm:delete").Register("test:delete", note),
		c.Create().After("gorm:create").Register("test:create", note),
	} {
		if err != nil {
			panic(err)
		}
	}
	return func() []Statement {
		mu.Lock()
		defer mu.Unlock()
		on = false
		return all
	}
}

// ForgetPages empties the page caches.
func (s *Store) ForgetPages() {
	for _, forget := range []func(){s.snapshotPages.forget, s.volumePages.forget} {
		forget()
	}
}

func (c *pageCache[T]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pages = nil
}

// OpenBefore opens a database as the version before a step of the schema left it.
func OpenBefore(t testing.TB, dsn, step string) *Store {
	t.Helper()
	s, err := Open(dsn, Options{Log: slog.New(slog.DiscardHandler), schema: migrationSteps[:slices.Index(migrationSteps, step)]})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
