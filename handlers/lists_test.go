package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

var listPaths = []string{views.VolumesPath, views.SnapshotsPath}

// listed is a console with 25 volumes and 25 snapshots of the first of them.
func listed(t *testing.T) *console {
	c := newConsole(t)
	first := c.NewVolume("vol-00", 1)
	for i := range 25 {
		if i > 0 {
			c.NewVolume(fmt.Sprintf("vol-%02d", i), 1+i%7)
		}
		c.NewSnapshot(first, fmt.Sprintf("snap-%02d", i))
	}
	return c
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

func (c *console) list(t *testing.T, path string) listBody {
	t.Helper()
	a := c.Get(path, apptest.AsJSON...)
	apptest.WantStatus(t, a, http.StatusOK)
	var body listBody
	if err := json.Unmarshal([]byte(a.Body), &body); err != nil {
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

// TestLists_FormatsAgree: page, fragment, JSON and CSV have the same rows in the same
// order, whatever the address says, and the next pages follow without a gap.
func TestLists_FormatsAgree(t *testing.T) {
	t.Parallel()
	c := listed(t)
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
					page := c.Get(at)
					apptest.WantStatus(t, page, http.StatusOK)
					ids := rowIDs(page.Doc(t))
					if fragment := c.Get(at, c.FromList(at)...); !slices.Equal(rowIDs(fragment.Doc(t)), ids) || strings.Contains(fragment.Body, "<html") {
						t.Error("the fragment has other rows")
					}
					if !slices.Equal(idsOf(c.list(t, at).Items), ids) {
						t.Error("JSON has other rows")
					}
					fromPages = append(fromPages, ids...)
					at = page.Doc(t).Find(`#list a[rel=next]`).AttrOr("href", "")
				}
				total := c.list(t, path+"?"+query).Total
				if total != len(fromPages) {
					t.Errorf("the total is %d, the pages have %d rows", total, len(fromPages))
				}
				seen := slices.Sorted(slices.Values(fromPages))
				if len(slices.Compact(seen)) != len(fromPages) {
					t.Error("a row is on two pages")
				}
				records := c.csv(t, path+"?"+query)
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

// TestLists_Previous: the previous page is the page before.
func TestLists_Previous(t *testing.T) {
	t.Parallel()
	c := listed(t)
	for _, path := range listPaths {
		first := c.list(t, path+"?size=20&sort=name")
		second := c.list(t, *first.Next)
		back := c.list(t, *second.Previous)
		if !slices.Equal(idsOf(back.Items), idsOf(first.Items)) || len(second.Items) != 5 || *second.Next != "" || *back.Previous != "" {
			t.Errorf("%s: back from %s is not the first page", path, *first.Next)
		}
		if doc := c.Get(*first.Next).Doc(t); doc.Find("a[rel=prev]").AttrOr("href", "") != *second.Previous {
			t.Errorf("%s: page and JSON lead to different places", path)
		}
	}
}

// TestLists_JSON: the names that programs rely on, and no others unnoticed.
func TestLists_JSON(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.Attach(c.NewVolume("vol-1", 10))
	s := c.NewSnapshot(v, "snap-1")
	for path, want := range map[string][]string{
		views.VolumesPath:   {"attachments", "backend_id", "created_at", "description", "id", "lock_reason", "locked_until", "name", "project_id", "size_gib", "status", "version"},
		views.SnapshotsPath: {"attachments", "backend_id", "checked_at", "checksummed_at", "consistency", "created_at", "description", "id", "lock_reason", "locked_until", "name", "project_id", "size_gib", "status", "taken_at", "version", "volume"},
	} {
		a := c.Get(path, apptest.AsJSON...)
		var whole map[string]any
		if err := json.Unmarshal([]byte(a.Body), &whole); err != nil {
			t.Fatal(err)
		}
		if got := slices.Sorted(maps.Keys(whole)); !slices.Equal(got, []string{"items", "next", "previous", "total", "total_exact"}) {
			t.Errorf("%s has %v", path, got)
		}
		item := c.list(t, path).Items[0]
		if got := slices.Sorted(maps.Keys(item)); !slices.Equal(got, want) {
			t.Errorf("an item of %s has %v, want %v", path, got, want)
		}
		var alone map[string]any
		if err := json.Unmarshal([]byte(c.Get(path+"/"+fmt.Sprint(item["id"]), apptest.AsJSON...).Body), &alone); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(alone) != fmt.Sprint(item) {
			t.Errorf("alone it is %v, in the list %v", alone, item)
		}
	}
	volume, snapshot := c.list(t, views.VolumesPath).Items[0], c.list(t, views.SnapshotsPath).Items[0]
	server := volume["attachments"].([]any)[0].(map[string]any)
	if volume["id"] != v.ID || volume["backend_id"] != v.BackendID || volume["status"] != "IN-USE" || volume["size_gib"] != 10.0 ||
		volume["project_id"] != "default" || volume["created_at"] != "2026-11-22T06:30:00Z" || server["server_id"] != "server-1" || server["server_name"] != "web-1" {
		t.Errorf("the volume is %v", volume)
	}
	if of := snapshot["volume"].(map[string]any); of["id"] != v.ID || of["name"] != "vol-1" || snapshot["id"] != s.ID || snapshot["consistency"] != "crash" {
		t.Errorf("the snapshot is %v", snapshot)
	}
}

// TestLists_InvalidQueries: people get the list with a notice, programs an error; nobody a
// failure.
func TestLists_InvalidQueries(t *testing.T) {
	t.Parallel()
	c := listed(t)
	next := *c.list(t, views.VolumesPath+"?size=20").Next
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
				page := c.Get(at)
				apptest.WantStatus(t, page, http.StatusOK)
				if page.Doc(t).Find("#list [role=note]").Text() == "" || len(rowIDs(page.Doc(t))) < 20 {
					t.Errorf("%s: no notice, or %d rows", at, len(rowIDs(page.Doc(t))))
				}
				if body := apptest.WantProblem(t, c.Get(at, apptest.AsJSON...), http.StatusUnprocessableEntity); body.Code != "invalid" {
					t.Errorf("%s: JSON says %+v", at, body)
				}
				apptest.WantProblem(t, c.Get(at, "Accept", "text/csv"), http.StatusUnprocessableEntity)
			}
		})
	}
	for name, query := range map[string]string{
		"NUL": "q=%00", "not UTF-8": "q=%ff&status=%fe", "long": "q=" + strings.Repeat("x", 6000), "quotes": `q='"%25_\`, "HTML": "q=<script>alert(1)</script>",
		"an unknown status": "status=ON-FIRE", "an unknown parameter": "color=red", "a parameter twice": "q=a&q=c", "half an escape": "q=%", "semicolons": "a;c=c;q=d",
		"FTS words": "q=a AND NOT c*", "a volume that is none": "volume=x", "a server that is none": "server=%00",
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range listPaths {
				at := path + "?" + strings.ReplaceAll(query, " ", "%20")
				a := c.Get(at)
				apptest.WantStatus(t, a, http.StatusOK)
				if strings.Contains(a.Body, "<script>alert") || a.Doc(t).Find("main script").Length() > 0 {
					t.Error("what the address says is live")
				}
				apptest.WantStatus(t, c.Get(at, apptest.AsJSON...), http.StatusOK)
				apptest.WantStatus(t, c.Get(at, "Accept", "text/csv"), http.StatusOK)
				apptest.WantStatus(t, c.Get(strings.Replace(at, "?", "/count?", 1), c.FromList(path)...), http.StatusOK)
			}
		})
	}
}

// TestLists_Filters: what the address says stays in the form, in every link, and can be
// taken out one by one.
func TestLists_Filters(t *testing.T) {
	t.Parallel()
	c := listed(t)
	v := c.Attach(c.NewVolume("vol-in-use", 3))
	a := c.Get(views.VolumesPath + "?q=vol&status=in-use&server=server-1&sort=name&size=20")
	doc := a.Doc(t)
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
	found := c.Get(doc.Find("#found").AttrOr("data-url", ""), c.FromList(views.VolumesPath)...)
	if !strings.HasPrefix(strings.TrimSpace(found.Doc(t).Text()), "1") {
		t.Errorf("found %q", found.Body)
	}
	byVolume := c.Get(views.SnapshotsPath + "?volume=" + c.list(t, views.SnapshotsPath).Items[0]["volume"].(map[string]any)["id"].(string))
	apptest.WantText(t, byVolume, "#list", "vol-00")
	cloud := c.PutVolume(backend.Volume{Name: "odd", SizeGiB: 1, State: backend.State{Status: "MAINTENANCE"}})
	odd := c.Get(views.VolumesPath + "?status=maintenance")
	if ids := rowIDs(odd.Doc(t)); !slices.Equal(ids, []string{cloud.ID}) || odd.Doc(t).Find("option[value=MAINTENANCE][selected]").Length() != 1 {
		t.Errorf("a status that only the cloud knows: %v", ids)
	}
}

// TestLists_Languages: headings, toolbars and columns in the words of the
// contract.
func TestLists_Languages(t *testing.T) {
	t.Parallel()
	c := listed(t)
	for lang, words := range map[string]map[string][]string{
		"ko": {views.VolumesPath: {"Volume", "스냅샷 생성", "수정", "확장", "삭제"}, views.SnapshotsPath: {"Block Snapshot", "수정", "삭제", "Volume 생성"}},
		"en": {views.VolumesPath: {"Volumes", "Create snapshot", "Edit", "Extend", "Delete"}, views.SnapshotsPath: {"Block Snapshots", "Edit", "Delete", "Create volume"}},
	} {
		for path, want := range words {
			a := c.Get(path, "Accept-Language", lang)
			apptest.WantText(t, a, "main h1", want[0])
			var buttons []string
			a.Doc(t).Find("main .toolbar button").Each(func(_ int, s *goquery.Selection) { buttons = append(buttons, strings.TrimSpace(s.Text())) })
			for _, name := range want[1:] {
				if n := len(slices.DeleteFunc(slices.Clone(buttons), func(s string) bool { return s != name })); n != 1 {
					t.Errorf("%s in %s: %d buttons are called %s: %q", path, lang, n, name, buttons)
				}
			}
			if strings.Contains(a.Body, "⟦") {
				t.Errorf("%s in %s misses a text", path, lang)
			}
		}
	}
}

// TestLists_HostileNames: names that come from a cloud are shown as they are,
// and do nothing. What cannot be seen is shown as a sign.
func TestLists_HostileNames(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for _, name := range []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</table></form>`, "{{7*7}}", "javascript:alert(1)",
		"\u202egnp.exe", "bell\x07\u200b", " \u200b\u2066 ", "אבג-data", strings.Repeat("가", 255), "", "=HYPERLINK(\"http://evil\")",
	} {
		v := c.PutVolume(backend.Volume{Name: name, SizeGiB: 1})
		op, err := c.Store.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: "snap-1"})
		if err != nil {
			t.Fatal(err)
		}
		c.Work()
		shown := name
		switch name {
		case "", " \u200b\u2066 ":
			shown = v.ID
		case "\u202egnp.exe":
			shown = "\ufffdgnp.exe"
		case "bell\x07\u200b":
			shown = "bell\ufffd\ufffd"
		}
		s := c.Snapshot(op.SubjectID)
		for _, path := range []string{views.VolumesPath, apptest.VolumePath(v.ID), apptest.VolumePath(v.ID, "edit"), apptest.VolumePath(v.ID, "delete"), apptest.VolumePath(v.ID, "snapshots/new"),
			views.SnapshotsPath, apptest.SnapshotPath(s.ID), views.SnapshotsPath + "?volume=" + v.ID, "/activity"} {
			a := c.Get(path)
			apptest.WantStatus(t, a, http.StatusOK)
			doc := a.Doc(t)
			if bad := doc.Find(`main script, main img, [onerror], [onmouseover], a[href^="javascript"]`); bad.Length() > 0 {
				t.Errorf("%s: %q is live", path, name)
			}
		}
		apptest.WantText(t, c.Get(views.VolumesPath), "#volume-"+v.ID+" .c-name a", shown)
		apptest.WantText(t, c.Get(apptest.VolumePath(v.ID)), "title", shown)
	}
}

