package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/views"
)

// Handlers is what the routes lead to.
type Handlers struct {
	Sessions handlers.Sessions
}

const (
	loginPath = "/login"
	homePath  = views.VolumesPath
)

// anybody is the role of routes that need nobody to be signed in.
const anybody models.Role = ""

// accessRule is a route and the least role that it needs.
type accessRule struct {
	method, path string
	role         models.Role
}

// routes is every route of the console with the least role it needs.
func (s *Server) routes(h Handlers) {
	s.get(anybody, "/healthz", s.healthz)
	s.get(anybody, "/readyz", s.readyz)
	s.get(anybody, "/static/*", s.static)
	s.get(anybody, "/favicon.ico", s.favicon)
	s.get(anybody, "/robots.txt", s.robots)

	s.get(anybody, loginPath, h.Sessions.LoginForm)
	s.post(anybody, loginPath, h.Sessions.Login)
	s.post(anybody, "/logout", h.Sessions.Logout)

	s.get(models.Viewer, "/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, homePath) })
}

// get also answers HEAD, as HTTP asks for.
func (s *Server) get(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodGet, role, path, handler)
	s.Echo.Add(http.MethodHead, path, handler, s.allow(role))
}

func (s *Server) post(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodPost, role, path, handler)
}

func (s *Server) add(method string, role models.Role, path string, handler echo.HandlerFunc) {
	s.access = append(s.access, accessRule{method, path, role})
	s.Echo.Add(method, path, handler, s.allow(role))
}

// allow is the guard of a route.
func (s *Server) allow(role models.Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if role == anybody {
				return next(c)
			}
			in := handlers.VisitOf(c).SignedIn
			if in == nil {
				return models.ErrSignedOut
			}
			if !in.Role.Allows(role) {
				return &models.Error{Code: models.CodeForbidden, Text: models.Say("error.role", string(role))}
			}
			return next(c)
		}
	}
}
