package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web/config"
)

const testPassword = "correct horse"

// console is the whole HTTP side over a real database, without a backend.
type console struct {
	*httptest.Server
	t     *testing.T
	web   *Server
	store *store.Store
	clock *storetest.Clock

	registry *prometheus.Registry
}

// newConsole starts one; settings are NAME=value, without the prefix. It has a
// user per role, named like the role, beside admin.
func newConsole(t *testing.T, settings ...string) *console {
	t.Helper()
	var environ []string
	for _, s := range settings {
		environ = append(environ, config.EnvPrefix+s)
	}
	config, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	c := &console{t: t, clock: storetest.NewClock(), registry: prometheus.NewRegistry()}
	c.store = storetest.Open(t, c.clock.Now)
	if config.AllProjects {
		c.store = storetest.AllProjects(t, c.store, c.clock.Now)
	}
	if _, err := c.store.Users.EnsureFirstUser(t.Context(), testPassword); err != nil {
		t.Fatal(err)
	}
	for _, role := range models.Roles {
		if _, err := c.store.Users.AddUser(t.Context(), storetest.Administrator(), string(role), role, testPassword); err != nil {
			t.Fatal(err)
		}
	}
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	c.web = New(Options{Config: config, Store: c.store, Now: c.clock.Now, Log: log, Registry: c.registry})
	addTestRoutes(c.web)
	c.Server = httptest.NewServer(c.web.Echo)
	t.Cleanup(c.Close)
	return c
}

var errSecret = errors.New("secret: /root/.ssh and SELECT * FROM users")

