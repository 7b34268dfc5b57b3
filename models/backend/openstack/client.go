// Package openstack keeps volumes in a cloud: Cinder has the volumes and
// snapshots, Nova the servers that they are attached to, Keystone says who we are.
//
// Every object that the console makes carries its reference in its metadata
// (blockconsole_ref), so a create whose answer was lost is found again. The package
// repeats no call by itself, but for a token that has expired; the interceptors of
// the port do.
package openstack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"blockconsole/models/backend"
)

// Options are what a Backend needs. The zero value is good.
type Options struct {
	Log *slog.Logger
	Now func() time.Time
	// AllProjects lists the objects of every project; it takes an administrator's credential.
	AllProjects bool
	// Getenv gives the environment; nil: the process's own.
	Getenv func(string) string
	// Asked is told of every request to the cloud and the status of its answer, 0 without one; for metrics. May be nil.
	Asked func(method string, status int)
}

// Backend is one project of a cloud, or all of them. It implements
// [backend.Backend].
type Backend struct {
	settings
	log         *slog.Logger
	now         func() time.Time
	allProjects bool
	asked       func(method string, status int)
	http        http.Client

	opening chan struct{} // held by who opens a session
	mu      sync.Mutex
	current *session
	old     bool           // current is in doubt
	trusted time.Time      // when current was opened, or could not be replaced
	refused *backend.Error // why the last session could not be opened,
	until   time.Time      // and when it is worth trying again

	making keyed
	recent requests
	chosen atomic.Pointer[choices] // as they were told last
	skew   atomic.Int64            // how far the cloud's clock is ahead of ours, as a time.Duration
}

// session is what was learned by signing in. It never changes: a new one replaces
// it.
type session struct {
	volume, identity *gophercloud.ServiceClient
	compute, image   *gophercloud.ServiceClient // nil where the cloud has none
	minor            int                        // the microversion 3.minor of volume
	project          backend.Project

	agreed atomic.Pointer[gophercloud.ServiceClient] // compute at its microversion, once that is known
}

// The newest microversions that this package knows. From 3.66 on a snapshot of an
// attached volume needs no force; from 2.60 on Nova attaches multi-attach volumes.
const (
	volumeMinor  = 66
	computeMinor = 60
)

// How long nothing is tried after a sign-in failed: a refused credential that is
// sent again and again gets its account locked.
const (
	afterRefusal = 30 * time.Second
	afterFailure = 2 * time.Second
)

// oldCatalog is how long addresses are believed that do not answer.
const oldCatalog = 5 * time.Minute

// Open reads the settings of the cloud. It fails only when they are wrong, not when
// the cloud is down: the first call signs in.
func Open(_ context.Context, o Options) (*Backend, error) {
	b := &Backend{log: o.Log, now: o.Now, allProjects: o.AllProjects, asked: o.Asked, opening: make(chan struct{}, 1)}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	}
	if b.asked == nil {
		b.asked = func(string, int) {}
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

// redirect follows to where the token may go: to the same host, and not out of TLS.
// Only reads are: others would arrive as a GET.
func redirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	reads := first.Method == http.MethodGet || first.Method == http.MethodHead
	if !reads || next.URL.Hostname() != first.URL.Hostname() || first.URL.Scheme == "https" && next.URL.Scheme != "https" || len(via) > 3 {
		return http.ErrUseLastResponse
	}
	return nil
}

// Close lets go of the connections.
func (b *Backend) Close() error {
	b.http.CloseIdleConnections()
	return nil
}

// Host is where the cloud's identity service is, as host:port. With the project of
// [backend.Capabilities] it says which cloud this is.
func (b *Backend) Host() string {
	u, err := url.Parse(b.auth.IdentityEndpoint)
	if err != nil {
		return b.auth.IdentityEndpoint
	}
	return u.Host
}

