package models_test

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"blockconsole/models"
	"blockconsole/models/modelstest"
)

var nameRule = regexp.MustCompile(`\A[A-Za-z0-9-]{3,20}\z`)

func FuzzValidateName(f *testing.F) {
	for _, seed := range []string{"", "ab", "abc", "a-1", "\uac00\ub098\ub2e4", "a b", "abc\x00", "<b>x</b>", "abcdefghijklmnopqrstu", "\xff\xff\xff"} {
		f.Add(seed)
	}
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, name string) {
		if ok := models.ValidateName(name) == nil; ok != nameRule.MatchString(name) {
			t.Errorf("%+q: %t", name, ok)
		}
		if suggested := models.SuggestName(name, at); models.ValidateName(suggested) != nil {
			t.Errorf("%+q: suggested %q", name, suggested)
		}
	})
}

func FuzzParseSize(f *testing.F) {
	for _, seed := range []string{"", "0", "1", "-1", "1.5", "+1", "01", "2147483648", "\uff11", "1\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		size, wrong := models.ParseSize(typed)
		if wrong == nil && (size < 1 || strconv.Itoa(size) != typed) || wrong != nil && size != 0 {
			t.Errorf("%+q: %d %+v", typed, size, wrong)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("", "-created_at", "name", "id")
	f.Add("bmFtZR9pZB9rZXk", "name", "a\x1fb", "0190")
	f.Add("!", "size", "99999999999999999999", "id")
	f.Add("bmFtZR9pZB8A", "name", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, text, sort, key, id string) {
		sort, _ = models.ParseSort(sort)
		if _, _, err := models.DecodeCursor(text, sort); err != nil && !errors.Is(err, models.ErrCursor) {
			t.Errorf("%+q: %v", text, err)
		}
		made := models.EncodeCursor(sort, key, id)
		gotKey, gotID, err := models.DecodeCursor(made, sort)
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
		if _, _, err := models.DecodeCursor(made, other); !errors.Is(err, models.ErrCursor) {
			t.Errorf("a cursor of %s opens %s: %v", sort, other, err)
		}
	})
}

// FuzzListQuery sends whatever a query string may hold to the database: the answer
// is rows or ErrCursor.
func FuzzListQuery(f *testing.F) {
	db := modelstest.Open(f, nil)
	modelstest.SeedSnapshots(f, db, 30)
	fuzzListQuery(f, db)
}

func fuzzListQuery(f *testing.F, db *models.Store) {
	for _, c := range hostileTexts {
		f.Add(c, c, c, c, "name", models.EncodeCursor("name", c, c), "")
		f.Add(c, "AVAILABLE", "", "", c, "", c)
	}
	f.Add("snap", "", "", "", "-size", models.EncodeCursor("-size", "99999999999", "x"), "")
	f.Add("snap", "", "", "", "-size", "", models.EncodeCursor("-size", "3", "x"))
	f.Fuzz(func(t *testing.T, search, status, volume, server, sort, after, before string) {
		anyQuery(t, db, models.ListQuery{Search: search, Status: models.Status(status), VolumeID: volume, ServerID: server, Sort: sort, After: after, Before: before})
	})
}

// TestListQueriesOnPostgres is the seeds of FuzzListQuery on the other database.
func TestListQueriesOnPostgres(t *testing.T) {
	db := modelstest.OpenPostgres(t, nil)
	modelstest.SeedSnapshots(t, db, 30)
	for _, c := range some(hostileTexts) {
		for _, sort := range []string{"name", "-size"} {
			normal, _ := models.ParseSort(sort)
			anyQuery(t, db, models.ListQuery{Search: c, Status: models.Status(c), VolumeID: c, ServerID: c, Sort: sort, After: models.EncodeCursor(normal, c, c)})
			anyQuery(t, db, models.ListQuery{Search: c, Sort: sort, Before: models.EncodeCursor(normal, "99999999999", c)})
			anyQuery(t, db, models.ListQuery{Sort: sort, After: c})
		}
	}
}

var hostileTexts = []string{
	"", "a", "ab", "snap", `"`, `""`, `'`, `%`, `_`, `\`, `*`, `^`, `-`, `--`, `a*`, `a OR b`, `NEAR(a b)`, `name:x`, `{name}:x`, `(`, "\x00", "a\x00bc", "\xff",
	"\xff\xfe\xfd", "\U0001F4BE", "\uac00", "\uac00\ub098\ub2e4", "\u0130", "\u03c2", "\ufffd", "0190aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee", "AVAILABLE", "1; DROP TABLE volumes", "$1", "?",
	"\u00e9\u0301", "\ud7a3\u1160", "    ", "\t\n", "12345678901234567890",
}

func anyQuery(t *testing.T, db *models.Store, q models.ListQuery) {
	t.Helper()
	ctx, me := t.Context(), modelstest.Operator()
	_, err := db.Snapshots(ctx, me, q)
	if err != nil && !errors.Is(err, models.ErrCursor) {
		t.Errorf("snapshots %+v: %v", q, err)
	}
	if _, err := db.Volumes(ctx, me, q); err != nil && !errors.Is(err, models.ErrCursor) {
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
func anyID(t *testing.T, db *models.Store, id string) {
	t.Helper()
	ctx, me := t.Context(), modelstest.Operator()
	_, errVolume := db.Volume(ctx, me, id)
	_, errSnapshot := db.Snapshot(ctx, me, id)
	_, errOperation := db.Operation(ctx, me, id)
	_, errServer := db.Server(ctx, me, id)
	_, errEdit := db.EditSnapshot(ctx, me, models.EditInput{ID: id, Name: "renamed", FormKey: id})
	for what, err := range map[string]error{"volume": errVolume, "snapshot": errSnapshot, "operation": errOperation, "server": errServer, "edit": errEdit} {
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			t.Errorf("%s %+q: %v", what, id, err)
		}
	}
}