// addTestRoutes adds routes that fail in every way.
func addTestRoutes(s *Server) {
	for path, err := range map[string]error{
		"/test/internal": errSecret, "/test/conflict": models.Refused(&models.Denial{Text: models.NewText("deny.error_deleting")}),
		"/test/invalid": models.Invalid("name", models.NewText("name.invalid")), "/test/notfound": models.ErrNotFound,
		"/test/echo": echo.NewHTTPError(http.StatusTeapot, "secret"),
	} {
		s.get(models.Viewer, path, func(echo.Context) error { return err })
		s.post(models.Viewer, path, func(echo.Context) error { return err })
	}
	s.get(anonymous, "/test/panic", func(echo.Context) error { panic(errSecret) })
	s.post(models.Viewer, "/test/write", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
}

// browser is a client with cookies that follows no redirects.
type browser struct {
	*http.Client
	c       *console
	cookies map[string]*http.Cookie
}

func (c *console) browser() *browser {
	return &browser{c: c, cookies: map[string]*http.Cookie{}, Client: &http.Client{
		Transport:     http.DefaultTransport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	*http.Response
	body string
}

func (a answer) doc(t *testing.T) *goquery.Document {
	t.Helper()
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// send sends a request with a form and headers in pairs, and reads the answer. Of
// a live stream it reads the headers alone.
func (b *browser) send(method, path string, form url.Values, headers ...string) answer {
	b.c.t.Helper()
	ctx, cancel := context.WithCancel(b.c.t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, b.c.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.c.t.Fatal(err)
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Add(headers[i], headers[i+1])
	}
	for _, cookie := range b.cookies {
		r.AddCookie(cookie)
	}
	resp, err := b.Do(r)
	if err != nil {
		b.c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body []byte
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), string(handlers.Events)) {
		if body, err = io.ReadAll(resp.Body); err != nil {
			b.c.t.Fatal(err)
		}
	}
	for _, cookie := range resp.Cookies() {
		b.cookies[cookie.Name] = cookie
		if cookie.MaxAge < 0 {
			delete(b.cookies, cookie.Name)
		}
	}
	return answer{resp, string(body)}
}

func (b *browser) get(path string, headers ...string) answer {
	b.c.t.Helper()
	return b.send(http.MethodGet, path, nil, headers...)
}

// post posts as a browser does from a page of this site.
func (b *browser) post(path string, form url.Values, headers ...string) answer {
	b.c.t.Helper()
	return b.send(http.MethodPost, path, form, append([]string{"Sec-Fetch-Site", "same-origin"}, headers...)...)
}

// as is a browser that is signed in as the user of that role; nobody for the
// empty role.
func (c *console) as(role models.Role) *browser {
	c.t.Helper()
	b := c.browser()
	if role == anonymous {
		return b
	}
	a := b.post("/login", url.Values{"username": {string(role)}, "password": {testPassword}})
	if a.StatusCode != http.StatusSeeOther {
		c.t.Fatalf("sign-in as %s: %d", role, a.StatusCode)
	}
	return b
}

func (b *browser) token() string {
	b.c.t.Helper()
	in, err := b.c.store.Sessions.Session(b.c.t.Context(), b.cookies[handlers.SessionCookie(b.c.web.site.Secure)].Value)
	if err != nil {
		b.c.t.Fatal(err)
	}
	return in.CSRF
}

func wantStatus(t *testing.T, a answer, want int) {
	t.Helper()
	if a.StatusCode != want {
		t.Fatalf("%s %s: status %d, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, want)
	}
}

func TestEveryRouteKeepsItsRole(t *testing.T) {
	c := newConsole(t)
	roles := []models.Role{anonymous, models.Viewer, models.Operator, models.Administrator}
	browsers := map[models.Role]*browser{}
	for _, role := range roles {
		browsers[role] = c.as(role)
	}
	if len(c.web.access) < 10 {
		t.Fatalf("%d routes", len(c.web.access))
	}
	for _, rule := range c.web.access {
		if rule.path == "/logout" { // would sign the walkers out
			continue
		}
		for _, role := range roles {
			t.Run(rule.method+" "+rule.path+" as "+string(role), func(t *testing.T) {
				path := strings.NewReplacer(":id", models.NewID(), ":session", models.NewID(), "*", "nothing.css").Replace(rule.path)
				// HEAD and an empty form: what is asked here is who may, not what happens.
				a := browsers[role].send(walkMethod(rule), path, nil, "Sec-Fetch-Site", "same-origin", "Accept", "application/json")
				allowed := rule.role == anonymous || role.Allows(rule.role)
				refusal := http.StatusForbidden
				if role == anonymous {
					refusal = http.StatusUnauthorized
				}
				if refused := a.StatusCode == refusal; refused == allowed && !strings.HasPrefix(rule.path, "/login") {
					t.Errorf("status %d, allowed %v", a.StatusCode, allowed)
				}
				if a.StatusCode >= http.StatusInternalServerError && !strings.HasPrefix(rule.path, "/test/") {
					t.Errorf("status %d", a.StatusCode)
				}
			})
		}
	}
}

func walkMethod(rule accessRule) string {
	if rule.method == http.MethodGet && !strings.HasSuffix(rule.path, "/events") {
		return http.MethodHead
	}
	return rule.method
}

func TestEveryRouteIsInTheList(t *testing.T) {
	c := newConsole(t)
	listed := map[string]bool{}
	for _, rule := range c.web.access {
		listed[rule.method+" "+rule.path] = true
	}
	for _, route := range c.web.Echo.Routes() {
		if route.Method == http.MethodHead || route.Method == echo.RouteNotFound {
			continue
		}
		if !listed[route.Method+" "+route.Path] {
			t.Errorf("%s %s is served without a role", route.Method, route.Path)
		}
	}
	// Only these need nobody: everything else is behind the sign-in.
	open := []string{"/healthz", "/readyz", "/static/*", "/favicon.ico", "/robots.txt", "/login", "/logout", "/test/panic"}
	for _, rule := range c.web.access {
		if rule.role == anonymous && !slices.Contains(open, rule.path) {
			t.Errorf("%s %s is open to everybody", rule.method, rule.path)
		}
		if strings.HasPrefix(rule.path, "/admin/") && rule.role != models.Administrator {
			t.Errorf("%s %s needs only %s", rule.method, rule.path, rule.role)
		}
		if rule.method == http.MethodPost && rule.role == models.Viewer &&
			!strings.HasPrefix(rule.path, "/account") && !strings.HasPrefix(rule.path, "/test/") {
			t.Errorf("a viewer may write at %s", rule.path)
		}
	}
}
