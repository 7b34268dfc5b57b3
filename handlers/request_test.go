package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

func newContext(method, target string, headers ...string) (echo.Context, *httptest.ResponseRecorder) {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	c := echo.New().NewContext(r, w)
	SetRequest(c, &Request{Site: &Site{Now: func() time.Time { return time.Unix(1_800_000_000, 0) }, TimeZone: "Asia/Seoul"}})
	return c, w
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/", "//evil.example", `/\evil`, "/a?b=//c", "/%2f%2fevil", "https://evil", "/\r\nX: y", "/a#b", "/;//x", "/ /x", "\t/x"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://console.example.com/login")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := LocalPath(path, "/safe")
		if got != path && got != "/safe" {
			t.Fatalf("%q became %q", path, got)
		}
		// What browsers do: they drop tabs and line ends, and read a backslash as a slash.
		browser := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(strings.TrimFunc(got, func(r rune) bool { return r <= ' ' }))
		u, err := base.Parse(browser)
		if err != nil || u.Host != base.Host || u.Scheme != base.Scheme {
			t.Fatalf("%q leads to %v, error %v", got, u, err)
		}
	})
}

func TestFormats(t *testing.T) {
	for accept, want := range map[string]Format{
		"": HTML, "*/*": HTML, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": HTML,
		"application/json": JSON, "application/json, text/plain, */*": JSON, "application/json;q=0.5, text/html": HTML, "text/html;q=0.5, application/json": JSON,
		"text/csv": CSV, "text/event-stream": Events, "application/*": JSON, "text/*": HTML, "image/png": HTML, "application/json;q=0": HTML,
		"application/json;q=x": HTML, ";;;": HTML, "text/html, application/json": HTML, "TEXT/CSV": CSV, "*/*;q=0.1, text/csv;q=0.1": CSV,
	} {
		c, _ := newContext(http.MethodGet, "/", "Accept", accept)
		if got := Wants(c); got != want {
			t.Errorf("Accept %q: %s, want %s", accept, got, want)
		}
	}
}

func TestFragmentIsAPartOfThePage(t *testing.T) {
	render := func(headers ...string) *httptest.ResponseRecorder {
		c, w := newContext(http.MethodGet, "/storage/block-storage/volumes/new", headers...)
		if err := Render(c, http.StatusOK, "title", views.LoginPage(views.Login{Next: "/x"})); err != nil {
			t.Fatal(err)
		}
		return w
	}
	page, fragment := render(), render("HX-Request", "true")
	if !strings.Contains(page.Body.String(), "<html") || strings.Contains(fragment.Body.String(), "<html") {
		t.Error("page and fragment are mixed up")
	}
	if fragment.Body.Len() == 0 || !strings.Contains(page.Body.String(), fragment.Body.String()) {
		t.Error("the fragment is not a part of the page")
	}
	for _, whole := range []*httptest.ResponseRecorder{render("HX-Request", "true", "HX-Boosted", "true"), render("HX-Request", "true", "HX-History-Restore-Request", "true")} {
		if whole.Body.String() != page.Body.String() {
			t.Error("a boosted or restored page is not whole")
		}
	}
	for _, name := range []string{"HX-Request", "HX-Boosted", "HX-History-Restore-Request", "Accept", "Cookie"} {
		if !slices.Contains(fragment.Header().Values("Vary"), name) {
			t.Errorf("Vary is %v", fragment.Header().Values("Vary"))
		}
	}
}

func TestFailedRenderingSendsNothing(t *testing.T) {
	broken := templ.ComponentFunc(func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, "half a page")
		return errors.Join(err, errors.New("broken"))
	})
	c, w := newContext(http.MethodGet, "/")
	if err := Render(c, http.StatusOK, "", broken); err == nil || c.Response().Committed || w.Body.Len() > 0 {
		t.Errorf("error %v, sent %q", err, w.Body)
	}
}

