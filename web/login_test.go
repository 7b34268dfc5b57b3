package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
)

func loginForm(name, password string) url.Values {
	return url.Values{"username": {name}, "password": {password}}
}

func TestSignInAndOut(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	page := b.get("/login?next=/account")
	wantStatus(t, page, http.StatusOK)
	form := page.doc(t).Find(`form[method=post][action="/login"]`)
	if form.Find("input[name=next]").AttrOr("value", "") != "/account" || form.Find("input[name=_csrf]").AttrOr("value", "") == "" {
		t.Fatalf("form is %s", page.body)
	}
	// Without Sec-Fetch-Site and Origin, as an old client does it: by the form's token.
	values := loginForm("viewer", testPassword)
	values.Set("next", "/account")
	values.Set("_csrf", form.Find("input[name=_csrf]").AttrOr("value", ""))
	a := b.send(http.MethodPost, "/login", values)
	wantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != "/account" {
		t.Errorf("Location is %s", a.Header.Get("Location"))
	}
	cookie := b.cookies["blockconsole"]
	if cookie == nil || !cookie.HttpOnly || cookie.Secure || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("cookie is %+v", cookie)
	}
	if b.cookies["blockconsole-login"] != nil {
		t.Error("the sign-in's own cookie stays")
	}
	wantStatus(t, b.get("/account"), http.StatusOK)
	if a := b.get("/login?next=/help"); a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/help" {
		t.Errorf("sign-in page for who is signed in: %d to %s", a.StatusCode, a.Header.Get("Location"))
	}
	old := *cookie
	wantStatus(t, b.post("/logout", nil), http.StatusSeeOther)
	if b.cookies["blockconsole"] != nil {
		t.Error("the cookie stays")
	}
	b.cookies["blockconsole"] = &old
	if a := b.get("/account"); a.StatusCode != http.StatusSeeOther {
		t.Errorf("the old cookie after signing out: %d", a.StatusCode)
	}
}

func TestHomeIsTheVolumeList(t *testing.T) {
	c := newConsole(t)
	a := c.as(models.Viewer).get("/")
	wantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != "/storage/block-storage/volumes" {
		t.Errorf("Location is %s", a.Header.Get("Location"))
	}
}

