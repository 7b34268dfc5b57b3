// Package viewtest drives Chromium in tests: it starts the browser, opens tabs that
// collect console messages, takes screenshots and runs axe-core. Without a browser
// the tests are skipped. A test that opens a browser is named TestBrowser…, so that
// CI can run these without the race detector, which slows them down for nothing.
package viewtest

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// RequireEnv makes a missing browser an error instead of a skip; CI sets it.
const RequireEnv = "BLOCKCONSOLE_REQUIRE_BROWSER"

// ScreenshotsEnv names the folder of the screenshots; unset: none are taken.
const ScreenshotsEnv = "BLOCKCONSOLE_SCREENSHOTS"

func skipWithout(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf("%s is missing, and %s requires it", tool, RequireEnv)
	}
	t.Skipf("skipped: %s is missing", tool)
}

// Browser starts Chromium with a new profile and stops it when the test ends: its
// headless shell where that is installed, which has no windows of its own and so takes
// a third of the processor time. It skips the test in -short mode.
func Browser(t *testing.T) context.Context {
	t.Helper()
	return start(t, "chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
}

// BrowserWithWindows is Browser for tests of windows, whose tabs hide each other.
func BrowserWithWindows(t *testing.T) context.Context {
	t.Helper()
	return start(t, "chromium", "chromium-browser", "google-chrome")
}

// start starts the first of the programs that is installed.
func start(t *testing.T, names ...string) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: needs a browser")
	}
	var path string
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		skipWithout(t, "chromium")
	}
	flags := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.Headless,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.CombinedOutput(io.Discard),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "no-default-browser-check", "disable-dev-shm-usage"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	// Adds Element.computedRole and computedName, which tests find elements by.
	flags = append(flags, chromedp.Flag("enable-blink-features", "ComputedAccessibilityInfo"))
	allocator, cancel := chromedp.NewExecAllocator(context.Background(), flags...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("chromium does not start: %v", err)
	}
	return ctx
}

// Tab is one tab of the browser and the console messages of its pages.
type Tab struct {
	context.Context
	t *testing.T
	*state
}

type state struct {
	mu      sync.Mutex
	console []string
	axe     bool // axe-core is injected into every new document
}

// For is the same tab for a subtest, which then is the one that fails.
func (tab *Tab) For(t *testing.T) *Tab { return &Tab{Context: tab.Context, t: t, state: tab.state} }

// NewTab opens a tab with cookies and storage of its own. Console errors, warnings
// and uncaught exceptions are collected for Complaints.
func NewTab(t *testing.T, browser context.Context) *Tab {
	t.Helper()
	return newTab(t, browser, chromedp.WithNewBrowserContext())
}

// OpenTab opens another tab with the same cookies and storage: in the same
// window, where it hides this one, or in a window of its own.
func (tab *Tab) OpenTab(sameWindow bool) *Tab {
	tab.t.Helper()
	return newTab(tab.t, tab.Context, chromedp.WithNewWindow(!sameWindow))
}

func newTab(t *testing.T, parent context.Context, option chromedp.ContextOption) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, option)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 15*time.Minute)
	t.Cleanup(stop)
	tab := &Tab{Context: ctx, t: t, state: &state{}}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, tab.collect); err != nil {
		t.Fatalf("listen to the tab: %v", err)
	}
	return tab
}

// collect keeps the console messages of an event of the browser.
func (tab *Tab) collect(event any) {
	var text string
	switch e := event.(type) {
	case *cdpruntime.EventConsoleAPICalled:
		if e.Type != cdpruntime.ConsoleAPICalledTypeError && e.Type != cdpruntime.ConsoleAPICalledTypeWarning {
			return
		}
		for _, a := range e.Args {
			text += " " + string(a.Value) + a.Description
		}
	case *cdpruntime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError && e.Entry.Level != log.EntryLevelWarning {
			return
		}
		text = e.Entry.Text + " " + e.Entry.URL
	default:
		return
	}
	tab.mu.Lock()
	defer tab.mu.Unlock()
	tab.console = append(tab.console, strings.TrimSpace(text))
}

