package browsertest

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"blockconsole/models"
	"blockconsole/static"
	"blockconsole/views"
)

// The walks through bad weather: how many there are, and the seed of the first. The
// next walk has the next seed.
const (
	walksEnv = "BLOCKCONSOLE_TEST_WALKS" // 1 where it is not set
	seedEnv  = "BLOCKCONSOLE_TEST_SEED"  // 2, which meets each fate
)

func number(t *testing.T, env string, otherwise int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: %v", env, text, err)
	}
	return n
}

// weather is a reverse proxy that delays, drops and answers 502 at random. What becomes
// of a request follows from the seed, the method, the path and how often that was asked
// before: requests that overtake each other change nothing.
type weather struct {
	*httptest.Server
	proxy *httputil.ReverseProxy
	seed  int
	calm  atomic.Bool // everything passes
	mu    sync.Mutex
	asked map[string]int
	fates map[string]int // how often each befell a request
}

// newWeather is bad weather before the console at target.
func newWeather(t *testing.T, target string, seed int) *weather {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	w := &weather{seed: seed, asked: map[string]int{}, fates: map[string]int{}}
	w.proxy = &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(rw, "bad gateway", http.StatusBadGateway)
		},
		ErrorLog: log.New(io.Discard, "", 0), // of answers that were cut
	}
	w.Server = httptest.NewServer(w)
	t.Cleanup(func() { // Close waits for the streams, which pages open again while they may
		w.Listener.Close()
		w.CloseClientConnections()
		w.Close()
	})
	return w
}

// roll is the random numbers of a request.
func (w *weather) roll(r *http.Request) *rand.Rand {
	w.mu.Lock()
	defer w.mu.Unlock()
	what := r.Method + " " + r.URL.Path
	w.asked[what]++
	h := fnv.New64a()
	fmt.Fprint(h, what, w.asked[what])
	return rand.New(rand.NewPCG(uint64(w.seed), h.Sum64())) //nolint:gosec // it must be repeatable
}

func (w *weather) note(fate string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fates[fate]++
}

func (w *weather) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	if w.calm.Load() || strings.HasPrefix(r.URL.Path, static.Prefix) { // browsers keep these
		w.proxy.ServeHTTP(rw, r)
		return
	}
	roll := w.roll(r)
	wait(r.Context(), time.Duration(roll.ExpFloat64()*float64(100*time.Millisecond)))
	part := roll.Float64()
	switch lot := roll.IntN(100); {
	case lot < 10:
		w.note("502 before the console")
		http.Error(rw, "bad gateway", http.StatusBadGateway)
	case lot < 17:
		w.note("502 after the console")
		w.proxy.ServeHTTP(httptest.NewRecorder(), limited(r, part))
		http.Error(rw, "bad gateway", http.StatusBadGateway)
	case lot < 24:
		w.note("dropped before the console")
		panic(http.ErrAbortHandler)
	case lot < 31:
		w.note("dropped after the console")
		w.dropLate(rw, limited(r, part), part)
	case strings.HasSuffix(r.URL.Path, "/events"):
		w.note("a stream cut")
		w.proxy.ServeHTTP(rw, limited(r, part))
	default:
		w.note("passed")
		w.proxy.ServeHTTP(rw, r)
	}
}

// limited is a request that ends, if it is a stream, after up to four seconds.
func limited(r *http.Request, part float64) *http.Request {
	if !strings.HasSuffix(r.URL.Path, "/events") {
		return r
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(part*float64(4*time.Second)))
	context.AfterFunc(ctx, cancel)
	return r.WithContext(ctx)
}

// dropLate sends a part of the answer.
func (w *weather) dropLate(rw http.ResponseWriter, r *http.Request, part float64) {
	answer := httptest.NewRecorder()
	w.proxy.ServeHTTP(answer, r)
	for name, values := range answer.Header() {
		rw.Header()[name] = values
	}
	rw.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()+1))
	rw.WriteHeader(answer.Code)
	_, _ = rw.Write(answer.Body.Bytes()[:int(part*float64(answer.Body.Len()))])
	_ = http.NewResponseController(rw).Flush()
	panic(http.ErrAbortHandler)
}

// wait is the delay of a request; its end with the request.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// scenarioWeather goes through the user guide in bad weather, as a patient person does:
// what failed says so and is done again. Nothing happens twice, and no list has to be
// loaded again to be right.
func scenarioWeather(p *page) {
	first := number(p.t, seedEnv, 2)
	widths := []int64{1280, 320, 1920, 640, 960} // px, one after the other
	for walk := range number(p.t, walksEnv, 1) {
		p.SetViewport(widths[walk%len(widths)], 800)
		p.walkInWeather(first + walk)
		p.allDoneOnce(walk + 1)
	}
}

