package browsertest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"blockconsole/views/viewtest"
	"blockconsole/web/app/apptest"
)

func TestMain(m *testing.M) { apptest.TestMain(m, 0) }

// scenario is one way through the console.
type scenario struct {
	name  string
	start func(*testing.T) *console
	test  func(*page)
	plain bool   // without scripts
	only  string // language; empty: both

	windows bool // the scenario has several windows
}

var scenarios = []scenario{
	{name: "tour", start: onFake, test: scenarioTour},
	{name: "sign-in", start: onFiles, test: scenarioSignIn},
	{name: "expired", start: onFiles, test: scenarioExpired},
	{name: "ended under a popup", start: onFiles, test: scenarioExpiredPopup},
	{name: "viewer", start: onFiles, test: scenarioViewer},
	{name: "bad input", start: onFiles, test: scenarioBadInput},
	{name: "double click", start: onFiles, test: scenarioDoubleClick},
	{name: "late forms", start: onFake, test: scenarioLateForms},
	{name: "late answers", start: onFake, test: scenarioLateAnswers},
	{name: "typed", start: onFake, test: scenarioTyped},
	{name: "back", start: onFake, test: scenarioBack},
	{name: "pushed", start: onFake, test: scenarioPushed},
	{name: "keys", start: onFiles, test: scenarioKeys},
	{name: "modified clicks", start: onFake, test: scenarioModifiedClicks, only: "ko"},
	{name: "choices by keys", start: onFake, test: scenarioChoicesByKeys, only: "en"},
	{name: "search in a popup", start: onFake, test: scenarioSearchInPopup},
	{name: "name hint", start: onFake, test: scenarioNameHint},
	{name: "print", start: onFake, test: scenarioPrint, only: "ko"},
	{name: "selection", start: onFiles, test: scenarioSelection},
	{name: "guide", start: onFiles, test: scenarioGuide},
	{name: "images", start: onFiles, test: scenarioImages},
	{name: "bytes", start: onFiles, test: scenarioBytes},
	{name: "lists", start: onFake, test: scenarioLists},
	{name: "attached", start: onFake, test: scenarioAttached},
	{name: "attached meanwhile", start: onFake, test: scenarioAttachedMeanwhile},
	{name: "error deleting", start: onFake, test: scenarioErrorDeleting},
	{name: "lock", start: onFiles, test: scenarioLock},
	{name: "server", start: onFake, test: scenarioServer},
	{name: "live", start: onFake, test: scenarioLive},
	{name: "overtaken", start: onFake, test: scenarioOvertaken},
	{name: "cut off", start: onFake, test: scenarioCutOff},
	{name: "lost refresh", start: onFake, test: scenarioLostRefresh, only: "ko"},
	{name: "weather", start: onFake, test: scenarioWeather, only: "ko"},
	{name: "languages", start: onFake, test: scenarioLanguages},
	{name: "wrong clock", start: onHeld, test: scenarioWrongClock, only: "ko"},
	{name: "windows", start: onFake, test: scenarioWindows, only: "ko", windows: true},
	{name: "progress", start: onHeld, test: scenarioProgress},
	{name: "limits", start: onLimited, test: scenarioLimits},
	{name: "exports", start: onExporting, test: scenarioExports},
	{name: "readers", start: onExporting, test: scenarioReaders},
	{name: "plain readers", start: onExporting, test: plainReaders, plain: true, only: "ko"},
	{name: "plain guide", start: onFiles, test: plainGuide, plain: true},
	{name: "plain sign-in", start: onFiles, test: plainSignIn, plain: true},
	{name: "plain expired", start: onFiles, test: plainExpired, plain: true},
	{name: "plain bad input", start: onFiles, test: plainBadInput, plain: true},
	{name: "plain double click", start: onFiles, test: plainDoubleClick, plain: true},
	{name: "plain lists", start: onFake, test: plainLists, plain: true},
	{name: "plain attached", start: onFake, test: plainAttached, plain: true},
	{name: "plain error deleting", start: onFake, test: plainErrorDeleting, plain: true},
	{name: "plain server", start: onFake, test: plainServer, plain: true},
}

// TestBrowser goes through every scenario in both languages, each at a console of its
// own.
func TestBrowser(t *testing.T) {
	browser := viewtest.Browser(t)
	for _, s := range scenarios {
		for _, lang := range []string{"ko", "en"} {
			if s.only != "" && s.only != lang {
				continue
			}
			t.Run(s.name+"/"+lang, func(t *testing.T) {
				t.Parallel()
				browser := browser
				if s.windows {
					browser = viewtest.BrowserWithWindows(t)
				}
				s.test(newPage(t, s.start(t), browser, lang, !s.plain))
			})
		}
	}
}

// onFiles is a console with the local backend.
func onFiles(t *testing.T) *console {
	t.Helper()
	c := open(t, true)
	writeImage(t, c.Config.Data)
	c.Serve()
	return c
}

// onFake is a console with a backend in memory.
func onFake(t *testing.T) *console {
	t.Helper()
	c := open(t, false)
	c.Serve()
	return c
}

// onHeld is a console whose backend finishes nothing by itself.
func onHeld(t *testing.T) *console {
	t.Helper()
	c := open(t, false)
	c.Fake.Hold()
	c.Serve()
	return c
}

// onLimited is a console whose backend has quotas.
func onLimited(t *testing.T) *console {
	t.Helper()
	c := open(t, false)
	c.Fake.SetQuota("gigabytes", 10)
	c.Fake.SetQuota("volumes", 100)
	c.Serve()
	return c
}

// onExporting is a console whose backend serves volumes to registered servers.
func onExporting(t *testing.T) *console {
	t.Helper()
	c := open(t, false)
	c.ServeExports("nbd", "127.0.0.1:10809")
	c.Serve()
	return c
}

// page is a Page of the first user and what the screen says in its language.
type page struct {
	*Page
	c   *console
	say words
}

func newPage(t *testing.T, c *console, browser context.Context, lang string, script bool) *page {
	t.Helper()
	p := NewPage(t, viewtest.NewTab(t, browser), c.URL(), lang, script, c.api.Session())
	return &page{Page: p, c: c, say: wordsOf[lang]}
}

func now[T any](p *page, expression string) T {
	p.t.Helper()
	return Now[T](p.Page, expression)
}

// tick ticks the checkbox of a row.
func (p *page) tick(name string) {
	p.t.Helper()
	p.Click("checkbox", replaceName(p.say.pick, name))
}

func replaceName(text, name string) string { return strings.ReplaceAll(text, "NAME", name) }

// forge posts a form from the page's own origin past its buttons, and returns the
// status.
func (p *page) forge(path string, form url.Values) int {
	p.t.Helper()
	if p.script {
		return viewtest.Eval[int](p.Tab, fmt.Sprintf(`fetch(%s, {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"},
			body: %s}).then(r => r.status)`, JS(path), JS(form.Encode())))
	}
	return p.c.api.Send(http.MethodPost, path, form, "Sec-Fetch-Site", "same-origin").StatusCode
}
