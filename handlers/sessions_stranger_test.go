package handlers_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
)

// signedInBefore is a browser that has signed in and out.
func (c *console) signedInBefore(user string) *apptest.Client {
	c.t.Helper()
	b := c.NewClient()
	b.SignIn(user, storetest.Password)
	apptest.WantStatus(c.t, b.Post("/logout", nil), http.StatusSeeOther)
	return b
}

// guess tries wrong passwords, until they are no longer looked at.
func (c *console) guess(b *apptest.Client, user string, times int) {
	c.t.Helper()
	for range times {
		apptest.WantStatus(c.t, b.Post("/login", loginForm(user, "wrong")), http.StatusUnauthorized)
	}
	apptest.WantStatus(c.t, b.Post("/login", loginForm(user, "wrong")), http.StatusTooManyRequests)
}

// TestSignIn_StrangerGuesses: whoever guesses slows strangers, and never the browser that signed in before.
func TestSignIn_StrangerGuesses(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	owner, stranger := c.signedInBefore("viewer"), c.NewClient()
	c.guess(stranger, "viewer", store.AccountAttempts)
	apptest.WantStatus(t, c.NewClient().Post("/login", loginForm("viewer", storetest.Password)), http.StatusTooManyRequests)
	apptest.WantStatus(t, owner.Post("/login", loginForm("viewer", storetest.Password)), http.StatusSeeOther)
}

// TestSignIn_StrangersAddress: the same for all that share an address.
func TestSignIn_StrangersAddress(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	owner := c.signedInBefore("viewer")
	for range store.AddressAttempts {
		c.NewClient().Post("/login", loginForm("nobody "+models.NewID(), "wrong"))
	}
	apptest.WantStatus(t, c.NewClient().Post("/login", loginForm("operator", storetest.Password)), http.StatusTooManyRequests)
	apptest.WantStatus(t, owner.Post("/login", loginForm("viewer", storetest.Password)), http.StatusSeeOther)
}

// TestSignIn_Device: a browser that signed in before has a limit of its own, for the users that it signed in alone.
func TestSignIn_Device(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	shared := c.signedInBefore("viewer")
	shared.SignIn("operator", storetest.Password)
	apptest.WantStatus(t, shared.Post("/logout", nil), http.StatusSeeOther)
	c.guess(shared, "viewer", store.AccountAttempts)
	apptest.WantStatus(t, shared.Post("/login", loginForm("operator", storetest.Password)), http.StatusSeeOther)
	apptest.WantStatus(t, c.NewClient().Post("/login", loginForm("viewer", storetest.Password)), http.StatusSeeOther)

	c.guess(c.NewClient(), "administrator", store.AccountAttempts)
	apptest.WantStatus(t, shared.Post("/login", loginForm("administrator", storetest.Password)), http.StatusTooManyRequests)
	c.guess(c.NewClient(), "operator", store.AccountAttempts)
	for name, forge := range map[string]func(string) string{
		"none":      func(string) string { return "" },
		"made up":   func(string) string { return strings.Repeat("A", 26) + "." + strings.Repeat("A", 22) },
		"cut":       func(v string) string { return v[:40] },
		"of nobody": func(v string) string { return v[:26] },
		"huge":      func(v string) string { return v[:26] + strings.Repeat("."+strings.Repeat("A", 22), 1000) },
	} {
		b := c.NewClient()
		device := *shared.Cookie("blockconsole-device")
		device.Value = forge(device.Value)
		b.SetCookies(&device)
		if a := b.Post("/login", loginForm("operator", storetest.Password)); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
}

// TestAccount_StrangerGuesses: a stranger's guesses do not keep a signed-in user from changing the password, and a
// stolen session is not left to guess it.
func TestAccount_StrangerGuesses(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	owner := c.As(models.Viewer)
	c.guess(c.NewClient(), "viewer", store.AccountAttempts)
	change := func(current string) apptest.Answer {
		return owner.Post("/account", url.Values{"current": {current}, "password": {"a new password"}, "again": {"a new password"}})
	}
	apptest.WantStatus(t, change(storetest.Password), http.StatusSeeOther)
	for range store.AccountAttempts {
		apptest.WantStatus(t, change("wrong"), http.StatusUnprocessableEntity)
	}
	apptest.WantStatus(t, change("wrong"), http.StatusTooManyRequests)
}