func (p *page) walkInWeather(seed int) {
	p.t.Helper()
	p.t.Logf("the seed is %d (%s)", seed, seedEnv)
	w := newWeather(p.t, p.c.URL(), seed)
	p.url = w.URL
	volume, shot := fmt.Sprintf("wet-%s-%04d", p.lang, seed), fmt.Sprintf("shot-%s-%04d", p.lang, seed)
	p.arrive(views.VolumesPath)
	p.Mark()
	p.insistOn(p.say.newVolume, func() { p.Click("link", p.say.create) })
	p.Fill("textbox", p.say.volumeName, volume)
	p.Fill("textbox", p.say.size, "1")
	p.send(p.say.create)
	p.HasRow(volume, "AVAILABLE", "1 GiB")
	p.pick(volume)
	p.insistOn(p.say.newSnapshot, func() { p.Click("button", p.say.createSnapshot) })
	p.Fill("textbox", p.say.snapshotName, shot)
	p.send(p.say.create)
	p.insistOn(p.say.extendVolume, func() { p.Click("button", p.say.extend) })
	p.Fill("textbox", p.say.size, "3")
	p.send(p.say.extend)
	p.HasRow(volume, "AVAILABLE", "3 GiB")
	p.insistOn(p.say.editVolume, func() { p.Click("button", p.say.edit) })
	p.Fill("textbox", p.say.volumeName, volume+"-b")
	p.send(p.say.edit)
	p.HasRow(volume + "-b")
	p.NotReloaded()

	p.arrive(views.SnapshotsPath)
	p.Mark()
	p.HasRow(shot, "AVAILABLE")
	p.pick(shot)
	p.insistOn(p.say.editSnapshot, func() { p.Click("button", p.say.edit) })
	p.Fill("textbox", p.say.snapshotName, shot+"-b")
	p.send(p.say.edit)
	p.HasRow(shot+"-b", "AVAILABLE")
	p.insistOn(p.say.newVolume, func() { p.Click("button", p.say.restore) })
	p.Fill("textbox", p.say.volumeName, volume+"-r")
	p.send(p.say.create)
	p.insistOn(p.say.deleteSnapshot, func() { p.Click("button", p.say.remove) })
	p.send(p.say.remove)
	p.HasNoRow(shot + "-b")
	p.NotReloaded()

	p.arrive(views.VolumesPath)
	p.Mark()
	p.HasRow(volume+"-r", "AVAILABLE", "1 GiB")
	p.pick(volume + "-b")
	p.insistOn(p.say.deleteVolume, func() { p.Click("button", p.say.remove) })
	p.send(p.say.remove)
	p.HasNoRow(volume + "-b")
	w.calm.Store(true)
	p.says("")
	p.NotReloaded()
	p.t.Logf("what became of the requests: %v", w.fates)
	left := p.c.volumesNamed(volume)
	if len(left) != 1 || left[0].Name != volume+"-r" || left[0].Status != models.Available {
		p.t.Errorf("after the walk there are %v", left)
	}
	if shown := now[int](p, `[...document.querySelectorAll("tbody a.name")].filter(a => a.textContent.startsWith(`+JS(volume)+`)).length`); shown != 1 {
		p.t.Errorf("the list shows %d of the walk's volumes", shown)
	}
}

// arrive loads a page until it comes.
func (p *page) arrive(path string) {
	p.t.Helper()
	for range 30 {
		ctx, cancel := context.WithTimeout(p, p.Patience)
		response, err := chromedp.RunResponse(ctx, chromedp.Navigate(p.url+path))
		cancel()
		if err == nil && response != nil && response.Status == http.StatusOK && now[bool](p, `Boolean(document.querySelector("#connection"))`) {
			return
		}
	}
	p.t.Fatalf("%s never comes", path)
}

// pick ticks a row, which may be ticked already.
func (p *page) pick(name string) {
	p.t.Helper()
	p.tick(name)
	p.Wait("%s.querySelector('input').checked", RowOf(name))
}

// insistOn clicks what opens a popup until it is open.
func (p *page) insistOn(title string, click func()) {
	p.t.Helper()
	p.insist(`root().computedRole === "dialog" && root().computedName === `+JS(title), click)
	p.Popup(title)
}

// send sends the form of the popup until it was taken.
func (p *page) send(button string) {
	p.t.Helper()
	p.insist(`root() === document && !document.querySelector("#popup-form")`, func() { p.Click("button", button) })
}

// insist does what may fail again and again until an expression is so. Each failure must
// be said in a message.
func (p *page) insist(expression string, act func()) {
	p.t.Helper()
	for range 30 {
		act()
		if Until[string](p.Page, `(`+expression+`) ? "done" : document.querySelector("#messages [data-sticky]") && "failed"`) == "done" {
			return
		}
		now[bool](p, `([...document.querySelectorAll("#messages [data-sticky]")].forEach(m => m.remove()), true)`)
	}
	p.t.Fatalf("never so: %s", expression)
}

// allDoneOnce checks that each walk did each thing once.
func (p *page) allDoneOnce(walks int) {
	p.t.Helper()
	ops, err := p.c.Store.Queue.ListOperations(p.t.Context(), administrator, models.OperationQuery{Limit: 1000})
	if err != nil {
		p.t.Fatal(err)
	}
	count := map[models.Kind]int{}
	for _, op := range ops {
		count[op.Kind]++
		if op.State != models.Succeeded {
			p.t.Errorf("%s of %s: %s %v", op.Kind, op.SubjectName, op.State, op.LastError)
		}
	}
	for kind, n := range count {
		if n != walks {
			p.t.Errorf("%d walks made %d operations %s", walks, n, kind)
		}
	}
	for _, complaint := range p.ConsoleMessages() {
		if strings.Contains(complaint, "Uncaught") {
			p.t.Errorf("console: %s", complaint)
		}
	}
}
