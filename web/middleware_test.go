package web

import (
	"bufio"
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/static"
)

func TestHeadersOnEveryKindOfAnswer(t *testing.T) {
	c := newConsole(t)
	b, anonymous := c.as(models.Viewer), c.browser()
	for name, a := range map[string]answer{
		"page": b.get("/account"), "fragment": b.get("/account", "HX-Request", "true"), "file": b.get(static.URL("app.css")),
		"no such file": b.get("/static/none.css"), "redirect": anonymous.get("/account"), "refusal": b.get("/admin/users"),
		"JSON error": b.get("/test/internal", "Accept", "application/json"), "panic": anonymous.get("/test/panic"),
		"health": anonymous.get("/healthz"), "unknown": anonymous.get("/none"), "sign-in": anonymous.get("/login"),
		"wrong method": b.send("DELETE", "/account", nil), "forged": b.send("POST", "/account", nil, "Sec-Fetch-Site", "cross-site"),
	} {
		for header, want := range map[string]string{
			"Content-Security-Policy": csp, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "X-Robots-Tag": "noindex, nofollow", "Strict-Transport-Security": "",
		} {
			if got := a.Header.Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", name, header, got, want)
			}
		}
		if len(a.Header.Get("X-Request-Id")) != 36 {
			t.Errorf("%s: request id is %q", name, a.Header.Get("X-Request-Id"))
		}
		if cached := a.Header.Get("Cache-Control") != "no-store"; cached != (name == "file") {
			t.Errorf("%s: Cache-Control is %q", name, a.Header.Get("Cache-Control"))
		}
	}
	for _, word := range []string{"unsafe", "*", "http:", "data:", "nonce"} {
		if strings.Contains(csp, word) {
			t.Errorf("the policy allows %s", word)
		}
	}
}

func TestFilesAreKeptForEver(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	url := static.URL("app.css")
	a := b.get(url)
	wantStatus(t, a, http.StatusOK)
	if a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/css") {
		t.Errorf("headers are %v", a.Header)
	}
	wantStatus(t, b.get(url, "If-None-Match", a.Header.Get("Etag")), http.StatusNotModified)
	packed := b.get(url, "Accept-Encoding", "gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || len(packed.body) >= len(a.body) {
		t.Errorf("packed: %d of %d bytes, headers %v", len(packed.body), len(a.body), packed.Header)
	}
	hash := regexp.MustCompile(`\.[0-9a-f]{12}\.`)
	for _, wrong := range []string{hash.ReplaceAllString(url, ".000000000000."), hash.ReplaceAllString(url, "."), "/static/", "/static/../main.go", "/static/%2e%2e/main.go"} {
		wantStatus(t, b.get(wrong), http.StatusNotFound)
	}
	icon := b.get("/favicon.ico")
	wantStatus(t, icon, http.StatusOK)
	if strings.Contains(icon.Header.Get("Cache-Control"), "immutable") || len(b.cookies) != 0 {
		t.Errorf("headers are %v, cookies %v", icon.Header, b.cookies)
	}
}

func TestPagesAreCompressed(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	a := b.get("/help", "Accept-Encoding", "gzip")
	if a.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept-Encoding") {
		t.Fatalf("headers are %v", a.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(plain), "</html>") {
		t.Errorf("error %v, page %q", err, plain)
	}
	for _, small := range []answer{b.get("/healthz", "Accept-Encoding", "gzip"), b.get("/test/notfound", "Accept-Encoding", "gzip", "Accept", "application/json")} {
		if small.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", small.Request.URL.Path)
		}
	}
}

func TestLanguage(t *testing.T) {
	c := newConsole(t)
	lang := func(a answer) string { return a.doc(t).Find("html").AttrOr("lang", "") }
	b := c.browser()
	for accept, want := range map[string]string{"": "ko", "en-US,en;q=0.9": "en", "fr": "ko", "ko,en": "ko", "en;q=0.1,ko;q=0.9": "ko"} {
		if got := lang(b.get("/login", "Accept-Language", accept)); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", accept, got, want)
		}
	}
	if got := lang(b.get("/login?lang=xx")); got != "ko" {
		t.Errorf("unknown language: %s", got)
	}
	if got := lang(b.get("/login?lang=en")); got != "en" {
		t.Errorf("?lang=en: %s", got)
	}
	if got := lang(b.get("/login", "Accept-Language", "ko")); got != "en" {
		t.Errorf("remembered: %s", got)
	}
	if got := lang(b.get("/login?lang=ko")); got != "ko" {
		t.Errorf("?lang=ko over the cookie: %s", got)
	}
}

