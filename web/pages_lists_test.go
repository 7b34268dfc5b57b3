package web

import (
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/views"
)

var listPaths = []string{views.VolumesPath, views.SnapshotsPath}

// listed is a board with 25 volumes and 25 snapshots of the first of them.
func listed(t *testing.T) *board {
	b := newBoard(t)
	first := b.volume("vol-00", "1")
	for i := range 25 {
		if i > 0 {
			b.volume(fmt.Sprintf("vol-%02d", i), fmt.Sprint(1+i%7))
		}
		b.snapshot(first, fmt.Sprintf("snap-%02d", i))
	}
	return b
}

// rowIDs are the ids of a page's rows, in order.
func rowIDs(doc *goquery.Document) []string {
	return doc.Find("#list tbody tr[data-id]").Map(func(_ int, row *goquery.Selection) string { return row.AttrOr("data-id", "") })
}

type listBody struct {
	Items    []map[string]any
	Next     *string
	Previous *string
	Total    int
}

func (b *board) list(t *testing.T, path string) listBody {
	t.Helper()
	a := b.get(path, asJS...)
	wantStatus(t, a, http.StatusOK)
	var body listBody
	if err := json.Unmarshal([]byte(a.body), &body); err != nil {
		t.Fatal(err)
	}
	return body
}

func idsOf(items []map[string]any) []string {
	var ids []string
	for _, item := range items {
		ids = append(ids, fmt.Sprint(item["id"]))
	}
	return ids
}

// TestListsAgree: page, fragment, JSON and CSV have the same rows in the same
// order, whatever the address says, and the next pages follow without a gap.
func TestListsAgree(t *testing.T) {
	b := listed(t)
	for _, path := range listPaths {
		name := map[string]string{views.VolumesPath: "vol", views.SnapshotsPath: "snap"}[path]
		for _, query := range []string{
			"", "size=20", "size=20&sort=name", "size=20&sort=-name", "size=20&sort=size", "size=20&sort=-status", "size=20&sort=created_at",
			"q=-1", "q=" + name + "-0", "q=0", "status=AVAILABLE", "status=available&q=2", "status=ERROR", "q=nothing", "q=%25", "q=_", "volume=" + models.NewID(),
		} {
			t.Run(path+"?"+query, func(t *testing.T) {
				var fromPages []string
				at := path + "?" + query
				for at != "" {
					page := b.get(at)
					wantStatus(t, page, http.StatusOK)
					ids := rowIDs(page.doc(t))
					if fragment := b.get(at, b.fromList(at)...); !slices.Equal(rowIDs(fragment.doc(t)), ids) || strings.Contains(fragment.body, "<html") {
						t.Error("the fragment has other rows")
					}
					if !slices.Equal(idsOf(b.list(t, at).Items), ids) {
						t.Error("JSON has other rows")
					}
					fromPages = append(fromPages, ids...)
					at = page.doc(t).Find(`#list a[rel=next]`).AttrOr("href", "")
				}
				total := b.list(t, path+"?"+query).Total
				if total != len(fromPages) {
					t.Errorf("the total is %d, the pages have %d rows", total, len(fromPages))
				}
				seen := slices.Sorted(slices.Values(fromPages))
				if len(slices.Compact(seen)) != len(fromPages) {
					t.Error("a row is on two pages")
				}
				records := b.csv(t, path+"?"+query)
				var ids []string
				for _, record := range records[1:] {
					ids = append(ids, record[0])
				}
				if !slices.Equal(ids, fromPages) {
					t.Errorf("CSV has %d other rows", len(ids))
				}
			})
		}
	}
}

