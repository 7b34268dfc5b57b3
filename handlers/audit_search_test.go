package handlers_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/web/app/apptest"
)

// audited is a console in whose audit volumes were created on two days; clock is after
// both.
func audited(t *testing.T) (*console, *apptest.Client) {
	c := newConsole(t)
	c.Ask("/storage/block-storage/volumes", "name", "first-day", "size_gib", "1")
	c.Clock.Add(5 * time.Hour)
	c.Get("/help")             // the session goes on
	c.Clock.Add(4 * time.Hour) // midnight has passed in Seoul
	c.Ask("/storage/block-storage/volumes", "name", "second-day", "size_gib", "2", "description", "=1+1")
	return c, c.As(models.Administrator)
}

func auditSubjects(doc *goquery.Document) []string {
	return doc.Find(".audit tbody td.c-subject a").Map(func(_ int, s *goquery.Selection) string { return s.Text() })
}

// TestAudit_Filters: page, JSON and both exports have the same entries.
func TestAudit_Filters(t *testing.T) {
	t.Parallel()
	_, admin := audited(t)
	for query, want := range map[string][]string{
		"q=first-day": {"first-day"}, "q=+FIRST-day%C2%A0": {"first-day"}, "q=operator&action=volume.create": {"second-day", "first-day"},
		"action=volume.create&from=2026-11-23": {"second-day"}, "action=volume.create&to=2026-11-22": {"first-day"},
		"action=volume.create&from=2026-11-22&to=2026-11-23&outcome=accepted": {"second-day", "first-day"}, "action=volume.create&outcome=denied": nil, "q=nobody": nil,
	} {
		page := admin.Get("/admin/audit?" + query)
		apptest.WantStatus(t, page, http.StatusOK)
		if got := auditSubjects(page.Doc(t)); !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", query, got, want)
		}
		if want == nil {
			apptest.WantText(t, page, ".empty", "조건에 맞는 항목이 없습니다")
		}
		var listed struct {
			Items []struct{ Subject struct{ Name string } }
		}
		admin.Read("/admin/audit?"+query, &listed)
		var exported []struct{ Subject struct{ Name string } }
		file := admin.Get(page.Doc(t).Find("a[download][href*='format=json']").AttrOr("href", ""))
		if err := json.Unmarshal([]byte(file.Body), &exported); err != nil || !strings.Contains(file.Header.Get("Content-Disposition"), `audit.json`) {
			t.Fatalf("%s: %v in %s", query, err, file.Body)
		}
		table := admin.Get(page.Doc(t).Find("a[download][href*='format=csv']").AttrOr("href", ""))
		records, err := csv.NewReader(strings.NewReader(table.Body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(listed.Items) != len(want) || len(exported) != len(want) || len(records) != len(want)+1 {
			t.Errorf("%s: %d in JSON, %d in its file, %d in CSV, want %d", query, len(listed.Items), len(exported), len(records)-1, len(want))
		}
		for i, name := range want {
			if listed.Items[i].Subject.Name != name || exported[i].Subject.Name != name || !slices.Contains(records[i+1], name) {
				t.Errorf("%s: entry %d is %v, %v, %q", query, i, listed.Items[i], exported[i], records[i+1])
			}
		}
	}
}

// TestAudit_FormKeepsFilters: what was asked for stands in the form, can be taken away,
// and goes along to the next page.
func TestAudit_FormKeepsFilters(t *testing.T) {
	t.Parallel()
	c, admin := audited(t)
	for range 60 {
		c.NewVolume("many", 1)
	}
	page := admin.Get("/admin/audit?q=many&action=volume.create&outcome=accepted&from=2026-11-22&to=2026-11-30")
	doc := page.Doc(t)
	for field, want := range map[string]string{"[name=q]": "many", "[name=from]": "2026-11-22", "[name=to]": "2026-11-30",
		"[name=action] option[selected]": "volume.create", "[name=outcome] option[selected]": "accepted"} {
		if got := doc.Find("form[role=search] "+field).AttrOr("value", ""); got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if n := doc.Find(".chips a.chip").Length(); n != 5 {
		t.Errorf("%d chips", n)
	}
	without, err := url.Parse(doc.Find(".chips a.chip").First().AttrOr("href", ""))
	if err != nil || without.Query().Has("q") || without.Query().Get("action") != "volume.create" {
		t.Errorf("the first chip leads to %v", without)
	}
	next := admin.Get(doc.Find("a[rel=next]").AttrOr("href", ""))
	if got := len(auditSubjects(next.Doc(t))); got != 10 {
		t.Errorf("%d entries on the second page", got)
	}
	if back := admin.Get(next.Doc(t).Find("a[rel=prev]").AttrOr("href", "")); !slices.Equal(auditSubjects(back.Doc(t)), auditSubjects(doc)) {
		t.Error("the previous page is another one")
	}
	apptest.WantNone(t, admin.Get("/admin/audit"), ".chips")
}

// TestAudit_UnknownDates: people see all and a notice, programs are told.
func TestAudit_UnknownDates(t *testing.T) {
	t.Parallel()
	_, admin := audited(t)
	for _, query := range []string{"from=yesterday", "to=2026-02-30", "from=2026-11-23&to=2026-11-22"} {
		page := admin.Get("/admin/audit?" + query)
		apptest.WantStatus(t, page, http.StatusOK)
		apptest.WantText(t, page, ".inline-note", "날짜")
		apptest.WantProblem(t, admin.JSON().Get("/admin/audit?"+query), http.StatusUnprocessableEntity)
		apptest.WantStatus(t, admin.Get("/admin/audit?format=csv&"+query), http.StatusUnprocessableEntity)
	}
	apptest.WantStatus(t, admin.Get("/admin/audit?q=%ff%00&action=%27&outcome=x&before=x"), http.StatusOK)
}

// TestAudit_Export: times of the console's zone, nothing that is computed, and how often
// a refusal happened.
func TestAudit_Export(t *testing.T) {
	t.Parallel()
	c, admin := audited(t)
	viewer := c.As(models.Viewer)
	for range 3 {
		apptest.WantStatus(t, viewer.Get("/admin/audit"), http.StatusForbidden)
	}
	table := admin.Get("/admin/audit?format=csv").Body
	for _, want := range []string{"at,last_at,count,user,address,action,", "2026-11-23T00:30:00+09:00", `,"이름: second-day; 설명: =1+1; 크기: 2 GiB",`, ",3,viewer,"} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in %s", want, table)
		}
	}
	type entry struct {
		At, User, Outcome string
		Count             int
		Details           []struct{ Name, Value string }
	}
	var entries []entry
	if err := json.Unmarshal([]byte(admin.Get("/admin/audit?format=json", "Accept-Language", "en").Body), &entries); err != nil {
		t.Fatal(err)
	}
	refusal := slices.IndexFunc(entries, func(e entry) bool { return e.User == "viewer" && e.Outcome == models.AuditDenied })
	if refusal < 0 || entries[refusal].Count != 3 || !strings.HasSuffix(entries[refusal].At, "Z") || len(entries[refusal].Details) == 0 || entries[refusal].Details[0].Value == "" {
		t.Errorf("entries are %+v", entries)
	}
	apptest.WantStatus(t, viewer.Get("/admin/audit?format=csv"), http.StatusForbidden)
}
