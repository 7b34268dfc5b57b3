package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// use sets the middleware, outermost first. The order matters:
//
//	requestID     everything after it may name the request
//	warnOfProxy   tells the administrator of a proxy that is not trusted
//	observe       sees the final status, also of errors and panics
//	headers       so that every answer has them, errors included
//	gzip          compresses error pages too
//	renderErrors  inside of what looks at the answer
//	recover       a panic becomes an error, which renderErrors answers without its text
//	BodyLimit     before anything reads the body
//	timeouts      everything below runs within them
//	trim          everything below reads the address
//	preferences   the language, also of error pages
//	host          before anything that knows people
//	admit         before anything that takes time
//	session       who is signed in
//	limit         what one of them may have under way
//	form          what a POST carries, for csrf and the handlers
//	csrf          needs the session's token
//
// The role a route needs is checked last, by the route itself (see routes).
func (s *Server) use() {
	s.Echo.Use(
		s.requestID,
		s.warnOfProxy,
		s.observe,
		s.headers,
		middleware.GzipWithConfig(middleware.GzipConfig{Level: gzipFastest, MinLength: gzipMinLength, Skipper: skipGzip}),
		s.renderErrors,
		s.recover,
		middleware.BodyLimit(strconv.Itoa(bodyLimit)),
		s.timeouts,
		trim,
		s.preferences,
		s.host,
		s.admit,
		s.session,
		s.limit,
		s.form,
		s.csrf,
	)
}

const (
	gzipFastest   = 1 // pages are made for one reader: the time counts, not the last byte
	gzipMinLength = 1024
)

// skipGzip skips streams, which must not be held back, and files, which are
// compressed already.
func skipGzip(c echo.Context) bool {
	return isStream(c) || isPublic(c)
}

// isStream says that the route is a live stream.
func isStream(c echo.Context) bool { return strings.HasSuffix(c.Path(), "/events") }

// isPublic says that the route is for anybody and needs no session: files and health.
func isPublic(c echo.Context) bool {
	switch c.Path() {
	case "/static/*", "/favicon.ico", "/robots.txt":
		return true
	}
	return isHealth(c)
}

// isHealth says that the route tells machines how the console is.
func isHealth(c echo.Context) bool { return c.Path() == "/healthz" || c.Path() == "/readyz" }

// requestID gives the request an id of our own: one from outside could be chosen
// to confuse the log.
func (s *Server) requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := models.NewID()
		handlers.SetRequest(c, &handlers.Request{Site: s.site, RequestID: id})
		c.Response().Header().Set(echo.HeaderXRequestID, id)
		return next(c)
	}
}

// trim removes the blanks around what an address names, ids, searches and numbers: they
// come with what is pasted.
func trim(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		values := c.ParamValues()
		for i, value := range values {
			values[i] = models.TrimSpace(value)
		}
		for _, values := range c.QueryParams() { // Echo keeps what it returns
			for i, value := range values {
				values[i] = models.TrimSpace(value)
			}
		}
		return next(c)
	}
}

const errorKey = "failure" // the error behind the answer, for the log

// observe logs the request and counts it: a 4xx as a warning, a 5xx as an error.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := s.now()
		if isStream(c) {
			s.metrics.streams.Inc()
			defer s.metrics.streams.Dec()
		}
		err := next(c)
		if err != nil {
			c.Error(err)
		}
		took, status, req := s.now().Sub(start), c.Response().Status, handlers.RequestOf(c)
		route := c.Path()
		if route == "" {
			route = "none"
		}
		if !isStream(c) {
			s.metrics.observe(route, knownMethod(c.Request().Method), status, took)
		}
		level := slog.LevelInfo
		switch {
		case status >= http.StatusInternalServerError:
			level = slog.LevelError
		case status >= http.StatusBadRequest:
			level = slog.LevelWarn
		case isPublic(c):
			level = slog.LevelDebug
		}
		attrs := []slog.Attr{
			slog.String("request_id", req.RequestID), slog.String("method", c.Request().Method), slog.String("route", route),
			slog.Int("status", status), slog.Int64("bytes", c.Response().Size), slog.Duration("took", took), slog.String("address", c.RealIP()),
		}
		if req.SignedIn != nil {
			attrs = append(attrs, slog.String("user", req.SignedIn.Name))
		}
		if failure, ok := c.Get(errorKey).(error); ok {
			attrs = append(attrs, slog.String("error", failure.Error()))
		}
		s.log.LogAttrs(c.Request().Context(), level, "request", attrs...)
		return nil
	}
}

// knownMethod bounds the values of the label: a client may send any method.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		return method
	}
	return "other"
}

// csp allows our own files and nothing else: no inline script or style, no eval,
// no frames, no other hosts.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are on every answer.
func (s *Server) headers(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set("Content-Security-Policy", csp)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("X-Robots-Tag", "noindex, nofollow")
		h.Set("Cache-Control", "no-store") // files say otherwise
		if s.config.Secure() {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		return next(c)
	}
}

// renderErrors lets the one table of errors answer.
func (s *Server) renderErrors(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if err := next(c); err != nil {
			s.handleError(err, c)
		}
		return nil
	}
}

// recover turns a panic into an error with its stack, for the log.
func (s *Server) recover(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			if r := recover(); r != nil {
				if err, ok := r.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(r)
				}
				err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
			}
		}()
		return next(c)
	}
}

