package store_test

import (
	"bytes"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"blockconsole/models/store"
)

// TestLog_CutsLongStatements matters for the mirror's inserts of many rows.
func TestLog_CutsLongStatements(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	db, err := store.Open(filepath.Join(t.TempDir(), "x.db"), store.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.DB().Exec("INSERT INTO nowhere VALUES " + strings.Repeat("(?,?),", 3000)).Error; err == nil {
		t.Fatal("no error")
	}
	if text := log.String(); !strings.Contains(text, "INSERT INTO nowhere") || len(text) > 3000 {
		t.Errorf("%d characters: %.200s", len(text), text)
	}
}
