package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
)

func TestRequestsOfOtherSitesAreRefused(t *testing.T) {
	c := newConsole(t)
	host := strings.TrimPrefix(c.URL, "http://")
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
		"same-site with our Origin":          {[]string{"Sec-Fetch-Site", "same-site", "Origin", c.URL}, false, false},
		"none":                               {[]string{"Sec-Fetch-Site", "none"}, false, false},
		"none with the token":                {[]string{"Sec-Fetch-Site", "none"}, true, true},
		"unknown word":                       {[]string{"Sec-Fetch-Site", "friendly"}, true, false},
		"two words":                          {[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, true, false},
		"our Origin":                         {[]string{"Origin", c.URL}, false, true},
		"our Origin in capitals":             {[]string{"Origin", strings.ToUpper(c.URL)}, false, true},
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
				b, path, token := c.browser(), "/login", ""
				form := url.Values{"username": {"viewer"}, "password": {testPassword}}
				if login {
					doc := b.get("/login").doc(t)
					token = doc.Find(`form[action="/login"] input[name=_csrf]`).AttrOr("value", "")
				} else {
					b = c.as(models.Viewer)
					path, token = "/test/write", b.token()
				}
				if tc.token {
					form.Set("_csrf", token)
				}
				a := b.send(http.MethodPost, path, form, tc.headers...)
				if refused := a.StatusCode == http.StatusForbidden; refused == tc.passes || (tc.passes && a.StatusCode >= 400) {
					t.Errorf("status %d, should pass %v", a.StatusCode, tc.passes)
				}
			})
		}
	}
}

func TestTokenInTheHeaderAndWrongTokens(t *testing.T) {
	c := newConsole(t)
	b := c.as(models.Viewer)
	other := c.as(models.Operator)
	wantStatus(t, b.send(http.MethodPost, "/test/write", nil, "X-CSRF-Token", b.token()), http.StatusNoContent)
	for name, token := range map[string]string{"another session's": other.token(), "cut": b.token()[1:], "empty": "", "longer": b.token() + "A"} {
		a := b.send(http.MethodPost, "/test/write", url.Values{"_csrf": {token}})
		if a.StatusCode != http.StatusForbidden {
			t.Errorf("%s token: %d", name, a.StatusCode)
		}
	}
	a := b.send(http.MethodPost, "/test/write?_csrf="+b.token(), nil)
	if a.StatusCode != http.StatusForbidden {
		t.Errorf("a token in the address, where logs and links keep it: %d", a.StatusCode)
	}
}

func TestPublicURLIsOurOrigin(t *testing.T) {
	c := newConsole(t, "PUBLIC_URL=https://console.example.com")
	form := url.Values{"username": {"viewer"}, "password": {"wrong"}}
	for origin, want := range map[string]int{
		"https://console.example.com": http.StatusUnauthorized, "http://console.example.com": http.StatusForbidden,
		"https://evil.example.com": http.StatusForbidden, c.URL: http.StatusForbidden,
	} {
		if a := c.browser().send(http.MethodPost, "/login", form, "Origin", origin); a.StatusCode != want {
			t.Errorf("%s: %d, want %d", origin, a.StatusCode, want)
		}
	}
}

func TestSignedOutWritesAreSentToTheSignIn(t *testing.T) {
	c := newConsole(t)
	a := c.browser().post("/test/write", nil, "Referer", c.URL+"/storage/block-storage/snapshots?q=a")
	wantStatus(t, a, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != "/login?next=%2Fstorage%2Fblock-storage%2Fsnapshots%3Fq%3Da" {
		t.Errorf("Location is %s", got)
	}
}
