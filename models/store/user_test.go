package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// people is a store with an administrator and a clock that tests move.
type people struct {
	*store.Store
	mu    sync.Mutex
	at    time.Time
	admin models.Actor
}

func (p *people) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

func (p *people) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = p.at.Add(d)
}

const adminPassword = "correct horse"

// eachPeople runs the test on SQLite, and on PostgreSQL where a server is named.
func eachPeople(t *testing.T, test func(t *testing.T, p *people)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { test(t, newPeople(t, storetest.Open)) })
	t.Run("postgres", func(t *testing.T) { test(t, newPeople(t, storetest.OpenPostgres)) })
}

func newPeople(t *testing.T, open func(testing.TB, func() time.Time) *store.Store) *people {
	t.Helper()
	p := &people{at: time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)}
	db := open(t, p.now)
	p.Store = db
	made, err := db.Users.EnsureFirstUser(t.Context(), adminPassword)
	if err != nil || !made {
		t.Fatalf("first user: made %v, error %v", made, err)
	}
	_, in, err := db.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword, Address: "192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	p.admin = in.Actor("192.0.2.1", "test")
	return p
}

func (p *people) add(t *testing.T, name string, role models.Role) *models.User {
	t.Helper()
	u, err := p.Users.AddUser(t.Context(), p.admin, name, role, "password of "+name)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func (p *people) signIn(t *testing.T, name string) (string, *models.SignedIn) {
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

func TestFirstUserIsMadeOnce(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		made, err := p.Users.EnsureFirstUser(t.Context(), "another password")
		if err != nil || made {
			t.Fatalf("second start: made %v, error %v", made, err)
		}
		p.signIn(t, models.FirstUser)
	})
}

func TestUserNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"kim": true, "김철수": true, "a b": true, "x": true, strings.Repeat("가", 64): true,
		"": false, strings.Repeat("가", 65): false, " kim": false, "kim ": false, "a\nb": false, "a\x00b": false,
		"zero\u200bwidth": false, "\xff": false, "right\u202eleft": false,
	} {
		if got := models.ValidateUserName(name) == nil; got != ok {
			t.Errorf("%q accepted: %v, want %v", name, got, ok)
		}
	}
}

func TestAddUserSaysWhatIsWrong(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		p.add(t, "kim", models.Operator)
		for name, tc := range map[string]struct {
			user, password string
			role           models.Role
			field          string
		}{
			"taken name":     {"kim", "a good password", models.Viewer, "name"},
			"no name":        {"", "a good password", models.Viewer, "name"},
			"short password": {"lee", "short", models.Viewer, "password"},
			"long password":  {"lee", strings.Repeat("x", 257), models.Viewer, "password"},
			"own name":       {"longenough", "LongEnough", models.Viewer, "password"},
			"unknown role":   {"lee", "a good password", "root", "role"},
		} {
			t.Run(name, func(t *testing.T) {
				_, err := p.Users.AddUser(t.Context(), p.admin, tc.user, tc.role, tc.password)
				wantCode(t, err, models.CodeInvalid)
				if fields := models.AsError(err).Fields; len(fields) != 1 || fields[tc.field].Key == "" {
					t.Errorf("fields are %v, want %s", fields, tc.field)
				}
			})
		}
		users, err := p.Users.ListUsers(t.Context(), p.admin)
		if err != nil || len(users) != 2 {
			t.Errorf("%d users, error %v; want 2: nothing may change", len(users), err)
		}
	})
}

func TestLastAdministratorStays(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		p.add(t, "kim", models.Operator)
		id := p.admin.UserID
		for name, change := range map[string]func() error{
			"delete":  func() error { return p.Users.DeleteUser(t.Context(), p.admin, id) },
			"disable": func() error { return p.Users.SetDisabled(t.Context(), p.admin, id, true) },
			"demote":  func() error { return p.Users.SetRole(t.Context(), p.admin, id, models.Viewer) },
		} {
			if err := change(); !errors.Is(err, models.ErrLastAdministrator) {
				t.Errorf("%s the last administrator: %v", name, err)
			}
		}
		second := p.add(t, "second", models.Administrator)
		if err := p.Users.SetDisabled(t.Context(), p.admin, second.ID, true); err != nil {
			t.Fatal(err)
		}
		if err := p.Users.DeleteUser(t.Context(), p.admin, id); !errors.Is(err, models.ErrLastAdministrator) {
			t.Errorf("a disabled administrator counted as one: %v", err)
		}
		if err := p.Users.SetDisabled(t.Context(), p.admin, second.ID, false); err != nil {
			t.Fatal(err)
		}
		if err := p.Users.DeleteUser(t.Context(), p.admin, id); err != nil {
			t.Errorf("with another administrator: %v", err)
		}
	})
}

func TestAdministratorsWhoDemoteEachOther(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		ids := []string{p.admin.UserID, p.add(t, "b", models.Administrator).ID, p.add(t, "c", models.Administrator).ID}
		var wg sync.WaitGroup
		results := make([]error, len(ids))
		for i, id := range ids {
			wg.Go(func() { results[i] = p.Users.SetRole(t.Context(), p.admin, id, models.Viewer) })
		}
		wg.Wait()
		users, err := p.Users.ListUsers(t.Context(), p.admin)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, u := range users {
			if u.Role == models.Administrator {
				left++
			}
		}
		if left != 1 {
			t.Errorf("%d administrators left, want 1; answers %v", left, results)
		}
	})
}

