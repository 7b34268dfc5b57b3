package web_test

import (
	"blockconsole/models"
	"blockconsole/web"
	"blockconsole/web/app/apptest"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
)

func TestRoutes_Roles(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	roles := []models.Role{anonymous, models.Viewer, models.Operator, models.Administrator}
	browsers := map[models.Role]*apptest.Client{}
	for _, role := range roles {
		browsers[role] = c.As(role)
	}
	if len(c.Server.Access()) < 10 {
		t.Fatalf("%d routes", len(c.Server.Access()))
	}
	for _, rule := range c.Server.Access() {
		if rule.Path == "/logout" { // would sign the walkers out
			continue
		}
		for _, role := range roles {
			t.Run(rule.Method+" "+rule.Path+" as "+string(role), func(t *testing.T) {
				path := strings.NewReplacer(":id", models.NewID(), ":session", models.NewID(), "*", "nothing.css").Replace(rule.Path)
				// HEAD and an empty form: what is asked here is who may, not what happens.
				a := browsers[role].Send(walkMethod(rule), path, nil, "Sec-Fetch-Site", "same-origin", "Accept", "application/json")
				allowed := rule.Role == anonymous || role.Allows(rule.Role)
				refusal := http.StatusForbidden
				if role == anonymous {
					refusal = http.StatusUnauthorized
				}
				if refused := a.StatusCode == refusal; refused == allowed && !strings.HasPrefix(rule.Path, "/login") {
					t.Errorf("status %d, allowed %v", a.StatusCode, allowed)
				}
				if a.StatusCode >= http.StatusInternalServerError && !strings.HasPrefix(rule.Path, "/test/") {
					t.Errorf("status %d", a.StatusCode)
				}
			})
		}
	}
}

func walkMethod(rule web.AccessRule) string {
	if rule.Method == http.MethodGet && !strings.HasSuffix(rule.Path, "/events") {
		return http.MethodHead
	}
	return rule.Method
}

func TestRoutes_Listed(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	listed := map[string]bool{}
	for _, rule := range c.Server.Access() {
		listed[rule.Method+" "+rule.Path] = true
	}
	for _, route := range c.Server.Echo.Routes() {
		if route.Method == http.MethodHead || route.Method == echo.RouteNotFound {
			continue
		}
		if !listed[route.Method+" "+route.Path] {
			t.Errorf("%s %s is served without a role", route.Method, route.Path)
		}
	}
	// Only these need nobody: everything else is behind the sign-in.
	open := []string{"/healthz", "/readyz", "/static/*", "/favicon.ico", "/robots.txt", "/login", "/logout", "/test/panic"}
	for _, rule := range c.Server.Access() {
		if rule.Role == anonymous && !slices.Contains(open, rule.Path) {
			t.Errorf("%s %s is open to everybody", rule.Method, rule.Path)
		}
		if strings.HasPrefix(rule.Path, "/admin/") && rule.Role != models.Administrator {
			t.Errorf("%s %s needs only %s", rule.Method, rule.Path, rule.Role)
		}
		if rule.Method == http.MethodPost && rule.Role == models.Viewer &&
			!strings.HasPrefix(rule.Path, "/account") && !strings.HasPrefix(rule.Path, "/test/") {
			t.Errorf("a viewer may write at %s", rule.Path)
		}
	}
}

func TestHome(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	a := c.As(models.Viewer).Get("/")
	apptest.WantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != "/storage/block-storage/volumes" {
		t.Errorf("Location is %s", a.Header.Get("Location"))
	}
}
