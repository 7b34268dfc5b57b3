//go:build linux

package store_test

import (
	"database/sql"
	"path/filepath"
	"testing"

	"blockconsole/models"
	"blockconsole/models/reserve"
	"blockconsole/models/reserve/mounttest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

const mib = int64(1) << 20

func openIn(t *testing.T, folder string, options store.Options) *store.Store {
	t.Helper()
	options.Log = quiet.Log
	db, err := store.Open(filepath.Join(folder, "own.db"), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// wantUnsaved checks that a click is refused for this reason and changes nothing, and that
// people go on reading.
func wantUnsaved(t *testing.T, db *store.Store, key string, volumes int) {
	t.Helper()
	_, err := db.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: "refused", Size: "1"})
	e := models.AsError(err)
	if e == nil || e.Code != models.CodeUnsaved || e.Text.Key != key {
		t.Fatalf("error is %v, want %s", err, key)
	}
	if u := db.Unsaved(); u == nil || u.Key != key {
		t.Errorf("pages say %v", u)
	}
	for range 3 {
		list, err := db.Volumes.ListVolumes(t.Context(), storetest.Operator(), models.ListQuery{Sort: models.DefaultSort, Size: 20})
		if err != nil || len(list.Rows) != volumes {
			t.Errorf("reading: %d rows, error %v", len(list.Rows), err)
		}
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func wantSavedAgain(t *testing.T, db *store.Store) {
	t.Helper()
	if err := db.TryWriting(t.Context()); err != nil || db.Unsaved() != nil {
		t.Errorf("it does not end: %v, %v", db.Unsaved(), err)
	}
	enqueueVolume(t, db, "again")
}

func TestUnsaved_FullDisk(t *testing.T) {
	t.Parallel()
	folder := mounttest.Tmpfs(t, "size=16m")
	db := openIn(t, folder, store.Options{})
	enqueueVolume(t, db, "before")
	drop := mounttest.Fill(t, folder, 0)
	wantUnsaved(t, db, "unsaved.no_space", 1)
	if err := db.TryWriting(t.Context()); err == nil || db.Unsaved() == nil {
		t.Error("it says that it ended")
	}
	if args := db.Unsaved().Args; len(args) != 3 || args[0] != folder || args[2] != "16777216" {
		t.Errorf("figures are %q", args)
	}
	drop()
	wantSavedAgain(t, db)
}

// TestUnsaved_Reserve: the reserve makes room, and the click is saved by a second try.
func TestUnsaved_Reserve(t *testing.T) {
	t.Parallel()
	folder := mounttest.Tmpfs(t, "size=64m")
	r, err := reserve.Open(reserve.Options{Dir: folder, Bytes: 8 * mib, Log: quiet.Log})
	if err != nil {
		t.Fatal(err)
	}
	db := openIn(t, folder, store.Options{Reserve: r})
	mounttest.Fill(t, folder, 0)
	enqueueVolume(t, db, "saved")
	if db.Unsaved() != nil || r.State().Whole {
		t.Errorf("pages say %v, the reserve is %+v", db.Unsaved(), r.State())
	}
}

func TestUnsaved_ReadOnly(t *testing.T) {
	folder, device := mounttest.Image(t, 64*mib, "errors=remount-ro", "mkfs.ext4", "-q", "-m", "0")
	db := openIn(t, folder, store.Options{})
	enqueueVolume(t, db, "before")
	mounttest.FailReadOnly(t, device)
	wantUnsaved(t, db, "unsaved.read_only", 1)
}

func TestUnsaved_Postgres(t *testing.T) {
	t.Parallel()
	dsn := storetest.PostgresDSN(t)
	db, err := store.Open(dsn, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	enqueueVolume(t, db, "before")
	raw, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	exec := func(statement string) {
		t.Helper()
		if _, err := raw.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	// As the server says it when it cannot extend a table.
	exec(`CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full'; END $$`)
	for _, table := range []string{"volumes", "leases"} {
		exec("CREATE TRIGGER full_disk BEFORE INSERT ON " + table + " FOR EACH ROW EXECUTE FUNCTION full_disk()")
	}
	wantUnsaved(t, db, "unsaved.postgres.no_space", 1)
	for _, table := range []string{"volumes", "leases"} {
		exec("DROP TRIGGER full_disk ON " + table)
	}
	wantSavedAgain(t, db)
}
