package store

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
	"gorm.io/gorm"
	sqlite3 "modernc.org/sqlite/lib"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/reserve"
)

// Unsaved returns why the last write was refused by the database's disk; nil when it
// was not. Pages are read all the same.
func (s *Store) Unsaved() *models.Text { return s.unsaved.Load() }

// TryWriting writes a little after a write was refused, so that Unsaved ends with its
// cause. Errors: CodeUnsaved, those of the database.
func (s *Store) TryWriting(ctx context.Context) error {
	if s.unsaved.Load() == nil {
		return nil
	}
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return tx.Exec(`INSERT INTO leases (name, owner, until) VALUES ('writable', '', ?) ON CONFLICT (name) DO UPDATE SET until = excluded.until`,
			models.Micros(s.Now())).Error
	})
	if err == nil {
		s.unsaved.Store(nil)
	}
	return err
}

// explainUnsaved turns the refusal of a disk into CodeUnsaved, and other errors into
// themselves. retry: the reserve has made room, and the transaction may run once more.
func (s *Store) explainUnsaved(err error, first bool) (_ error, retry bool) {
	cause := s.refusal(err)
	if cause == "" {
		return err, false
	}
	if first && s.reserve != nil && s.reserve.Report(cause) {
		return err, true
	}
	text := s.unsavedText(cause)
	if before := s.unsaved.Swap(&text); before == nil || before.Key != text.Key {
		s.log.Error("the database cannot be written", "cause", cause, "error", err)
	}
	return &models.Error{Code: models.CodeUnsaved, Text: text}, false
}

// refusal is why the database's disk refused a write; empty for other errors.
func (s *Store) refusal(err error) backend.Cause {
	if s.postgres {
		return postgresRefusal(err)
	}
	switch primaryCode(err) {
	case sqlite3.SQLITE_FULL:
		return cmp.Or(reserve.Diagnose(s.folder), backend.NoBytes)
	case sqlite3.SQLITE_READONLY:
		return cmp.Or(reserve.Diagnose(s.folder), backend.ReadOnly)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN: // all that SQLite tells of the others
		return cmp.Or(reserve.Diagnose(s.folder), backend.DiskError)
	}
	return ""
}

// postgresRefusal knows the codes of
// https://www.postgresql.org/docs/current/errcodes-appendix.html.
func postgresRefusal(err error) backend.Cause {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return ""
	}
	switch e.Code {
	case "53100": // disk_full
		return backend.NoBytes
	case "25006": // read_only_sql_transaction
		return backend.ReadOnly
	case "58030": // io_error
		return backend.DiskError
	}
	return ""
}

// unsavedText says what happened, with the disk and its figures where it is ours.
func (s *Store) unsavedText(cause backend.Cause) models.Text {
	if s.postgres {
		return models.NewText("unsaved.postgres." + string(cause))
	}
	u, err := reserve.UsageOf(s.folder)
	if err != nil {
		return models.NewText("unsaved."+string(cause), s.folder, "0", "0")
	}
	free, total := u.Figures(cause)
	return models.NewText("unsaved."+string(cause), s.folder, strconv.FormatInt(free, 10), strconv.FormatInt(total, 10))
}

// databaseFolder is the folder of a SQLite file; empty for PostgreSQL.
func databaseFolder(dsn string) string {
	if isPostgres(dsn) {
		return ""
	}
	return filepath.Dir(dsn)
}
