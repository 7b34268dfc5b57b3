package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestEnsureFirstUser_Once(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		for i, want := range []bool{true, false} {
			created, err := db.Users.EnsureFirstUser(t.Context(), []string{adminPassword, "another password"}[i])
			if err != nil || created != want {
				t.Fatalf("start %d: created %v, error %v", i+1, created, err)
			}
		}
		if _, _, err := db.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword}); err != nil {
			t.Error(err)
		}
	})
}

func TestAddUser_Invalid(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

			"another case":          {"KIM", "a good password", models.Viewer, "name"},
			"full width":            {"ｋｉｍ", "a good password", models.Viewer, "name"},
			"Cyrillic":              {"кіm", "a good password", models.Viewer, "name"},
			"digit for a letter":    {"k1m", "a good password", models.Viewer, "name"},
			"Cyrillic first user":   {"аdmin", "a good password", models.Viewer, "name"},
			"capital first user":    {"Admin", "a good password", models.Viewer, "name"},
			"the host":              {"(host)", "a good password", models.Viewer, "name"},
			"the host, full width":  {"（host）", "a good password", models.Viewer, "name"},
			"an address":            {"lee@example.com", "a good password", models.Viewer, "name"},
			"an address, small":     {"lee﹫example.com", "a good password", models.Viewer, "name"},
			"an invisible letter":   {"lee\u3164", "a good password", models.Viewer, "name"},
			"a common password":     {"lee", "password123", models.Viewer, "password"},
			"ten spaces":            {"lee", "          ", models.Viewer, "password"},
			"one letter ten times":  {"lee", "aaaaaaaaaa", models.Viewer, "password"},
			"a row of keys":         {"lee", "1q2w3e4r5t", models.Viewer, "password"},
			"the name again":        {"lee jungho", "leejungholeejungho", models.Viewer, "password"},
			"the name and a number": {"lee jungho", "leejungho1", models.Viewer, "password"},
			"the console's name":    {"lee", "blockconsole1", models.Viewer, "password"},
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

func TestUsers_LastAdministrator(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestUsers_ConcurrentDemotions(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestUsers_OtherProject(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestChangePassword(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestAddUser_Names(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		for _, name := range []string{"kim", "kim2", "김철수", "김철수 2", "Kim Lee", "ops-1", "ops-2", "ivan", "иван", "山田"} {
			p.add(t, name, models.Viewer)
		}
	})
}

// TestAddUser_Concurrent adds names that look alike at the same time from two consoles.
func TestAddUser_Concurrent(t *testing.T) {
	storetest.EachWithFirstUser(t, func(t *testing.T, open func(now func() time.Time) *store.Store) {
		p := newAccounts(t, open)
		second := storetest.Second(t, p.Store, p.now)
		users, errs := concurrently(8, func(i int) (*models.User, error) {
			db := []*store.Store{p.Store, second}[i%2]
			return db.Users.AddUser(t.Context(), p.admin, []string{"kim", "Kim", "kIm", "кim"}[i/2], models.Viewer, "a good password")
		})
		added := 0
		for i, err := range errs {
			if err == nil && users[i] != nil {
				added++
			} else {
				wantCode(t, err, models.CodeInvalid)
			}
		}
		if added != 1 {
			t.Errorf("%d of the names that look alike were added: %v", added, errs)
		}
	})
}

// TestUsers_OldNames keeps the users of older versions whose names look alike, and tells of them.
func TestUsers_OldNames(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		p.add(t, "kim", models.Viewer)
		p.add(t, "park", models.Viewer)
		for i, name := range []string{"Kim", "аdmin", "lee@example.com"} {
			u := p.add(t, "old-"+string(rune('a'+i))+"xyz", models.Viewer)
			if err := p.DB().Exec("UPDATE users SET name = ? WHERE id = ?", name, u.ID).Error; err != nil {
				t.Fatal(err)
			}
		}
		doubtful, err := p.Users.DoubtfulNames(t.Context())
		if err != nil || !slices.Equal(doubtful, []string{"Kim", "admin", "kim", "lee@example.com", "аdmin"}) {
			t.Errorf("names are %q, error %v", doubtful, err)
		}
		if _, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: "lee@example.com", Password: "password of old-cxyz"}); err != nil {
			t.Errorf("an old name cannot sign in: %v", err)
		}
	})
}

func TestChangePassword_Same(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		_, in := p.signIn(t, models.FirstUser)
		err := p.Users.ChangePassword(t.Context(), in.Actor("", ""), adminPassword, adminPassword, in.ID)
		wantCode(t, err, models.CodeInvalid)
		if fields := models.AsError(err).Fields; fields["password"].Key == "" {
			t.Errorf("fields are %v", fields)
		}
	})
}
