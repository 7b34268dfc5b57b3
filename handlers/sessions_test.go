package handlers_test

import (
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
)

func loginForm(name, password string) url.Values {
	return url.Values{"username": {name}, "password": {password}}
}

func TestSessions_SignInAndOut(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.NewClient()
	page := b.Get("/login?next=/account")
	apptest.WantStatus(t, page, http.StatusOK)
	form := page.Doc(t).Find(`form[method=post][action="/login"]`)
	if form.Find("input[name=next]").AttrOr("value", "") != "/account" || form.Find("input[name=_csrf]").AttrOr("value", "") == "" {
		t.Fatalf("form is %s", page.Body)
	}
	// Without Sec-Fetch-Site and Origin, as an old client does it: by the form's token.
	values := loginForm("viewer", storetest.Password)
	values.Set("next", "/account")
	values.Set("_csrf", form.Find("input[name=_csrf]").AttrOr("value", ""))
	a := b.Send(http.MethodPost, "/login", values)
	apptest.WantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != "/account" {
		t.Errorf("Location is %s", a.Header.Get("Location"))
	}
	cookie := b.Cookie("blockconsole")
	if cookie == nil || !cookie.HttpOnly || cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("cookie is %+v", cookie)
	}
	if b.Cookie("blockconsole-login") != nil {
		t.Error("the sign-in's own cookie stays")
	}
	apptest.WantStatus(t, b.Get("/account"), http.StatusOK)
	if a := b.Get("/login?next=/help"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/help" {
		t.Errorf("sign-in page for who is signed in: %d to %s", a.StatusCode, a.Header.Get("Location"))
	}
	old := *cookie
	apptest.WantStatus(t, b.Post("/logout", nil), http.StatusSeeOther)
	if b.Cookie("blockconsole") != nil {
		t.Error("the cookie stays")
	}
	b.SetCookies(&old)
	if a := b.Get("/account"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the old cookie after signing out: %d", a.StatusCode)
	}
}

func TestSessions_CookiesUnderHTTPS(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "PUBLIC_URL=https://console.example.com")
	r := httptest.NewRequest(http.MethodPost, "https://console.example.com/login", strings.NewReader(loginForm("viewer", storetest.Password).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	c.Server.Echo.ServeHTTP(w, r)
	found := false
	for _, cookie := range w.Result().Cookies() {
		if !cookie.Secure || !strings.HasPrefix(cookie.Name, "__Host-") || cookie.Path != "/" || cookie.Domain != "" {
			t.Errorf("cookie is %+v", cookie)
		}
		found = found || cookie.Name == "__Host-blockconsole"
	}
	if !found || w.Header().Get("Strict-Transport-Security") == "" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
}

func TestSignIn_WrongLookAlike(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	wrong, unknown := c.NewClient().Post("/login", loginForm("viewer", "wrong")), c.NewClient().Post("/login", loginForm("stranger", "wrong"))
	var pages []string
	for _, a := range []apptest.Answer{wrong, unknown} {
		apptest.WantStatus(t, a, http.StatusUnauthorized)
		doc := a.Doc(t)
		if doc.Find("[role=alert]").Length() != 1 || doc.Find("input[name=password]").AttrOr("value", "") != "" {
			t.Errorf("page is %s", a.Body)
		}
		pages = append(pages, doc.Find("[role=alert]").Text())
	}
	if pages[0] != pages[1] {
		t.Errorf("a known name is told %q, an unknown one %q", pages[0], pages[1])
	}
	if got := unknown.Doc(t).Find("input[name=username]").AttrOr("value", ""); got != "stranger" {
		t.Errorf("the typed name became %q", got)
	}
	if c.NewClient().Post("/login", loginForm("viewer", "wrong"), "Accept", "application/json").StatusCode != http.StatusUnauthorized {
		t.Error("JSON")
	}
}

func TestSignIn_Throttled(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for range store.AccountAttempts {
		apptest.WantStatus(t, c.NewClient().Post("/login", loginForm("viewer", "wrong")), http.StatusUnauthorized)
	}
	for _, headers := range [][]string{nil, {"Accept", "application/json"}} {
		a := c.NewClient().Post("/login", loginForm("viewer", storetest.Password), headers...)
		apptest.WantStatus(t, a, http.StatusTooManyRequests)
		if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 59 || wait > 60 {
			t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
		}
	}
	c.Clock.Add(time.Minute)
	apptest.WantStatus(t, c.NewClient().Post("/login", loginForm("viewer", storetest.Password)), http.StatusSeeOther)
}

func TestSignIn_NoOpenRedirect(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for next, want := range map[string]string{
		"/storage/block-storage/snapshots?q=a%20b&status=ERROR": "/storage/block-storage/snapshots?q=a%20b&status=ERROR",
		"": "/", "/": "/", "//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "https://evil.example": "/",
		"javascript:alert(1)": "/", "evil.example": "/", "/%2F/evil.example": "/", "/%5Cevil.example": "/", "/ok\r\nSet-Cookie: a=b": "/", "/\t/evil.example": "/",
		"/login": "/", "/login?next=/login": "/", "/logout": "/", "/a/../..//evil": "/a/../..//evil", "/\x00": "/", "/%zz": "/",
		"/" + strings.Repeat("a", 5000): "/",
	} {
		form := loginForm("viewer", storetest.Password)
		form.Set("next", next)
		a := c.NewClient().Post("/login", form)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != want {
			t.Errorf("next %q: %d to %q, want %q", next, a.StatusCode, a.Header.Get("Location"), want)
		}
		shown := c.NewClient().Get("/login?next="+url.QueryEscape(next)).Doc(t).Find("input[name=next]").AttrOr("value", "none")
		if shown != want {
			t.Errorf("next %q is shown as %q, want %q", next, shown, want)
		}
	}
}

func TestSignIn_JSON(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.NewClient()
	a := b.Post("/login", loginForm("operator", storetest.Password), "Accept", "application/json")
	apptest.WantStatus(t, a, http.StatusOK)
	if !strings.Contains(a.Body, `"csrf":"`+c.CSRF(b)+`"`) || !strings.Contains(a.Body, `"role":"operator"`) {
		t.Errorf("answer is %s", a.Body)
	}
	apptest.WantStatus(t, b.Post("/logout", nil, "Accept", "application/json"), http.StatusNoContent)
}
