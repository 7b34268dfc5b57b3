package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// TestLive_StorageFailing: they are read again, with the banner.
func TestLive_StorageFailing(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	c.Resync()
	s := c.open(c.Client, c.eventsOf(c.Client, views.VolumesPath))
	note := func(failure models.Failure) {
		t.Helper()
		if err := c.Store.Sync.RecordSync(t.Context(), models.SubjectVolume, c.Clock.Now(), failure); err != nil {
			t.Fatal(err)
		}
	}
	note(models.Failure{})
	s.until("fresh") // that all is well is known
	note(models.Failure{Text: models.NewText("failure.unavailable")})
	s.until("list")
	note(models.Failure{})
	s.until("list")
}

// newLiveConsole is a console whose live pages are fed.
func newLiveConsole(t *testing.T) *console {
	t.Helper()
	c := newConsole(t)
	c.RunLive()
	return c
}

// event is one event of a stream.
type event struct{ id, name, data string }

// stream is an open live page.
type stream struct {
	t      *testing.T
	events chan event
	close  func()
}

const soon = 15 * time.Second

// open opens the stream of a list, as the page does.
func (c *console) open(who *apptest.Client, path string, headers ...string) *stream {
	c.t.Helper()
	ctx, cancel := context.WithCancel(c.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, cookie := range who.Cookies() {
		r.AddCookie(cookie)
	}
	resp, err := who.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") ||
		resp.Header.Get("Content-Encoding") != "" || !strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
		c.t.Fatalf("the stream answers %s %v", resp.Status, resp.Header)
	}
	s := &stream{t: c.t, events: make(chan event, 1000), close: cancel}
	go func() {
		defer resp.Body.Close()
		defer close(s.events)
		var e event
		lines := bufio.NewScanner(resp.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data += value + "\n"
			case "":
				if e.data != "" {
					s.events <- e
				}
				e = event{}
			}
		}
	}()
	c.t.Cleanup(cancel)
	return s
}

// until reads events until one is called name, and returns it and those before,
// but for those that come of themselves: the beginning, heartbeats and the age of the
// data.
func (s *stream) until(name string) (event, []event) {
	s.t.Helper()
	timeout := time.After(soon)
	var before []event
	for {
		select {
		case e, open := <-s.events:
			if !open {
				s.t.Fatalf("the stream ended before %q: %v", name, before)
			}
			if e.name == name {
				return e, before
			}
			if !slices.Contains([]string{"begin", "beat", "fresh"}, e.name) {
				before = append(before, e)
			}
		case <-timeout:
			s.t.Fatalf("no %q but %v", name, before)
		}
	}
}

// ends fails the test when the stream goes on.
func (s *stream) ends() {
	s.t.Helper()
	timeout := time.After(soon)
	for {
		select {
		case _, open := <-s.events:
			if !open {
				return
			}
		case <-timeout:
			s.t.Fatal("the stream goes on")
		}
	}
}

// eventsOf is the stream that a page of the list names.
func (c *console) eventsOf(who *apptest.Client, list string) string {
	c.t.Helper()
	return who.Get(list).Doc(c.t).Find("#list").AttrOr("data-events", "")
}

func (c *console) rename(s *models.Snapshot, name string) {
	c.t.Helper()
	if _, err := c.Store.Snapshots.EditSnapshot(c.t.Context(), storetest.Operator(), models.EditInput{ID: s.ID, Name: name}); err != nil {
		c.t.Fatal(err)
	}
}