func (b *board) csv(t *testing.T, path string) [][]string {
	t.Helper()
	a := b.get(path, "Accept", "text/csv")
	wantStatus(t, a, http.StatusOK)
	text, marked := strings.CutPrefix(a.body, "\ufeff")
	if !marked || a.Header.Get("Content-Type") != "text/csv; charset=utf-8" || !strings.HasSuffix(a.Header.Get("Content-Disposition"), `.csv"`) {
		t.Errorf("CSV without a mark or its headers: %v", a.Header)
	}
	records, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// TestBackwards: the previous page is the page before.
func TestBackwards(t *testing.T) {
	b := listed(t)
	for _, path := range listPaths {
		first := b.list(t, path+"?size=20&sort=name")
		second := b.list(t, *first.Next)
		back := b.list(t, *second.Previous)
		if !slices.Equal(idsOf(back.Items), idsOf(first.Items)) || len(second.Items) != 5 || *second.Next != "" || *back.Previous != "" {
			t.Errorf("%s: back from %s is not the first page", path, *first.Next)
		}
		if doc := b.get(*first.Next).doc(t); doc.Find("a[rel=prev]").AttrOr("href", "") != *second.Previous {
			t.Errorf("%s: page and JSON lead to different places", path)
		}
	}
}

// TestJSONShape: the names that programs rely on, and no others unnoticed.
func TestJSONShape(t *testing.T) {
	b := newBoard(t)
	v := b.attached(b.volume("vol-1", "10"))
	s := b.snapshot(v, "snap-1")
	for path, want := range map[string][]string{
		views.VolumesPath:   {"attachments", "backend_id", "created_at", "description", "id", "name", "project_id", "size_gib", "status", "version"},
		views.SnapshotsPath: {"backend_id", "consistency", "created_at", "description", "id", "name", "project_id", "size_gib", "status", "version", "volume"},
	} {
		a := b.get(path, asJS...)
		var whole map[string]any
		if err := json.Unmarshal([]byte(a.body), &whole); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(whole)); !slices.Equal(got, []string{"items", "next", "previous", "total", "total_exact"}) {
			t.Errorf("%s has %v", path, got)
		}
		item := b.list(t, path).Items[0]
		if got := slices.Sorted(maps.Keys(item)); !slices.Equal(got, want) {
			t.Errorf("an item of %s has %v, want %v", path, got, want)
		}
		var alone map[string]any
		if err := json.Unmarshal([]byte(b.get(path+"/"+fmt.Sprint(item["id"]), asJS...).body), &alone); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(alone) != fmt.Sprint(item) {
			t.Errorf("alone it is %v, in the list %v", alone, item)
		}
	}
	volume, snapshot := b.list(t, views.VolumesPath).Items[0], b.list(t, views.SnapshotsPath).Items[0]
	server := volume["attachments"].([]any)[0].(map[string]any)
	if volume["id"] != v.ID || volume["backend_id"] != v.BackendID || volume["status"] != "IN-USE" || volume["size_gib"] != 10.0 ||
		volume["project_id"] != "default" || volume["created_at"] != "2026-11-22T06:30:00Z" || server["server_id"] != "server-1" || server["server_name"] != "web-1" {
		t.Errorf("the volume is %v", volume)
	}
	if of := snapshot["volume"].(map[string]any); of["id"] != v.ID || of["name"] != "vol-1" || snapshot["id"] != s.ID || snapshot["consistency"] != "crash" {
		t.Errorf("the snapshot is %v", snapshot)
	}
}

