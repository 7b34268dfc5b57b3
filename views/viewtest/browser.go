// Package viewtest drives a real Chromium for tests: it starts the browser, opens
// tabs that remember everything the page complained about, takes screenshots and
// asks axe-core about accessibility. Tests skip by name where there is no browser.
package viewtest

import (
	"context"
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
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// RequireEnv makes a missing browser an error: CI sets it, so that no run is green
// because it tested nothing.
const RequireEnv = "BLOCKCONSOLE_REQUIRE_BROWSER"

// ScreenshotsEnv names the folder that screenshots go to; without it none are
// kept.
const ScreenshotsEnv = "BLOCKCONSOLE_SCREENSHOTS"

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv(RequireEnv) != "" {
		t.Fatalf("%s is missing, and %s asks for it", what, RequireEnv)
	}
	t.Skipf("skipped: %s is missing", what)
}

// Browser starts a Chromium with a profile of its own. It ends with the test.
func Browser(t *testing.T) context.Context {
	t.Helper()
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		missing(t, "chromium")
	}
	flags := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.Headless,
		chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.CombinedOutput(quiet{}),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars", "no-default-browser-check", "disable-dev-shm-usage"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	// Elements tell their role and name as screen readers get them.
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

type quiet struct{}

func (quiet) Write(p []byte) (int, error) { return len(p), nil }

// Tab is one page of the browser and what it complained about.
type Tab struct {
	context.Context
	t         *testing.T
	mu        sync.Mutex
	complaint []string
}

// NewTab opens a tab with storage of its own. Every console error, warning and
// uncaught exception is kept for Complaints.
func NewTab(t *testing.T, browser context.Context) *Tab {
	t.Helper()
	return newTab(t, browser, chromedp.WithNewBrowserContext())
}

// Neighbour opens another tab that shares this one's storage: in the same window,
// where it hides this one, or in a window of its own.
func (tab *Tab) Neighbour(sameWindow bool) *Tab {
	tab.t.Helper()
	return newTab(tab.t, tab.Context, chromedp.WithNewWindow(!sameWindow))
}

func newTab(t *testing.T, parent context.Context, option chromedp.ContextOption) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent, option)
	t.Cleanup(cancel)
	ctx, stop := context.WithTimeout(ctx, 15*time.Minute)
	t.Cleanup(stop)
	return listen(t, ctx)
}

func listen(t *testing.T, ctx context.Context) *Tab {
	t.Helper()
	tab := &Tab{Context: ctx, t: t}
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, tab.hear); err != nil {
		t.Fatalf("listen to the tab: %v", err)
	}
	return tab
}

// Sibling opens another window of the same browser profile.
func (tab *Tab) Sibling(t *testing.T) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(tab.Context)
	t.Cleanup(cancel)
	return listen(t, ctx)
}

func (tab *Tab) hear(event any) {
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
	tab.complaint = append(tab.complaint, strings.TrimSpace(text))
}

// Complaints returns and forgets what the page complained about: console errors
// and warnings, uncaught exceptions, violations of the content security policy.
func (tab *Tab) Complaints() []string {
	tab.mu.Lock()
	defer tab.mu.Unlock()
	all := tab.complaint
	tab.complaint = nil
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

// Media sets what the system prefers: scheme is light or dark. Motion is always
// reduced, so that screenshots do not catch an animation halfway.
func (tab *Tab) Media(scheme string) {
	tab.t.Helper()
	_, err := chromedp.Call(tab, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme},
		{Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	if err != nil {
		tab.t.Fatalf("emulate media: %v", err)
	}
}

// Script switches JavaScript on or off for the pages that are opened next.
func (tab *Tab) Script(on bool) {
	tab.t.Helper()
	_, err := chromedp.Call(tab, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
	if err != nil {
		tab.t.Fatalf("switch scripts: %v", err)
	}
}

// Size sets the viewport in CSS pixels.
func (tab *Tab) Size(width, height int64) {
	tab.t.Helper()
	tab.Do(chromedp.EmulateViewport(width, height))
}

// Screenshot keeps a picture of the viewport as name.png, or of the whole page
// when full is true. It does nothing where no folder is named.
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

// Axe runs every rule of axe-core on the page and returns one line per violation,
// of any impact. It skips the test where axe-core is not installed.
func (tab *Tab) Axe() []string {
	tab.t.Helper()
	if axeSource() == "" {
		missing(tab.t, "axe-core (npm ci in .ci)")
	}
	if _, err := chromedp.Call(tab, cdpruntime.Evaluate, cdpruntime.EvaluateParams{Expression: axeSource()}); err != nil {
		tab.t.Fatalf("load axe-core: %v", err)
	}
	return Eval[[]string](tab, `axe.run(document, {resultTypes: ["violations"]}).then(r => r.violations.map(v =>
		v.id + " (" + v.impact + "): " + v.help + " — " + v.nodes.slice(0, 4).map(n => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).join(" | ")))`)
}
