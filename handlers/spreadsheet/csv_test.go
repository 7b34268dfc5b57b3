package spreadsheet_test

import (
	"encoding/csv"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"blockconsole/handlers/spreadsheet"
)

func written(t *testing.T, cells ...any) string {
	t.Helper()
	var b strings.Builder
	w := spreadsheet.NewWriter(&b, time.FixedZone("", 9*3600))
	w.Write(cells...)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWriter_Cells(t *testing.T) {
	at := time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)
	got := written(t, "plain-1", "a,b", `say "x"`, "web-1; db-1", "", -5, int64(7), at, "-5", " x", "한글")
	want := "\ufeff" + `plain-1,"a,b","say ""x""","web-1; db-1",,-5,7,2026-11-23T00:30:00+09:00,"'-5"," x",한글` + "\n"
	if got != want {
		t.Errorf("wrote %s\nwant  %s", got, want)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestWriter_ErrorAtFlush(t *testing.T) {
	w := spreadsheet.NewWriter(broken{}, time.UTC)
	w.Write("a")
	if w.Flush() == nil {
		t.Error("nobody is told that the reader is gone")
	}
}

// computed is where a spreadsheet begins to compute, whatever divides its cells.
var computed = regexp.MustCompile(`(?:^|[;|\n])[\s\p{Z}\p{Cf}"]*[=+\-@＝＋－＠]`)

// FuzzWriter_Inert: whatever a cell holds, readers of CSV get it back but for
// apostrophes, and no spreadsheet computes a part of it.
func FuzzWriter_Inert(f *testing.F) {
	for _, seed := range []string{"=1", "a;=1", ";;\u200b ＝1", "|@x;-1\n+2", "\"=1", "\r\n=1", "plain", "'=1", "a\n;=1", "\x00=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cell string) {
		got := strings.TrimPrefix(written(t, cell, "end"), "\ufeff")
		record, err := csv.NewReader(strings.NewReader(got)).Read()
		if err != nil || len(record) != 2 || record[1] != "end" {
			t.Fatalf("%q is read as %q, error %v", got, record, err)
		}
		if place := computed.FindString(record[0]); place != "" {
			t.Errorf("%q is computed at %q", record[0], place)
		}
		without := func(s string) string { return strings.NewReplacer("'", "", "\r", "").Replace(s) }
		if without(record[0]) != without(cell) {
			t.Errorf("%q became %q", cell, record[0])
		}
	})
}
