package store_test

import (
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// accounts is a store with an administrator, and a clock that tests advance.
type accounts struct {
	*store.Store
	mu    sync.Mutex
	at    time.Time
	admin models.Actor
}

func (p *accounts) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *accounts) advance(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = p.at.Add(d)
}

const adminPassword = storetest.Password

// eachAccounts runs the test on SQLite, and on PostgreSQL where a server is configured.
func eachAccounts(t *testing.T, test func(t *testing.T, p *accounts)) {
	t.Helper()
	storetest.EachWithFirstUser(t, func(t *testing.T, open func(now func() time.Time) *store.Store) {
		test(t, newAccounts(t, open))
	})
}

func newAccounts(t *testing.T, open func(now func() time.Time) *store.Store) *accounts {
	t.Helper()
	p := &accounts{at: time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)}
	p.Store = open(p.now)
	_, in, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword, Address: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	p.admin = in.Actor("192.0.2.1", "test")
	return p
}

func (p *accounts) add(t *testing.T, name string, role models.Role) *models.User {
	t.Helper()
	u, err := p.Users.AddUser(t.Context(), p.admin, name, role, "password of "+name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (p *accounts) signIn(t *testing.T, name string) (string, *models.SignedIn) {
	t.Helper()
	password := "password of " + name
	if name == models.FirstUser {
		password = adminPassword
	}
	token, in, err := p.Sessions.SignIn(t.Context(), models.Login{Name: name, Password: password, Address: "192.0.2.7", Browser: "a browser"})
	if err != nil {
		t.Fatal(err)
	}
	return token, in
}

func wantCode(t *testing.T, err error, code models.Code) {
	t.Helper()
	if e := models.AsError(err); e == nil || e.Code != code {
		t.Fatalf("error is %v, want code %s", err, code)
	}
}
