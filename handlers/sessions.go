package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// SessionStore is what Sessions needs.
type SessionStore interface {
	SignIn(ctx context.Context, login models.Login) (token string, in *models.SignedIn, err error)
	SignOut(ctx context.Context, actor models.Actor, id string) error
}

// Sessions signs in and out.
type Sessions struct{ Store SessionStore }

// SessionCookie is the name of the session's cookie. With HTTPS it has the prefix
// __Host-, with which browsers refuse a cookie of another host or of plain HTTP.
func SessionCookie(secure bool) string {
	if secure {
		return "__Host-blockconsole"
	}
	return "blockconsole"
}

// LoginCookie is the name of the cookie with the CSRF token of the sign-in form,
// where there is no session yet.
func LoginCookie(secure bool) string { return SessionCookie(secure) + "-login" }

// DeviceCookie is the name of the cookie by which a browser that signed in before is
// recognized, see [models.DeviceKey].
func DeviceCookie(secure bool) string { return SessionCookie(secure) + "-device" }

// deviceSeconds is the longest time that browsers keep a cookie.
const deviceSeconds = 400 * 24 * 60 * 60

// SetCookie sets a cookie that scripts cannot read. maxAge is in seconds; 0: until the
// browser ends, below 0: it is deleted.
func SetCookie(c echo.Context, name, value string, maxAge int) {
	c.SetCookie(&http.Cookie{Name: name, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true,
		Secure: RequestOf(c).Site.Secure, SameSite: http.SameSiteLaxMode})
}

// cookieValue is the value of a cookie; empty when the browser has none.
func cookieValue(c echo.Context, name string) string {
	cookie, err := c.Cookie(name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// LoginForm is the sign-in page. Who is signed in already is redirected.
func (s Sessions) LoginForm(c echo.Context) error {
	next := nextURL(c)
	if RequestOf(c).SignedIn != nil {
		return SeeOther(c, next)
	}
	return Render(c, http.StatusOK, T(c, "login.title"), views.LoginPage(views.Login{Next: next}))
}

// Login signs in and redirects to next. A refusal does not tell whether name or
// password is wrong.
func (s Sessions) Login(c echo.Context) error {
	req := RequestOf(c)
	name := trimmedValue(c, "username")
	token, in, err := s.Store.SignIn(c.Request().Context(), models.Login{
		Name: name, Password: c.FormValue("password"), Address: c.RealIP(), Browser: c.Request().UserAgent(),
		RequestID: req.RequestID, Replaces: req.Token, Device: cookieValue(c, DeviceCookie(req.Site.Secure)),
	})
	if err != nil {
		return s.renderRefused(c, name, err)
	}
	SetCookie(c, SessionCookie(req.Site.Secure), token, int(models.SessionMax/time.Second))
	SetCookie(c, LoginCookie(req.Site.Secure), "", -1)
	SetCookie(c, DeviceCookie(req.Site.Secure), in.Device, deviceSeconds)
	if Wants(c) == JSON {
		return c.JSON(http.StatusOK, struct {
			User string      `json:"user"`
			Role models.Role `json:"role"`
			CSRF string      `json:"csrf"`
		}{in.Name, in.Role, in.CSRF})
	}
	return SeeOther(c, nextURL(c))
}

// renderRefused renders the form again with the name, never with the password.
func (s Sessions) renderRefused(c echo.Context, name string, err error) error {
	e := models.AsError(err)
	if e == nil || Wants(c) == JSON {
		return err
	}
	status := http.StatusUnauthorized
	var throttled *models.ThrottledError
	if errors.As(err, &throttled) {
		status = http.StatusTooManyRequests
		SetRetryAfter(c, throttled.RetryAfter)
	}
	form := views.Login{Username: truncateInput(name), Next: nextURL(c)}
	form.Error = Msg(e.Text)
	return Render(c, status, T(c, "login.title"), views.LoginPage(form))
}

// SetRetryAfter sets the header Retry-After, in whole seconds.
func SetRetryAfter(c echo.Context, wait time.Duration) {
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
}

// nextURL is the page to show after signing in: one of this site, and not the
// sign-in.
func nextURL(c echo.Context) string {
	next := LocalPath(c.FormValue("next"), "/")
	if path, _, _ := strings.Cut(next, "?"); path == "/login" || path == "/logout" {
		return "/"
	}
	return next
}

// Logout ends the session and redirects to the sign-in page.
func (s Sessions) Logout(c echo.Context) error {
	req := RequestOf(c)
	if req.SignedIn != nil {
		err := s.Store.SignOut(c.Request().Context(), Actor(c), req.SignedIn.ID)
		if err != nil && !errors.Is(err, models.ErrNotFound) {
			return err
		}
	}
	SetCookie(c, SessionCookie(req.Site.Secure), "", -1)
	if Wants(c) == JSON {
		return c.NoContent(http.StatusNoContent)
	}
	return SeeOther(c, "/login")
}
