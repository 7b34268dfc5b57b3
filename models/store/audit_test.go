package store_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestAudit_NoPasswords(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		kim := p.add(t, "kim", models.Operator)
		reset, err := p.Users.ResetPassword(t.Context(), p.admin, kim.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = p.Sessions.SignIn(t.Context(), models.Login{Name: "my secret as a name", Password: "x"})
		wantCode(t, err, models.CodeUnauthorized)
		page, err := p.SearchAudit(t.Context(), p.admin, models.AuditQuery{Limit: 100})
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

func TestAudit_Pages(t *testing.T) {
	eachAccounts(t, func(t *testing.T, p *accounts) {
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			p.add(t, name, models.Viewer)
		}
		var seen []int64
		page := models.AuditPage{}
		for before := int64(0); ; before = page.Older {
			var err error
			if page, err = p.SearchAudit(t.Context(), p.admin, models.AuditQuery{Before: before, Limit: 3}); err != nil {
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
		back, err := p.SearchAudit(t.Context(), p.admin, models.AuditQuery{After: page.Newer, Limit: 3})
		if err != nil || len(back.Entries) != 3 || back.Entries[2].Num != seen[3+2] && back.Entries[0].Num != seen[3] {
			t.Errorf("page before the last one: %+v, error %v", back, err)
		}
		other := p.admin
		other.Project = "other"
		if page, err = p.SearchAudit(t.Context(), other, models.AuditQuery{Limit: 3}); err != nil || len(page.Entries) != 0 {
			t.Errorf("another project sees %d entries, error %v", len(page.Entries), err)
		}
	})
}

// TestAudit_RefusalsWritten expects refusals that were not read on this console: within a second, and
// before the store closes.
func TestAudit_RefusalsWritten(t *testing.T) {
	storetest.EachWithFirstUser(t, func(t *testing.T, open func(now func() time.Time) *store.Store) {
		p := newAccounts(t, open)
		reader := storetest.Second(t, p.Store, p.now)
		denied := func() (count int64) {
			page, err := reader.SearchAudit(t.Context(), p.admin, models.AuditQuery{Limit: 100})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				if e.Outcome == models.AuditDenied {
					count += e.Count
				}
			}
			return count
		}
		for range 3 {
			p.failSignIn(t, models.FirstUser, "192.0.2.1")
		}
		for deadline := time.Now().Add(10 * time.Second); denied() != 3; {
			if time.Now().After(deadline) {
				t.Fatalf("%d refusals are written, want 3", denied())
			}
			runtime.Gosched()
		}
		p.DelayRefusals()
		closing := storetest.Second(t, p.Store, p.now)
		closing.DelayRefusals()
		closing.AuditRefusal(t.Context(), p.admin, models.AuditEntry{Action: models.ActionRequest, SubjectName: "GET /"}, models.NewText("error.csrf"))
		if err := closing.Close(); err != nil {
			t.Fatal(err)
		}
		if n := denied(); n != 4 {
			t.Errorf("%d refusals are written after the close, want 4", n)
		}
	})
}