// ConsoleMessages returns the console messages since the last call: errors, warnings,
// uncaught exceptions and violations of the content security policy.
func (tab *Tab) ConsoleMessages() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	all := tab.console
	tab.console = nil
	return all
}

// Do runs steps and fails the test when one fails.
func (tab *Tab) Do(steps ...chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	if err := chromedp.Do(tab, steps...); err != nil {
		tab.t.Fatalf("browser: %v", err)
	}
}

// Eval runs a script, waiting for its promise, and returns its value.
func Eval[T any](tab *Tab, script string) T {
	tab.t.Helper()
	v, err := chromedp.Run(tab, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
	if err != nil {
		tab.t.Fatalf("script %.80q: %v", script, err)
	}
	return v
}

// EmulateColorScheme emulates the system's colour scheme, light or dark. Motion is always
// reduced, so that nothing is measured in the middle of an animation.
func (tab *Tab) EmulateColorScheme(scheme string) {
	tab.t.Helper()
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		tab.t.Fatalf("emulate media: %v", err)
	}
}

// EnableScripts enables or disables JavaScript in the pages that are opened next.
func (tab *Tab) EnableScripts(on bool) {
	tab.t.Helper()
	_, err := chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
	if err != nil {
		tab.t.Fatalf("switch scripts: %v", err)
	}
}

// SetViewport sets the viewport in CSS pixels.
func (tab *Tab) SetViewport(width, height int64) {
	tab.t.Helper()
	tab.Do(chromedp.EmulateViewport(width, height))
}

// Screenshot writes name.png of the viewport, or of the whole page when full is
// true, to the folder of ScreenshotsEnv.
func (tab *Tab) Screenshot(name string, full bool) {
	tab.t.Helper()
	folder := os.Getenv(ScreenshotsEnv)
	if folder == "" {
		return
	}
	action := chromedp.CaptureScreenshot()
	if full {
		action = chromedp.FullScreenshot(100)
	}
	png, err := chromedp.Run(tab, action)
	if err != nil {
		tab.t.Fatalf("screenshot %s: %v", name, err)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		tab.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, name+".png"), png, 0o644); err != nil {
		tab.t.Fatal(err)
	}
}

var axeSource = sync.OnceValue(func() string {
	_, file, _, _ := runtime.Caller(0)
	path := filepath.Join(filepath.Dir(file), "..", "..", ".ci", "node_modules", "axe-core", "axe.min.js")
	source, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(source)
})

// Axe runs axe-core on the page, all of its rules or only the named ones, and
// returns one line per violation, of any impact. It skips the test where axe-core
// is not installed.
func (tab *Tab) Axe(rules ...string) []string {
	tab.t.Helper()
	tab.injectAxe()
	options := map[string]any{"resultTypes": []string{"violations"}}
	if len(rules) > 0 {
		options["runOnly"] = rules
	}
	encoded, err := json.Marshal(options)
	if err != nil {
		tab.t.Fatal(err)
	}
	return Eval[[]string](tab, `axe.run(document, `+string(encoded)+`).then(r => r.violations.map(v =>
		v.id + " (" + v.impact + "): " + v.help + " — " + v.nodes.slice(0, 4).map(n => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join(" | ")))`)
}

// injectAxe loads axe-core into the page, and into every page that the tab opens
// later: there the browser does it in a quarter of the time that sending it takes.
func (tab *Tab) injectAxe() {
	tab.t.Helper()
	if axeSource() == "" {
		skipWithout(tab.t, "axe-core (npm ci in .ci)")
	}
	if tab.axe && Eval[bool](tab, `typeof axe === "object"`) {
		return
	}
	if _, err := chromedp.Call(tab, cdpruntime.Evaluate, cdpruntime.EvaluateParams{Expression: axeSource()}); err != nil {
		tab.t.Fatalf("load axe-core: %v", err)
	}
	if tab.axe {
		return
	}
	if _, err := chromedp.Call(tab, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: axeSource()}); err != nil {
		tab.t.Fatalf("inject axe-core: %v", err)
	}
	tab.axe = true
}
