package views_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

func serveStatic(w http.ResponseWriter, r *http.Request) {
	f, ok := static.Open(strings.TrimPrefix(r.URL.Path, static.Prefix))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.ContentType)
	w.Header().Set("Cache-Control", "max-age=31536000, immutable")
	_, _ = w.Write(f.Content)
}

// scenarioServer serves the scenarios as whole pages below /page/ and as fragments
// below /fragment/.
func scenarioServer(t *testing.T) *httptest.Server {
	all := map[string]scenario{}
	for _, s := range scenarios() {
		all[s.name] = s
	}
	mux := http.NewServeMux()
	mux.HandleFunc(static.Prefix, serveStatic)
	serve := func(w http.ResponseWriter, r *http.Request, whole bool) {
		s, ok := all[r.PathValue("name")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		f := frame()
		s.frame(f)
		ctx := testContext(r.URL.Query().Get("lang"), f)
		body := s.body(t, ctx)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", policy)
		if whole {
			ctx = templ.WithChildren(ctx, body)
			body = views.Layout(f)
		}
		_, _ = w.Write([]byte(render(t, ctx, body)))
	}
	mux.HandleFunc("/page/{name}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, true) })
	mux.HandleFunc("/framed/{name}", func(w http.ResponseWriter, r *http.Request) { serve(unframedPolicy{w}, r, true) })
	mux.HandleFunc("/frame", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`<!DOCTYPE html><title>frame</title><iframe style="border:0;height:900px"></iframe>`))
	})
	mux.HandleFunc("/fragment/{name}", func(w http.ResponseWriter, r *http.Request) { serve(w, r, false) })
	mux.HandleFunc("/found", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(render(t, testContext("", frame()), views.FilteredCount(1000, true))))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server
}

// variant is one way to show a scenario. asPage: popups are whole pages, as without
// JavaScript, instead of dialogs.
type variant struct {
	lang, theme string
	width       int64
	asPage      bool
	axe         bool
}

func (v variant) String() string {
	name := fmt.Sprintf("%s-%s-%d", v.lang, v.theme, v.width)
	if v.asPage {
		name += "-page"
	}
	return name
}

// variants are a pairwise set: any two values of different factors meet in one of
// them. axe-core runs in those that have axe set, which between them have every
// value, and checks the contrast of pages and dialogs there in the other theme too.
// The slowest come first, so that the tabs finish together.
var variants = []variant{
	{lang: "ko", theme: "light", width: 1280, axe: true},
	{lang: "en", theme: "dark", width: 390, axe: true},
	{lang: "ko", theme: "light", width: 1280, asPage: true, axe: true},
	{lang: "en", theme: "dark", width: 390, asPage: true},
	{lang: "ko", theme: "dark", width: 1280},
	{lang: "ko", theme: "light", width: 390},
	{lang: "en", theme: "light", width: 1280},
}

// TestVariants_CoverEveryPair keeps the set pairwise, and axe-core on every value.
func TestVariants_CoverEveryPair(t *testing.T) {
	t.Parallel()
	pairs, values := map[string]bool{}, map[string]bool{}
	for _, v := range variants {
		factors := []string{v.lang, v.theme, fmt.Sprint(v.width), fmt.Sprint("page ", v.asPage)}
		for i, a := range factors {
			if v.axe {
				values[a] = true
			}
			for _, b := range factors[i+1:] {
				pairs[a+" "+b] = true
			}
		}
	}
	if len(pairs) != 6*4 || len(values) != 4*2 {
		t.Errorf("%d of 24 pairs, axe-core on %d of 8 values", len(pairs), len(values))
	}
}

// TestBrowserScenarios opens every page and popup in Chromium under the real
// content security policy. It fails on console messages, violations of axe-core,
// texts that the catalog lacks, and pages that are wider than the viewport.
func TestBrowserScenarios(t *testing.T) {
	t.Parallel()
	browser := viewtest.Browser(t)
	server := scenarioServer(t)
	for _, v := range variants {
		t.Run(v.String(), func(t *testing.T) {
			t.Parallel()
			tab := viewtest.NewTab(t, browser)
			height := int64(800)
			if v.width < 600 {
				height = 844
			}
			tab.SetViewport(v.width, height)
			for _, s := range scenarios() {
				if s.popup || !v.asPage {
					t.Run(s.name, func(t *testing.T) { checkScenario(t, tab.For(t), server.URL, s, v) })
				}
			}
		})
	}
}

func checkScenario(t *testing.T, tab *viewtest.Tab, base string, s scenario, v variant) {
	tab.EmulateColorScheme(v.theme)
	query := "?lang=" + v.lang
	if s.popup && !v.asPage {
		openPopup(t, tab, base, s.name, query)
	} else {
		tab.Do(chromedp.Navigate(base + "/page/" + s.name + query))
	}
	tab.Screenshot(s.name+"--"+v.String(), false)
	if v.axe {
		for _, violation := range tab.Axe() {
			t.Errorf("axe: %s", violation)
		}
	}
	page := viewtest.Eval[struct {
		Missing  string
		Overflow int
	}](tab, `({Missing: document.documentElement.outerHTML.match(/⟦[^⟧]*/)?.[0] ?? "", Overflow: document.documentElement.scrollWidth - innerWidth})`)
	if page.Missing != "" {
		t.Errorf("the catalog lacks a text: %s", page.Missing)
	}
	if page.Overflow > 0 {
		t.Errorf("the page is %d px wider than the viewport", page.Overflow)
	}
	if v.axe && !v.asPage {
		tab.EmulateColorScheme(map[string]string{"light": "dark", "dark": "light"}[v.theme])
		for _, violation := range tab.Axe("color-contrast") {
			t.Errorf("axe in the other theme: %s", violation)
		}
	}
	for _, message := range tab.ConsoleMessages() {
		t.Errorf("console: %s", message)
	}
}

// openPopup shows a popup in the dialog of a list. The popups of a tab share one
// load of the list; the previous one must close and leave nothing behind.
func openPopup(t *testing.T, tab *viewtest.Tab, base, name, query string) {
	list := base + "/page/snapshots-filtered" + query
	clean := viewtest.Eval[string](tab, `location.href`) == list
	if clean {
		clean = viewtest.Eval[bool](tab, `(() => {
			htmx.trigger(document.body, "popup:close");
			return !document.querySelector("#popup").open && !document.querySelector("#popup-body").hasChildNodes() && !document.querySelector("#messages").childElementCount;
		})()`)
		if !clean {
			t.Error("the previous popup did not close")
		}
	}
	if !clean {
		tab.Do(chromedp.Navigate(list))
	}
	opened := viewtest.Eval[bool](tab, `htmx.ajax("GET", "/fragment/`+name+query+`", {target: "#popup-body", swap: "innerHTML"}).then(() => document.querySelector("#popup").open)`)
	if !opened {
		t.Error("the popup did not open")
	}
}
