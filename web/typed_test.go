package web_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// typedForms are the forms of the console: the page, the form that it posts, and what
// is typed there.
func typedForms(c *apptest.Console) map[string]url.Values {
	volume := c.NewVolume("vol-1", 1)
	snapshot, other := c.NewSnapshot(volume, "snap-1"), c.NewVolume("vol-2", 1)
	third := c.NewVolume("vol-3", 1)
	c.Work()
	return map[string]url.Values{
		views.VolumesPath + "/new":                                       apptest.Form("name", "typed <b>&amp; 이름", "size_gib", "7", "server_id", "server-2", "description", "설명"),
		views.VolumesPath + "/new?snapshot_id=" + snapshot.ID:            apptest.Form("name", "typed-restore", "size_gib", "9"),
		apptest.VolumePath(volume.ID, "edit"):                            apptest.Form("name", "typed-edit", "description", "typed"),
		apptest.VolumePath(volume.ID, "extend"):                          apptest.Form("size_gib", "77"),
		apptest.VolumePath(volume.ID, "attach"):                          apptest.Form("server_id", "server-2"),
		apptest.VolumePath(volume.ID, "snapshots/new"):                   apptest.Form("name", "typed-snap", "description", "typed"),
		views.SnapshotsPath + "/new":                                     apptest.Form("name", "typed-snap", "volume_id", volume.ID),
		apptest.SnapshotPath(snapshot.ID, "edit"):                        apptest.Form("name", "typed-edit"),
		apptest.SnapshotPath(snapshot.ID, "restore"):                     apptest.Form("name", "typed-restore", "size_gib", "3"),
		views.VolumesPath + "/delete?id=" + other.ID + "&id=" + third.ID: apptest.Form(),
		"/admin/users": apptest.Form("name", "typed-user", "role", "operator", "password", "a long secret 1"),
	}
}

// submit is what a browser sends of the first form with a text field, or else the
// first popup form, with some fields typed.
func submit(t *testing.T, page apptest.Answer, typed url.Values) (action string, sent url.Values) {
	t.Helper()
	form := page.Doc(t).Find("main form#typed")
	if form.Length() != 1 {
		t.Fatalf("%d forms to type in: %s", form.Length(), page.Body)
	}
	sent = url.Values{}
	form.Find("input[name], select[name]").Each(func(_ int, s *goquery.Selection) {
		name, kind := s.AttrOr("name", ""), s.AttrOr("type", "")
		if kind == "hidden" || kind == "text" {
			sent.Add(name, s.AttrOr("value", ""))
		}
	})
	for name, values := range typed {
		sent[name] = values
	}
	return form.AttrOr("action", ""), sent
}

// hidden are the hidden fields of the sign-in form.
func hidden(t *testing.T, login apptest.Answer) url.Values {
	t.Helper()
	all := url.Values{}
	login.Doc(t).Find(`form[action="/login"] input[type=hidden]`).Each(func(_ int, s *goquery.Selection) {
		all.Add(s.AttrOr("name", ""), s.AttrOr("value", ""))
	})
	return all
}

