package web

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
)

// liveBoard is a board whose live pages are fed.
func liveBoard(t *testing.T) *board {
	t.Helper()
	b := newBoard(t)
	b.web.Live.PingInterval, b.web.Live.FreshInterval = 20*time.Millisecond, 20*time.Millisecond
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { b.web.Live.Run(ctx); close(ended) }()
	t.Cleanup(func() { stop(); <-ended })
	return b
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
func (b *board) open(who *browser, path string, headers ...string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, b.URL+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for _, cookie := range who.cookies {
		r.AddCookie(cookie)
	}
	resp, err := who.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") ||
		resp.Header.Get("Content-Encoding") != "" || !strings.Contains(resp.Header.Get("Cache-Control"), "no-store") {
		b.t.Fatalf("the stream answers %s %v", resp.Status, resp.Header)
	}
	s := &stream{t: b.t, events: make(chan event, 1000), close: cancel}
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
	b.t.Cleanup(cancel)
	return s
}

// until reads events until one is called name, and returns it and those before,
// but for the age of the data, which comes at any time.
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
			if e.name != "fresh" {
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
func (b *board) eventsOf(who *browser, list string) string {
	b.t.Helper()
	return who.get(list).doc(b.t).Find("#list").AttrOr("data-events", "")
}

func (b *board) rename(s *models.Snapshot, name string) {
	b.t.Helper()
	if _, err := b.store.Snapshots.EditSnapshot(b.t.Context(), storetest.Operator(), models.EditInput{ID: s.ID, Name: name}); err != nil {
		b.t.Fatal(err)
	}
}

// TestLiveRows: a changed row comes as a morph of itself, byte for byte as the list
// has it, in the language of the page; all readers get the same.
func TestLiveRows(t *testing.T) {
	b := liveBoard(t)
	v := b.volume("vol-1", "1")
	s := b.snapshot(v, "snap-1")
	viewer := b.as(models.Viewer)
	korean := b.open(b.browser, b.eventsOf(b.browser, views.SnapshotsPath))
	again := b.open(viewer, b.eventsOf(viewer, views.SnapshotsPath))
	english := b.open(b.browser, b.eventsOf(b.browser, views.SnapshotsPath), "Accept-Language", "en")
	b.rename(s, "renamed")
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
		if page := b.get(views.SnapshotsPath); !strings.Contains(page.body, row) {
			t.Errorf("the page has another row than the stream:\n%s\n%s", page.body, row)
		}
	}
	if page := b.get(views.SnapshotsPath, "Accept-Language", "en"); strings.Contains(page.body, row) {
		t.Error("the English page has the Korean row")
	}
	b.work()
	fresh := newConsoleOn(t, b).get(views.SnapshotsPath)
	if !strings.Contains(fresh.body, row) {
		t.Error("a console that remembers nothing renders another row")
	}
}

// newConsoleOn is another console on the same database, signed in as the operator.
func newConsoleOn(t *testing.T, b *board) *browser {
	t.Helper()
	twin := *b.console
	twin.web = New(Options{Config: b.web.config, Store: b.store, Now: b.clock.Now, Log: b.web.log})
	twin.Server = httptest.NewServer(twin.web.Echo)
	t.Cleanup(twin.Close)
	return twin.as(models.Operator)
}

// TestLiveLists: what comes or goes makes the page read its list again, and the
// header counts what is under way.
func TestLiveLists(t *testing.T) {
	b := liveBoard(t)
	v := b.volume("vol-1", "1")
	volumes := b.open(b.browser, b.eventsOf(b.browser, views.VolumesPath))
	snapshots := b.open(b.browser, b.eventsOf(b.browser, views.SnapshotsPath))
	m := accepted(t, b.post(volumePath(v, "snapshots"), form("name", "snap-1"), asJS...))
	_, before := snapshots.until("list")
	count, _ := snapshots.until("activity")
	if strings.TrimSpace(count.data) != "1" {
		t.Errorf("under way are %q, before %v", count.data, before)
	}
	if row, _ := volumes.until(""); !strings.Contains(row.data, `hx-target="#volume-`+v.ID) { // it counts its snapshots
		t.Errorf("the volume's row is %s", row.data)
	}
	b.work()
	for { // the last of several
		if e, _ := snapshots.until("activity"); strings.TrimSpace(e.data) == "0" {
			break
		}
	}
	accepted(t, b.post(views.SnapshotsPath+"/"+m.ID+"/delete", nil, asJS...))
	b.work()
	if _, before := snapshots.until("list"); !strings.Contains(fmt.Sprint(before), "DELETING") {
		t.Errorf("the row did not say DELETING before it left: %v", before)
	}
	if err := b.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	fresh, _ := snapshots.until("fresh")
	if at, err := strconv.ParseInt(strings.TrimSpace(fresh.data), 10, 64); err != nil || at < b.clock.Now().Add(-time.Hour).UnixMicro() {
		t.Errorf("the data is of %q", fresh.data)
	}
}

// TestLiveResume: a page that comes back is told what it missed, or reads its list
// again when that is too much.
func TestLiveResume(t *testing.T) {
	b := liveBoard(t)
	v := b.volume("vol-1", "1")
	s := b.snapshot(v, "snap-1")
	first := b.open(b.browser, b.eventsOf(b.browser, views.SnapshotsPath))
	b.rename(s, "name-1")
	seen, _ := first.until("")
	first.close()
	page := b.eventsOf(b.browser, views.SnapshotsPath)
	b.rename(s, "name-2")
	b.work()
	for name, s := range map[string]*stream{
		"by its last event": b.open(b.browser, views.SnapshotsPath+"/events", "Last-Event-ID", seen.id),
		"which is newer":    b.open(b.browser, views.SnapshotsPath+"/events?after=0", "Last-Event-ID", seen.id),
		"by its address":    b.open(b.browser, page),
	} {
		if e, before := s.until(""); !strings.Contains(e.data, "name-2") || len(before) > 1 {
			t.Errorf("%s: %v, before it %v", name, e, before)
		}
	}
	for i := range 70 { // three changes each
		b.rename(s, fmt.Sprintf("many-%d", i))
	}
	b.work()
	old := b.open(b.browser, views.SnapshotsPath+"/events", "Last-Event-ID", seen.id)
	if e, before := old.until("list"); len(before) > 0 || e.id == "" {
		t.Errorf("too much was missed: %v, before it %v", e, before)
	}
	last, err := b.store.LastChange(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.open(b.browser, views.SnapshotsPath+"/events", "Last-Event-ID", strconv.FormatInt(last+1000, 10)).until("list") // of another database
	for _, odd := range []string{"x", "-1", "99999999999999999999", "1 2"} {
		now := b.open(b.browser, views.SnapshotsPath+"/events", "Last-Event-ID", odd)
		b.rename(s, "odd-"+strconv.Itoa(len(odd)))
		if e, before := now.until(""); !strings.Contains(e.data, "odd-") || len(before) > 0 {
			t.Errorf("after %q comes %v", odd, before)
		}
	}
}

// TestLiveEnds: with the session, with the console, and with another project's
// changes it does not even begin.
func TestLiveEnds(t *testing.T) {
	b := liveBoard(t)
	s := b.snapshot(b.volume("vol-1", "1"), "snap-1")
	events := b.eventsOf(b.browser, views.SnapshotsPath)
	gone := b.as(models.Viewer)
	ending := b.open(gone, events)
	staying := b.open(b.browser, events)
	wantStatus(t, gone.post("/logout", nil), http.StatusSeeOther)
	ending.ends()
	elsewhere := storetest.Operator()
	elsewhere.Project = "elsewhere"
	if _, err := b.store.Volumes.CreateVolume(t.Context(), elsewhere, models.VolumeInput{Name: "secret", Size: "1"}); err != nil {
		t.Fatal(err)
	}
	b.rename(s, "visible")
	if e, before := staying.until(""); len(before) > 0 || !strings.Contains(e.data, "visible") {
		t.Errorf("of another project came %v", before)
	}
	b.web.Drain()
	staying.ends()
}

// TestLiveNamesAreInert: a name cannot end its event and begin one of its own.
func TestLiveNamesAreInert(t *testing.T) {
	b := liveBoard(t)
	v := b.found(backend.Volume{Name: "vol-1", SizeGiB: 1})
	s := b.open(b.browser, b.eventsOf(b.browser, views.VolumesPath))
	name := "a\n\nevent: evil\ndata: x\r\rid: 999999\r\nretry: 1\n\n<script>alert(1)</script>"
	b.fake.PutVolume(backend.Volume{Key: backend.Key{ID: v.BackendID}, Name: name, SizeGiB: 1})
	if err := b.mirror.Resync(t.Context()); err != nil {
		t.Fatal(err)
	}
	e, before := s.until("")
	if len(before) > 0 || e.id == "999999" {
		t.Errorf("event %v after %v", e, before)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(strings.ReplaceAll(e.data, "hx-partial", "table")))
	if err != nil || doc.Find("script").Length() > 0 || !strings.Contains(doc.Find("tr .c-name").Text(), "event: evil") {
		t.Errorf("the name is not shown as it is: %s, %v", e.data, err)
	}
}