func TestThemeAndDensityAreRemembered(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	look := func(path string) string {
		html := b.get(path).doc(t).Find("html")
		return html.AttrOr("data-theme", "none") + " " + html.AttrOr("data-density", "none")
	}
	for _, step := range []struct{ path, want string }{
		{"/account", " normal"}, {"/account?theme=dark", "dark normal"}, {"/account?density=compact", "dark compact"},
		{"/account", "dark compact"}, {"/account?theme=neon", "dark compact"}, {"/account?theme=system&density=normal", " normal"}, {"/account", " normal"},
	} {
		if got := look(step.path); got != step.want {
			t.Errorf("%s: %q, want %q", step.path, got, step.want)
		}
	}
	doc := b.get("/storage/block-storage/volumes?q=b&lang=en&theme=dark&status=ERROR").doc(t)
	if href := doc.Find("a.lang-link").AttrOr("href", ""); strings.Contains(href, "theme") || strings.Contains(href, "lang=en") || !strings.Contains(href, "q=b") {
		t.Errorf("the language link is %s", href)
	}
}

func TestForwardedAddressesAreBelievedFromProxiesAlone(t *testing.T) {
	for name, tc := range map[string]struct {
		setting, forwarded, want string
	}{
		"nobody is trusted":       {"", "203.0.113.9", "127.0.0.1"},
		"the proxy is trusted":    {"127.0.0.1", "203.0.113.9", "203.0.113.9"},
		"what came before it not": {"127.0.0.1", "10.9.9.9, 203.0.113.9", "203.0.113.9"},
		"two proxies":             {"127.0.0.0/8,198.51.100.7", "203.0.113.9, 198.51.100.7", "203.0.113.9"},
		"another one is trusted":  {"198.51.100.7", "203.0.113.9", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newConsole(t, "TRUSTED_PROXIES="+tc.setting)
			seen := ""
			c.web.get(anonymous, "/test/ip", func(c echo.Context) error { seen = c.RealIP(); return c.NoContent(http.StatusNoContent) })
			wantStatus(t, c.browser().get("/test/ip", "X-Forwarded-For", tc.forwarded, "X-Real-Ip", "192.0.2.99"), http.StatusNoContent)
			if seen != tc.want {
				t.Errorf("address is %s, want %s", seen, tc.want)
			}
		})
	}
}

func TestClicksOutliveTheirBrowser(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Operator)
	arrived, left, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	c.web.post(models.Operator, "/test/slow", func(c echo.Context) error {
		close(arrived)
		<-left
		result <- c.Request().Context().Err()
		return nil
	})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL+"/test/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(b.cookies["blockconsole"])
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		if resp, err := b.Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	<-arrived
	leave()
	<-gone
	close(left)
	if err := <-result; err != nil {
		t.Errorf("the click was cut off: %v", err)
	}
}

func TestShutdownEndsStreamsFirst(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.web.Serve(ctx, listener) }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+listener.Addr().String()+"/storage/block-storage/snapshots/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.AddCookie(b.cookies["blockconsole"])
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") || resp.Header.Get("Content-Encoding") != "" {
		t.Fatalf("status %d, headers %v", resp.StatusCode, resp.Header)
	}
	start := time.Now()
	stop()
	if _, err := io.Copy(io.Discard, bufio.NewReader(resp.Body)); err != nil {
		t.Errorf("the stream did not end by itself: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
	if took := time.Since(start); took > drainTimeout/2 {
		t.Errorf("it took %v: the stream held the shutdown up", took)
	}
	wantStatus(t, c.browser().get("/readyz"), http.StatusServiceUnavailable)
	wantStatus(t, c.browser().get("/healthz"), http.StatusOK)
}

func TestReadiness(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	for _, path := range []string{"/healthz", "/readyz"} {
		wantStatus(t, b.get(path), http.StatusOK)
	}
	if len(b.cookies) != 0 {
		t.Errorf("cookies are %v", b.cookies)
	}
	viewer := c.as(models.Viewer)
	if err := c.store.Close(); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, b.get("/readyz"), http.StatusServiceUnavailable)
	wantStatus(t, b.get("/healthz"), http.StatusOK)
	wantStatus(t, viewer.get("/account"), http.StatusInternalServerError)
}

func TestMetricsCountByRoute(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	b.get("/storage/block-storage/volumes/" + models.NewID())
	b.get("/none/" + models.NewID())
	b.send("INVENTED", "/account", nil)
	listener := httptest.NewServer(metricsHandler(c.registry))
	defer listener.Close()
	resp, err := http.Get(listener.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`class="4xx",method="GET",route="/storage/block-storage/volumes/:id"`, `method="other"`, "blockconsole_live_streams 0"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	if strings.Contains(string(text), "/none/") {
		t.Error("a path that anybody can invent is a label")
	}
}
