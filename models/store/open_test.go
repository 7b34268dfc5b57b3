package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestOpen_Damaged(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	good := filepath.Join(folder, "good.db")
	db, err := store.Open(good, quiet)
	closeStore(t, db, err)
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	page := 4096
	for name, damaged := range map[string][]byte{
		"text":                       []byte(strings.Repeat("this is a letter to my aunt\n", 500)),
		"cut":                        content[:len(content)/2],
		"first page overwritten":     append(slices.Repeat([]byte{0xAA}, page), content[page:]...),
		"schema overwritten":         append(append(slices.Clone(content[:100]), slices.Repeat([]byte{0xAA}, page-100)...), content[page:]...),
		"all but the head are zeros": append(slices.Clone(content[:page]), make([]byte, len(content)-page)...),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "damaged.db")
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			startError(t, path, path, "damaged or not a SQLite database", "backup")
		})
	}
	t.Run("a folder", func(t *testing.T) { startError(t, folder, folder, "it is a folder", "BLOCKCONSOLE_DATABASE") })
	t.Run("a missing folder", func(t *testing.T) {
		startError(t, filepath.Join(folder, "missing", "x.db"), "missing", "folder exists")
	})
	t.Run("no server", func(t *testing.T) {
		startError(t, "postgres://bc:secret@127.0.0.1:1/x?connect_timeout=2", "PostgreSQL", "BLOCKCONSOLE_DATABASE", "server runs")
	})
	t.Run("a bad URL", func(t *testing.T) { startError(t, "postgres://bc:secret@:port/x", "PostgreSQL") })
}

// TestOpen_Concurrent starts several consoles at once on a new database.
func TestOpen_Concurrent(t *testing.T) {
	t.Parallel()
	eachDSN(t, func(t *testing.T, dsn string) {
		stores, errs := concurrently(3, func(int) (*store.Store, error) { return store.Open(dsn, quiet) })
		for i, db := range stores {
			if errs[i] != nil {
				t.Errorf("%d: %v", i, errs[i])
				continue
			}
			if n, err := db.Total(t.Context(), storetest.Operator(), models.SubjectVolume); n != 0 || err != nil {
				t.Errorf("%d: %d, %v", i, n, err)
			}
			closeStore(t, db, nil)
		}
	})
}

// startError expects *StartError with these words.
func startError(t *testing.T, dsn string, words ...string) {
	t.Helper()
	db, err := store.Open(dsn, quiet)
	if err == nil {
		closeStore(t, db, nil)
		t.Fatalf("%s was opened", dsn)
	}
	var start *store.StartError
	if !errors.As(err, &start) {
		t.Fatalf("%T: %v", err, err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "secret") {
		t.Errorf("%q", err)
	}
}
