package handlers

import (
	"context"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

const accountPath = "/account"

// AccountStore is what Account needs.
type AccountStore interface {
	ListSessions(ctx context.Context, actor models.Actor) ([]models.Session, error)
	EndSession(ctx context.Context, actor models.Actor, id string) error
	EndOtherSessions(ctx context.Context, actor models.Actor, keep string) error
	ChangePassword(ctx context.Context, actor models.Actor, current, password, keepSession string) error
}

// Account is the user's own page: password and sessions.
type Account struct{ Store AccountStore }

// Show shows the page.
func (a Account) Show(c echo.Context) error { return a.render(c, http.StatusOK, views.Form{}) }

func (a Account) render(c echo.Context, status int, form views.Form) error {
	sessions, err := a.Store.ListSessions(c.Request().Context(), Actor(c))
	if err != nil {
		return err
	}
	form.Action = accountPath
	page := views.Account{Form: form, SessionLimit: RequestOf(c).Site.SessionsPerUser}
	for _, s := range sessions {
		page.Sessions = append(page.Sessions, views.SessionRow{ID: s.ID, Address: s.Address, Browser: userAgentName(s.Browser),
			CreatedAt: s.CreatedAt, SeenAt: s.SeenAt, Current: s.ID == RequestOf(c).SignedIn.ID})
	}
	return Render(c, status, T(c, "nav.account"), views.AccountPage(page))
}

// ChangePassword sets a new password and ends the user's other sessions.
func (a Account) ChangePassword(c echo.Context) error {
	err := error(models.Invalid("again", models.NewText("password.mismatch")))
	if c.FormValue("password") == c.FormValue("again") {
		err = a.Store.ChangePassword(c.Request().Context(), Actor(c), c.FormValue("current"), c.FormValue("password"), RequestOf(c).SignedIn.ID)
	}
	if err != nil {
		var form views.Form
		status, ok := FormError(&form, err)
		if !ok || Wants(c) == JSON {
			return err
		}
		return a.render(c, status, form)
	}
	return a.done(c, "accepted.password")
}

// EndSession ends one of the user's sessions.
func (a Account) EndSession(c echo.Context) error {
	if err := a.Store.EndSession(c.Request().Context(), Actor(c), c.Param("session")); err != nil {
		return err
	}
	return a.done(c, "accepted.session.end")
}

// EndOtherSessions ends all of the user's sessions but this one.
func (a Account) EndOtherSessions(c echo.Context) error {
	if err := a.Store.EndOtherSessions(c.Request().Context(), Actor(c), RequestOf(c).SignedIn.ID); err != nil {
		return err
	}
	return a.done(c, "accepted.session.end")
}

func (a Account) done(c echo.Context, key string) error { return answerSaved(c, accountPath, key) }

// Names of browsers and systems by what their User-Agent contains. The first match
// counts, since most also claim to be others.
var (
	browsers = []struct{ mark, name string }{
		{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Whale/", "Whale"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"},
		{"HeadlessChrome/", "Chromium"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}, {"curl/", "curl"}, {"Go-http-client/", "Go"},
	}
	systems = []struct{ mark, name string }{
		{"Windows", "Windows"}, {"Android", "Android"}, {"iPhone", "iOS"}, {"iPad", "iPadOS"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)

const maxUserAgentRunes = 60

// userAgentName names the browser and the system of a User-Agent; an unknown one is
// cut.
func userAgentName(userAgent string) string {
	name := ""
	for _, b := range browsers {
		if strings.Contains(userAgent, b.mark) {
			name = b.name
			break
		}
	}
	if name == "" {
		if runes := []rune(userAgent); len(runes) > maxUserAgentRunes {
			return string(runes[:maxUserAgentRunes]) + "…"
		}
		return userAgent
	}
	for _, s := range systems {
		if strings.Contains(userAgent, s.mark) {
			return name + " · " + s.name
		}
	}
	return name
}
