package store_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestSessionEndsWhenIdle(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		token, _ := p.signIn(t, models.FirstUser)
		p.pass(models.SessionIdle - 2*time.Minute)
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("before the idle limit: %v", err)
		}
		p.pass(models.SessionIdle - 2*time.Minute)
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("a request did not move the idle limit: %v", err)
		}
		p.pass(models.SessionIdle)
		if _, err := p.Sessions.Session(t.Context(), token); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("after the idle limit: %v", err)
		}
	})
}

func TestSessionEndsAfterItsWholeLife(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		token, in := p.signIn(t, models.FirstUser)
		start := p.now()
		for p.now().Sub(start) < models.SessionMax-time.Hour {
			if _, err := p.Sessions.Session(t.Context(), token); err != nil {
				t.Fatalf("after %v: %v", p.now().Sub(start), err)
			}
			p.pass(time.Hour)
		}
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("an hour before its end: %v", err)
		}
		p.pass(time.Hour)
		if _, err := p.Sessions.Session(t.Context(), token); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("after its whole life: %v", err)
		}
		if err := p.Prune(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := p.Sessions.ListSessions(t.Context(), in.Actor("", "")); err != nil || len(left) != 0 {
			t.Errorf("%d sessions left, error %v", len(left), err)
		}
	})
}

func TestSessionIsNotedOnceAMinute(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		token, in := p.signIn(t, models.FirstUser)
		for _, step := range []struct {
			pass  time.Duration
			moved bool
		}{{30 * time.Second, false}, {29 * time.Second, false}, {time.Second, true}, {59 * time.Second, false}} {
			p.pass(step.pass)
			before := in.SeenAt
			var err error
			if in, err = p.Sessions.Session(t.Context(), token); err != nil {
				t.Fatal(err)
			}
			if moved := in.SeenAt != before; moved != step.moved {
				t.Errorf("at %v: noted %v, want %v", p.now(), moved, step.moved)
			}
		}
	})
}

func TestWrongTokensOpenNothing(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		token, in := p.signIn(t, models.FirstUser)
		id, secret, _ := strings.Cut(token, ".")
		for name, tc := range map[string]string{
			"empty": "", "no secret": id, "id and dot": id + ".", "another secret": id + "." + strings.Repeat("A", len(secret)),
			"another id": models.NewID() + "." + secret, "the hash": id + "." + in.SecretHash, "cut": token[:len(token)-1], "longer": token + "A",
			"huge": strings.Repeat("x", 100000) + "." + secret, "SQL": "' OR 1=1 --." + secret, "NUL": "\x00." + secret,
		} {
			if _, err := p.Sessions.Session(t.Context(), tc); !errors.Is(err, models.ErrSignedOut) {
				t.Errorf("%s: %v, want signed out", name, err)
			}
		}
		if strings.Contains(in.SecretHash, secret) {
			t.Error("the secret is stored as it is")
		}
	})
}

func TestSignInRotatesTheSession(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		old, _ := p.signIn(t, models.FirstUser)
		fresh, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword, Replaces: old})
		if err != nil {
			t.Fatal(err)
		}
		if fresh == old {
			t.Error("the token stayed the same")
		}
		if _, err := p.Sessions.Session(t.Context(), old); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("the replaced session: %v", err)
		}
	})
}

func TestDisabledAndDeletedUsersAreOut(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		kim, lee := p.add(t, "kim", models.Operator), p.add(t, "lee", models.Operator)
		kimToken, _ := p.signIn(t, "kim")
		leeToken, _ := p.signIn(t, "lee")
		if err := p.Users.SetDisabled(t.Context(), p.admin, kim.ID, true); err != nil {
			t.Fatal(err)
		}
		if err := p.Users.DeleteUser(t.Context(), p.admin, lee.ID); err != nil {
			t.Fatal(err)
		}
		for name, token := range map[string]string{"kim": kimToken, "lee": leeToken} {
			if _, err := p.Sessions.Session(t.Context(), token); !errors.Is(err, models.ErrSignedOut) {
				t.Errorf("session of %s: %v", name, err)
			}
			_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: name, Password: "password of " + name})
			wantCode(t, err, models.CodeUnauthorized)
		}
		if err := p.Users.SetDisabled(t.Context(), p.admin, kim.ID, false); err != nil {
			t.Fatal(err)
		}
		p.signIn(t, "kim")
	})
}

func TestRoleChangeCountsFromTheNextRequest(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		kim := p.add(t, "kim", models.Operator)
		token, _ := p.signIn(t, "kim")
		if err := p.Users.SetRole(t.Context(), p.admin, kim.ID, models.Viewer); err != nil {
			t.Fatal(err)
		}
		if in, err := p.Sessions.Session(t.Context(), token); err != nil || in.Role != models.Viewer {
			t.Errorf("role %v, error %v", in, err)
		}
	})
}