// timeouts bounds how long a request may take. A POST goes on when its browser
// leaves, so that no click is lost. Streams last until Drain.
func (s *Server) timeouts(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		ctx := r.Context()
		var cancel context.CancelFunc
		switch {
		case isStream(c):
			ctx, cancel = context.WithCancel(ctx)
			stop := context.AfterFunc(s.streams, cancel)
			defer stop()
			// A stream outlives the connection's limits; its handler sets one per event.
			control := http.NewResponseController(c.Response())
			err := errors.Join(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{}))
			if err != nil && !errors.Is(err, http.ErrNotSupported) {
				defer cancel()
				return err
			}
		case isSafe(r.Method):
			// An export is as long as its list; the connection's write limit bounds it.
			if handlers.Wants(c) == handlers.HTML && c.QueryParam("format") == "" {
				ctx, cancel = context.WithTimeout(ctx, pageTimeout)
			} else {
				ctx, cancel = context.WithTimeout(ctx, writeTimeout)
			}
		default:
			ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), pageTimeout)
		}
		defer cancel()
		c.SetRequest(r.WithContext(ctx))
		return next(c)
	}
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

const preferenceSeconds = 365 * 24 * 60 * 60

// preferences finds the language and the look of the page. What a page asks for later
// comes in the page's own language, whatever another window has chosen since.
func (s *Server) preferences(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if isPublic(c) {
			return next(c)
		}
		req := handlers.RequestOf(c)
		lang := c.Request().Header.Get(views.LanguageHeader)
		if !slices.Contains(i18n.Langs, lang) {
			lang = s.preference(c, "lang", i18n.Langs...)
		}
		if lang == "" {
			lang = i18n.Match(c.Request().Header.Get("Accept-Language"))
		}
		if req.Theme = s.preference(c, "theme", "system", "light", "dark"); req.Theme == "system" {
			req.Theme = ""
		}
		req.Compact = s.preference(c, "density", "normal", "compact") == "compact"
		ctx := i18n.WithZone(i18n.WithLang(c.Request().Context(), lang), s.config.TimeZone)
		c.SetRequest(c.Request().WithContext(ctx))
		c.Response().Header().Set("Content-Language", lang)
		return next(c)
	}
}

// preference is one of the choices: that of the query, which a cookie then
// remembers, or that of the cookie; empty for none. A page that is read again by its
// script chooses nothing anew.
func (s *Server) preference(c echo.Context, name string, choices ...string) string {
	cookieName := handlers.SessionCookie(s.site.Secure) + "-" + name
	if query := c.Request().URL.RawQuery; strings.Contains(query, name+"=") {
		if chosen := c.QueryParam(name); slices.Contains(choices, chosen) {
			if !handlers.IsHTMX(c) {
				handlers.SetCookie(c, cookieName, chosen, preferenceSeconds)
			}
			return chosen
		}
	}
	if cookie, err := c.Cookie(cookieName); err == nil && slices.Contains(choices, cookie.Value) {
		return cookie.Value
	}
	return ""
}

// session finds who is signed in. A cookie without a session is no error: the
// route decides whether that is enough.
func (s *Server) session(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if isPublic(c) {
			return next(c)
		}
		req := handlers.RequestOf(c)
		cookie, err := c.Cookie(handlers.SessionCookie(s.site.Secure))
		if err != nil {
			s.loginToken(c, req, c.Path() == loginPath && isSafe(c.Request().Method))
			return next(c)
		}
		in, err := s.store.Sessions.Session(c.Request().Context(), cookie.Value)
		switch {
		case errors.Is(err, models.ErrSignedOut):
			s.loginToken(c, req, c.Path() == loginPath && isSafe(c.Request().Method))
		case err != nil:
			return err
		default:
			req.SignedIn, req.Token, req.CSRF = in, cookie.Value, in.CSRF
		}
		return next(c)
	}
}

// maxProxyWarnings bounds the addresses that are warned of: anybody can send the header.
const maxProxyWarnings = 16

// warnOfProxy logs once for each address that requests seem to come through a proxy that
// is not trusted: then all of its visitors count as one address, and one of them can keep
// the others from signing in.
func (s *Server) warnOfProxy(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Header.Get(echo.HeaderXForwardedFor) != "" {
			peer, err := netip.ParseAddr(echo.ExtractIPDirect()(c.Request()))
			trusted := slices.ContainsFunc(s.config.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(peer.Unmap()) })
			if err == nil && !trusted && s.proxies.add(peer) {
				s.log.Warn("X-Forwarded-For is not believed, so that all who come through this address count as one; "+
					"if it is your proxy, name it in BLOCKCONSOLE_TRUSTED_PROXIES", "address", peer.String())
			}
		}
		return next(c)
	}
}

// addressSet has at most maxProxyWarnings addresses.
type addressSet struct {
	mu    sync.Mutex
	known map[netip.Addr]struct{}
}

// add reports whether the address is new and was added.
func (s *addressSet) add(address netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.known[address]; known || len(s.known) >= maxProxyWarnings {
		return false
	}
	if s.known == nil {
		s.known = map[netip.Addr]struct{}{}
	}
	s.known[address] = struct{}{}
	return true
}
