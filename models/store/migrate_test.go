package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"gorm.io/gorm/schema"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

var silent = store.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}

func closed(t *testing.T, db *store.Store, err error) {
	t.Helper()
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eachDSN runs the test with an empty database of either kind.
func eachDSN(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "odd name#1?.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, storetest.PostgresDSN(t)) })
}

func TestOpenTwice(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		db, err := store.Open(dsn, silent)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: "kept", Size: "1"}); err != nil {
			t.Fatal(err)
		}
		before := schemaOf(t, db)
		closed(t, db, nil)
		db, err = store.Open(dsn, silent)
		if err != nil {
			t.Fatal(err)
		}
		defer closed(t, db, nil)
		if after := schemaOf(t, db); after != before || before == "" {
			t.Errorf("the second start changed the schema from\n%s\nto\n%s", before, after)
		}
		if page, err := db.Volumes.ListVolumes(t.Context(), storetest.Operator(), models.ListQuery{Search: "kept"}); err != nil || len(page.Rows) != 1 {
			t.Errorf("%+v, %v", page, err)
		}
	})
}

func schemaOf(t *testing.T, db *store.Store) string {
	t.Helper()
	query := "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY type, name"
	if db.IsPostgres() {
		query = `SELECT table_name || '.' || column_name || ' ' || data_type FROM information_schema.columns WHERE table_schema = 'public'
			UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1`
	}
	var lines []string
	if err := db.DB().Raw(query).Scan(&lines).Error; err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

func TestModelsMatchTheSchema(t *testing.T) {
	withoutModel := map[string][]string{"counters": {"kind", "n", "project_id"}, "identity": {"name", "value"}, "leases": {"name", "owner", "until"}, "migrations": {"id"}}
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		want := maps.Clone(withoutModel)
		for _, model := range []any{models.Volume{}, models.Attachment{}, models.Snapshot{}, models.Connection{}, models.Server{}, models.Image{}, models.Operation{}, models.Change{},
			models.SyncState{}, models.User{}, models.Session{}, store.LoginFailure{}, models.AuditEntry{}} {
			parsed, err := schema.Parse(model, &sync.Map{}, db.DB().NamingStrategy)
			if err != nil {
				t.Fatal(err)
			}
			var columns []string
			for _, f := range parsed.Fields {
				if f.DBName != "" && f.Creatable {
					columns = append(columns, f.DBName)
				}
			}
			slices.Sort(columns)
			want[parsed.Table] = columns
		}
		query := "SELECT m.name AS t, c.name AS c FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE '%_fts%' AND m.name NOT LIKE '%_grams%'"
		if db.IsPostgres() {
			query = "SELECT table_name AS t, column_name AS c FROM information_schema.columns WHERE table_schema = 'public'"
		}
		var rows []struct{ T, C string }
		if err := db.DB().Raw(query).Scan(&rows).Error; err != nil {
			t.Fatal(err)
		}
		got := map[string][]string{}
		for _, r := range rows {
			got[r.T] = append(got[r.T], r.C)
		}
		for table := range got {
			slices.Sort(got[table])
		}
		if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
			t.Errorf("the database has\n%v\nthe models have\n%v", got, want)
		}
	})
}

func TestANewerDatabaseIsRefused(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		db, err := store.Open(dsn, silent)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.DB().Exec("INSERT INTO migrations (id) VALUES ('9999_future')").Error; err != nil {
			t.Fatal(err)
		}
		closed(t, db, nil)
		startError(t, dsn, "newer blockconsole", "9999_future", "backup")
	})
}

// startError expects that the database cannot be opened, and that the sentence
// names what matters.
func startError(t *testing.T, dsn string, words ...string) {
	t.Helper()
	db, err := store.Open(dsn, silent)
	if err == nil {
		closed(t, db, nil)
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

func TestWhatIsNoDatabase(t *testing.T) {
	folder := t.TempDir()
	good := filepath.Join(folder, "good.db")
	db, err := store.Open(good, silent)
	closed(t, db, err)
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

// TestOpenAtOnce: several consoles may start together on an empty database.
func TestOpenAtOnce(t *testing.T) {
	eachDSN(t, func(t *testing.T, dsn string) {
		stores, errs := atOnce(3, func(int) (*store.Store, error) { return store.Open(dsn, silent) })
		for i, db := range stores {
			if errs[i] != nil {
				t.Errorf("%d: %v", i, errs[i])
				continue
			}
			if n, err := db.Total(t.Context(), storetest.Operator(), models.SubjectVolume); n != 0 || err != nil {
				t.Errorf("%d: %d, %v", i, n, err)
			}
			closed(t, db, nil)
		}
	})
}

// TestLibcIsTheOneSQLiteWasTestedWith: modernc.org/sqlite is a translation that fits
// one version of its C library only.
func TestLibcIsTheOneSQLiteWasTestedWith(t *testing.T) {
	version := func(args ...string) (v struct{ Version, GoMod string }) {
		out, err := exec.Command("go", append([]string{"list", "-m", "-json"}, args...)...).Output()
		if err == nil {
			err = json.Unmarshal(out, &v)
		}
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	wants, err := os.ReadFile(version("modernc.org/sqlite").GoMod)
	if err != nil {
		t.Fatal(err)
	}
	if line := fmt.Sprintf("modernc.org/libc %s\n", version("modernc.org/libc").Version); !strings.Contains(string(wants), line) {
		t.Errorf("go.mod has %s, which modernc.org/sqlite does not name", strings.TrimSpace(line))
	}
}

// TestFoldingIsTheSameOnBothDatabases compares every letter that Unicode had when
// either of them learned it.
func TestFoldingIsTheSameOnBothDatabases(t *testing.T) {
	db := storetest.OpenPostgres(t, nil)
	var rows []struct{ Letter, Folded string }
	err := db.DB().Raw("SELECT chr(i) AS letter, fold_name(chr(i)) AS folded FROM generate_series(1, 66000) AS i WHERE i NOT BETWEEN 55296 AND 57343").Scan(&rows).Error
	if err != nil {
		t.Fatal(err)
	}
	differ := 0
	for _, r := range rows {
		if store.FoldName(r.Letter) != r.Folded {
			differ++
			t.Logf("%+q: %+q, PostgreSQL %+q", r.Letter, store.FoldName(r.Letter), r.Folded)
		}
	}
	if differ > 20 { // letters that only the newer Unicode has
		t.Errorf("%d letters fold differently", differ)
	}
}
