package web

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
)

const (
	csrfField  = "_csrf"
	csrfHeader = "X-CSRF-Token"
)

var errCrossSite = &models.Error{Code: models.CodeForbidden, Text: models.NewText("error.csrf")}

// csrf refuses writing requests that another site made the browser send. Echo's
// own middleware would fall back to the token for same-site, which on one machine
// is every other port, and answers a missing token with 400.
func (s *Server) csrf(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if isSafe(c.Request().Method) || s.isSameOrigin(c) {
			return next(c)
		}
		return s.refuse(c, errCrossSite)
	}
}

// isSameOrigin decides by Sec-Fetch-Site, which pages cannot set; without it by
// Origin; without both by the session's token. Sec-Fetch-Site «none» (no page sent
// the request, which browsers do not do for forms) and Origin «null» count as absent.
func (s *Server) isSameOrigin(c echo.Context) bool {
	r := c.Request()
	if sites := r.Header.Values("Sec-Fetch-Site"); len(sites) > 0 && !(len(sites) == 1 && sites[0] == "none") {
		return len(sites) == 1 && sites[0] == "same-origin"
	}
	if origins := r.Header.Values(echo.HeaderOrigin); len(origins) > 0 && !(len(origins) == 1 && origins[0] == "null") {
		return len(origins) == 1 && s.isOwnOrigin(origins[0], r)
	}
	want := handlers.RequestOf(c).CSRF
	sent := r.Header.Get(csrfHeader)
	if sent == "" {
		sent = r.PostFormValue(csrfField)
	}
	return want != "" && subtle.ConstantTimeCompare([]byte(sent), []byte(want)) == 1
}

// isOwnOrigin says that the origin is the public URL or the host of the request.
func (s *Server) isOwnOrigin(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return false
	}
	if public := s.config.PublicURL; public != nil && strings.EqualFold(u.Host, public.Host) && u.Scheme == public.Scheme {
		return true
	}
	if s.site.Secure && u.Scheme != "https" {
		return false
	}
	return strings.EqualFold(u.Host, r.Host)
}

// loginToken gives a visitor without a session the token that the sign-in form
// must carry: otherwise another site could sign its visitors in under an account
// of its own. With form, the answer has that form.
func (s *Server) loginToken(c echo.Context, req *handlers.Request, form bool) {
	name := handlers.LoginCookie(s.site.Secure)
	if cookie, err := c.Cookie(name); err == nil && len(cookie.Value) == len(rand.Text()) {
		req.CSRF = cookie.Value
	} else if form {
		req.CSRF = rand.Text()
		handlers.SetCookie(c, name, req.CSRF, 0)
	}
}
