package handlers_test

import (
	"blockconsole/models/backend"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
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

// TestCSV_WhatSpreadsheetsCompute: a sign that a spreadsheet begins a formula with is
// text behind what spreadsheets skip, and behind what some of them divide cells at:
// in the file, whichever of them reads it.
func TestCSV_WhatSpreadsheetsCompute(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	want := map[string]string{}
	for name, shown := range map[string]string{
		"; =1+1": "'; '=1+1", "|=1+1": "'|'=1+1", " =1+1": "' =1+1", "\u3000+1": "'\u3000+1", "\u200b=1": "'\u200b=1", "\n=1": "'\n'=1",
		"＝1+1": "'＝1+1", "＋1": "'＋1", "－1": "'－1", "＠SUM(A1)": "'＠SUM(A1)", "﹦1": "'﹦1", ` "=1`: `' "=1`,
		"a;=1+1": "'a;'=1+1", "a; \t@x|＝2": "'a; \t'@x|'＝2", "a;b": "a;b", "web - 1": "web - 1", "1=1": "1=1", "a b": "a b", "'=1": "'=1",
	} {
		want[c.PutVolume(backend.Volume{Name: name, SizeGiB: 1}).ID] = shown
	}
	records := c.csv(t, views.VolumesPath)
	column := slices.Index(records[0], "name")
	for _, record := range records[1:] {
		if got := record[column]; got != want[record[0]] {
			t.Errorf("the cell is %q, want %q", got, want[record[0]])
		}
	}
	raw := c.Get(views.VolumesPath, "Accept", "text/csv").Body
	for _, quoted := range []string{`,"a;b",`, `,"'a;'=1+1",`, `,"' ""=1",`} {
		if !strings.Contains(raw, quoted) {
			t.Errorf("%s is not in %s", quoted, raw)
		}
	}
	if got := strings.Join(records[1], "|"); !strings.Contains(got, "|1|") || strings.Contains(got, "'1|") {
		t.Errorf("numbers are %s", got)
	}
}

// TestCSV_TimesInTheZoneOfTheConsole: with their offset, so that the hour that comes
// twice at the end of summer time is two times. JSON stays in UTC.
func TestCSV_TimesInTheZoneOfTheConsole(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "TIMEZONE=Europe/Berlin")
	first := time.Date(2026, 10, 25, 0, 30, 0, 0, time.UTC)
	want := map[string]string{
		c.PutVolume(backend.Volume{Name: "summer", SizeGiB: 1, CreatedAt: first}).ID:                "2026-10-25T02:30:00+02:00",
		c.PutVolume(backend.Volume{Name: "winter", SizeGiB: 1, CreatedAt: first.Add(time.Hour)}).ID: "2026-10-25T02:30:00+01:00",
	}
	records := c.csv(t, views.VolumesPath)
	column := slices.Index(records[0], "created_at")
	for _, record := range records[1:] {
		if record[column] != want[record[0]] {
			t.Errorf("%s was created at %s, want %s", record[0], record[column], want[record[0]])
		}
	}
	for _, item := range c.list(t, views.VolumesPath).Items {
		if at := fmt.Sprint(item["created_at"]); !strings.HasSuffix(at, "Z") {
			t.Errorf("JSON says %s", at)
		}
	}
	page := c.Get(views.VolumesPath)
	times := page.Doc(t).Find("tbody .c-created time").Map(func(_ int, s *goquery.Selection) string { return s.Text() })
	if !slices.Equal(times, []string{"2026-10-25 02:30 +01:00", "2026-10-25 02:30 +02:00"}) {
		t.Errorf("the page says %q", times)
	}
	apptest.WantText(t, page, "th.c-created", "Europe/Berlin")
	if title := page.Doc(t).Find("tbody .c-created time").First().AttrOr("title", ""); title != "2026-10-25 02:30:00 +01:00" {
		t.Errorf("hovering says %q", title)
	}
}
