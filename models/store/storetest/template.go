package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"
	modernc "modernc.org/sqlite"

	"blockconsole/models"
	"blockconsole/models/store"
)

func init() {
	// Tests need no protection from power cuts, and would spend most of their time syncing.
	modernc.RegisterConnectionHook(func(conn modernc.ExecQuerierContext, _ string) error {
		_, err := conn.ExecContext(context.Background(), "PRAGMA synchronous = OFF", nil)
		return err
	})
	models.DummyHash = weakHash("")
}

// template is a database that tests get copies of: migrating one for each test would take
// longer than most tests.
type template struct {
	name     string
	fill     func(db *store.Store) error
	sqlite   func() ([]byte, error)
	postgres func() (database string, err error)
}

func newTemplate(name string, fill func(db *store.Store) error) *template {
	t := &template{name: name, fill: fill}
	t.sqlite = sync.OnceValues(t.makeSQLite)
	t.postgres = sync.OnceValues(t.makePostgres)
	return t
}

var (
	empty     = newTemplate("empty", func(*store.Store) error { return nil })
	firstUser = newTemplate("first_user", addFirstUser)
	withUsers = newTemplate("users", func(db *store.Store) error {
		err := addFirstUser(db)
		for _, role := range models.Roles {
			_, addErr := db.Users.AddUser(context.Background(), Administrator(), string(role), role, Password)
			err = errors.Join(err, addErr)
		}
		return err
	})
)

func addFirstUser(db *store.Store) error {
	_, err := db.Users.EnsureFirstUser(context.Background(), Password)
	return err
}

// make migrates and fills a database, and makes the hashes of its passwords weak.
func (t *template) make(driver, dsn string) error {
	db, err := store.Open(dsn, store.Options{Now: NewClock().Now, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return err
	}
	if err := errors.Join(t.fill(db), db.Close()); err != nil {
		return err
	}
	raw, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	_, err = raw.ExecContext(context.Background(), "UPDATE users SET password_hash = '"+weakHash(Password)+"'")
	return errors.Join(err, raw.Close())
}

func (t *template) makeSQLite() ([]byte, error) {
	folder, err := os.MkdirTemp("", "storetest")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	path := filepath.Join(folder, "template.db")
	if err := t.make("sqlite", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// makePostgres makes the template database on the server unless a test of the same sources
// has made it before. It stays there, since tests of other packages use it at the same time.
func (t *template) makePostgres() (string, error) {
	ctx, server := context.Background(), os.Getenv("BLOCKCONSOLE_TEST_POSTGRES")
	version, err := sourceVersion()
	if err != nil {
		return "", err
	}
	admin, err := sql.Open("pgx", server)
	if err != nil {
		return "", err
	}
	defer admin.Close()
	admin.SetMaxOpenConns(1) // the lock belongs to the connection
	if _, err := admin.ExecContext(ctx, "SELECT pg_advisory_lock(7236299)"); err != nil {
		return "", err
	}
	name, made := "blockconsole_template_"+t.name+"_"+version, false
	if err := admin.QueryRowContext(ctx, "SELECT count(*) > 0 FROM pg_database WHERE datname = $1", name).Scan(&made); err != nil || made {
		return name, err
	}
	unfinished := name + "_new"
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + unfinished + " WITH (FORCE)", "CREATE DATABASE " + unfinished} {
		if _, err := admin.ExecContext(ctx, statement); err != nil {
			return "", err
		}
	}
	dsn, err := dsnFor(server, unfinished)
	if err == nil {
		err = t.make("pgx", dsn)
	}
	if err == nil { // a database with connections cannot be renamed
		_, err = admin.ExecContext(ctx, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", unfinished)
	}
	if err == nil {
		_, err = admin.ExecContext(ctx, "ALTER DATABASE "+unfinished+" RENAME TO "+name)
	}
	return name, err
}

// sourceVersion identifies the sources that template databases are made of.
func sourceVersion() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	folder := filepath.Dir(file)
	sum := sha256.New()
	for _, pattern := range []string{"*.go", "../projects.go", "../migrations/*.postgres.sql"} {
		files, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return "", err
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				return "", err
			}
			sum.Write(content)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:6]), nil
}

func dsnFor(server, database string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", err
	}
	u.Path = "/" + database
	return u.String(), nil
}

// openSQLite opens a copy of a template.
func (tmpl *template) openSQLite(t testing.TB, options store.Options) *store.Store {
	t.Helper()
	content, err := tmpl.sqlite()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "test.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return openWith(t, path, options)
}

// openPostgres opens a copy of a template; without a server the test is skipped.
func (tmpl *template) openPostgres(t testing.TB, options store.Options) *store.Store {
	t.Helper()
	skipWithoutPostgres(t)
	source, err := tmpl.postgres()
	if err != nil {
		t.Fatal(err)
	}
	return openWith(t, createDatabase(t, " TEMPLATE "+source), options)
}

// weakHash is an argon2id hash of the least memory and one pass. VerifyPassword uses the
// cost that a hash names.
func weakHash(password string) string {
	const memoryKiB, passes, lanes, keyBytes = 8, 1, 1, 32
	salt := []byte("salt for testing")
	key := argon2.IDKey([]byte(password), salt, passes, memoryKiB, lanes, keyBytes)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, memoryKiB, passes, lanes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}