// TestTyped_ExpiredSession: a form that is sent after the session ended comes back as
// it was typed when the same person has signed in, and nothing was carried out.
func TestTyped_ExpiredSession(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for path, typed := range typedForms(c) {
		t.Run(path, func(t *testing.T) {
			b := c.As(models.Administrator).For(t)
			action, sent := submit(t, b.Get(path, "Accept", "text/html"), typed)
			apptest.WantStatus(t, b.Post("/account/sessions/end-others", nil), http.StatusSeeOther)
			c.Clock.Add(9 * time.Hour)
			unchanged := c.Unchanged()

			login := b.Post(action, sent, "Accept", "text/html", "Referer", c.URL()+views.VolumesPath+"?q=x")
			apptest.WantStatus(t, login, http.StatusUnauthorized)
			if strings.Contains(login.Body, "a long secret 1") {
				t.Fatal("the sign-in page carries a password")
			}
			carried := hidden(t, login)
			carried.Set("username", "administrator")
			carried.Set("password", "wrong")
			login = b.Post("/login", carried)
			apptest.WantStatus(t, login, http.StatusUnauthorized)
			carried = hidden(t, login)
			carried.Set("username", "administrator")
			carried.Set("password", storetest.Password)
			filled := b.Post("/login", carried)
			apptest.WantStatus(t, filled, http.StatusOK)
			if filled.Doc(t).Find(".banner[role=alert]").Length() != 1 {
				t.Error("nothing says that it was not carried out")
			}
			again, fields := submit(t, filled, nil)
			if again != action || fields.Get("form_key") != sent.Get("form_key") || fields.Get("version") != sent.Get("version") {
				t.Errorf("it posts %v to %s, want %v to %s", fields, again, sent, action)
			}
			for name, values := range typed {
				if got := valueOf(filled.Doc(t).Find("#typed"), name); name != "password" && got != values[0] {
					t.Errorf("%s is %q, want %q", name, got, values[0])
				}
			}
			unchanged(t)
		})
	}
}

// valueOf is the value of a field, as a browser would send it.
func valueOf(form *goquery.Selection, name string) string {
	field := form.Find(`[name="` + name + `"]`)
	switch {
	case field.Is("select"):
		return field.Find("option[selected]").AttrOr("value", "")
	case field.Is("[type=radio]"):
		return field.Filter("[checked]").AttrOr("value", "")
	}
	return field.AttrOr("value", "")
}

// TestTyped_OtherPerson: what one person typed is not shown to another, whatever the
// fields say.
func TestTyped_OtherPerson(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Administrator)
	action, sent := submit(t, b.Get(views.VolumesPath+"/new"), apptest.Form("name", "secret-plan"))
	c.Clock.Add(9 * time.Hour)
	login := b.Post(action, sent, "Accept", "text/html", "Referer", c.URL()+"/help")
	apptest.WantStatus(t, login, http.StatusUnauthorized)
	carried := hidden(t, login)
	carried.Set("username", "operator")
	carried.Set("password", storetest.Password)
	other := b.Post("/login", carried)
	apptest.WantStatus(t, other, http.StatusSeeOther)
	if to := other.Header.Get("Location"); to != "/help" {
		t.Errorf("it leads to %s", to)
	}
	if next := b.Get("/help"); strings.Contains(next.Body, "secret-plan") {
		t.Error("another person sees what was typed")
	}
	operator, err := c.Store.Sessions.Session(t.Context(), b.Session())
	if err != nil {
		t.Fatal(err)
	}
	for _, forged := range []string{"", operator.UserID, operator.Name} {
		carried.Set("person", forged)
		apptest.WantStatus(t, b.Post("/login", carried), http.StatusSeeOther)
	}
}

// TestTyped_NoForm: what has no form of its own is not carried out after the sign-in,
// and that is said.
func TestTyped_NoForm(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	b := c.As(models.Operator)
	person := b.Get("/account").Doc(t).Find("main form input[name=_person]").AttrOr("value", "")
	c.Clock.Add(9 * time.Hour)
	login := b.Post("/account/sessions/end-others", apptest.Form("_person", person), "Accept", "text/html", "Referer", c.URL()+"/account")
	apptest.WantStatus(t, login, http.StatusUnauthorized)
	carried := hidden(t, login)
	carried.Set("username", "operator")
	carried.Set("password", storetest.Password)
	back := b.Post("/login", carried)
	apptest.WantStatus(t, back, http.StatusSeeOther)
	if to := back.Header.Get("Location"); to != "/account" {
		t.Errorf("it leads to %s", to)
	}
	if page := b.Get("/account"); page.Doc(t).Find("#messages .alert").Length() != 1 {
		t.Error("nothing says that it was not carried out")
	}
}

