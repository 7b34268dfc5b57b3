package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers/typed"
	"blockconsole/models"
	"blockconsole/views"
)

// SessionStore is what Sessions needs.
type SessionStore interface {
	SignIn(ctx context.Context, login models.Login) (token string, in *models.SignedIn, err error)
	SignOut(ctx context.Context, actor models.Actor, id string) error
}

// Sessions signs in and out.
type Sessions struct {
	Store     SessionStore
	ShowTyped func(c echo.Context, form *typed.Form) error // the form's own page, filled
}

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
	if RequestOf(c).SignedIn != nil {
		return s.answerSignedIn(c)
	}
	return Render(c, http.StatusOK, T(c, "login.title"), views.LoginPage(loginView(c)))
}

// loginView is the sign-in form with what it carries.
func loginView(c echo.Context) views.Login {
	return views.Login{Next: nextURL(c), Typed: c.FormValue("typed"), Person: c.FormValue("person")}
}

// SignInAgain is the sign-in page in answer to a form whose session has ended. It
// carries the form, for the person that it was made for.
func SignInAgain(c echo.Context, next string) error {
	m := views.Login{Next: next, Typed: c.FormValue("typed"), Person: c.FormValue("person")}
	if m.Typed == "" { // else it is this page, in another language
		m.Typed, m.Person = typed.Of(c.Request()).String(), c.FormValue(typed.PersonField)
		m.Error = views.Message{Key: "login.expired"}
	}
	return Render(c, http.StatusUnauthorized, T(c, "login.title"), views.LoginPage(m))
}

// answerSignedIn goes on where the sign-in was asked for: with the form that was sent
// and not carried out, which is shown to its own person alone; beside a page of that
// person, that page goes on.
func (s Sessions) answerSignedIn(c echo.Context) error {
	req, next := RequestOf(c), nextURL(c)
	same, form := req.SignedIn.IsPerson(c.FormValue("person")), typed.Parse(c.FormValue("typed"))
	switch {
	case IsHTMX(c) && same:
		return Fragment(c, http.StatusOK, views.AlertPartial(views.Alert{Message: views.Message{Key: "login.again"}}), "session:renewed")
	case IsHTMX(c):
		c.Response().Header().Set("HX-Redirect", next)
		return c.NoContent(http.StatusOK)
	case same && form != nil:
		notDone := views.Message{Key: "login.not_done"}
		req.Banners = append(req.Banners, notDone)
		err := s.ShowTyped(c, form)
		if !errors.Is(err, models.ErrNotFound) {
			return err
		}
		Notify(c, views.Alert{Message: notDone}) // it has no page
	}
	return SeeOther(c, next)
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
	req.SignedIn, req.Token, req.CSRF = in, token, in.CSRF
	if Wants(c) == JSON {
		return c.JSON(http.StatusOK, struct {
			User string      `json:"user"`
			Role models.Role `json:"role"`
			CSRF string      `json:"csrf"`
		}{in.Name, in.Role, in.CSRF})
	}
	return s.answerSignedIn(c)
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
	form := loginView(c)
	form.Username, form.Error = truncateInput(name), Msg(e.Text)
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
