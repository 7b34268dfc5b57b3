package store_test

import (
	"fmt"
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

// TestMigrate_Instants: snapshots of before the step 0007 keep what they say of themselves, and
// get the only instant that is known of them.
func TestMigrate_Instants(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		storetest.SeedSnapshots(t, db, 5)
		undo := []string{"DROP INDEX snapshots_by_taken", "DROP INDEX snapshots_by_status_taken", "DROP INDEX snapshots_by_volume_taken"}
		if db.IsPostgres() {
			undo = append(undo, "DROP TRIGGER snapshots_change ON snapshots", "ALTER TABLE snapshots DROP COLUMN taken_at, DROP CONSTRAINT snapshots_consistency_check, ADD CHECK (consistency IN ('', 'clean', 'crash', 'smear'))",
				"CREATE CONSTRAINT TRIGGER snapshots_change AFTER INSERT OR DELETE OR UPDATE OF status, consistency ON snapshots DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note_change('snapshot')")
		} else {
			undo = append(undo, "DROP TRIGGER snapshots_change_updated", "ALTER TABLE snapshots DROP COLUMN taken_at", "ALTER TABLE snapshots DROP COLUMN consistency",
				"ALTER TABLE snapshots ADD COLUMN consistency TEXT NOT NULL DEFAULT '' CHECK (consistency IN ('', 'clean', 'crash', 'smear'))",
				"CREATE TRIGGER snapshots_change_updated AFTER UPDATE OF status, consistency ON snapshots BEGIN INSERT INTO changes (kind, id, project_id) VALUES ('snapshot', NEW.id, NEW.project_id); END")
		}
		for i, consistency := range []string{"clean", "smear", "crash", "", "clean"} {
			undo = append(undo, fmt.Sprintf("UPDATE snapshots SET consistency = '%s', created_at = %d WHERE num IN (SELECT num FROM snapshots ORDER BY num LIMIT 1 OFFSET %d)", consistency, 1000+i, i))
		}
		undo = append(undo, "UPDATE snapshots SET status = 'CREATING' WHERE created_at = 1004", "UPDATE volumes SET consistency = 'smear'", "DELETE FROM migrations WHERE id = '0007_instant'")
		for _, statement := range undo {
			must(t, db.DB().Exec(statement).Error)
		}
		must(t, store.Migrate(db))
		page, err := db.Snapshots.ListSnapshots(t.Context(), storetest.Operator(), models.ListQuery{Sort: "created_at"})
		var got []string
		for _, r := range page.Rows {
			got = append(got, fmt.Sprintf("%s %d", r.Consistency, r.TakenAt))
		}
		want := []string{"clean 1000", "none 1001", "crash 1002", " 1003", "clean 0"}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, want %q, %v", got, want, err)
		}
		if v, err := db.Volumes.VolumeByID(t.Context(), page.Rows[0].VolumeID); err != nil || v.Consistency != models.Inconsistent {
			t.Errorf("%+v, %v", v, err)
		}
		before, err := db.LastChange(t.Context())
		must(t, err)
		must(t, db.DB().Exec("UPDATE snapshots SET taken_at = 7 WHERE created_at = 1004").Error)
		if after, err := db.LastChange(t.Context()); err != nil || after == before {
			t.Errorf("no page learns of an instant: %d, %d, %v", before, after, err)
		}
		if err := db.DB().Exec("UPDATE snapshots SET consistency = 'smear'").Error; err == nil {
			t.Error("the old word is accepted")
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
