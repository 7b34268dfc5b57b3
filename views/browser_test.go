package views_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/a-h/templ"
	"github.com/chromedp/chromedp"

	"blockconsole/static"
	"blockconsole/views"
	"blockconsole/views/viewtest"
)

// policy is the content security policy of every page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// storyServer serves the stories as pages, and their fragments below /fragment/.
func storyServer(t *testing.T) *httptest.Server {
	all := map[string]story{}
	for _, s := range stories() {
		all[s.name] = s
	}
	mux := http.NewServeMux()
	mux.HandleFunc(static.Prefix, func(w http.ResponseWriter, r *http.Request) {
		f, ok := static.Open(strings.TrimPrefix(r.URL.Path, static.Prefix))
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", f.ContentType)
		_, _ = w.Write(f.Content)
	})
	serve := func(w http.ResponseWriter, r *http.Request, name string, whole bool) {
		s, ok := all[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f := frame()
		s.frame(f)
		f.Theme = r.URL.Query().Get("theme")
		ctx := inLang(r.URL.Query().Get("lang"), f)
		body := s.make(t, ctx)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		if whole {
			ctx = templ.WithChildren(ctx, body)
			body = views.Layout(f)
		}
		_, _ = w.Write([]byte(html(t, ctx, body)))
	}
	mux.HandleFunc("/page/{name}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, r.PathValue("name"), true) })
	mux.HandleFunc("/fragment/{name}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, r.PathValue("name"), false) })
	mux.HandleFunc("/found", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(html(t, inLang("", frame()), views.Found(1000, true))))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

type look struct {
	lang, theme string
	width       int64
}

func (l look) String() string { return fmt.Sprintf("%s-%s-%d", l.lang, l.theme, l.width) }

// looks are the ways each story is looked at: every language with every theme on
// every width in CI and when screenshots are kept, else two that cover them all.
func looks() []look {
	if os.Getenv(viewtest.ScreenshotsEnv) == "" && os.Getenv(viewtest.RequireEnv) == "" {
		return []look{{"ko", "light", 1280}, {"en", "dark", 390}}
	}
	var all []look
	for _, lang := range []string{"ko", "en"} {
		for _, theme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				all = append(all, look{lang, theme, width})
			}
		}
	}
	return all
}

// TestStories opens every page and popup in Chromium under the real policy and
// fails on anything the page complains about, any violation that axe-core finds,
// any text that is missing, and any page that is wider than the screen.
func TestStories(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: opens every page in a browser")
	}
	tab := viewtest.NewTab(t, viewtest.Browser(t))
	server := storyServer(t)
	only := os.Getenv("BLOCKCONSOLE_STORY")
	for _, l := range looks() {
		height := int64(800)
		if l.width < 600 {
			height = 844
		}
		tab.Size(l.width, height)
		tab.Media(l.theme)
		for _, s := range stories() {
			if only != "" && !strings.HasPrefix(s.name, only) {
				continue
			}
			t.Run(s.name+"/"+l.String(), func(t *testing.T) { tell(t, tab, server.URL, s, l) })
		}
	}
}

// TestPopupsAsPages opens every popup as the page it is without JavaScript.
func TestPopupsAsPages(t *testing.T) {
	if testing.Short() {
		t.Skip("skipped: opens every popup in a browser")
	}
	tab := viewtest.NewTab(t, viewtest.Browser(t))
	server := storyServer(t)
	tab.Size(1280, 800)
	tab.Media("light")
	for _, s := range stories() {
		if s.popup {
			s.popup = false
			t.Run(s.name, func(t *testing.T) { tell(t, tab, server.URL, s, look{"ko", "page", 1280}) })
		}
	}
}

func tell(t *testing.T, tab *viewtest.Tab, base string, s story, l look) {
	query := "?lang=" + l.lang
	page := s.name
	if s.popup {
		page = "snapshots"
	}
	tab.Do(chromedp.Navigate(base + "/page/" + page + query))
	if s.popup {
		tab.Do(chromedp.WaitReady(chromedp.CSS("#popup-body")))
		opened := viewtest.Eval[bool](tab, `htmx.ajax("GET", "/fragment/`+s.name+query+`", {target: "#popup-body", swap: "innerHTML"}).then(() => document.querySelector("#popup").open)`)
		if !opened {
			t.Error("the popup did not open")
		}
	}
	tab.Screenshot(s.name+"--"+l.String(), false)
	for _, c := range tab.Complaints() {
		t.Errorf("console: %s", c)
	}
	for _, v := range tab.Axe() {
		t.Errorf("axe: %s", v)
	}
	if text := viewtest.Eval[string](tab, `document.documentElement.outerHTML`); strings.Contains(text, "⟦") {
		t.Errorf("a text is missing: %s", text[strings.Index(text, "⟦"):][:60])
	}
	if wide := viewtest.Eval[int](tab, `document.documentElement.scrollWidth - innerWidth`); wide > 0 {
		t.Errorf("the page is %d px wider than the screen", wide)
	}
}
