// Package openstack keeps volumes in a cloud: Cinder has the volumes and
// snapshots, Nova the servers that they are attached to, Keystone says who we are.
//
// Every object that the console makes has its Ref in its metadata (blockconsole_ref),
// so a create whose answer was lost is found again. The package retries only after an
// expired token; [backend.Policy] retries the rest.
package openstack

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
)

// Options configure a Backend. The zero value is usable.
type Options struct {
	Log *slog.Logger     // nil: no log
	Now func() time.Time // nil: the wall clock
	// AllProjects lists the objects of every project; it needs an administrator's credentials.
	AllProjects bool
	// Getenv reads the environment; nil: os.Getenv.
	Getenv func(string) string
	// OnRequest gets the method of every request to the cloud and the status of its answer, 0 without one; for
	// metrics. May be nil.
	OnRequest func(method string, status int)
}

// Backend is one project of a cloud, or all of them.
type Backend struct {
	settings
	log         *slog.Logger
	now         func() time.Time
	allProjects bool
	onRequest   func(method string, status int)
	http        http.Client

	signInLock chan struct{} // of capacity one: held while signing in
	mu         sync.Mutex
	current    *session
	stale      bool           // current should be replaced
	checkedAt  time.Time      // when current was opened, or last could not be replaced
	signInErr  *backend.Error // of the last sign-in,
	retryAt    time.Time      // and when the next one is allowed

	creating     keyedMutex // by Ref
	lastRequests requestLog
	lastChoices  atomic.Pointer[choices]
	clockSkew    atomic.Int64 // of the cloud's clock ahead of ours, a time.Duration
}

// Open reads the settings of the cloud. Its errors name the wrong setting; a cloud that
// is down is none, because the first call signs in.
func Open(_ context.Context, o Options) (*Backend, error) {
	b := &Backend{log: o.Log, now: o.Now, allProjects: o.AllProjects, onRequest: o.OnRequest, signInLock: make(chan struct{}, 1)}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.onRequest == nil {
		b.onRequest = func(string, int) {}
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	var err error
	if b.settings, err = readSettings(o.Getenv); err != nil {
		return nil, err
	}
	b.http = http.Client{Timeout: 2 * time.Minute, Transport: &transport{b: b, base: newTransport(b.tls, b.now)}, CheckRedirect: redirect}
	return b, nil
}

func newTransport(secure *tls.Config, now func() time.Time) *http.Transport {
	if secure = secure.Clone(); secure == nil {
		secure = &tls.Config{}
	}
	secure.Time = now
	dialer := net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSClientConfig: secure,
		TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: time.Minute, ExpectContinueTimeout: time.Second,
		MaxIdleConns: 32, MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second,
	}
}

// redirect follows redirects of reads to the same host and not out of TLS: the token
// must not leak, and a write would arrive as a GET.
func redirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	reads := first.Method == http.MethodGet || first.Method == http.MethodHead
	if !reads || next.URL.Hostname() != first.URL.Hostname() || first.URL.Scheme == "https" && next.URL.Scheme != "https" || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close closes idle connections.
func (b *Backend) Close() error {
	b.http.CloseIdleConnections()
	return nil
}

// Host is the address of the identity service, as host:port. With the project of
// [backend.Capabilities] it identifies the cloud.
func (b *Backend) Host() string {
	u, err := url.Parse(b.auth.IdentityEndpoint)
	if err != nil {
		return b.auth.IdentityEndpoint
	}
	return u.Host
}
