package handlers

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/views"
)

// varyOn are the request headers that answers depend on.
var varyOn = []string{"HX-Request", "HX-Boosted", "HX-History-Restore-Request", views.LanguageHeader, "Accept", "Cookie", "Accept-Language"}

// Render answers with body alone when htmx asked for a part of the page, else with
// the whole page. An error is returned before anything was sent.
func Render(c echo.Context, status int, title string, body templ.Component) error {
	f := frame(c, title)
	ctx := views.WithPageContext(c.Request().Context(), f)
	page := body
	if !f.Fragment {
		f.Alerts = append(f.Alerts, takeNotices(c)...)
		page = views.Layout(f)
		ctx = templ.WithChildren(ctx, body)
	}
	return answerHTML(ctx, c, status, page)
}

// answerHTML renders before it sends anything.
func answerHTML(ctx context.Context, c echo.Context, status int, page templ.Component, events ...string) error {
	buffer := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buffer)
	buffer.Reset()
	if err := page.Render(ctx, buffer); err != nil {
		return err
	}
	html := buffer.Bytes()
	if form := RequestOf(c).Typed; form != nil {
		var err error
		if html, err = form.Fill(html); err != nil {
			return err
		}
	}
	Trigger(c, events...)
	Vary(c)
	return c.HTMLBlob(status, html)
}

// Fragment answers with body alone, and triggers the events in the browser.
func Fragment(c echo.Context, status int, body templ.Component, events ...string) error {
	return answerHTML(WithFrame(c), c, status, body, events...)
}

// Trigger triggers events in the browser, such as popup:close.
func Trigger(c echo.Context, events ...string) {
	if len(events) == 0 {
		return
	}
	named := map[string]struct{}{}
	for _, e := range events {
		named[e] = struct{}{}
	}
	// Strings and empty structs cannot fail.
	b, err := json.Marshal(named)
	if err == nil {
		c.Response().Header().Set("HX-Trigger", string(b))
	}
}

// Vary sets the Vary header.
func Vary(c echo.Context) {
	header := c.Response().Header()
	have := header.Values(echo.HeaderVary)
	for _, name := range varyOn {
		if !slices.Contains(have, name) {
			header.Add(echo.HeaderVary, name)
		}
	}
}

const maxPooledBytes = 1 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= maxPooledBytes {
		buffers.Put(b)
	}
}

// SeeOther redirects to a page of this site with 303.
func SeeOther(c echo.Context, to string) error {
	return c.Redirect(http.StatusSeeOther, LocalPath(to, "/"))
}

// Help is the user guide.
func Help(c echo.Context) error {
	return Render(c, http.StatusOK, T(c, "nav.help"), views.HelpPage())
}