func TestCookiesUnderHTTPS(t *testing.T) {
	c := newConsole(t, "PUBLIC_URL=https://console.example.com")
	r := httptest.NewRequest(http.MethodPost, "/login", strings.NewReader(loginForm("viewer", testPassword).Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	c.web.Echo.ServeHTTP(w, r)
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

func TestWrongSignInsLookAlike(t *testing.T) {
	c := newConsole(t)
	wrong, unknown := c.browser().post("/login", loginForm("viewer", "wrong")), c.browser().post("/login", loginForm("stranger", "wrong"))
	var pages []string
	for _, a := range []answer{wrong, unknown} {
		wantStatus(t, a, http.StatusUnauthorized)
		doc := a.doc(t)
		if doc.Find("[role=alert]").Length() != 1 || doc.Find("input[name=password]").AttrOr("value", "") != "" {
			t.Errorf("page is %s", a.body)
		}
		pages = append(pages, doc.Find("[role=alert]").Text())
	}
	if pages[0] != pages[1] {
		t.Errorf("a known name is told %q, an unknown one %q", pages[0], pages[1])
	}
	if got := unknown.doc(t).Find("input[name=username]").AttrOr("value", ""); got != "stranger" {
		t.Errorf("the typed name became %q", got)
	}
	if c.browser().post("/login", loginForm("viewer", "wrong"), "Accept", "application/json").StatusCode != http.StatusUnauthorized {
		t.Error("JSON")
	}
}

func TestThrottledSignIn(t *testing.T) {
	c := newConsole(t)
	for range store.AccountAttempts {
		wantStatus(t, c.browser().post("/login", loginForm("viewer", "wrong")), http.StatusUnauthorized)
	}
	for _, headers := range [][]string{nil, {"Accept", "application/json"}} {
		a := c.browser().post("/login", loginForm("viewer", testPassword), headers...)
		wantStatus(t, a, http.StatusTooManyRequests)
		if wait, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || wait < 59 || wait > 60 {
			t.Errorf("Retry-After is %q", a.Header.Get("Retry-After"))
		}
	}
	c.clock.Add(time.Minute)
	wantStatus(t, c.browser().post("/login", loginForm("viewer", testPassword)), http.StatusSeeOther)
}

func TestNoOpenRedirect(t *testing.T) {
	c := newConsole(t)
	for next, want := range map[string]string{
		"/storage/block-storage/snapshots?q=a%20b&status=ERROR": "/storage/block-storage/snapshots?q=a%20b&status=ERROR",
		"": "/", "/": "/", "//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "https://evil.example": "/",
		"javascript:alert(1)": "/", "evil.example": "/", "/%2F/evil.example": "/", "/%5Cevil.example": "/", "/ok\r\nSet-Cookie: a=b": "/", "/\t/evil.example": "/",
		"/login": "/", "/login?next=/login": "/", "/logout": "/", "/a/../..//evil": "/a/../..//evil", "/\x00": "/", "/%zz": "/",
		"/" + strings.Repeat("a", 5000): "/",
	} {
		form := loginForm("viewer", testPassword)
		form.Set("next", next)
		a := c.browser().post("/login", form)
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != want {
			t.Errorf("next %q: %d to %q, want %q", next, a.StatusCode, a.Header.Get("Location"), want)
		}
		shown := c.browser().get("/login?next="+url.QueryEscape(next)).doc(t).Find("input[name=next]").AttrOr("value", "none")
		if shown != want {
			t.Errorf("next %q is shown as %q, want %q", next, shown, want)
		}
	}
}

func TestSignInForPrograms(t *testing.T) {
	c := newConsole(t)
	b := c.browser()
	a := b.post("/login", loginForm("operator", testPassword), "Accept", "application/json")
	wantStatus(t, a, http.StatusOK)
	if !strings.Contains(a.body, `"csrf":"`+b.token()+`"`) || !strings.Contains(a.body, `"role":"operator"`) {
		t.Errorf("answer is %s", a.body)
	}
	wantStatus(t, b.post("/logout", nil, "Accept", "application/json"), http.StatusNoContent)
}

func TestOwnPage(t *testing.T) {
	c := newConsole(t)
	other, b := c.as(models.Viewer), c.as(models.Viewer)
	doc := b.get("/account").doc(t)
	if n := doc.Find(`form[action^="/account/sessions/"][action$="/end"]`).Length(); n != 1 {
		t.Fatalf("%d sessions can be ended, want the other one", n)
	}
	for name, tc := range map[string]struct {
		form  url.Values
		field string
	}{
		"wrong":  {url.Values{"current": {"nope"}, "password": {"a new password"}, "again": {"a new password"}}, "current"},
		"differ": {url.Values{"current": {testPassword}, "password": {"a new password"}, "again": {"another one"}}, "again"},
		"short":  {url.Values{"current": {testPassword}, "password": {"short"}, "again": {"short"}}, "password"},
	} {
		a := b.post("/account", tc.form)
		wantStatus(t, a, http.StatusUnprocessableEntity)
		if got := a.doc(t).Find("[aria-invalid=true]").AttrOr("name", "none"); got != tc.field {
			t.Errorf("%s: the message stands at %s, want %s", name, got, tc.field)
		}
	}
	end := doc.Find(`form[action^="/account/sessions/"][action$="/end"]`).AttrOr("action", "")
	wantStatus(t, c.as(models.Operator).post(end, nil, "Accept", "application/json"), http.StatusNotFound)
	a := b.post("/account", url.Values{"current": {testPassword}, "password": {"a new password"}, "again": {"a new password"}})
	wantStatus(t, a, http.StatusSeeOther)
	if n := b.get("/account").doc(t).Find("#messages .alert").Length(); n != 1 {
		t.Errorf("%d messages after the change, want 1", n)
	}
	if n := b.get("/account").doc(t).Find("#messages .alert").Length(); n != 0 {
		t.Error("the message comes again")
	}
	wantStatus(t, other.get("/account"), http.StatusSeeOther)
	wantStatus(t, b.get("/account"), http.StatusOK)
}

func TestAdministratorManagesUsers(t *testing.T) {
	c := newConsole(t)
	admin, kim := c.as(models.Administrator), c.browser()
	a := admin.post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {"short"}})
	wantStatus(t, a, http.StatusUnprocessableEntity)
	doc := a.doc(t)
	if doc.Find("[aria-invalid=true]").AttrOr("name", "") != "password" || doc.Find("input[name=name]").AttrOr("value", "") != "kim" {
		t.Errorf("form is %s", a.body)
	}
	wantStatus(t, admin.post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {testPassword}}), http.StatusSeeOther)
	wantStatus(t, admin.post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {testPassword}}), http.StatusUnprocessableEntity)
	path := ""
	for _, href := range admin.get("/admin/users").doc(t).Find(`td.c-name a`).EachIter() {
		if href.Text() == "kim" {
			path = href.AttrOr("href", "")
		}
	}
	wantStatus(t, kim.post("/login", loginForm("kim", testPassword)), http.StatusSeeOther)
	wantStatus(t, admin.post(path, url.Values{"role": {"administrator"}}), http.StatusSeeOther)
	wantStatus(t, kim.get("/admin/users"), http.StatusOK)
	wantStatus(t, admin.post(path, url.Values{"role": {"king"}}), http.StatusUnprocessableEntity)

	reset := admin.post(path+"/password", nil)
	wantStatus(t, reset, http.StatusOK)
	password := reset.doc(t).Find("[data-password]").Text()
	wantStatus(t, kim.get("/account"), http.StatusSeeOther)
	if strings.Contains(admin.get(path).body, password) || strings.Contains(admin.get("/admin/audit").body, password) {
		t.Error("the new password is shown again")
	}
	wantStatus(t, kim.post("/login", loginForm("kim", password)), http.StatusSeeOther)
	wantStatus(t, admin.post(path, url.Values{"disabled": {"1"}}), http.StatusSeeOther)
	wantStatus(t, kim.get("/account"), http.StatusSeeOther)
	wantStatus(t, admin.post(path, url.Values{"disabled": {"2"}}, "Accept", "application/json"), http.StatusUnprocessableEntity)
	wantStatus(t, admin.post(path+"/delete", nil), http.StatusSeeOther)
	wantStatus(t, admin.get(path), http.StatusNotFound)

	rows := admin.get("/admin/audit").doc(t).Find("table.audit tbody tr")
	if rows.Length() < 10 || strings.Contains(rows.Text(), "⟦") {
		t.Errorf("audit is %s", rows.Text())
	}
}

func TestLastAdministratorIsToldWhy(t *testing.T) {
	c := newConsole(t)
	users, err := c.store.Users.ListUsers(t.Context(), models.Actor{Project: models.DefaultProject})
	if err != nil {
		t.Fatal(err)
	}
	admin := c.as(models.Administrator)
	for _, u := range users {
		if u.Name == models.FirstUser {
			wantStatus(t, admin.post("/admin/users/"+u.ID+"/delete", nil), http.StatusSeeOther)
		}
	}
	for _, u := range users {
		if u.Name == string(models.Administrator) {
			a := admin.post("/admin/users/"+u.ID, url.Values{"role": {"viewer"}})
			wantStatus(t, a, http.StatusConflict)
			if a.doc(t).Find("[role=alert]").Length() != 1 {
				t.Errorf("page is %s", a.body)
			}
		}
	}
}
