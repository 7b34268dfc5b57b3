package web_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestCSRF_Origins(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	host := strings.TrimPrefix(c.URL(), "http://")
	for name, tc := range map[string]struct {
		headers []string
		token   bool
		passes  bool
	}{
		"same-origin":                        {[]string{"Sec-Fetch-Site", "same-origin"}, false, true},
		"same-origin beats a foreign Origin": {[]string{"Sec-Fetch-Site", "same-origin", "Origin", "http://evil.example"}, false, true},
		"cross-site":                         {[]string{"Sec-Fetch-Site", "cross-site"}, false, false},
		"cross-site with the token":          {[]string{"Sec-Fetch-Site", "cross-site"}, true, false},
		"same-site, such as another port":    {[]string{"Sec-Fetch-Site", "same-site"}, false, false},
		"same-site with the token":           {[]string{"Sec-Fetch-Site", "same-site"}, true, false},
		"same-site with our Origin":          {[]string{"Sec-Fetch-Site", "same-site", "Origin", c.URL()}, false, false},
		"none":                               {[]string{"Sec-Fetch-Site", "none"}, false, false},
		"none with the token":                {[]string{"Sec-Fetch-Site", "none"}, true, true},
		"unknown word":                       {[]string{"Sec-Fetch-Site", "friendly"}, true, false},
		"two words":                          {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, true, false},
		"our Origin":                         {[]string{"Origin", c.URL()}, false, true},
		"our Origin in capitals":             {[]string{"Origin", strings.ToUpper(c.URL())}, false, true},
		"foreign Origin":                     {[]string{"Origin", "http://evil.example"}, false, false},
		"foreign Origin with the token":      {[]string{"Origin", "http://evil.example"}, true, false},
		"Origin of another port":             {[]string{"Origin", "http://127.0.0.1:1"}, false, false},
		"Origin with our host inside":        {[]string{"Origin", "http://" + host + ".evil.example"}, false, false},
		"Origin of a file":                   {[]string{"Origin", "file://" + host}, false, false},
		"opaque Origin":                      {[]string{"Origin", "null"}, false, false},
		"opaque Origin with the token":       {[]string{"Origin", "null"}, true, true},
		"nothing":                            {nil, false, false},
		"the token alone":                    {nil, true, true},
	} {
		for _, login := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", at the sign-in"}[login], func(t *testing.T) {
				b, path, token := c.NewClient(), "/login", ""
				form := url.Values{"username": {"viewer"}, "password": {storetest.Password}}
				if login {
					doc := b.Get("/login").Doc(t)
					token = doc.Find(`form[action="/login"] input[name=_csrf]`).AttrOr("value", "")
				} else {
					b = c.As(models.Viewer)
					path, token = "/test/write", c.CSRF(b)
				}
				if tc.token {
					form.Set("_csrf", token)
				}
				a := b.Send(http.MethodPost, path, form, tc.headers...)
				if refused := a.StatusCode == http.StatusForbidden; refused == tc.passes || (tc.passes && a.StatusCode >= 400) {
					t.Errorf("status %d, should pass %v", a.StatusCode, tc.passes)
				}
			})
		}
	}
}

func TestCSRF_Tokens(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Viewer)
	other := c.As(models.Operator)
	apptest.WantStatus(t, b.Send(http.MethodPost, "/test/write", nil, "X-CSRF-Token", c.CSRF(b)), http.StatusNoContent)
	for name, token := range map[string]string{"another session's": c.CSRF(other), "cut": c.CSRF(b)[1:], "empty": "", "longer": c.CSRF(b) + "A"} {
		a := b.Send(http.MethodPost, "/test/write", url.Values{"_csrf": {token}})
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s token: %d", name, a.StatusCode)
		}
	}
	a := b.Send(http.MethodPost, "/test/write?_csrf="+c.CSRF(b), nil)
	if a.StatusCode != http.StatusForbidden {
		t.Errorf("a token in the address, where logs and links keep it: %d", a.StatusCode)
	}
}

func TestCSRF_PublicURL(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "PUBLIC_URL=https://console.example.com")
	form := url.Values{"username": {"viewer"}, "password": {"wrong"}}
	for origin, want := range map[string]int{
		"https://console.example.com": http.StatusUnauthorized, "http://console.example.com": http.StatusForbidden,
		"https://evil.example.com": http.StatusForbidden, c.URL(): http.StatusForbidden,
	} {
		if a := c.NewClient().Send(http.MethodPost, "/login", form, "Origin", origin); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", origin, a.StatusCode, want)
		}
	}
}

func TestCSRF_SignedOut(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	a := c.NewClient().Post("/test/write", nil, "Referer", c.URL()+"/storage/block-storage/snapshots?q=a")
	apptest.WantStatus(t, a, http.StatusUnauthorized)
	form := a.Doc(t).Find(`form[action="/login"]`)
	if got := form.Find("[name=next]").AttrOr("value", ""); got != "/storage/block-storage/snapshots?q=a" {
		t.Errorf("it leads back to %s", got)
	}
	if form.Find("[name=_csrf]").AttrOr("value", "") == "" {
		t.Error("an old browser cannot sign in: the form has no token")
	}
}