func TestEndingSessions(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		p.add(t, "kim", models.Viewer)
		foreign, foreignIn := p.signIn(t, "kim")
		first, _ := p.signIn(t, models.FirstUser)
		second, secondIn := p.signIn(t, models.FirstUser)
		actor := secondIn.Actor("", "")

		if err := p.Sessions.EndSession(t.Context(), actor, foreignIn.ID); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("ending another user's session: %v", err)
		}
		if err := p.Sessions.EndOtherSessions(t.Context(), actor, secondIn.ID); err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			token string
			open  bool
		}{"the user's other": {first, false}, "this one": {second, true}, "another user's": {foreign, true}} {
			if _, err := p.Sessions.Session(t.Context(), tc.token); (err == nil) != tc.open {
				t.Errorf("%s session: %v", name, err)
			}
		}
		if err := p.Sessions.EndSession(t.Context(), actor, secondIn.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Sessions.Session(t.Context(), second); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("ended session: %v", err)
		}
	})
}

func (p *people) fail(t *testing.T, name, address string) error {
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

func TestAccountIsThrottled(t *testing.T) {
	for _, name := range []string{models.FirstUser, "nobody of that name"} {
		t.Run(name, func(t *testing.T) {
			p := newPeople(t, storetest.Open)
			for range store.AccountAttempts {
				wantCode(t, p.fail(t, name, "198.51.100.1"), models.CodeUnauthorized)
			}
			wantWait(t, p.fail(t, name, "198.51.100.2"), time.Minute)
			p.pass(59 * time.Second)
			wantWait(t, p.fail(t, name, "198.51.100.3"), time.Second)
			p.pass(time.Second)
			wantCode(t, p.fail(t, name, "198.51.100.1"), models.CodeUnauthorized)
			wantWait(t, p.fail(t, name, "198.51.100.1"), 2*time.Minute)
			p.pass(16 * time.Minute)
			wantCode(t, p.fail(t, name, "198.51.100.1"), models.CodeUnauthorized)
			wantCode(t, p.fail(t, name, "198.51.100.1"), models.CodeUnauthorized)
		})
	}
}

func TestRightPasswordIsRefusedWhileClosedAndForgivesAfter(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		for range store.AccountAttempts {
			wantCode(t, p.fail(t, models.FirstUser, ""), models.CodeUnauthorized)
		}
		_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword})
		wantWait(t, err, time.Minute)
		p.pass(time.Minute)
		p.signIn(t, models.FirstUser)
		for range store.AccountAttempts {
			wantCode(t, p.fail(t, models.FirstUser, ""), models.CodeUnauthorized)
		}
	})
}

func TestAddressIsThrottled(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
		for i := range store.AddressAttempts {
			wantCode(t, p.fail(t, "user"+models.NewID()[30:]+string(rune('a'+i%26)), "2001:db8::"+string(rune('1'+i%9))), models.CodeUnauthorized)
		}
		wantWait(t, p.fail(t, "yet another", "2001:db8::ffff"), time.Minute)
		wantCode(t, p.fail(t, "yet another", "2001:db8:0:1::1"), models.CodeUnauthorized)
		_, _, err := p.Sessions.SignIn(t.Context(), models.Login{Name: models.FirstUser, Password: adminPassword, Address: "::ffff:192.0.2.44"})
		if err != nil {
			t.Errorf("another address: %v", err)
		}
	})
}

func TestManyTriesAtOnceGainNothing(t *testing.T) {
	eachPeople(t, func(t *testing.T, p *people) {
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

func TestPasswordHashes(t *testing.T) {
	hash, err := models.HashPassword(t.Context(), "비밀번호 하나")
	if err != nil {
		t.Fatal(err)
	}
	again, err := models.HashPassword(t.Context(), "비밀번호 하나")
	if err != nil || again == hash {
		t.Errorf("two hashes are equal, or error %v", err)
	}
	for password, want := range map[string]bool{"비밀번호 하나": true, "비밀번호 둘": false, "": false} {
		if right, err := models.VerifyPassword(t.Context(), password, hash); err != nil || right != want {
			t.Errorf("%q: %v, error %v", password, right, err)
		}
	}
	for _, damaged := range []string{"", "plain", "$argon2id$v=19$m=0,t=0,p=0$AA$AA", "$argon2id$v=19$x$AA$AA", strings.Replace(hash, "v=19", "v=16", 1)} {
		if _, err := models.VerifyPassword(t.Context(), "x", damaged); !errors.Is(err, models.ErrDamagedHash) {
			t.Errorf("%q: %v", damaged, err)
		}
	}
	if a, b := models.GeneratePassword(), models.GeneratePassword(); a == b || models.ValidatePassword(a, "") != nil {
		t.Errorf("generated %q and %q", a, b)
	}
}