// session is the present one. It signs in when there is none.
func (b *Backend) session(ctx context.Context) (*session, error) {
	if s, err := b.known(); s != nil || err != nil {
		return s, err
	}
	select {
	case b.opening <- struct{}{}:
		defer func() { <-b.opening }()
	case <-ctx.Done():
		return nil, ended(ctx)
	}
	if s, err := b.known(); s != nil || err != nil {
		return s, err
	}
	s, err := b.signIn(ctx)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.current, b.refused, b.old, b.trusted = s, nil, false, b.now()
		return s, nil
	}
	err = b.explain(ctx, err)
	unavailable := backend.AsError(err, backend.CodeUnavailable)
	if unavailable == nil || unavailable.Cause == "" {
		if s := b.keep(); s != nil {
			return s, nil
		}
	}
	if ctx.Err() == nil && unavailable != nil {
		b.refuse(unavailable)
	}
	return nil, err
}

func (b *Backend) known() (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := b.until.Sub(b.now()); b.refused != nil && wait > 0 {
		return nil, &backend.Error{Code: backend.CodeUnavailable, RetryAfter: wait, Cause: b.refused.Cause, Err: b.refused.Err}
	}
	if b.old {
		return nil, nil
	}
	return b.current, nil
}

// keep goes on with a session that was in doubt and cannot be replaced now: its token
// may outlive Keystone's absence.
func (b *Backend) keep() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.old, b.trusted = false, b.now()
	}
	return b.current
}

// refuse ends the session and lets nobody try to sign in for a while.
func (b *Backend) refuse(why *backend.Error) {
	pause := max(afterFailure, why.RetryAfter)
	if why.Cause == backend.Credentials || why.Cause == backend.Token {
		pause = afterRefusal
		b.log.Error("the cloud refuses the console", "refused", why.Cause, "cloud", b.Host(), "error", why.Err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current, b.old, b.refused, b.until = nil, false, why, b.now().Add(pause)
}

// doubt lets the next call open another session, because the addresses or versions of
// this one may no longer be right. While a cloud is down that is done once in a while
// only.
func (b *Backend) doubt(age time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.old = b.old || b.current != nil && b.now().Sub(b.trusted) >= age
}

func (b *Backend) signIn(ctx context.Context) (*session, error) {
	provider, err := openstack.NewClient(b.auth.IdentityEndpoint)
	if err != nil {
		return nil, err
	}
	provider.HTTPClient = b.http
	provider.UserAgent.Prepend("blockconsole")
	provider.UseTokenLock()
	auth := b.auth
	if err := openstack.AuthenticateV3(ctx, provider, &auth, gophercloud.EndpointOpts{}); err != nil {
		return nil, signInError{err}
	}
	result, ok := provider.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return nil, fmt.Errorf("an unexpected answer to the sign-in: %T", provider.GetAuthResult())
	}
	catalog, err := result.ExtractServiceCatalog()
	if err != nil {
		return nil, err
	}
	project, err := result.ExtractProject()
	if err != nil {
		return nil, err
	}
	if project == nil || project.ID == "" {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials, Err: errors.New("the credentials belong to no project")}
	}
	b.issued(result)
	s := &session{project: backend.Project{ID: project.ID, Name: project.Name}}
	return s, b.discover(ctx, s, provider, catalog)
}

// signInError is an error of Keystone's answer to our credentials.
type signInError struct{ error }

func (e signInError) Unwrap() error { return e.error }

// issued compares the clocks: Keystone says when it issued a token.
func (b *Backend) issued(result tokens.CreateResult) {
	var t struct {
		IssuedAt time.Time `json:"issued_at"`
	}
	if result.ExtractInto(&t) == nil && !t.IssuedAt.IsZero() {
		b.clock(t.IssuedAt)
	}
}

// clock notes what time it is for the cloud.
func (b *Backend) clock(theirs time.Time) { b.skew.Store(int64(theirs.Sub(b.now()))) }

// theirs is when the cloud's clock says what ours calls t.
func (b *Backend) theirs(t time.Time) time.Time { return t.Add(time.Duration(b.skew.Load())).UTC() }

// ours is the reverse.
func (b *Backend) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-time.Duration(b.skew.Load()))
}
