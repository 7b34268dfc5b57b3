package apptest

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/handlers"
	"blockconsole/models"
)

// Client talks to a console as a browser without scripts does: it keeps cookies and
// follows no redirects. It is safe for concurrent use.
type Client struct {
	Header http.Header // of every request
	Host   string      // of every request; empty: where it is sent

	t    testing.TB
	url  func() string // of the console, which may be another after a restart
	http *http.Client
	jar  *jar
}

// jar has the cookies of a client by name.
type jar struct {
	mu      sync.Mutex
	cookies map[string]*http.Cookie
}

func newClient(t testing.TB, url func() string) *Client {
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	stay := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{Header: http.Header{}, t: t, url: url, jar: &jar{cookies: map[string]*http.Cookie{}},
		http: &http.Client{Transport: transport, CheckRedirect: stay}}
}

// For is the same client for a subtest, which then is the one that fails.
func (c *Client) For(t testing.TB) *Client {
	return &Client{Header: c.Header, Host: c.Host, t: t, url: c.url, http: c.http, jar: c.jar}
}

// JSON is a client with the same cookies that asks as programs do, in English.
func (c *Client) JSON() *Client {
	j := c.For(c.t)
	j.Header = c.Header.Clone()
	j.Header.Set("Accept", "application/json")
	j.Header.Set("Accept-Language", "en")
	return j
}

// Answer is a response whose body has been read.
type Answer struct {
	*http.Response
	Body string
	doc  func() (*goquery.Document, error)
}

func newAnswer(resp *http.Response, body string) Answer {
	parse := func() (*goquery.Document, error) { return goquery.NewDocumentFromReader(strings.NewReader(body)) }
	return Answer{resp, body, sync.OnceValues(parse)}
}

// Doc is the page or fragment. It is for reading alone: all who ask get the same.
func (a Answer) Doc(t testing.TB) *goquery.Document {
	t.Helper()
	doc, err := a.doc()
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// NewRequest is a request with the client's cookies and headers, and more headers in
// pairs; the form is the body of a POST.
func (c *Client) NewRequest(ctx context.Context, method, path string, form url.Values, headers ...string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url()+path, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	r.Header, r.Host = c.Header.Clone(), cmp.Or(c.Host, r.Host)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		switch name, value := headers[i], headers[i+1]; {
		case name == "Host":
			r.Host = value
		case c.Header.Get(name) != "":
			r.Header.Set(name, value)
		default:
			r.Header.Add(name, value)
		}
	}
	for _, cookie := range c.Cookies() {
		r.AddCookie(cookie)
	}
	return r, nil
}

// Do sends a request as it is and leaves the body to the caller.
func (c *Client) Do(r *http.Request) (*http.Response, error) { return c.http.Do(r) }

// Try is Send for a console that may be killed meanwhile: after an error nobody
// knows whether the request was carried out.
func (c *Client) Try(method, path string, form url.Values, headers ...string) (Answer, error) {
	ctx, cancel := context.WithCancel(c.t.Context())
	defer cancel()
	r, err := c.NewRequest(ctx, method, path, form, headers...)
	if err != nil {
		return Answer{}, err
	}
	resp, err := c.Do(r)
	if err != nil {
		return Answer{}, err
	}
	defer resp.Body.Close()
	var body []byte
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), string(handlers.Events)) {
		if body, err = io.ReadAll(resp.Body); err != nil {
			return Answer{}, err
		}
	}
	c.SetCookies(resp.Cookies()...)
	return newAnswer(resp, string(body)), nil
}

// Cookies are all that the client keeps.
func (c *Client) Cookies() []*http.Cookie {
	c.jar.mu.Lock()
	defer c.jar.mu.Unlock()
	return slices.Collect(maps.Values(c.jar.cookies))
}

// Cookie is the cookie of a name; nil: there is none.
func (c *Client) Cookie(name string) *http.Cookie {
	c.jar.mu.Lock()
	defer c.jar.mu.Unlock()
	return c.jar.cookies[name]
}

// SetCookies keeps cookies, and drops those that are to go.
func (c *Client) SetCookies(cookies ...*http.Cookie) {
	c.jar.mu.Lock()
	defer c.jar.mu.Unlock()
	for _, cookie := range cookies {
		c.jar.cookies[cookie.Name] = cookie
		if cookie.MaxAge < 0 {
			delete(c.jar.cookies, cookie.Name)
		}
	}
}

// Send sends a request with a form and headers in pairs, and reads the answer. Of a
// live stream it reads the headers alone.
func (c *Client) Send(method, path string, form url.Values, headers ...string) Answer {
	c.t.Helper()
	a, err := c.Try(method, path, form, headers...)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// Get sends a GET.
func (c *Client) Get(path string, headers ...string) Answer {
	c.t.Helper()
	return c.Send(http.MethodGet, path, nil, headers...)
}

// Post sends a form as a browser does from a page of this site.
func (c *Client) Post(path string, form url.Values, headers ...string) Answer {
	c.t.Helper()
	return c.Send(http.MethodPost, path, form, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// SignIn signs in by the form, and keeps the session's cookie.
func (c *Client) SignIn(user, password string) {
	c.t.Helper()
	a := c.Post("/login", Form("username", user, "password", password), "Accept", "text/html")
	if a.StatusCode != http.StatusSeeOther {
		c.t.Fatalf("sign-in as %s: %s", user, a.Status)
	}
}

// Session is the token of the session; empty without one.
func (c *Client) Session() string {
	for _, secure := range []bool{false, true} {
		if cookie := c.Cookie(handlers.SessionCookie(secure)); cookie != nil {
			return cookie.Value
		}
	}
	return ""
}

// Headers, in pairs, of requests by htmx and by programs.
var (
	HTMX   = []string{"HX-Request", "true"}
	AsJSON = []string{"Accept", "application/json"}
)

// Form is a form of pairs of names and values.
func Form(pairs ...string) url.Values {
	values := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		values.Add(pairs[i], pairs[i+1])
	}
	return values
}

// FormWithKey is Form with a form_key: sent twice, it happens once.
func FormWithKey(pairs ...string) url.Values {
	return Form(append([]string{"form_key", models.NewID()}, pairs...)...)
}
