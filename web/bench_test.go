package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// bench is a console whose list has many rows, and a signed-in browser.
type bench struct {
	*apptest.Console
	b      *testing.B
	client *apptest.Client // of the first user
}

const staticPath = "/bench/static"

func newBench(b *testing.B, rows int) *bench {
	b.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil)) // the program writes its log, too
	c := apptest.Open(b, apptest.Options{WallClock: true, Log: log})
	storetest.SeedSnapshots(b, c.Store, rows)
	var page []byte
	c.Server.Get(models.Viewer, staticPath, func(e echo.Context) error {
		if page == nil {
			recorder := httptest.NewRecorder()
			request := e.Request().Clone(context.Background())
			request.URL.Path, request.RequestURI = views.SnapshotsPath, views.SnapshotsPath
			request.Header.Del("Accept-Encoding")
			c.Server.Echo.ServeHTTP(recorder, request)
			page = recorder.Body.Bytes()
		}
		handlers.Vary(e)
		return e.HTMLBlob(http.StatusOK, page)
	})
	c.Listen()
	return &bench{Console: c, b: b, client: c.AsUser(models.FirstUser)}
}

// get fetches a page over the network, or from the handler itself, and returns
// how long that took and how many bytes came.
func (w *bench) get(path string, network, gzip bool) (time.Duration, int) {
	w.b.Helper()
	r, err := w.client.NewRequest(w.b.Context(), http.MethodGet, path, nil, "Accept", "text/html")
	if err != nil {
		w.b.Fatal(err)
	}
	if gzip {
		r.Header.Set("Accept-Encoding", "gzip")
	}
	if !network {
		recorder := httptest.NewRecorder()
		recorder.Body = bytes.NewBuffer(make([]byte, 0, 1<<17))
		start := time.Now()
		w.Server.Echo.ServeHTTP(recorder, r)
		took := time.Since(start)
		if recorder.Code != http.StatusOK {
			w.b.Fatalf("%s: %d", path, recorder.Code)
		}
		return took, recorder.Body.Len()
	}
	start := time.Now()
	resp, err := w.client.Do(r)
	if err != nil {
		w.b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	took := time.Since(start)
	resp.Body.Close()
	if err != nil || resp.StatusCode != http.StatusOK {
		w.b.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return took, int(n)
}

// side is one of the two things that a ratio compares.
type side struct {
	w    *bench
	path string
}

// way is how pages are fetched.
type way struct {
	network bool // over a loopback connection, else from the handler itself
	gzip    bool
	changed bool // something has changed before each request: no page is in a cache
}

// change changes a volume, so that no page that was read before is good any more.
func (w *bench) change() {
	w.b.Helper()
	const volume = "0190000a-0000-7000-8000-000000000001"
	_, err := w.Store.Volumes.EditVolume(w.b.Context(), storetest.Administrator(), models.EditInput{ID: volume, Name: "changed"})
	if err != nil {
		w.b.Fatal(err)
	}
}

// ratio fetches both sides in turns and returns the medians' quotient, a / d.
func ratio(rounds int, by way, a, d side) float64 {
	times := [2][]time.Duration{}
	for i := range rounds + rounds/4 {
		for n, s := range []side{a, d} {
			if by.changed {
				s.w.change()
			}
			took, _ := s.w.get(s.path, by.network, by.gzip)
			if i >= rounds/4 { // the first ones warm up
				times[n] = append(times[n], took)
			}
		}
	}
	for n := range times {
		slices.Sort(times[n])
	}
	return float64(times[0][len(times[0])/2]) / float64(times[1][len(times[1])/2])
}

// halfway is the URL of the page in the middle of the list.
func (w *bench) halfway(sort string, rows int) string {
	w.b.Helper()
	q := models.ListQuery{Sort: sort, Size: 200}
	for range rows / 2 / q.Size {
		page, err := w.Store.Snapshots.ListSnapshots(w.b.Context(), storetest.Administrator(), q)
		if err != nil {
			w.b.Fatal(err)
		}
		q.After = page.Next
	}
	return views.SnapshotsPath + "?sort=" + sort + "&after=" + url.QueryEscape(q.After)
}

// BenchmarkPageAtAMillion compares the unfiltered list page, with session and
// middleware, at 1,000,000 snapshots with the same at 1,000: at most 1.3 is asked
// for, in any order and at any depth. Each page is read from the database.
func BenchmarkPageAtAMillion(b *testing.B) {
	const few, many = 1_000, 1_000_000
	small, large := newBench(b, few), newBench(b, many)
	for _, sort := range []string{"-created_at", "created_at", "name", "-name", "size", "-size", "status", "-status"} {
		first := views.SnapshotsPath + "?sort=" + sort
		b.Run("first"+sort, func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(ratio(100, way{changed: true}, side{large, first}, side{small, first}), "ratio")
			}
		})
		b.Run("middle"+sort, func(b *testing.B) {
			deepSmall, deepLarge := small.halfway(sort, few), large.halfway(sort, many)
			for b.Loop() {
				b.ReportMetric(ratio(100, way{changed: true}, side{large, deepLarge}, side{small, deepSmall}), "ratio")
			}
		})
	}
}

// BenchmarkPageAgainstStatic compares requests per second of the list page with
// those of a static page of equal bytes behind the same middleware: at least 0.2
// is asked for.
func BenchmarkPageAgainstStatic(b *testing.B) {
	w := newBench(b, 100_000)
	list := side{w, views.SnapshotsPath}
	static := side{w, staticPath}
	_, listBytes := w.get(list.path, false, false)
	_, staticBytes := w.get(static.path, false, false)
	for _, by := range []way{{}, {gzip: true}, {network: true}, {network: true, gzip: true}, {changed: true}, {network: true, changed: true}} {
		b.Run(fmt.Sprintf("network=%v/gzip=%v/changed=%v", by.network, by.gzip, by.changed), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(ratio(400, by, static, list), "ratio")
			}
			b.ReportMetric(float64(listBytes), "page-bytes")
			b.ReportMetric(float64(staticBytes), "static-bytes")
		})
	}
}