func TestUsersOfAnotherProjectAreUnknown(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		kim := p.add(t, "kim", models.Viewer)
		foreign := p.admin
		foreign.Project = "other"
		for name, err := range map[string]error{
			"role":    p.Users.SetRole(t.Context(), foreign, kim.ID, models.Operator),
			"disable": p.Users.SetDisabled(t.Context(), foreign, kim.ID, true),
			"delete":  p.Users.DeleteUser(t.Context(), foreign, kim.ID),
		} {
			if !errors.Is(err, models.ErrNotFound) {
				t.Errorf("%s: %v, want not found", name, err)
			}
		}
	})
}

func TestPasswordChangeEndsOtherSessions(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		p.add(t, "kim", models.Operator)
		other, _ := p.signIn(t, "kim")
		mine, in := p.signIn(t, "kim")
		actor := in.Actor("192.0.2.7", "")

		err := p.Users.ChangePassword(t.Context(), actor, "not it", "the new password", in.ID)
		wantCode(t, err, models.CodeInvalid)
		if err := p.Users.ChangePassword(t.Context(), actor, "password of kim", "the new password", in.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Sessions.Session(t.Context(), mine); err != nil {
			t.Errorf("own session: %v", err)
		}
		if _, err := p.Sessions.Session(t.Context(), other); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("other session: %v, want signed out", err)
		}
		if _, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: "kim", Password: "the new password"}); err != nil {
			t.Errorf("sign-in with the new password: %v", err)
		}
		_, _, err = p.Sessions.SignIn(t.Context(), models.Login{Name: "kim", Password: "password of kim"})
		wantCode(t, err, models.CodeUnauthorized)
	})
}

func TestSetPasswordByName(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		token, _ := p.signIn(t, models.FirstUser)
		for range store.AccountAttempts {
			_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: "wrong"})
			wantCode(t, err, models.CodeUnauthorized)
		}
		if err := p.Users.SetPasswordByName(t.Context(), models.FirstUser, "from the terminal"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Sessions.Session(t.Context(), token); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("session after the reset: %v", err)
		}
		if _, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: "from the terminal", Address: "192.0.2.9"}); err != nil {
			t.Errorf("sign-in after the reset, though the account was closed: %v", err)
		}
		for _, name := range []string{"", "\x00", "\xff", strings.Repeat("x", 10000)} {
			_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: name, Password: "wrong", Address: "192.0.2.8"})
			wantCode(t, err, models.CodeUnauthorized)
		}
		if err := p.Users.SetPasswordByName(t.Context(), "nobody", "from the terminal"); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("unknown user: %v", err)
		}
		wantCode(t, p.Users.SetPasswordByName(t.Context(), models.FirstUser, "short"), models.CodeInvalid)
	})
}

func TestPasswordsNeverReachTheAudit(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		kim := p.add(t, "kim", models.Operator)
		reset, err := p.Users.ResetPassword(t.Context(), p.admin, kim.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = p.Sessions.SignIn(t.Context(), models.Login{Name: "my secret as a name", Password: "x"})
		wantCode(t, err, models.CodeUnauthorized)
		page, err := p.ListAudit(t.Context(), p.admin, 0, 0, 100)
		if err != nil || len(page.Entries) < 4 {
			t.Fatalf("%d entries, error %v", len(page.Entries), err)
		}
		for _, e := range page.Entries {
			for _, text := range []string{e.UserName, e.SubjectName, e.Detail} {
				if strings.Contains(text, reset) || strings.Contains(text, "password of") || strings.Contains(text, "my secret") {
					t.Errorf("audit line %+v holds a secret", e)
				}
			}
		}
	})
}

func TestAuditPages(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			p.add(t, name, models.Viewer)
		}
		var seen []int64
		page := models.AuditPage{}
		for before := int64(0); ; before = page.Older {
			var err error
			if page, err = p.ListAudit(t.Context(), p.admin, before, 0, 3); err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				seen = append(seen, e.Num)
			}
			if page.Older == 0 {
				break
			}
		}
		for i := 1; i < len(seen); i++ {
			if seen[i] >= seen[i-1] {
				t.Fatalf("order is %v", seen)
			}
		}
		if len(seen) != 7 { // the first user, its sign-in, five users
			t.Fatalf("%d entries seen, want 7", len(seen))
		}
		back, err := p.ListAudit(t.Context(), p.admin, 0, page.Newer, 3)
		if err != nil || len(back.Entries) != 3 || back.Entries[2].Num != seen[3+2] && back.Entries[0].Num != seen[3] {
			t.Errorf("page before the last one: %+v, error %v", back, err)
		}
		other := p.admin
		other.Project = "other"
		if page, err = p.ListAudit(t.Context(), other, 0, 0, 3); err != nil || len(page.Entries) != 0 {
			t.Errorf("another project sees %d entries, error %v", len(page.Entries), err)
		}
	})
}
