package web_test

import (
	"blockconsole/static"
	"blockconsole/web/app/apptest"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestStatic(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.NewClient()
	url := static.URL("app.css")
	a := b.Get(url)
	apptest.WantStatus(t, a, http.StatusOK)
	if a.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/css") {
		t.Errorf("headers are %v", a.Header)
	}
	apptest.WantStatus(t, b.Get(url, "If-None-Match", a.Header.Get("Etag")), http.StatusNotModified)
	packed := b.Get(url, "Accept-Encoding", "gzip")
	if packed.Header.Get("Content-Encoding") != "gzip" || len(packed.Body) >= len(a.Body) {
		t.Errorf("packed: %d of %d bytes, headers %v", len(packed.Body), len(a.Body), packed.Header)
	}
	hash := regexp.MustCompile(`\.[0-9a-f]{12}\.`)
	for _, wrong := range []string{hash.ReplaceAllString(url, ".000000000000."), hash.ReplaceAllString(url, "."), "/static/", "/static/../main.go", "/static/%2e%2e/main.go"} {
		apptest.WantStatus(t, b.Get(wrong), http.StatusNotFound)
	}
	icon := b.Get("/favicon.ico")
	apptest.WantStatus(t, icon, http.StatusOK)
	if strings.Contains(icon.Header.Get("Cache-Control"), "immutable") || len(b.Cookies()) != 0 {
		t.Errorf("headers are %v, cookies %v", icon.Header, b.Cookies())
	}
}
