package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app/apptest"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestUsers_Manage(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin, kim := c.As(models.Administrator), c.NewClient()
	a := admin.Post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {"short"}})
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	doc := a.Doc(t)
	if doc.Find("[aria-invalid=true]").AttrOr("name", "") != "password" || doc.Find("input[name=name]").AttrOr("value", "") != "kim" {
		t.Errorf("form is %s", a.Body)
	}
	apptest.WantStatus(t, admin.Post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {storetest.Password}}), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Post("/admin/users", url.Values{"name": {"kim"}, "role": {"viewer"}, "password": {storetest.Password}}), http.StatusUnprocessableEntity)
	path := ""
	for _, href := range admin.Get("/admin/users").Doc(t).Find(`td.c-name a`).EachIter() {
		if href.Text() == "kim" {
			path = href.AttrOr("href", "")
		}
	}
	apptest.WantStatus(t, kim.Post("/login", loginForm("kim", storetest.Password)), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Post(path, url.Values{"role": {"administrator"}}), http.StatusSeeOther)
	apptest.WantStatus(t, kim.Get("/admin/users"), http.StatusOK)
	apptest.WantStatus(t, admin.Post(path, url.Values{"role": {"king"}}), http.StatusUnprocessableEntity)

	reset := admin.Post(path+"/password", nil)
	apptest.WantStatus(t, reset, http.StatusOK)
	password := reset.Doc(t).Find("[data-password]").Text()
	apptest.WantStatus(t, kim.Get("/account"), http.StatusSeeOther)
	if strings.Contains(admin.Get(path).Body, password) || strings.Contains(admin.Get("/admin/audit").Body, password) {
		t.Error("the new password is shown again")
	}
	apptest.WantStatus(t, kim.Post("/login", loginForm("kim", password)), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Post(path, url.Values{"disabled": {"1"}}), http.StatusSeeOther)
	apptest.WantStatus(t, kim.Get("/account"), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Post(path, url.Values{"disabled": {"2"}}, "Accept", "application/json"), http.StatusUnprocessableEntity)
	apptest.WantStatus(t, admin.Post(path+"/delete", nil), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Get(path), http.StatusNotFound)

	rows := admin.Get("/admin/audit").Doc(t).Find("table.audit tbody tr")
	if rows.Length() < 10 || strings.Contains(rows.Text(), "⟦") {
		t.Errorf("audit is %s", rows.Text())
	}
}

func TestUsers_LastAdministrator(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	users, err := c.Store.Users.ListUsers(t.Context(), models.Actor{Project: models.DefaultProject})
	if err != nil {
		t.Fatal(err)
	}
	admin := c.As(models.Administrator)
	for _, u := range users {
		if u.Name == models.FirstUser {
			apptest.WantStatus(t, admin.Post("/admin/users/"+u.ID+"/delete", nil), http.StatusSeeOther)
		}
	}
	for _, u := range users {
		if u.Name == string(models.Administrator) {
			a := admin.Post("/admin/users/"+u.ID, url.Values{"role": {"viewer"}})
			apptest.WantStatus(t, a, http.StatusConflict)
			if a.Doc(t).Find("[role=alert]").Length() != 1 {
				t.Errorf("page is %s", a.Body)
			}
		}
	}
}