// TestLive_Rows: a changed row comes as a morph of itself, byte for byte as the list
// has it, in the language of the page; all readers get the same.
func TestLive_Rows(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	v := c.NewVolume("vol-1", 1)
	s := c.NewSnapshot(v, "snap-1")
	viewer := c.As(models.Viewer)
	korean := c.open(c.Client, c.eventsOf(c.Client, views.SnapshotsPath))
	again := c.open(viewer, c.eventsOf(viewer, views.SnapshotsPath))
	english := c.open(c.Client, c.eventsOf(c.Client, views.SnapshotsPath), "Accept-Language", "en")
	c.rename(s, "renamed")
	got, _ := korean.until("")
	if _, err := strconv.ParseInt(got.id, 10, 64); err != nil {
		t.Errorf("the event has the id %q", got.id)
	}
	if !strings.HasPrefix(got.data, `<hx-partial hx-target="#snapshot-`+s.ID+`" hx-swap="outerMorph"><tr id="snapshot-`+s.ID+`"`) || !strings.Contains(got.data, "renamed") {
		t.Errorf("the event is %s", got.data)
	}
	if twin, _ := again.until(""); twin != got {
		t.Errorf("another reader gets %v, not %v", twin, got)
	}
	if other, _ := english.until(""); other.data == got.data || !strings.Contains(other.data, "renamed") {
		t.Errorf("the English reader gets %s", other.data)
	}
	row := strings.TrimSuffix(got.data[strings.Index(got.data, "<tr"):], "</hx-partial>\n")
	for range 2 { // made, and remembered
		if page := c.Get(views.SnapshotsPath); !strings.Contains(page.Body, row) {
			t.Errorf("the page has another row than the stream:\n%s\n%s", page.Body, row)
		}
	}
	if page := c.Get(views.SnapshotsPath, "Accept-Language", "en"); strings.Contains(page.Body, row) {
		t.Error("the English page has the Korean row")
	}
	c.Work()
	fresh := c.OnSameDatabase().Get(views.SnapshotsPath)
	if !strings.Contains(fresh.Body, row) {
		t.Error("a console that remembers nothing renders another row")
	}
}

// TestLive_ListChanges: what comes or goes makes the page read its list again, and the
// header counts what is under way.
func TestLive_ListChanges(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	v := c.NewVolume("vol-1", 1)
	volumes := c.open(c.Client, c.eventsOf(c.Client, views.VolumesPath))
	snapshots := c.open(c.Client, c.eventsOf(c.Client, views.SnapshotsPath))
	m := apptest.WantAccepted(t, c.Post(apptest.VolumePath(v.ID, "snapshots"), apptest.Form("name", "snap-1"), apptest.AsJSON...))
	_, before := snapshots.until("list")
	count, _ := snapshots.until("activity")
	if strings.TrimSpace(count.data) != "1" {
		t.Errorf("under way are %q, before %v", count.data, before)
	}
	if row, _ := volumes.until(""); !strings.Contains(row.data, `hx-target="#volume-`+v.ID) { // it counts its snapshots
		t.Errorf("the volume's row is %s", row.data)
	}
	c.Work()
	for { // the last of several
		if e, _ := snapshots.until("activity"); strings.TrimSpace(e.data) == "0" {
			break
		}
	}
	apptest.WantAccepted(t, c.Post(views.SnapshotsPath+"/"+m.ID+"/delete", nil, apptest.AsJSON...))
	for { // it says so before it leaves
		if row, _ := snapshots.until(""); strings.Contains(row.data, "DELETING") {
			break
		}
	}
	c.Work()
	snapshots.until("list")
	c.Resync()
	fresh, _ := snapshots.until("fresh")
	if at, err := strconv.ParseInt(strings.TrimSpace(fresh.data), 10, 64); err != nil || at < c.Clock.Now().Add(-time.Hour).UnixMicro() {
		t.Errorf("the data is of %q", fresh.data)
	}
}

// TestLive_Resume: a page that comes back is told what it missed, or reads its list
// again when that is too much.
func TestLive_Resume(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	v := c.NewVolume("vol-1", 1)
	s := c.NewSnapshot(v, "snap-1")
	first := c.open(c.Client, c.eventsOf(c.Client, views.SnapshotsPath))
	c.rename(s, "name-1")
	seen, _ := first.until("")
	first.close()
	page := c.eventsOf(c.Client, views.SnapshotsPath)
	c.rename(s, "name-2")
	c.Work()
	for name, s := range map[string]*stream{
		"by its last event": c.open(c.Client, views.SnapshotsPath+"/events", "Last-Event-ID", seen.id),
		"which is newer":    c.open(c.Client, views.SnapshotsPath+"/events?after=0", "Last-Event-ID", seen.id),
		"by its address":    c.open(c.Client, page),
	} {
		if e, before := s.until(""); !strings.Contains(e.data, "name-2") || len(before) > 1 {
			t.Errorf("%s: %v, before it %v", name, e, before)
		}
	}
	for i := range 70 { // three changes each
		c.rename(s, fmt.Sprintf("many-%d", i))
	}
	c.Work()
	old := c.open(c.Client, views.SnapshotsPath+"/events", "Last-Event-ID", seen.id)
	if e, before := old.until("list"); len(before) > 0 || e.id == "" {
		t.Errorf("too much was missed: %v, before it %v", e, before)
	}
	last, err := c.Store.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c.open(c.Client, views.SnapshotsPath+"/events", "Last-Event-ID", strconv.FormatInt(last+1000, 10)).until("list") // of another database
	for _, odd := range []string{"x", "-1", "99999999999999999999", "1 2"} {
		now := c.open(c.Client, views.SnapshotsPath+"/events", "Last-Event-ID", odd)
		c.rename(s, "odd-"+strconv.Itoa(len(odd)))
		if e, before := now.until(""); !strings.Contains(e.data, "odd-") || len(before) > 0 {
			t.Errorf("after %q comes %v", odd, before)
		}
	}
}

