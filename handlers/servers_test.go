package handlers_test

import (
	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// newExportConsole is a console whose storage serves volumes itself.
func newExportConsole(t *testing.T, protocol string, settings ...string) *console {
	t.Helper()
	c := newConsole(t, settings...)
	c.ServeExports(protocol, "0.0.0.0:10809")
	return c
}

// server registers one.
func (c *console) server(name, address string) *models.Server {
	c.t.Helper()
	row, err := c.Store.Servers.AddServer(c.t.Context(), storetest.Administrator(), models.ServerInput{Name: name, Address: address})
	if err != nil {
		c.t.Fatal(err)
	}
	return row
}

func TestServers_Register(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	admin := c.As(models.Administrator)
	apptest.WantText(t, admin.Get(views.ServersPath), "main .empty", "등록된 서버가 없습니다")
	bad := apptest.Form("name", "web 1", "address", "10.0.0.5/8", "form_key", "k")
	for _, headers := range [][]string{nil, apptest.HTMX} {
		a := admin.Post(views.ServersPath, bad, headers...)
		apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
		apptest.WantFieldError(t, a, "name", "1자 이상 64자 이내")
		apptest.WantFieldError(t, a, "address", "10.0.0.0/8")
		for field, want := range map[string]string{"name": "web 1", "address": "10.0.0.5/8", "form_key": "k"} {
			if got := a.Doc(t).Find("#popup-form input[name="+field+"]").AttrOr("value", ""); got != want {
				t.Errorf("%s holds %q", field, got)
			}
		}
	}
	if body := apptest.WantProblem(t, admin.Post(views.ServersPath, bad, apptest.AsJSON...), http.StatusUnprocessableEntity); len(body.Fields) != 2 {
		t.Errorf("JSON says %+v", body)
	}
	good := apptest.Form("name", "web-1", "address", "10.0.0.5, 10.1.0.0/24", "form_key", "k2")
	a := admin.Post(views.ServersPath, good)
	apptest.WantStatus(t, a, http.StatusSeeOther)
	if a.Header.Get("Location") != views.ServersPath {
		t.Errorf("leads to %s", a.Header.Get("Location"))
	}
	apptest.WantText(t, admin.Get(views.ServersPath), "#messages", "web-1")
	a = admin.Post(views.ServersPath, apptest.Form("name", "web-1", "address", "10.0.0.6"), c.FromList(views.ServersPath)...)
	apptest.WantStatus(t, a, http.StatusUnprocessableEntity)
	apptest.WantFieldError(t, a, "name", "이미 등록된")
	a = admin.Post(views.ServersPath, apptest.Form("name", "db-1", "address", "10.1.0.7"), c.FromList(views.ServersPath)...)
	apptest.WantStatus(t, a, http.StatusOK)
	if events := a.Header.Get("HX-Trigger"); !strings.Contains(events, "popup:close") || !strings.Contains(events, "list:refresh") {
		t.Errorf("fires %s", events)
	}
	page := admin.Get(views.ServersPath)
	apptest.WantText(t, page, "main .callout-warn", "TLS")
	for _, other := range []string{"web-1", "db-1"} {
		if !strings.Contains(page.Doc(t).Find("main .badge-crash").Text(), other) {
			t.Errorf("the page does not say that %s shares its address", other)
		}
	}
	a = admin.Post(views.ServersPath, apptest.Form("name", "api", "address", "2001:db8::5"), apptest.AsJSON...)
	apptest.WantStatus(t, a, http.StatusCreated)
	var list struct{ Items []serverItem }
	if err := json.Unmarshal([]byte(admin.Get(views.ServersPath, apptest.AsJSON...).Body), &list); err != nil || len(list.Items) != 3 || list.Items[2].Addresses[1] != "10.1.0.0/24" {
		t.Errorf("%+v %v", list, err)
	}
	apptest.WantStatus(t, admin.Get(a.Header.Get("Location"), apptest.AsJSON...), http.StatusOK)
	apptest.WantText(t, admin.Get("/admin/audit"), "main table", "서버 등록")
	apptest.WantStatus(t, c.Get(views.ServersPath), http.StatusForbidden)
}

type serverItem struct {
	ID, Name  string
	Addresses []string
	Volumes   int
}

func TestServers_EditAndDelete(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	admin := c.As(models.Administrator)
	s := c.server("web-1", "10.0.0.5")
	path := views.ServersPath + "/" + s.ID
	for _, popup := range []string{views.ServersPath + "/new", path, path + "/delete"} {
		page, fragment := admin.Get(popup), admin.Get(popup, "HX-Request", "true", "HX-Current-URL", c.URL()+popup)
		if !strings.Contains(withoutKey(page.Body), withoutKey(fragment.Body)) || fragment.Doc(t).Find("body > #popup-form h1#popup-title").Length() != 1 {
			t.Errorf("%s: the fragment is not a part of the page:\n%s", popup, fragment.Body)
		}
	}
	apptest.WantStatus(t, admin.Post(path, apptest.Form("name", "web-2", "address", "10.0.0.6", "version", "1")), http.StatusSeeOther)
	a := admin.Post(path, apptest.Form("name", "web-3", "address", "10.0.0.7", "version", "1"))
	apptest.WantStatus(t, a, http.StatusConflict)
	apptest.WantText(t, a, "#popup-form .callout-warn", "web-2")
	if got := a.Doc(t).Find("input[name=version]").AttrOr("value", ""); got != "2" {
		t.Errorf("the form has version %s", got)
	}
	v, _ := c.attachedTo("data-1", s)
	popup := admin.Get(path + "/delete")
	apptest.WantText(t, popup, "#popup-form .blockers a[href='"+apptest.VolumePath(v.ID)+"']", "data-1")
	apptest.WantNone(t, popup, "#popup-form form[method=post]")
	a = admin.Post(path+"/delete", nil, apptest.HTMX...)
	apptest.WantStatus(t, a, http.StatusConflict)
	apptest.WantText(t, a, "#popup-form .blockers a", "data-1")
	apptest.WantProblem(t, admin.Post(path+"/delete", nil, apptest.AsJSON...), http.StatusConflict)
	if _, err := c.Store.Volumes.DetachVolume(t.Context(), storetest.Operator(), v.ID, s.ID, false, ""); err != nil {
		t.Fatal(err)
	}
	c.Work()
	apptest.WantStatus(t, admin.Post(path+"/delete", nil), http.StatusSeeOther)
	apptest.WantStatus(t, admin.Get(path), http.StatusNotFound)
	apptest.WantStatus(t, admin.Post(path+"/delete", nil, apptest.AsJSON...), http.StatusNotFound)
}

func TestServers_OfStorageReadOnly(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	admin := c.As(models.Administrator)
	page := admin.Get(views.ServersPath)
	apptest.WantText(t, page, "main .inline-note", "저장소가 관리하는 서버")
	apptest.WantText(t, page, "main table", "web-1")
	apptest.WantNone(t, page, "main .toolbar, main td.c-do")
	for _, popup := range []string{"/new", "/server-1", "/server-1/delete"} {
		a := admin.Get(views.ServersPath + popup)
		apptest.WantStatus(t, a, http.StatusOK)
		apptest.WantNone(t, a, "main form[method=post]")
	}
	for _, path := range []string{"", "/server-1", "/server-1/delete"} {
		a := admin.Post(views.ServersPath+path, apptest.Form("name", "mine", "address", "10.0.0.5"), apptest.AsJSON...)
		if body := apptest.WantProblem(t, a, http.StatusConflict); body.Code != string(models.CodeUnsupported) {
			t.Errorf("%s: %+v", path, body)
		}
	}
}

// The form says who is connected before a change that may disconnect them.
func TestServers_EditNamesConnectedClients(t *testing.T) {
	t.Parallel()
	c := newExportConsole(t, "nbd")
	admin := c.As(models.Administrator)
	s := c.server("web-1", "10.0.0.5")
	path := views.ServersPath + "/" + s.ID
	popup := admin.Get(path)
	apptest.WantText(t, popup, "#popup-form .hint-note", "1초 안에")
	apptest.WantNone(t, popup, "#popup-form .callout")
	v, _ := c.attachedTo("data-1", s)
	c.connect(v, s, "10.0.0.5:43210")
	neighbour := c.server("web-2", "10.0.0.6")
	other, _ := c.attachedTo("data-2", neighbour)
	c.connect(other, neighbour, "10.0.0.6:43210")
	for _, a := range []apptest.Answer{admin.Get(path), admin.Post(path, apptest.Form("name", "", "address", "10.0.0.9", "version", "1"))} {
		apptest.WantText(t, a, "#popup-form .callout-caution .callout-title", "클라이언트 1개")
		apptest.WantText(t, a, "#popup-form .callout-caution", "1초 안에")
		apptest.WantText(t, a, "#popup-form .callout-caution a[href='"+apptest.VolumePath(v.ID)+"']", "data-1")
		apptest.WantText(t, a, "#popup-form .callout-caution li", "10.0.0.5:43210")
	}
	apptest.WantText(t, admin.Get(path, "Accept-Language", "en"), "#popup-form .callout-caution", "within a second")
}
