package handlers_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/web/app/apptest"
)

// refusals are the lines of the audit about what was refused, newest first.
func (c *console) refusals() []string {
	c.t.Helper()
	var lines []string
	for _, row := range c.As(models.Administrator).Get("/admin/audit").Doc(c.t).Find("table.audit tbody tr").EachIter() {
		if text := strings.Join(strings.Fields(row.Text()), " "); strings.Contains(text, "거절") {
			lines = append(lines, text)
		}
	}
	return lines
}

// TestAudit_Refusals: whatever is refused for who asks it, from where, or by a rule, is there; once, with a count.
func TestAudit_Refusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		refused func(c *console) apptest.Answer
		status  int
		words   []string
	}{
		"role": {func(c *console) apptest.Answer { return c.As(models.Viewer).Post("/admin/users", nil) },
			http.StatusForbidden, []string{"viewer", "127.0.0.1", "POST /admin/users", "관리자 역할이 있어야"}},
		"role, to look": {func(c *console) apptest.Answer { return c.As(models.Viewer).Get("/admin/audit") },
			http.StatusForbidden, []string{"viewer", "GET /admin/audit"}},
		"another site": {func(c *console) apptest.Answer {
			return c.As(models.Viewer).Send(http.MethodPost, "/account/sessions/end-others", nil, "Sec-Fetch-Site", "cross-site")
		}, http.StatusForbidden, []string{"viewer", "POST /account/sessions/end-others", "다른 사이트"}},
		"another site, nobody": {func(c *console) apptest.Answer {
			return c.NewClient().Send(http.MethodPost, "/login", loginForm("viewer", "secret words"), "Origin", "http://evil.example")
		}, http.StatusForbidden, []string{"127.0.0.1", "POST /login", "다른 사이트"}},
		"throttle": {func(c *console) apptest.Answer {
			for range store.AccountAttempts {
				c.NewClient().Post("/login", loginForm("viewer", "wrong"))
			}
			return c.NewClient().Post("/login", loginForm("viewer", "wrong"))
		}, http.StatusTooManyRequests, []string{"viewer", "로그인 실패", "너무 많습니다"}},
		"nobody's password": {func(c *console) apptest.Answer { return c.NewClient().Post("/login", loginForm("a secret", "wrong")) },
			http.StatusUnauthorized, []string{"127.0.0.1", "로그인 실패"}},
		"last administrator": {func(c *console) apptest.Answer {
			users, err := c.Store.Users.ListUsers(c.t.Context(), models.Actor{Project: models.DefaultProject})
			if err != nil {
				c.t.Fatal(err)
			}
			admin := c.As(models.Administrator)
			var a apptest.Answer
			for _, u := range users {
				if u.Role == models.Administrator && u.Name != string(models.Administrator) {
					admin.Post("/admin/users/"+u.ID+"/delete", nil)
				}
			}
			for _, u := range users {
				if u.Name == string(models.Administrator) {
					a = admin.Post("/admin/users/"+u.ID, url.Values{"disabled": {"1"}})
				}
			}
			return a
		}, http.StatusConflict, []string{"administrator", "사용자 정지", "마지막 관리자"}},
		"policy": {func(c *console) apptest.Answer {
			s := c.ErrorDeleting()
			return c.Post(apptest.SnapshotPath(s.ID, "delete"), nil)
		}, http.StatusConflict, []string{"operator", "stuck-1", "삭제", "관리자에게 문의하세요"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newConsole(t)
			c.t = t
			apptest.WantStatus(t, tc.refused(c), tc.status)
			lines := c.refusals()
			if len(lines) == 0 {
				t.Fatal("no line")
			}
			for _, word := range tc.words {
				if !strings.Contains(lines[0], word) {
					t.Errorf("%q is not in %q", word, lines[0])
				}
			}
			if strings.Contains(strings.Join(lines, "\n"), "secret") {
				t.Errorf("a secret in %q", lines)
			}
		})
	}
}

// ErrorDeleting is a snapshot that could not be deleted.
func (c *console) ErrorDeleting() *models.Snapshot {
	c.t.Helper()
	return c.NewErrorDeleting(c.NewVolume("vol-1", 1), "stuck-1")
}

// TestAudit_RefusalsFold: what is refused again and again is one line with a count, and whoever varies it cannot
// fill the audit either.
func TestAudit_RefusalsFold(t *testing.T) {
	t.Parallel()
	c := newConsole(t, "TRUSTED_PROXIES=127.0.0.1")
	viewer := c.As(models.Viewer)
	for range 25 {
		apptest.WantStatus(t, viewer.Post("/admin/users", nil), http.StatusForbidden)
	}
	lines := c.refusals()
	if len(lines) != 1 || !strings.Contains(lines[0], "25") {
		t.Fatalf("25 refusals are %d lines: %q", len(lines), lines)
	}
	c.Clock.Add(25 * time.Hour)
	viewer = c.As(models.Viewer)
	apptest.WantStatus(t, viewer.Post("/admin/users", nil), http.StatusForbidden)
	if lines = c.refusals(); len(lines) != 2 {
		t.Errorf("a day later there are %d lines: %q", len(lines), lines)
	}
	stranger := c.NewClient()
	for i := range 2 * store.RefusalLines {
		a := stranger.Send(http.MethodPost, "/login", nil, "Origin", "http://evil.example", "X-Forwarded-For", fmt.Sprintf("192.0.%d.%d", i/250, i%250))
		apptest.WantStatus(t, a, http.StatusForbidden)
	}
	page, err := c.Store.SearchAudit(t.Context(), models.Actor{Project: models.DefaultProject}, models.AuditQuery{Limit: 10000})
	if err != nil {
		t.Fatal(err)
	}
	denied, count := 0, int64(0)
	for _, e := range page.Entries {
		if e.Outcome == models.AuditDenied && e.UserName == "" {
			denied++
			count += e.Count
		}
	}
	if denied != store.RefusalLines+1 || count != 2*store.RefusalLines {
		t.Errorf("%d refusals of nobody are %d lines that count %d", 2*store.RefusalLines, denied, count)
	}
}
