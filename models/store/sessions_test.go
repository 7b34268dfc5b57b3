package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
)

func TestSession_Idle(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		token, _ := p.signIn(t, models.FirstUser)
		p.advance(models.SessionIdle - 2*time.Minute)
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("before the idle limit: %v", err)
		}
		p.advance(models.SessionIdle - 2*time.Minute)
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("a request did not move the idle limit: %v", err)
		}
		p.advance(models.SessionIdle)
		if _, err := p.Sessions.Session(t.Context(), token); !errors.Is(err, models.ErrSignedOut) {
			t.Errorf("after the idle limit: %v", err)
		}
	})
}

func TestSession_MaxAge(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		token, in := p.signIn(t, models.FirstUser)
		start := p.now()
		for p.now().Sub(start) < models.SessionMax-time.Hour {
			if _, err := p.Sessions.Session(t.Context(), token); err != nil {
				t.Fatalf("after %v: %v", p.now().Sub(start), err)
			}
			p.advance(time.Hour)
		}
		if _, err := p.Sessions.Session(t.Context(), token); err != nil {
			t.Fatalf("an hour before its end: %v", err)
		}
		p.advance(time.Hour)
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

func TestSession_TouchedOncePerMinute(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		token, in := p.signIn(t, models.FirstUser)
		for _, step := range []struct {
			pass  time.Duration
			moved bool
		}{{30 * time.Second, false}, {29 * time.Second, false}, {time.Second, true}, {59 * time.Second, false}} {
			p.advance(step.pass)
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

func TestSession_WrongTokens(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestSignIn_ReplacesSession(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestSession_DisabledAndDeletedUsers(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestSession_RoleChange(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

func TestSession_End(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
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

// A person has at most so many sessions: one more sign-in ends the oldest, which the audit
// tells. Other people's stay.
func TestSignIn_OldestSessionEnds(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		p.add(t, "other", models.Viewer)
		others, _ := p.signIn(t, "other")
		var tokens []string
		for range models.SessionsPerUser + 2 {
			p.advance(time.Second)
			token, _ := p.signIn(t, models.FirstUser)
			tokens = append(tokens, token)
		}
		for i, token := range append(tokens, others) {
			if _, err := p.Sessions.Session(t.Context(), token); errors.Is(err, models.ErrSignedOut) != (i < 2) {
				t.Errorf("session %d of %d: %v", i, len(tokens), err)
			}
		}
		page, err := p.SearchAudit(t.Context(), p.admin, models.AuditQuery{Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		ended := 0
		for _, e := range page.Entries {
			if e.Action == "session.end" && e.UserName == models.FirstUser {
				ended++
			}
		}
		if ended < 2 {
			t.Errorf("%d of 2 ends are in the audit: %+v", ended, page.Entries)
		}
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { p.signIn(t, models.FirstUser) })
		}
		all.Wait()
		if left, err := p.Sessions.ListSessions(t.Context(), p.admin); err != nil || len(left) != models.SessionsPerUser {
			t.Errorf("%d sessions after sign-ins at the same time, want %d; error %v", len(left), models.SessionsPerUser, err)
		}
	})
}

// TestSignIn_SameWork fails to sign a user in, a disabled one and nobody: the work, and
// with it the time, must not tell which names exist.
func TestSignIn_SameWork(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		off := p.add(t, "off", models.Operator)
		if err := p.Users.SetDisabled(t.Context(), p.admin, off.ID, true); err != nil {
			t.Fatal(err)
		}
		p.DelayRefusals()
		statements := func(name string) (all []string) {
			end := p.Capture()
			wantCode(t, p.failSignIn(t, name, "192.0.2.1"), models.CodeUnauthorized)
			for _, s := range end() {
				all = append(all, s.SQL)
			}
			return all
		}
		known := statements(models.FirstUser)
		for _, name := range []string{"off", "nobody"} {
			if unknown := statements(name); !slices.Equal(known, unknown) {
				t.Errorf("a known name costs\n%s\n%q costs\n%s", strings.Join(known, "\n"), name, strings.Join(unknown, "\n"))
			}
		}
	})
}