// TestBadAddresses: people get the list with a notice, programs an error; nobody a
// failure.
func TestBadAddresses(t *testing.T) {
	b := listed(t)
	next := *b.list(t, views.VolumesPath+"?size=20").Next
	u, err := url.Parse(next)
	if err != nil {
		t.Fatal(err)
	}
	cursor := u.Query().Get("after")
	for name, query := range map[string]string{
		"unknown sort": "sort=color", "sort by two": "sort=--name", "sort is SQL": "sort=name%3Bdrop table volumes", "size 0": "size=0", "size -1": "size=-1",
		"absurd size": "size=1000000", "size is no number": "size=many", "size past numbers": "size=99999999999999999999",
		"broken cursor": "after=x", "empty-looking cursor": "after=AA", "both cursors": "after=" + cursor + "&before=" + cursor,
		"cursor of another sort": "sort=name&after=" + cursor, "cut cursor": "after=" + cursor[:20], "long cursor": "after=" + strings.Repeat("A", 9000),
		"forged cursor": "after=" + base64.RawURLEncoding.EncodeToString([]byte("-created_at\x1f\x1fx")),
		"NUL cursor":    "sort=name&after=" + base64.RawURLEncoding.EncodeToString([]byte("name\x1fid\x1fa\x00b")),
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range listPaths {
				at := path + "?" + strings.ReplaceAll(query, " ", "%20")
				page := b.get(at)
				wantStatus(t, page, http.StatusOK)
				if page.doc(t).Find("#list [role=note]").Text() == "" || len(rowIDs(page.doc(t))) < 20 {
					t.Errorf("%s: no notice, or %d rows", at, len(rowIDs(page.doc(t))))
				}
				if body := wrong(t, b.get(at, asJS...), http.StatusUnprocessableEntity); body.Error.Code != "invalid" {
					t.Errorf("%s: JSON says %+v", at, body.Error)
				}
				wrong(t, b.get(at, "Accept", "text/csv"), http.StatusUnprocessableEntity)
			}
		})
	}
	for name, query := range map[string]string{
		"NUL": "q=%00", "not UTF-8": "q=%ff&status=%fe", "long": "q=" + strings.Repeat("x", 6000), "quotes": `q='"%25_\`, "HTML": "q=<script>alert(1)</script>",
		"an unknown status": "status=ON-FIRE", "an unknown parameter": "color=red", "a parameter twice": "q=a&q=b", "half an escape": "q=%", "semicolons": "a;b=c;q=d",
		"FTS words": "q=a AND NOT b*", "a volume that is none": "volume=x", "a server that is none": "server=%00",
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range listPaths {
				at := path + "?" + strings.ReplaceAll(query, " ", "%20")
				a := b.get(at)
				wantStatus(t, a, http.StatusOK)
				if strings.Contains(a.body, "<script>alert") || a.doc(t).Find("main script").Length() > 0 {
					t.Error("what the address says is live")
				}
				wantStatus(t, b.get(at, asJS...), http.StatusOK)
				wantStatus(t, b.get(at, "Accept", "text/csv"), http.StatusOK)
				wantStatus(t, b.get(strings.Replace(at, "?", "/count?", 1), b.fromList(path)...), http.StatusOK)
			}
		})
	}
}

// TestFilters: what the address says stays in the form, in every link, and can be
// taken out one by one.
func TestFilters(t *testing.T) {
	b := listed(t)
	v := b.attached(b.volume("vol-in-use", "3"))
	a := b.get(views.VolumesPath + "?q=vol&status=in-use&server=server-1&sort=name&size=20")
	doc := a.doc(t)
	if ids := rowIDs(doc); !slices.Equal(ids, []string{v.ID}) {
		t.Errorf("rows %v", ids)
	}
	if doc.Find(".filters input[name=q]").AttrOr("value", "") != "vol" || doc.Find("select[name=status] option[selected]").AttrOr("value", "") != "IN-USE" {
		t.Error("the form forgot the filters")
	}
	chips := doc.Find("#list a[href]").FilterFunction(func(_ int, s *goquery.Selection) bool {
		href := s.AttrOr("href", "")
		return strings.HasPrefix(href, views.VolumesPath+"?") && strings.Count(href, "&") == 3
	})
	if chips.Length() < 3 {
		t.Errorf("%d links take one filter out", chips.Length())
	}
	if doc.Find("#list[data-filtered]").Length() != 1 {
		t.Error("the list does not say that a status is filtered")
	}
	found := b.get(doc.Find("#found").AttrOr("hx-get", ""), b.fromList(views.VolumesPath)...)
	if !strings.HasPrefix(strings.TrimSpace(found.doc(t).Text()), "1") {
		t.Errorf("found %q", found.body)
	}
	byVolume := b.get(views.SnapshotsPath + "?volume=" + b.list(t, views.SnapshotsPath).Items[0]["volume"].(map[string]any)["id"].(string))
	wantText(t, byVolume, "#list", "vol-00")
	cloud := b.found(backend.Volume{Name: "odd", SizeGiB: 1, State: backend.State{Status: "MAINTENANCE"}})
	odd := b.get(views.VolumesPath + "?status=maintenance")
	if ids := rowIDs(odd.doc(t)); !slices.Equal(ids, []string{cloud.ID}) || odd.doc(t).Find("option[value=MAINTENANCE][selected]").Length() != 1 {
		t.Errorf("a status that only the cloud knows: %v", ids)
	}
}

// TestSpreadsheetsComputeNothing: CSV cells that look like formulas are text.
func TestSpreadsheetsComputeNothing(t *testing.T) {
	b := newBoard(t)
	want := map[string]string{}
	for _, name := range []string{"=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", `a"b,c`, "plain-1", "한글"} {
		shown := name
		if strings.ContainsAny(name[:1], "=+-@\t\r") {
			shown = "'" + name
		}
		want[b.found(backend.Volume{Name: name, SizeGiB: 1}).ID] = shown
	}
	records := b.csv(t, views.VolumesPath)
	if len(records) != len(want)+1 {
		t.Fatalf("%d records", len(records))
	}
	column := slices.Index(records[0], "name")
	for _, record := range records[1:] {
		if got := record[column]; got != strings.ReplaceAll(want[record[0]], "\r", "\n") && got != want[record[0]] {
			t.Errorf("the cell is %q, want %q", got, want[record[0]])
		}
	}
	a := b.get(views.VolumesPath + "?format=csv")
	if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/csv") {
		t.Error("the page's link is no CSV")
	}
}

// TestListsInBothLanguages: headings, toolbars and columns in the words of the
// contract.
func TestListsInBothLanguages(t *testing.T) {
	b := listed(t)
	for lang, words := range map[string]map[string][]string{
		"ko": {views.VolumesPath: {"Volume", "스냅샷 생성", "수정", "확장", "삭제"}, views.SnapshotsPath: {"Block Snapshot", "수정", "삭제", "Volume 생성"}},
		"en": {views.VolumesPath: {"Volumes", "Create snapshot", "Edit", "Extend", "Delete"}, views.SnapshotsPath: {"Block Snapshots", "Edit", "Delete", "Create volume"}},
	} {
		for path, want := range words {
			a := b.get(path, "Accept-Language", lang)
			wantText(t, a, "main h1", want[0])
			var buttons []string
			a.doc(t).Find("main .toolbar button").Each(func(_ int, s *goquery.Selection) { buttons = append(buttons, strings.TrimSpace(s.Text())) })
			for _, name := range want[1:] {
				if n := len(slices.DeleteFunc(slices.Clone(buttons), func(s string) bool { return s != name })); n != 1 {
					t.Errorf("%s in %s: %d buttons are called %s: %q", path, lang, n, name, buttons)
				}
			}
			if strings.Contains(a.body, "⟦") {
				t.Errorf("%s in %s misses a text", path, lang)
			}
		}
	}
}
