package web

import (
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/static"
)

func (s *Server) static(c echo.Context) error {
	file, ok := static.Open(c.Param("*"))
	if !ok {
		return echo.ErrNotFound
	}
	return sendFile(c, file)
}

func (s *Server) favicon(c echo.Context) error { return sendFile(c, static.Favicon()) }

func sendFile(c echo.Context, file static.File) error {
	h := c.Response().Header()
	h.Set(echo.HeaderCacheControl, "public, max-age=86400")
	if file.Immutable {
		h.Set(echo.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	h.Set("ETag", file.ETag)
	h.Set(echo.HeaderVary, echo.HeaderAcceptEncoding)
	if strings.Contains(c.Request().Header.Get("If-None-Match"), file.ETag) {
		return c.NoContent(http.StatusNotModified)
	}
	content := file.Content
	if file.Gzip != nil && strings.Contains(c.Request().Header.Get(echo.HeaderAcceptEncoding), "gzip") {
		content = file.Gzip
		h.Set(echo.HeaderContentEncoding, "gzip")
	}
	return c.Blob(http.StatusOK, file.ContentType, content)
}

// robots keeps search engines away from an open port.
func (s *Server) robots(c echo.Context) error {
	return c.String(http.StatusOK, "User-agent: *\nDisallow: /\n")
}
