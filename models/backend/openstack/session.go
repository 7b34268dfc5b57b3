package openstack

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"blockconsole/models/backend"
)

// session is the result of signing in. It is replaced, never changed.
type session struct {
	volume, identity *gophercloud.ServiceClient
	compute, image   *gophercloud.ServiceClient // nil where the cloud has none
	minor            int                        // the microversion 3.minor of volume
	project          backend.Project

	computeClient atomic.Pointer[gophercloud.ServiceClient] // compute with its microversion; nil until negotiated
}

// The newest microversions in use: 3.66 snapshots attached volumes without force, 2.60
// attaches multi-attach volumes.
const (
	volumeMinor  = 66
	computeMinor = 60
)

// The wait before the next sign-in: repeating refused credentials locks the account.
const (
	refusedWait = 30 * time.Second // after refused credentials or tokens
	failedWait  = 2 * time.Second
)

// catalogMaxAge is the age of a session whose addresses are looked up again when they
// do not answer.
const catalogMaxAge = 5 * time.Minute

// session returns the current session, or signs in.
func (b *Backend) session(ctx context.Context) (*session, error) {
	if s, err := b.cachedSession(); s != nil || err != nil {
		return s, err
	}
	select {
	case b.signInLock <- struct{}{}:
		defer func() { <-b.signInLock }()
	case <-ctx.Done():
		return nil, contextError(ctx)
	}
	if s, err := b.cachedSession(); s != nil || err != nil {
		return s, err
	}
	s, err := b.signIn(ctx)
	if err == nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.current, b.signInErr, b.stale, b.checkedAt = s, nil, false, b.now()
		return s, nil
	}
	err = b.translate(ctx, err)
	unavailable := backend.AsError(err, backend.CodeUnavailable)
	if unavailable == nil || unavailable.Cause == "" {
		if s := b.keepSession(); s != nil {
			return s, nil
		}
	}
	if ctx.Err() == nil && unavailable != nil {
		b.blockSignIn(unavailable)
	}
	return nil, err
}

// cachedSession is nil without an error when it is time to sign in.
func (b *Backend) cachedSession() (*session, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if wait := b.retryAt.Sub(b.now()); b.signInErr != nil && wait > 0 {
		return nil, &backend.Error{Code: backend.CodeUnavailable, RetryAfter: wait, Cause: b.signInErr.Cause, Err: b.signInErr.Err}
	}
	if b.stale {
		return nil, nil
	}
	return b.current, nil
}

// keepSession keeps a stale session that cannot be replaced now: its token may be valid
// while Keystone is down.
func (b *Backend) keepSession() *session {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current != nil {
		b.stale, b.checkedAt = false, b.now()
	}
	return b.current
}

// blockSignIn ends the session and delays the next sign-in.
func (b *Backend) blockSignIn(why *backend.Error) {
	pause := max(failedWait, why.RetryAfter)
	if why.Cause == backend.Credentials || why.Cause == backend.Token {
		pause = refusedWait
		b.log.Error("the cloud refuses the console", "refused", why.Cause, "cloud", b.Host(), "error", why.Err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.current, b.stale, b.signInErr, b.retryAt = nil, false, why, b.now().Add(pause)
}

// markStale makes the next call sign in, because addresses or microversions may have
// changed, if the session is at least minAge old.
func (b *Backend) markStale(minAge time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stale = b.stale || b.current != nil && b.now().Sub(b.checkedAt) >= minAge
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
	b.readIssuedAt(result)
	s := &session{project: backend.Project{ID: project.ID, Name: project.Name}}
	return s, b.discover(ctx, s, provider, catalog)
}

// signInError is an error of Keystone's answer to the credentials.
type signInError struct{ error }

func (e signInError) Unwrap() error { return e.error }
