package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"blockconsole/models/store"
)

// snapshotsPerVolume is how many of the seeded snapshots each volume has.
const snapshotsPerVolume = 100

// SeedSnapshots fills an empty store, opened here, with n snapshots of n/100
// volumes of the default project, a million in a minute: triggers and indexes are
// made after the rows, and hold what they would hold otherwise. The names are
// snap-0000001 and so on, every hundredth row is in ERROR, sizes are 1 to 10 GiB,
// and one was created each second, the first first.
func SeedSnapshots(t testing.TB, db *store.Store, n int) {
	t.Helper()
	s := seed{t: t, postgres: db.IsPostgres()}
	driver, dsn := "sqlite", "file:"+dsnOf(t, db)+"?_pragma=busy_timeout(10000)&_pragma=synchronous(OFF)&_pragma=cache_size(-262144)"
	if s.postgres {
		driver, dsn = "pgx", dsnOf(t, db)
	}
	var err error
	if s.db, err = sql.Open(driver, dsn); err != nil {
		t.Fatal(err)
	}
	defer s.db.Close()
	s.db.SetMaxOpenConns(1)
	volumes := (n + snapshotsPerVolume - 1) / snapshotsPerVolume
	s.bulk("volumes", func() {
		last := n - (volumes-1)*snapshotsPerVolume
		s.rows("volumes", volumes, `INSERT INTO volumes (num, id, backend_id, project_id, name, status, status_since, size_gib, snapshot_count, created_at)
			SELECT i, {volume i}, 'b' || {volume i}, 'default', 'volume-' || {padded}, 'AVAILABLE', 1, 1 + i % 10,
			CASE WHEN i < {n} THEN {per} ELSE `+strconv.Itoa(last)+` END, 1760000000000000 + i * 1000000 FROM seq`)
	})
	s.bulk("snapshots", func() {
		s.rows("snapshots", n, `INSERT INTO snapshots (num, id, backend_id, project_id, volume_id, name, status, status_since, size_gib, consistency, created_at, taken_at)
			SELECT i, {snapshot i}, 'b' || {snapshot i}, 'default', {volume of i}, 'snap-' || {padded},
			CASE WHEN i % 100 = 0 THEN 'ERROR' ELSE 'AVAILABLE' END, 1, 1 + i % 10, 'clean', 1760000000000000 + i * 1000000, 1760000000000000 + i * 1000000 FROM seq`)
	})
	if s.postgres {
		s.exec("ANALYZE")
	}
}

// Exec changes the database behind the store's back, by a statement for SQLite.
func Exec(t testing.TB, db *store.Store, query string, args ...any) {
	t.Helper()
	direct, err := sql.Open("sqlite", "file:"+dsnOf(t, db)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	s := seed{t: t, db: direct}
	s.exec(query, args...)
}

type seed struct {
	t        testing.TB
	db       *sql.DB
	postgres bool
}

func (s *seed) exec(query string, args ...any) {
	s.t.Helper()
	if _, err := s.db.ExecContext(context.Background(), query, args...); err != nil {
		s.t.Fatalf("%s: %v", query, err)
	}
}

func (s *seed) column(query string, args ...any) []string {
	s.t.Helper()
	rows, err := s.db.QueryContext(context.Background(), query, args...)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, one)
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return all
}

// rows runs insert for the numbers i of 1 to n.
func (s *seed) rows(table string, n int, insert string) {
	seq, hex, padded := "WITH RECURSIVE seq (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM seq WHERE i < {n}) ", "printf('%012x', #)", "printf('%07d', i)"
	if s.postgres {
		seq, hex, padded = "WITH seq (i) AS (SELECT generate_series(1, {n})) ", "right(to_hex(281474976710656 + #), 12)", "lpad(i::text, 7, '0')"
	}
	id := func(prefix, number string) string {
		return "'" + prefix + "-0000-7000-8000-' || " + strings.Replace(hex, "#", number, 1)
	}
	s.exec(strings.NewReplacer("{n}", strconv.Itoa(n), "{per}", strconv.Itoa(snapshotsPerVolume), "{padded}", padded,
		"{volume i}", id("0190000a", "i"), "{snapshot i}", id("0190000b", "i"),
		"{volume of i}", id("0190000a", fmt.Sprintf("((i-1)/%d+1)", snapshotsPerVolume))).Replace(strings.Replace(seq, "{n}", strconv.Itoa(n), 1) + insert))
	if s.postgres {
		s.exec("SELECT setval(pg_get_serial_sequence($1, 'num'), $2)", table, n)
	}
}

// bulk runs insert without the triggers and indexes of the table, and does then at
// once what they would have done row by row.
func (s *seed) bulk(table string, insert func()) {
	kind := strings.TrimSuffix(table, "s")
	count := "INSERT INTO counters (kind, project_id, n) SELECT '" + kind + "', project_id, count(*) FROM " + table + " GROUP BY project_id"
	if s.postgres {
		indexes := s.column("SELECT indexdef FROM pg_indexes WHERE tablename = $1 AND indexdef NOT LIKE '%UNIQUE%'", table)
		for _, name := range s.column("SELECT indexname FROM pg_indexes WHERE tablename = $1 AND indexdef NOT LIKE '%UNIQUE%'", table) {
			s.exec("DROP INDEX " + name)
		}
		s.exec("ALTER TABLE " + table + " DISABLE TRIGGER USER")
		insert()
		for _, index := range indexes {
			s.exec(index)
		}
		s.exec("ALTER TABLE " + table + " ENABLE TRIGGER USER")
		s.exec(count)
		return
	}
	const made = "FROM sqlite_master WHERE tbl_name = ? AND sql IS NOT NULL AND type IN ('trigger', 'index') ORDER BY type"
	again := s.column("SELECT sql "+made, table)
	for _, drop := range s.column("SELECT 'DROP ' || type || ' ' || name "+made, table) {
		s.exec(drop)
	}
	insert()
	s.exec("INSERT INTO " + table + "_fts (rowid, name) SELECT num, fold_name(name) FROM " + table)
	s.exec("INSERT INTO " + table + "_grams (rowid, grams) SELECT num, name_grams(name) FROM " + table)
	s.exec(count)
	for _, sql := range again {
		s.exec(sql)
	}
}
