package handlers_test

import (
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/csv"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func (c *console) csv(t *testing.T, path string) [][]string {
	t.Helper()
	a := c.Get(path, "Accept", "text/csv")
	apptest.WantStatus(t, a, http.StatusOK)
	text, marked := strings.CutPrefix(a.Body, "\ufeff")
	if !marked || a.Header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasSuffix(a.Header.Get("Content-Disposition"), `.csv"`) {
		t.Errorf("CSV without a mark or its headers: %v", a.Header)
	}
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestCSV_FormulasInert: CSV cells that look like formulas are text.
func TestCSV_FormulasInert(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	want := map[string]string{}
	for _, name := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", `a"c,c`, "plain-1", "한글"} {
		shown := name
		if strings.ContainsAny(name[:1], "=+-@\t\r") {
			shown = "'" + name
		}
		want[c.PutVolume(backend.Volume{Name: name, SizeGiB: 1}).ID] = shown
	}
	records := c.csv(t, views.VolumesPath)
	if len(records) != len(want)+1 {
		t.Fatalf("%d records", len(records))
	}
	column := slices.Index(records[0], "name")
	for _, record := range records[1:] {
		if got := record[column]; got != strings.ReplaceAll(want[record[0]], "\r", "\n") && got != want[record[0]] {
			t.Errorf("the cell is %q, want %q", got, want[record[0]])
		}
	}
	a := c.Get(views.VolumesPath + "?format=csv")
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") {
		t.Error("the page's link is no CSV")
	}
}
