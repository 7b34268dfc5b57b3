package web

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
)

func TestErrorsByFormat(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
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
			page := b.get(tc.path)
			wantStatus(t, page, tc.status)
			doc := page.doc(t)
			if doc.Find("html[lang=ko] main").Length() != 1 || !strings.Contains(doc.Find("main").Text(), page.Header.Get("X-Request-Id")) {
				t.Errorf("the page does not carry the request id:\n%s", page.body)
			}
			fragment := b.get(tc.path, "HX-Request", "true")
			wantStatus(t, fragment, tc.status)
			if fragment.doc(t).Find("main, title").Length() != 0 {
				t.Error("the fragment is a page")
			}
			coded := b.get(tc.path, "Accept", "application/json")
			wantStatus(t, coded, tc.status)
			var body errorJSON
			if err := json.Unmarshal([]byte(coded.body), &body); err != nil {
				t.Fatal(err)
			}
			if body.Error.Code != tc.code || body.Error.Message == "" || body.Error.Fields == nil || body.Error.RequestID != coded.Header.Get("X-Request-Id") {
				t.Errorf("JSON is %+v, want code %s", body, tc.code)
			}
			for _, a := range []answer{page, fragment, coded} {
				if strings.Contains(a.body, "secret") || strings.Contains(a.body, "goroutine") || strings.Contains(a.body, "⟦") {
					t.Errorf("the answer shows internals or a missing text:\n%s", a.body)
				}
			}
		})
	}
}

func TestErrorsSpeakTheVisitorsLanguage(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	korean, english := b.get("/test/notfound").doc(t), b.get("/test/notfound", "Accept-Language", "en").doc(t)
	if k, e := korean.Find("main").Text(), english.Find("main").Text(); k == e || english.Find("html[lang=en]").Length() != 1 {
		t.Errorf("Korean %q, English %q", k, e)
	}
	var body errorJSON
	if err := json.Unmarshal([]byte(b.get("/test/invalid", "Accept", "application/json", "Accept-Language", "en").body), &body); err != nil {
		t.Fatal(err)
	}
	if body.Error.Fields["name"] == "" || body.Error.Fields["name"] == "name.invalid" {
		t.Errorf("fields are %v", body.Error.Fields)
	}
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range []models.Code{models.CodeNotFound, models.CodeInvalid, models.CodeConflict, models.CodeStale,
		models.CodeForbidden, models.CodeUnauthorized, models.CodeThrottled, models.CodeUnsupported} {
		if statusOf[code] < 400 || statusOf[code] > 499 {
			t.Errorf("%s has status %d", code, statusOf[code])
		}
	}
	if f := errorAnswerOf(&models.Error{Code: "new", Text: models.NewText("secret")}); f.status != http.StatusInternalServerError || f.text.Key == "secret" {
		t.Errorf("a code that the table does not have became %+v", f)
	}
}

func TestWhoIsNotSignedIn(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	const list = "/storage/block-storage/snapshots?q=a&status=ERROR"
	page := b.get(list)
	wantStatus(t, page, http.StatusSeeOther)
	login := page.Header.Get("Location")
	if login != "/login?next="+url.QueryEscape(list) {
		t.Fatalf("Location is %s", login)
	}
	htmx := b.get("/storage/block-storage/snapshots/new", "HX-Request", "true", "HX-Current-URL", c.URL+list)
	wantStatus(t, htmx, http.StatusUnauthorized)
	if got := htmx.Header.Get("HX-Redirect"); got != login {
		t.Errorf("HX-Redirect is %s, want %s", got, login)
	}
	for _, accept := range []string{"application/json", "text/event-stream", "text/csv"} {
		a := b.get(list, "Accept", accept)
		wantStatus(t, a, http.StatusUnauthorized)
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %s", accept, a.Header.Get("Content-Type"))
		}
	}
	back := b.post("/login", url.Values{"username": {"viewer"}, "password": {testPassword}, "next": {list}})
	wantStatus(t, back, http.StatusSeeOther)
	if got := back.Header.Get("Location"); got != list {
		t.Errorf("after the sign-in: %s, want %s", got, list)
	}
}

func TestBodyLimit(t *testing.T) {
	c := newConsole(t)
	a := c.as(models.Viewer).post("/test/write", url.Values{"x": {strings.Repeat("x", 2<<20)}}, "Accept", "application/json")
	wantStatus(t, a, http.StatusRequestEntityTooLarge)
}
