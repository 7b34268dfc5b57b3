// Package apptest runs the whole console for tests: in the process of the test, with
// a storage and a clock that the test moves ([Console]), or as a process of its own
// that the test stops and kills ([Program]). Both are asked by a [Client].
package apptest

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web"
	"blockconsole/web/app"
	"blockconsole/web/config"
)

// Console is app.Main over a database of its own, with the first user and one more
// for each role, named like the role.
type Console struct {
	*app.Main
	*Client                   // of the operator
	Clock   *storetest.Clock  // of the database, the storage and the pages
	Fake    *backendtest.Fake // the storage; nil when it is another one

	t testing.TB
}

// Options of Open; the zero value is a console of New.
type Options struct {
	Settings  []string         // NAME=value, without BLOCKCONSOLE_; the last of equal names counts
	Backend   backend.Backend  // nil: a Fake with the servers web-1 and db-1 and the image debian.raw
	Local     bool             // BLOCKCONSOLE_BACKEND decides, instead of Backend
	WallClock bool             // instead of Clock
	Now       func() time.Time // instead of both; may be nil
	Log       *slog.Logger     // nil: to the output of the test
}

// New is a console that answers requests and knows its storage. Nothing else moves
// until the test says so by Work.
func New(t testing.TB, settings ...string) *Console {
	t.Helper()
	c := Open(t, Options{Settings: settings})
	c.Listen()
	c.Refresh()
	return c
}

// Open opens a console and lets nothing run: Listen or Serve comes next.
func Open(t testing.TB, o Options) *Console {
	t.Helper()
	c := &Console{t: t, Clock: storetest.NewClock(), Main: &app.Main{Log: o.Log, Backend: o.Backend}}
	c.Now = c.Clock.Now
	if o.WallClock {
		c.Now = time.Now
	}
	if o.Now != nil {
		c.Now = o.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	for _, setting := range slices.Concat([]string{"DATA=" + t.TempDir(), "ADDR=127.0.0.1:0", "NBD_ADDR="}, o.Settings) {
		c.Environ = append(c.Environ, config.EnvPrefix+setting)
	}
	settings, err := config.Load(c.Environ)
	if err != nil {
		t.Fatal(err)
	}
	if o.Backend == nil && !o.Local {
		c.Fake = backendtest.NewFake(c.Now)
		c.Fake.AddServer("server-1", "web-1")
		c.Fake.AddServer("server-2", "db-1")
		c.Fake.AddImage("debian.raw", make([]byte, 1<<20))
		c.Backend = c.Fake
	}
	// What asks the storage for everything asks when the test says so.
	c.ResyncInterval = time.Hour
	c.Store = storetest.OpenWithUsers(t, store.Options{Now: c.Now, AllProjects: settings.AllProjects})
	if err := c.Main.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Main.Close(); err != nil {
			t.Error(err)
		}
	})
	c.Client = c.As(models.Operator)
	return c
}

// URL is where the tests find the console, whatever PUBLIC_URL says.
func (c *Console) URL() string { return "http://" + c.Listener.Addr().String() }

// Listen answers requests until the test ends.
func (c *Console) Listen() {
	server := &httptest.Server{Listener: c.Listener, Config: &http.Server{Handler: c.Server.Echo}}
	server.Start()
	c.t.Cleanup(server.Close)
}

// Serve runs all of the console, as the program does, until the test ends.
func (c *Console) Serve() {
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- c.Main.Serve(ctx) }()
	c.t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			c.t.Errorf("the console ended with %v", err)
		}
	})
}

// RunLive feeds the live pages until the test ends, and lets them look around every
// few milliseconds.
func (c *Console) RunLive() {
	const often = 20 * time.Millisecond
	live := c.Server.Live
	live.PingInterval, live.BeatInterval, live.FreshInterval = often, often, often
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { c.Server.Live.Run(ctx); close(ended) }()
	c.t.Cleanup(func() { stop(); <-ended })
}

// Refresh asks the storage what it can do, and for its servers.
func (c *Console) Refresh() {
	c.t.Helper()
	if err := c.Mirror.Start(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// Resync reads everything that the storage has.
func (c *Console) Resync() {
	c.t.Helper()
	if err := c.Mirror.Resync(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// Work carries out what was asked, until nothing is under way.
func (c *Console) Work() {
	c.t.Helper()
	for range 100 {
		c.WorkOnce()
		n, err := c.Store.Queue.CountRunning(c.t.Context(), models.DefaultProject)
		if err != nil {
			c.t.Fatal(err)
		}
		if n == 0 {
			return
		}
		c.Clock.Add(time.Second)
	}
	c.t.Fatal("the operations do not end")
}

// WorkOnce lets the worker take the next step of what is due.
func (c *Console) WorkOnce() {
	c.t.Helper()
	if _, err := c.Worker.RunDue(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
}

// NewClient is a browser of nobody, which knows the console by PUBLIC_URL where that is
// set.
func (c *Console) NewClient() *Client {
	b := newClient(c.t, c.URL)
	if public := c.Config.PublicURL; public != nil {
		b.Host = public.Host
	}
	return b
}

// As is a browser of the user of that role, with a session of its own; of nobody for
// the empty role.
func (c *Console) As(role models.Role) *Client {
	c.t.Helper()
	if role == "" {
		return c.NewClient()
	}
	return c.AsUser(string(role))
}

// AsUser is a browser of the user of that name.
func (c *Console) AsUser(name string) *Client {
	c.t.Helper()
	b := c.NewClient()
	b.SetCookies(&http.Cookie{Name: handlers.SessionCookie(c.Config.Secure()), Value: c.NewSession(name)})
	return b
}

// NewSession signs a user in, and returns what the cookie holds.
func (c *Console) NewSession(user string) (token string) {
	c.t.Helper()
	token, _, err := c.Store.Sessions.SignIn(c.t.Context(), models.Login{Name: user, Password: storetest.Password, Address: "127.0.0.1"})
	if err != nil {
		c.t.Fatal(err)
	}
	return token
}

// FromList are the headers of a request by htmx from a list.
func (c *Console) FromList(list string) []string {
	return append(slices.Clone(HTMX), "HX-Current-URL", c.URL()+list)
}

// OnSameDatabase is a browser of the operator at another console on the database,
// which has nothing in memory yet.
func (c *Console) OnSameDatabase() *Client {
	server := httptest.NewServer(web.New(web.Options{Config: c.Config, Store: c.Store, Now: c.Now, Log: c.Log}).Echo)
	c.t.Cleanup(server.Close)
	other := newClient(c.t, func() string { return server.URL })
	other.SetCookies(c.Client.Cookies()...)
	return other
}

// CSRF is what the forms of a browser's session carry.
func (c *Console) CSRF(b *Client) string {
	c.t.Helper()
	in, err := c.Store.Sessions.Session(c.t.Context(), b.Session())
	if err != nil {
		c.t.Fatal(err)
	}
	return in.CSRF
}

// Unchanged returns a function that fails the test when a row or an operation has
// been written since.
func (c *Console) Unchanged() func(testing.TB) {
	c.t.Helper()
	last := func() int64 {
		n, err := c.Store.LastChange(c.t.Context())
		if err != nil {
			c.t.Fatal(err)
		}
		return n
	}
	before := last()
	return func(t testing.TB) {
		t.Helper()
		if now := last(); now != before {
			t.Errorf("%d changes were written", now-before)
		}
	}
}
