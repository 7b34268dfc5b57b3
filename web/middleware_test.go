package web_test

import (
	"blockconsole/models"
	"blockconsole/static"
	"blockconsole/web"
	"blockconsole/web/app/apptest"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

func TestBodyLimit(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	a := c.As(models.Viewer).Post("/test/write", url.Values{"x": {strings.Repeat("x", 2<<20)}}, "Accept", "application/json")
	apptest.WantStatus(t, a, http.StatusRequestEntityTooLarge)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b, nobody := c.As(models.Viewer), c.NewClient()
	for name, a := range map[string]apptest.Answer{
		"page": b.Get("/account"), "fragment": b.Get("/account", "HX-Request", "true"), "file": b.Get(static.URL("app.css")),
		"no such file": b.Get("/static/none.css"), "redirect": nobody.Get("/account"), "refusal": b.Get("/admin/users"),
		"JSON error": b.Get("/test/internal", "Accept", "application/json"), "panic": nobody.Get("/test/panic"),
		"health": nobody.Get("/healthz"), "unknown": nobody.Get("/none"), "sign-in": nobody.Get("/login"),
		"wrong method": b.Send("DELETE", "/account", nil), "forged": b.Send("POST", "/account", nil, "Sec-Fetch-Site", "cross-site"),
	} {
		for header, want := range map[string]string{
			"Content-Security-Policy": web.CSP, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
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
		if strings.Contains(web.CSP, word) {
			t.Errorf("the policy allows %s", word)
		}
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	a := b.Get("/help", "Accept-Encoding", "gzip")
	if a.Header.Get("Content-Encoding") != "gzip" || !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), "Accept-Encoding") {
		t.Fatalf("headers are %v", a.Header)
	}
	r, err := gzip.NewReader(strings.NewReader(a.Body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil || !strings.Contains(string(plain), "</html>") {
		t.Errorf("error %v, page %q", err, plain)
	}
	for _, small := range []apptest.Answer{b.Get("/healthz", "Accept-Encoding", "gzip"), b.Get("/test/notfound", "Accept-Encoding", "gzip", "Accept", "application/json")} {
		if small.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s is compressed", small.Request.URL.Path)
		}
	}
}

func TestPreferences_Language(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	lang := func(a apptest.Answer) string { return a.Doc(t).Find("html").AttrOr("lang", "") }
	b := c.NewClient()
	for accept, want := range map[string]string{"": "ko", "en-US,en;q=0.9": "en", "fr": "ko", "ko,en": "ko", "en;q=0.1,ko;q=0.9": "ko"} {
		if got := lang(b.Get("/login", "Accept-Language", accept)); got != want {
			t.Errorf("Accept-Language %q: %s, want %s", accept, got, want)
		}
	}
	if got := lang(b.Get("/login?lang=xx")); got != "ko" {
		t.Errorf("unknown language: %s", got)
	}
	if got := lang(b.Get("/login?lang=en")); got != "en" {
		t.Errorf("?lang=en: %s", got)
	}
	if got := lang(b.Get("/login", "Accept-Language", "ko")); got != "en" {
		t.Errorf("remembered: %s", got)
	}
	if got := lang(b.Get("/login?lang=ko")); got != "ko" {
		t.Errorf("?lang=ko over the cookie: %s", got)
	}
}

func TestPreferences_Remembered(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	look := func(path string) string {
		html := b.Get(path).Doc(t).Find("html")
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
	doc := b.Get("/storage/block-storage/volumes?q=b&lang=en&theme=dark&status=ERROR").Doc(t)
	if href := doc.Find("a.lang-link").AttrOr("href", ""); strings.Contains(href, "theme") || strings.Contains(href, "lang=en") || !strings.Contains(href, "q=b") {
		t.Errorf("the language link is %s", href)
	}
}

func TestForwardedAddress(t *testing.T) {
	t.Parallel()
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
			c.Server.Get(anonymous, "/test/ip", func(c echo.Context) error { seen = c.RealIP(); return c.NoContent(http.StatusNoContent) })
			apptest.WantStatus(t, c.NewClient().Get("/test/ip", "X-Forwarded-For", tc.forwarded, "X-Real-Ip", "192.0.2.99"), http.StatusNoContent)
			if seen != tc.want {
				t.Errorf("address is %s, want %s", seen, tc.want)
			}
		})
	}
}

// TestForwardedAddress_Untrusted: the administrator of a proxy that is not trusted hears of it once.
func TestForwardedAddress_Untrusted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		setting string
		headers []string
		warned  bool
	}{
		"not trusted": {"", []string{"X-Forwarded-For", "203.0.113.9"}, true},
		"trusted":     {"127.0.0.0/8", []string{"X-Forwarded-For", "203.0.113.9"}, false},
		"no proxy":    {"", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			c := apptest.Open(t, apptest.Options{Settings: []string{"TRUSTED_PROXIES=" + tc.setting}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			for range 3 {
				r := httptest.NewRequest(http.MethodGet, "/login", nil)
				r.RemoteAddr = "127.0.0.1:1234"
				for i := 0; i+1 < len(tc.headers); i += 2 {
					r.Header.Set(tc.headers[i], tc.headers[i+1])
				}
				c.Server.Echo.ServeHTTP(httptest.NewRecorder(), r)
			}
			want := map[bool]int{true: 1}[tc.warned]
			if n := strings.Count(log.String(), "BLOCKCONSOLE_TRUSTED_PROXIES"); n != want {
				t.Errorf("%d warnings, want %d: %s", n, want, log.String())
			}
		})
	}
}

func TestPost_BrowserLeaves(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Operator)
	arrived, left, result := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	c.Server.Post(models.Operator, "/test/slow", func(c echo.Context) error {
		close(arrived)
		<-left
		result <- c.Request().Context().Err()
		return nil
	})
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.URL()+"/test/slow", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.AddCookie(b.Cookie("blockconsole"))
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
