package store_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func (p *accounts) failSignIn(t *testing.T, name, address string) error {
	t.Helper()
	_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: name, Password: "wrong", Address: address})
	if err == nil {
		t.Fatal("a wrong password signed in")
	}
	return err
}

func wantWait(t *testing.T, err error, want time.Duration) {
	t.Helper()
	var throttled *models.ThrottledError
	if !errors.As(err, &throttled) || throttled.RetryAfter != want {
		t.Fatalf("error is %v, want to wait %v", err, want)
	}
	wantCode(t, err, models.CodeThrottled)
}

func TestThrottle_Account(t *testing.T) {
	t.Parallel()
	for _, name := range []string{models.FirstUser, "nobody of that name"} {
		t.Run(name, func(t *testing.T) {
			p := newAccounts(t, func(now func() time.Time) *store.Store { return storetest.OpenWithFirstUser(t, now) })
			for range store.AccountAttempts {
				wantCode(t, p.failSignIn(t, name, "198.51.100.1"), models.CodeUnauthorized)
			}
			wantWait(t, p.failSignIn(t, name, "198.51.100.2"), time.Minute)
			p.advance(59 * time.Second)
			wantWait(t, p.failSignIn(t, name, "198.51.100.3"), time.Second)
			p.advance(time.Second)
			wantCode(t, p.failSignIn(t, name, "198.51.100.1"), models.CodeUnauthorized)
			wantWait(t, p.failSignIn(t, name, "198.51.100.1"), 2*time.Minute)
			p.advance(16 * time.Minute)
			wantCode(t, p.failSignIn(t, name, "198.51.100.1"), models.CodeUnauthorized)
			wantCode(t, p.failSignIn(t, name, "198.51.100.1"), models.CodeUnauthorized)
		})
	}
}

func TestThrottle_RightPassword(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		for range store.AccountAttempts {
			wantCode(t, p.failSignIn(t, models.FirstUser, ""), models.CodeUnauthorized)
		}
		_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword})
		wantWait(t, err, time.Minute)
		p.advance(time.Minute)
		p.signIn(t, models.FirstUser)
		for range store.AccountAttempts {
			wantCode(t, p.failSignIn(t, models.FirstUser, ""), models.CodeUnauthorized)
		}
	})
}

func TestThrottle_Address(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		for i := range store.AddressAttempts {
			wantCode(t, p.failSignIn(t, "user"+models.NewID()[30:]+string(rune('a'+i%26)), "2001:db8::"+string(rune('1'+i%9))), models.CodeUnauthorized)
		}
		wantWait(t, p.failSignIn(t, "yet another", "2001:db8::ffff"), time.Minute)
		wantCode(t, p.failSignIn(t, "yet another", "2001:db8:0:1::1"), models.CodeUnauthorized)
		_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword, Address: "::ffff:192.0.2.44"})
		if err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

func TestThrottle_Concurrent(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		var looked atomic.Int32
		var wg sync.WaitGroup
		for range 3 * store.AccountAttempts {
			wg.Go(func() {
				_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: "wrong", Address: "192.0.2.5"})
				if e := models.AsError(err); e != nil && e.Code == models.CodeUnauthorized {
					looked.Add(1)
				}
			})
		}
		wg.Wait()
		if n := looked.Load(); n != store.AccountAttempts {
			t.Errorf("%d passwords were looked at, want %d", n, store.AccountAttempts)
		}
	})
}
