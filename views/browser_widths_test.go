package views_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"blockconsole/views/viewtest"
)

// unframedPolicy lets a page be shown in a frame of the test.
type unframedPolicy struct{ http.ResponseWriter }

func (w unframedPolicy) WriteHeader(status int) {
	w.relax()
	w.ResponseWriter.WriteHeader(status)
}

func (w unframedPolicy) Write(b []byte) (int, error) {
	w.relax()
	return w.ResponseWriter.Write(b)
}

func (w unframedPolicy) relax() {
	w.Header().Set("Content-Security-Policy", strings.Replace(policy, "; frame-ancestors 'none'", "", 1))
}

// walkWidths loads each page into a frame once and resizes the frame, which is what
// media and container queries see: a hundred times faster than new viewports.
const walkWidths = `(async (names, lang, first, step) => {
	const frame = document.querySelector("iframe"), found = [];
	for (const name of names) {
		await new Promise((loaded) => { frame.onload = loaded; frame.src = "/framed/" + name + "?lang=" + lang; });
		const doc = frame.contentDocument, narrow = [], wide = [], covered = [];
		for (let width = first; width <= 1920; width += step) {
			frame.style.width = width + "px";
			if (doc.defaultView.innerWidth !== width) return ["the frame is " + doc.defaultView.innerWidth + " px wide"];
			const over = doc.documentElement.scrollWidth - width;
			const outside = (e) => e.getBoundingClientRect().right > width + 0.5 && e.checkVisibility();
			if (over > 0) wide.push(width + ": " + over + " by " + [...doc.body.querySelectorAll("*")].filter(outside).pop()?.outerHTML.slice(0, 80));
			let least = Infinity;
			for (const cell of doc.querySelectorAll("td.c-name, td.c-subject, .line-name")) {
				if (!cell.checkVisibility()) continue;
				const style = doc.defaultView.getComputedStyle(cell);
				least = Math.min(least, cell.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight));
			}
			if (least < 160) narrow.push(width + ": " + least);
			const filters = [...doc.querySelectorAll(".list-page .filters > *")].filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect());
			for (const tool of doc.querySelectorAll(".list-page .toolbar .button")) {
				const box = tool.getBoundingClientRect();
				if (filters.some((f) => f.left < box.right && f.right > box.left && f.top < box.bottom && f.bottom > box.top)) covered.push(width + ": " + tool.textContent.trim());
			}
		}
		if (wide.length) found.push(name + " scrolls sideways: " + wide.join(", "));
		if (covered.length) found.push(name + " lays filters over actions: " + covered.join(", "));
		if (narrow.length) found.push(name + " leaves names too little: " + narrow.join(", "));
	}
	return found;
})`

// allWidthsEnv makes each language walk all widths. Without it they take turns.
const allWidthsEnv = "BLOCKCONSOLE_TEST_ALL_WIDTHS"

// TestBrowserWidths walks every page and popup through the widths of phones, windows
// side by side and large screens, 20 px apart: names keep 160 px, and nothing scrolls
// sideways.
func TestBrowserWidths(t *testing.T) {
	t.Parallel()
	browser := viewtest.Browser(t)
	server := scenarioServer(t)
	var names []string
	for _, s := range scenarios() {
		names = append(names, s.name)
	}
	list, err := json.Marshal(names)
	if err != nil {
		t.Fatal(err)
	}
	for i, lang := range []string{"ko", "en"} {
		first, step := 320, 20 // px
		if os.Getenv(allWidthsEnv) == "" {
			first, step = first+i*step, 2*step
		}
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			tab := viewtest.NewTab(t, browser)
			tab.SetViewport(1920, 900)
			tab.EmulateColorScheme("light")
			tab.Do(chromedp.Navigate(server.URL + "/frame"))
			for _, wrong := range viewtest.Eval[[]string](tab, fmt.Sprintf("%s(%s, '%s', %d, %d)", walkWidths, list, lang, first, step)) {
				t.Error(wrong)
			}
		})
	}
}