// TestTyped_Language: another language or look keeps what was typed, also on the
// sign-in page and on a form that was refused.
func TestTyped_Language(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	for path, typed := range typedForms(c) {
		b := c.As(models.Administrator).For(t)
		page := b.Get(path)
		_, sent := submit(t, page, typed)
		unchanged := c.Unchanged()
		for _, to := range []string{"lang=en", "theme=dark", "density=compact"} {
			if page.Doc(t).Find(`header a[data-preference="`+to+`"]`).Length() != 1 {
				t.Fatalf("%s: no link for %s", path, to)
			}
			shown := b.Post("/show?"+to, sent)
			apptest.WantStatus(t, shown, http.StatusOK)
			if to == "lang=en" && shown.Doc(t).Find("html[lang=en]").Length() != 1 {
				t.Errorf("%s: not in English", path)
			}
			for name, values := range typed {
				if got := valueOf(shown.Doc(t).Find("#typed"), name); name != "password" && got != values[0] {
					t.Errorf("%s: %s is %q, want %q", path, name, got, values[0])
				}
			}
		}
		unchanged(t)
	}
	page := c.As(models.Operator).Get(views.VolumesPath + "/new").Doc(t)
	if first := page.Find("button[form=typed], #typed button:not([form])").First(); !first.HasClass("popup-submit") {
		t.Error("Enter would press another button than the form's")
	}
	if to := page.Find("main button[form=typed]").AttrOr("formaction", ""); to != "/show?lang=en" {
		t.Errorf("without scripts, the other language is at %q", to)
	}
	b := c.As(models.Operator)
	apptest.WantStatus(t, b.Post("/show", apptest.Form("_action", "/nowhere")), http.StatusNotFound)
	apptest.WantStatus(t, b.Post("/show", nil), http.StatusNotFound)
	apptest.WantStatus(t, b.Post("/show", apptest.Form("_action", "/admin/users")), http.StatusForbidden)
}

// TestTyped_HTMX: htmx is told by an event, and the script decides what to do.
func TestTyped_HTMX(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	nobody := c.NewClient()
	for _, send := range []func() apptest.Answer{
		func() apptest.Answer {
			return nobody.Get(views.VolumesPath+"/new", c.FromList(views.VolumesPath+"?q=a")...)
		},
		func() apptest.Answer {
			return nobody.Post(views.VolumesPath, apptest.Form("name", "typed"), c.FromList(views.VolumesPath+"?q=a")...)
		},
		func() apptest.Answer {
			return nobody.Get(views.VolumesPath+"/events", append(c.FromList(views.VolumesPath+"?q=a"), "Accept", "text/event-stream")...)
		},
	} {
		a := send()
		apptest.WantStatus(t, a, http.StatusUnauthorized)
		var events struct {
			Expired struct{ Address string } `json:"session:expired"`
		}
		if err := json.Unmarshal([]byte(a.Header.Get("HX-Trigger")), &events); err != nil {
			t.Fatalf("HX-Trigger is %q: %v", a.Header.Get("HX-Trigger"), err)
		}
		if want := "/login?next=" + url.QueryEscape(views.VolumesPath+"?q=a"); events.Expired.Address != want || a.Header.Get("HX-Redirect") != "" {
			t.Errorf("address %q, HX-Redirect %q", events.Expired.Address, a.Header.Get("HX-Redirect"))
		}
	}
	signIn := func(person string) apptest.Answer {
		return c.NewClient().Post("/login", apptest.Form("username", "operator", "password", storetest.Password, "person", person, "next", "/help"), apptest.HTMX...)
	}
	person := c.Get("/account").Doc(t).Find("main form input[name=_person]").AttrOr("value", "")
	if a := signIn(person); a.StatusCode != http.StatusOK || !strings.Contains(a.Header.Get("HX-Trigger"), "session:renewed") {
		t.Errorf("the same person: %s, %v", a.Status, a.Header)
	}
	if a := signIn("another"); a.Header.Get("HX-Redirect") != "/help" || a.Header.Get("HX-Trigger") != "" {
		t.Errorf("another person: %s, %v", a.Status, a.Header)
	}
}