func TestLists_StorageFailing(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	empty := c.Get(views.SnapshotsPath)
	apptest.WantText(t, empty, ".empty-title", "아직 읽지 못했습니다")
	apptest.WantNone(t, empty, "[data-degraded]")
	v := c.NewVolume("data", 1)
	c.Resync()
	apptest.WantText(t, c.Get(views.SnapshotsPath), ".empty-title", "Block Snapshot이 없습니다")
	c.Clock.Add(3 * time.Minute)
	note := func(key string) {
		t.Helper()
		for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
			failure := models.Failure{}
			if key != "" {
				failure.Text = models.NewText(key)
			}
			if err := c.Store.Sync.RecordSync(t.Context(), kind, c.Clock.Now(), failure); err != nil {
				t.Fatal(err)
			}
		}
	}
	note("failure.unavailable")
	c.Clock.Add(2 * time.Minute)
	note("failure.unavailable")
	for _, path := range []string{views.VolumesPath, views.SnapshotsPath, apptest.VolumePath(v.ID), "/activity"} {
		a := c.Get(path)
		apptest.WantStatus(t, a, http.StatusOK)
		apptest.WantText(t, a, "[data-degraded] .callout-title", "2026-11-22 15:33부터")
		apptest.WantText(t, a, "[data-degraded]", "저장소가 응답하지 않습니다. 아래는 5분 전 확인한 내용입니다. 요청은 접수해")
	}
	apptest.WantText(t, c.Get(views.VolumesPath), "#volume-"+v.ID, "AVAILABLE")
	if c.Get(views.VolumesPath).Doc(t).Find(".fresh.stale").Length() != 1 {
		t.Error("the age does not look old")
	}
	// Popups can be used, and what is asked for waits.
	apptest.WantStatus(t, c.Get(apptest.VolumePath(v.ID, "edit")), http.StatusOK)
	apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "edit"), apptest.Form("name", "renamed"), apptest.AsJSON...))
	note("failure.credentials")
	apptest.WantText(t, c.Get(views.VolumesPath, "Accept-Language", "en"), "[data-degraded]", "refuses the console's credentials")
	for key, says := range map[string]string{"failure.too_many": "너무 많다고", "failure.certificate": "CA 설정", "failure.clock": "시계", "failure.token": "접근 규칙"} {
		note(key)
		apptest.WantText(t, c.Get(views.VolumesPath), "[data-degraded]", says)
	}
	note("failure.other_project")
	apptest.WantText(t, c.Get(views.VolumesPath), "[data-degraded]", "다른 프로젝트")
	note("")
	apptest.WantNone(t, c.Get(views.VolumesPath), "[data-degraded]")
}