// TestLive_Ends: with the session, with the console, and with another project's
// changes it does not even begin.
func TestLive_Ends(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	s := c.NewSnapshot(c.NewVolume("vol-1", 1), "snap-1")
	events := c.eventsOf(c.Client, views.SnapshotsPath)
	gone := c.As(models.Viewer)
	ending := c.open(gone, events)
	staying := c.open(c.Client, events)
	apptest.WantStatus(t, gone.Post("/logout", nil), http.StatusSeeOther)
	ending.ends()
	elsewhere := storetest.Operator()
	elsewhere.Project = "elsewhere"
	if _, err := c.Store.Volumes.CreateVolume(t.Context(), elsewhere, models.VolumeInput{Name: "secret", Size: "1"}); err != nil {
		t.Fatal(err)
	}
	c.rename(s, "visible")
	if e, before := staying.until(""); len(before) > 0 || !strings.Contains(e.data, "visible") {
		t.Errorf("of another project came %v", before)
	}
	c.Server.Drain()
	staying.ends()
}

// TestLive_Heartbeat: a stream begins with what a page may have missed, and goes on to
// say that it is alive, each time with the server's time.
func TestLive_Heartbeat(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	c.NewVolume("vol-1", 1)
	apptest.WantAccepted(t, c.Post(views.VolumesPath, apptest.Form("name", "vol-2", "size_gib", "1"), apptest.AsJSON...))
	s := c.open(c.Client, c.eventsOf(c.Client, views.VolumesPath))
	first, before := s.until("begin")
	if now := serverTime(t, first); len(before) > 0 || now < c.Clock.Now().Add(-time.Hour).UnixMicro() || !strings.Contains(first.data, `"running":1`) || first.id != "" {
		t.Errorf("the stream begins with %v %v", before, first)
	}
	s.until("beat")
	c.Clock.Add(time.Hour)
	for deadline := time.Now().Add(soon); ; { // one may have been on its way
		beat, _ := s.until("beat")
		if serverTime(t, beat) > serverTime(t, first)+(30*time.Minute).Microseconds() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("an hour later the heartbeat says %q", beat.data)
		}
	}
}

// serverTime is the server's time that an event carries, Unix microseconds.
func serverTime(t *testing.T, e event) int64 {
	t.Helper()
	var state struct{ Now int64 }
	if err := json.Unmarshal([]byte(e.data), &state); err != nil {
		t.Fatal(err)
	}
	return state.Now
}

// TestLive_HostileNames: a name cannot end its event and begin one of its own.
func TestLive_HostileNames(t *testing.T) {
	t.Parallel()
	c := newLiveConsole(t)
	v := c.PutVolume(backend.Volume{Name: "vol-1", SizeGiB: 1})
	s := c.open(c.Client, c.eventsOf(c.Client, views.VolumesPath))
	name := "a\n\nevent: evil\ndata: x\r\rid: 999999\r\nretry: 1\n\n<script>alert(1)</script>"
	c.Fake.PutVolume(backend.Volume{Key: backend.Key{ID: v.BackendID}, Name: name, SizeGiB: 1})
	c.Resync()
	e, before := s.until("")
	if len(before) > 0 || e.id == "999999" {
		t.Errorf("event %v after %v", e, before)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(strings.ReplaceAll(e.data, "hx-partial", "table")))
	if err != nil || doc.Find("script").Length() > 0 || !strings.Contains(doc.Find("tr .c-name").Text(), "event: evil") {
		t.Errorf("the name is not shown as it is: %s, %v", e.data, err)
	}
}
