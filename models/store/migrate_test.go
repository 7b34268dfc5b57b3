package store_test

import (
	"io"
	"log/slog"
	"maps"
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

var quiet = store.Options{Log: slog.New(slog.NewTextHandler(io.Discard, nil))}

func closeStore(t *testing.T, db *store.Store, err error) {
	t.Helper()
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// eachDSN runs the test with a database of each kind that was never opened.
func eachDSN(t *testing.T, test func(t *testing.T, dsn string)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "odd name#1?.db")) })
	t.Run("postgres", func(t *testing.T) { test(t, storetest.PostgresDSN(t)) })
}

func TestMigrate_Twice(t *testing.T) {
	t.Parallel()
	eachDSN(t, func(t *testing.T, dsn string) {
		db, err := store.Open(dsn, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: "kept", Size: "1"}); err != nil {
			t.Fatal(err)
		}
		before := schemaOf(t, db)
		closeStore(t, db, nil)
		db, err = store.Open(dsn, quiet)
		if err != nil {
			t.Fatal(err)
		}
		defer closeStore(t, db, nil)
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

func TestMigrate_MatchesModels(t *testing.T) {
	withoutModel := map[string][]string{"counters": {"kind", "n", "project_id"}, "identity": {"name", "value"}, "leases": {"name", "owner", "until"}, "migrations": {"id"}, "secrets": {"name", "value"}}
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

func TestMigrate_NewerSchema(t *testing.T) {
	t.Parallel()
	eachDSN(t, func(t *testing.T, dsn string) {
		db, err := store.Open(dsn, quiet)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.DB().Exec("INSERT INTO migrations (id) VALUES ('9999_future')").Error; err != nil {
			t.Fatal(err)
		}
		closeStore(t, db, nil)
		startError(t, dsn, "newer blockconsole", "9999_future", "backup")
	})
}
