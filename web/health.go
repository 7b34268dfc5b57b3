package web

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/views/i18n"
)

// healthz says that the process answers. It asks nobody else: a restart would not
// help the database.
func (s *Server) healthz(c echo.Context) error { return c.String(http.StatusOK, "ok\n") }

// readyz says whether requests should be sent here: the database answers and takes
// writes, and the console is not shutting down. The storage may be down, since pages then
// show what is known; a disk that is short of space is told in a second line.
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
	text, writable := s.trouble()
	if text.Key == "" {
		return c.String(http.StatusOK, "ready\n")
	}
	c.SetRequest(c.Request().WithContext(i18n.WithLang(ctx, i18n.English)))
	sentence := handlers.TextOf(c, text) + "\n"
	if !writable {
		return c.String(http.StatusServiceUnavailable, "read-only\n"+sentence)
	}
	return c.String(http.StatusOK, "ready\n"+sentence)
}
