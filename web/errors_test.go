package web_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

func TestErrors_ByFormat(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	for _, tc := range []struct {
		path   string
		status int
		code   string
	}{
		{"/test/internal", http.StatusInternalServerError, "internal"},
		{"/test/panic", http.StatusInternalServerError, "internal"},
		{"/test/conflict", http.StatusConflict, "conflict"},
		{"/test/invalid", http.StatusUnprocessableEntity, "invalid"},
		{"/test/notfound", http.StatusNotFound, "not_found"},
		{"/test/echo", http.StatusTeapot, "bad_request"},
		{"/no/such/page", http.StatusNotFound, "not_found"},
		{"/static/app.000000000000.css", http.StatusNotFound, "not_found"},
		{"/test/write", http.StatusMethodNotAllowed, "method_not_allowed"},
	} {
		t.Run(tc.path, func(t *testing.T) {
			page := b.Get(tc.path)
			apptest.WantStatus(t, page, tc.status)
			doc := page.Doc(t)
			if doc.Find("html[lang=ko] main").Length() != 1 || !strings.Contains(doc.Find("main").Text(), page.Header.Get("X-Request-Id")) {
				t.Errorf("the page does not carry the request id:\n%s", page.Body)
			}
			fragment := b.Get(tc.path, "HX-Request", "true")
			apptest.WantStatus(t, fragment, tc.status)
			if fragment.Doc(t).Find("main, title").Length() != 0 {
				t.Error("the fragment is a page")
			}
			coded := b.Get(tc.path, "Accept", "application/json")
			if problem := apptest.WantProblem(t, coded, tc.status); problem.Code != tc.code {
				t.Errorf("JSON is %+v, want code %s", problem, tc.code)
			}
			for _, a := range []apptest.Answer{page, fragment, coded} {
				if strings.Contains(a.Body, "secret") || strings.Contains(a.Body, "goroutine") || strings.Contains(a.Body, "⟦") {
					t.Errorf("the answer shows internals or a missing text:\n%s", a.Body)
				}
			}
		})
	}
}

func TestErrors_Language(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	korean, english := b.Get("/test/notfound").Doc(t), b.Get("/test/notfound", "Accept-Language", "en").Doc(t)
	if k, e := korean.Find("main").Text(), english.Find("main").Text(); k == e || english.Find("html[lang=en]").Length() != 1 {
		t.Errorf("Korean %q, English %q", k, e)
	}
	a := b.Get("/test/invalid", "Accept", "application/json", "Accept-Language", "en")
	if name := apptest.WantProblem(t, a, http.StatusUnprocessableEntity).Fields["name"]; name == "" || name == "name.invalid" {
		t.Errorf("the name's message is %q", name)
	}
}

func TestErrors_SignedOut(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.NewClient()
	const list = "/storage/block-storage/snapshots?q=a&status=ERROR"
	page := b.Get(list)
	apptest.WantStatus(t, page, http.StatusSeeOther)
	login := page.Header.Get("Location")
	if login != "/login?next="+url.QueryEscape(list) {
		t.Fatalf("Location is %s", login)
	}
	htmx := b.Get("/storage/block-storage/snapshots/new", "HX-Request", "true", "HX-Current-URL", c.URL()+list)
	apptest.WantStatus(t, htmx, http.StatusUnauthorized)
	if got := htmx.Header.Get("HX-Trigger"); !strings.Contains(got, strconv.Quote(login)) || htmx.Header.Get("HX-Redirect") != "" {
		t.Errorf("headers are %v, want the event with %s", htmx.Header, login)
	}
	for _, accept := range []string{"application/json", "text/event-stream", "text/csv"} {
		a := b.Get(list, "Accept", accept)
		apptest.WantStatus(t, a, http.StatusUnauthorized)
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %s", accept, a.Header.Get("Content-Type"))
		}
	}
	back := b.Post("/login", url.Values{"username": {"viewer"}, "password": {storetest.Password}, "next": {list}})
	apptest.WantStatus(t, back, http.StatusSeeOther)
	if got := back.Header.Get("Location"); got != list {
		t.Errorf("after the sign-in: %s, want %s", got, list)
	}
}
