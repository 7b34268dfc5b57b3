package web

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// What tests outside of the package need of it.
const (
	CSP          = csp
	DrainTimeout = drainTimeout
)

var MetricsHandler = metricsHandler

// AccessRule is a route and the lowest role that may use it.
type AccessRule struct {
	Method, Path string
	Role         models.Role
}

// Access are the rules of all routes.
func (s *Server) Access() []AccessRule {
	var rules []AccessRule
	for _, r := range s.access {
		rules = append(rules, AccessRule{r.method, r.path, r.role})
	}
	return rules
}

// Get adds a route.
func (s *Server) Get(role models.Role, path string, handler echo.HandlerFunc) {
	s.get(role, path, handler)
}

// Post adds a route.
func (s *Server) Post(role models.Role, path string, handler echo.HandlerFunc) {
	s.post(role, path, handler)
}

var errSecret = errors.New("secret: /root/.ssh and SELECT * FROM users")

// AddTestRoutes adds routes that fail in every way.
func AddTestRoutes(s *Server) {
	for path, err := range map[string]error{
		"/test/internal": errSecret, "/test/conflict": models.Refused(&models.Denial{Text: models.NewText("deny.error_deleting")}),
		"/test/invalid": models.Invalid("name", models.NewText("name.invalid")), "/test/notfound": models.ErrNotFound,
		"/test/echo": echo.NewHTTPError(http.StatusTeapot, "secret"),
	} {
		s.Get(models.Viewer, path, func(echo.Context) error { return err })
		s.Post(models.Viewer, path, func(echo.Context) error { return err })
	}
	s.Get(anonymous, "/test/panic", func(echo.Context) error { panic(errSecret) })
	s.Post(models.Viewer, "/test/write", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) })
}
