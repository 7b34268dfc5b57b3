package web

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// healthz says that the process answers. It asks nobody else: a restart would not
// help the database.
func (s *Server) healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz says whether requests should be sent here: the database answers and the
// console is not shutting down. The storage may be down, since pages then show what
// is known.
func (s *Server) readyz(c echo.Context) error {
	if s.streams.Err() != nil {
		return c.String(http.StatusServiceUnavailable, "draining\n")
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyCheckTimeout)
	defer cancel()
	if err := s.store.Ping(ctx); err != nil {
		c.Set(errorKey, err)
		return c.String(http.StatusServiceUnavailable, "database\n")
	}
	return c.String(http.StatusOK, "ready\n")
}