func TestPageURL(t *testing.T) {
	for name, tc := range map[string]struct {
		method, target string
		headers        []string
		want           string
	}{
		"page":                        {"GET", "/storage/block-storage/volumes?q=a%20b&sort=name", nil, "/storage/block-storage/volumes?q=a%20b&sort=name"},
		"without the look":            {"GET", "/a?lang=en&q=1&theme=dark&density=compact&x=2", nil, "/a?q=1&x=2"},
		"nothing but the look":        {"GET", "/a?lang=en", nil, "/a"},
		"fragment":                    {"GET", "/a/new", []string{"HX-Request", "true", "HX-Current-URL", "http://x.example/list?q=1&lang=en"}, "/list?q=1"},
		"fragment of a strange page":  {"GET", "/a/new", []string{"HX-Request", "true", "HX-Current-URL", "http://x.example//evil"}, "/"},
		"form shown again":            {"POST", "/a?x=1", nil, "/a"},
		"a path with two slashes":     {"GET", "http://x.example//evil.example/a", nil, "/"},
		"a path that is not its text": {"GET", "/a%2Fb?q=%00", nil, "/a%2Fb?q=%00"},
	} {
		c, _ := newContext(tc.method, tc.target, tc.headers...)
		if got := pageURL(c); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestNoticesComeOnce(t *testing.T) {
	signedIn := func(c echo.Context, token string) {
		SetRequest(c, &Request{Site: RequestOf(c).Site, SignedIn: &models.SignedIn{}, Token: token})
	}
	c, w := newContext(http.MethodPost, "/")
	signedIn(c, "mine")
	Notify(c, views.Alert{Message: views.Message{Key: "accepted.password"}, Link: "//evil.example"})
	cookie := w.Result().Cookies()[0]
	c, w = newContext(http.MethodGet, "/")
	signedIn(c, "mine")
	c.Request().AddCookie(cookie)
	notices := takeNotices(c)
	if len(notices) != 1 || notices[0].Message.Key != "accepted.password" || notices[0].Link != "" {
		t.Errorf("notices are %+v", notices)
	}
	if gone := w.Result().Cookies(); len(gone) != 1 || gone[0].MaxAge >= 0 {
		t.Errorf("cookies are %v", gone)
	}
	for _, forged := range []string{"", "x", "bm90IEpTT04", "eyJNZXNzYWdlIjp7IktleSI6Im5vLnN1Y2gua2V5In19"} {
		c, _ = newContext(http.MethodGet, "/")
		signedIn(c, "mine")
		c.Request().AddCookie(&http.Cookie{Name: cookie.Name, Value: forged})
		if notices := takeNotices(c); len(notices) != 0 {
			t.Errorf("%q says %+v", forged, notices)
		}
	}
	for _, token := range []string{"another's", ""} {
		c, _ = newContext(http.MethodGet, "/")
		signedIn(c, token)
		c.Request().AddCookie(cookie)
		if notices := takeNotices(c); len(notices) != 0 {
			t.Errorf("to the session %q it says %+v", token, notices)
		}
	}
}

func TestFormErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		status int
		fields int
		denied bool
	}{
		"field":    {models.Invalid("name", models.NewText("name.invalid")), http.StatusUnprocessableEntity, 1, false},
		"conflict": {models.Refused(&models.Denial{Text: models.NewText("deny.error_deleting")}), http.StatusConflict, 0, true},
		"stale":    {&models.Error{Code: models.CodeStale, Text: models.NewText("form.invalid")}, http.StatusConflict, 0, false},
		"internal": {errors.New("secret"), 0, 0, false},
		"missing":  {models.ErrNotFound, 0, 0, false},
	} {
		var form views.Form
		status, ok := FormError(&form, tc.err)
		if status != tc.status || ok != (tc.status != 0) || len(form.Errors) != tc.fields || (form.Denial != nil) != tc.denied {
			t.Errorf("%s: %d, %+v", name, status, form)
		}
	}
}

func TestUserAgentNames(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36 Edg/130.0": "Edge · Windows",
		"Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0":                                                "Firefox · Linux",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1 Version/18.0 Mobile Safari/604.1":             "Safari · iOS",
		"curl/8.5.0": "curl", "": "", "<script>": "<script>", strings.Repeat("가", 100): strings.Repeat("가", 60) + "…",
	} {
		if got := userAgentName(agent); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}
