package handlers

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// changesStore has changes of connections alone, which become events without rows.
type changesStore struct {
	LiveStore
	changes []models.Change
}

func (s *changesStore) LastChange(context.Context) (int64, error) {
	return s.changes[len(s.changes)-1].Seq, nil
}
func (s *changesStore) FirstChange(context.Context) (int64, error) { return s.changes[0].Seq, nil }

func (s *changesStore) ChangesAfter(_ context.Context, seq int64, limit int) ([]models.Change, error) {
	var later []models.Change
	for _, c := range s.changes {
		if c.Seq > seq && len(later) < limit {
			later = append(later, c)
		}
	}
	return later, nil
}
func (s *changesStore) Session(context.Context, string) (*models.SignedIn, error) { return nil, nil }
func (s *changesStore) InScope(string, string) bool                               { return true }

func (s *changesStore) add(objects ...string) {
	for _, id := range objects {
		s.changes = append(s.changes, models.Change{Seq: int64(len(s.changes) + 1), Kind: models.SubjectConnection, ID: id})
	}
}

// TestLive_LateStreams: who opens a stream while changes wait to be published gets
// those after its beginning, none before, and none twice.
func TestLive_LateStreams(t *testing.T) {
	t.Parallel()
	store := &changesStore{}
	store.add("published")
	live := NewLive(store, NewRowCache(), &Site{Now: time.Now})
	if err := live.publishChanges(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.add("waiting-2", "waiting-3")
	e := echo.New()
	e.GET("/events", live.VolumeEvents)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	t.Cleanup(live.hub.close)
	fresh := openEvents(t, server.URL+"/events")
	knows2 := openEvents(t, server.URL+"/events?after=2")
	knows1 := openEvents(t, server.URL+"/events?after=1")
	ofAnother := openEvents(t, server.URL+"/events?after=1000")
	store.add("new-4")
	if err := live.publishChanges(t.Context()); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		events *bufio.Scanner
		want   string
	}{
		"a stream without a position":       {fresh, "new-4"},
		"a stream amid what waits":          {knows2, "waiting-3 new-4"},
		"a stream before what waits":        {knows1, "waiting-2 waiting-3 new-4"},
		"a stream of a page from elsewhere": {ofAnother, "{} new-4"},
	} {
		var got []string
		for len(got) == 0 || !strings.HasSuffix(got[len(got)-1], "new-4") {
			if !c.events.Scan() {
				t.Fatalf("%s ends after %q: %v", what, got, c.events.Err())
			}
			if data, ok := strings.CutPrefix(c.events.Text(), "data: "); ok && !strings.Contains(data, `"now"`) {
				got = append(got, data)
			}
		}
		if joined := strings.Join(got, " "); joined != c.want {
			t.Errorf("%s gets %q, want %q", what, joined, c.want)
		}
	}
}

// openEvents opens a stream and returns its lines.
func openEvents(t *testing.T, url string) *bufio.Scanner {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return bufio.NewScanner(resp.Body)
}
