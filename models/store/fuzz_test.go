package store_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func FuzzCursor(f *testing.F) {
	f.Add("", "-created_at", "name", "id")
	f.Add("bmFtZR9pZB9rZXk", "name", "a\x1fb", "0190")
	f.Add("!", "size", "99999999999999999999", "id")
	f.Add("bmFtZR9pZB8A", "name", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, text, sort, key, id string) {
		sort, _ = models.ParseSort(sort)
		if _, _, err := store.DecodeCursor(text, sort); err != nil && !errors.Is(err, models.ErrCursor) {
			t.Errorf("%+q: %v", text, err)
		}
		made := store.EncodeCursor(sort, key, id)
		gotKey, gotID, err := store.DecodeCursor(made, sort)
		if err != nil {
			return
		}
		if number, ok := gotKey.(int64); ok {
			if want, err := strconv.ParseInt(key, 10, 64); !strings.Contains(id, "\x1f") && (err != nil || number != want) {
				t.Errorf("%+q became %d, %v", key, number, err)
			}
		} else if gotID+"\x1f"+gotKey.(string) != id+"\x1f"+key || !utf8.ValidString(key) {
			// An id holds no separator; with one, the parts divide elsewhere but are the same text.
			t.Errorf("%+q, %+q became %+q, %+q", key, id, gotKey, gotID)
		}
		other := "name"
		if sort == "name" {
			other = "-name"
		}
		if _, _, err := store.DecodeCursor(made, other); !errors.Is(err, models.ErrCursor) {
			t.Errorf("a cursor of %s opens %s: %v", sort, other, err)
		}
	})
}

// FuzzListQuery sends whatever a query string may hold to the database: the answer
// is rows or ErrCursor.
func FuzzListQuery(f *testing.F) {
	db := storetest.Open(f, nil)
	storetest.SeedSnapshots(f, db, 30)
	fuzzListQuery(f, db)
}

func fuzzListQuery(f *testing.F, db *store.Store) {
	for _, c := range hostileTexts {
		f.Add(c, c, c, c, "name", store.EncodeCursor("name", c, c), "")
		f.Add(c, "AVAILABLE", "", "", c, "", c)
	}
	f.Add("snap", "", "", "", "-size", store.EncodeCursor("-size", "99999999999", "x"), "")
	f.Add("snap", "", "", "", "-size", "", store.EncodeCursor("-size", "3", "x"))
	f.Fuzz(func(t *testing.T, search, status, volume, server, sort, after, before string) {
		anyQuery(t, db, models.ListQuery{Search: search, Status: models.Status(status), VolumeID: volume, ServerID: server, Sort: sort, After: after, Before: before})
	})
}

// TestListQueriesOnPostgres is the seeds of FuzzListQuery on the other database.
func TestListQueriesOnPostgres(t *testing.T) {
	db := storetest.OpenPostgres(t, nil)
	storetest.SeedSnapshots(t, db, 30)
	for _, c := range some(hostileTexts) {
		for _, sort := range []string{"name", "-size"} {
			normal, _ := models.ParseSort(sort)
			anyQuery(t, db, models.ListQuery{Search: c, Status: models.Status(c), VolumeID: c, ServerID: c, Sort: sort, After: store.EncodeCursor(normal, c, c)})
			anyQuery(t, db, models.ListQuery{Search: c, Sort: sort, Before: store.EncodeCursor(normal, "99999999999", c)})
			anyQuery(t, db, models.ListQuery{Sort: sort, After: c})
		}
	}
}

var hostileTexts = []string{
	"", "a", "ab", "snap", `"`, `""`, `'`, `%`, `_`, `\`, `*`, `^`, `-`, `--`, `a*`, `a OR b`, `NEAR(a b)`, `name:x`, `{name}:x`, `(`, "\x00", "a\x00bc", "\xff",
	"\xff\xfe\xfd", "\U0001F4BE", "\uac00", "\uac00\ub098\ub2e4", "\u0130", "\u03c2", "\ufffd", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "AVAILABLE", "1; DROP TABLE volumes", "$1", "?",
	"\u00e9\u0301", "\ud7a3\u1160", "    ", "\t\n", "12345678901234567890",
}

func anyQuery(t *testing.T, db *store.Store, q models.ListQuery) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	_, err := db.Snapshots.ListSnapshots(ctx, me, q)
	if err != nil && !errors.Is(err, models.ErrCursor) {
		t.Errorf("snapshots %+v: %v", q, err)
	}
	if _, err := db.Volumes.ListVolumes(ctx, me, q); err != nil && !errors.Is(err, models.ErrCursor) {
		t.Errorf("volumes %+v: %v", q, err)
	}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		if _, err := db.CountMatching(ctx, me, kind, q); err != nil {
			t.Errorf("found %+v: %v", q, err)
		}
		if _, err := db.NameTaken(ctx, me, kind, q.Search, q.VolumeID); err != nil {
			t.Errorf("name taken %+v: %v", q, err)
		}
	}
	anyID(t, db, q.Search)
	anyID(t, db, q.VolumeID)
}

// anyID asks for an object by whatever stands in a URL.
func anyID(t *testing.T, db *store.Store, id string) {
	t.Helper()
	ctx, me := t.Context(), storetest.Operator()
	_, errVolume := db.Volumes.Volume(ctx, me, id)
	_, errSnapshot := db.Snapshots.Snapshot(ctx, me, id)
	_, errOperation := db.Queue.Operation(ctx, me, id)
	_, errServer := db.Servers.Server(ctx, me, id)
	_, errEdit := db.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: id, Name: "renamed", FormKey: id})
	for what, err := range map[string]error{"volume": errVolume, "snapshot": errSnapshot, "operation": errOperation, "server": errServer, "edit": errEdit} {
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			t.Errorf("%s %+q: %v", what, id, err)
		}
	}
}
