package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/url"
	"testing"
)

func TestAccount(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	other, b := c.As(models.Viewer), c.As(models.Viewer)
	doc := b.Get("/account").Doc(t)
	if n := doc.Find(`form[action^="/account/sessions/"][action$="/end"]`).Length(); n != 1 {
		t.Fatalf("%d sessions can be ended, want the other one", n)
	}
	for name, tc := range map[string]struct {
		form  url.Values
		field string
	}{
		"wrong":  {url.Values{"current": {"nope"}, "password": {"a new password"}, "again": {"a new password"}}, "current"},
		"differ": {url.Values{"current": {storetest.Password}, "password": {"a new password"}, "again": {"another one"}}, "again"},
		"short":  {url.Values{"current": {storetest.Password}, "password": {"short"}, "again": {"short"}}, "password"},
	} {
		a := b.Post("/account", tc.form)
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		if got := a.Doc(t).Find("[aria-invalid=true]").AttrOr("name", "none"); got != tc.field {
			t.Errorf("%s: the message stands at %s, want %s", name, got, tc.field)
		}
	}
	end := doc.Find(`form[action^="/account/sessions/"][action$="/end"]`).AttrOr("action", "")
	apptest.WantStatus(t, c.As(models.Operator).Post(end, nil, "Accept", "application/json"), http.StatusNotFound)
	a := b.Post("/account", url.Values{"current": {storetest.Password}, "password": {"a new password"}, "again": {"a new password"}})
	apptest.WantStatus(t, a, http.StatusSeeOther)
	if n := b.Get("/account").Doc(t).Find("#messages .alert").Length(); n != 1 {
		t.Errorf("%d messages after the change, want 1", n)
	}
	if n := b.Get("/account").Doc(t).Find("#messages .alert").Length(); n != 0 {
		t.Error("the message comes again")
	}
	apptest.WantStatus(t, other.Get("/account"), http.StatusSeeOther)
	apptest.WantStatus(t, b.Get("/account"), http.StatusOK)
}
