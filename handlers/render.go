package handlers

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/views"
)

// What answers depend on: whether the page or a part of it was asked for, and in
// which form.
var varyOn = []string{"HX-Request", "HX-Boosted", "HX-History-Restore-Request", "Accept", "Cookie", "Accept-Language"}

// Render answers with body alone where htmx asked for a part of the page, and
// with the whole page around it otherwise. Nothing is sent before everything is
// rendered, so an error can still become an answer of its own.
func Render(c echo.Context, status int, title string, body templ.Component) error {
	f := frame(c, title)
	ctx := views.WithFrame(c.Request().Context(), f)
	page := body
	if !f.Fragment {
		f.Alerts = append(f.Alerts, takeNotices(c)...)
		page = views.Layout(f)
		ctx = templ.WithChildren(ctx, body)
	}
	buffer := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buffer)
	buffer.Reset()
	if err := page.Render(ctx, buffer); err != nil {
		return err
	}
	Vary(c)
	return c.HTMLBlob(status, buffer.Bytes())
}

// Fragment answers htmx with body alone, and makes the browser fire the events.
func Fragment(c echo.Context, status int, body templ.Component, events ...string) error {
	buffer := buffers.Get().(*bytes.Buffer)
	defer putBuffer(buffer)
	buffer.Reset()
	if err := body.Render(WithFrame(c), buffer); err != nil {
		return err
	}
	Trigger(c, events...)
	Vary(c)
	return c.HTMLBlob(status, buffer.Bytes())
}

// Trigger makes htmx fire the events in the browser, such as popup:close.
func Trigger(c echo.Context, events ...string) {
	if len(events) == 0 {
		return
	}
	named := map[string]struct{}{}
	for _, e := range events {
		named[e] = struct{}{}
	}
	// Names are literals and values empty: this cannot fail.
	b, err := json.Marshal(named)
	if err == nil {
		c.Response().Header().Set("HX-Trigger", string(b))
	}
}

// Vary says what the answer depends on.
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

// SeeOther sends the browser to a page of this site, by 303.
func SeeOther(c echo.Context, to string) error {
	return c.Redirect(http.StatusSeeOther, LocalPath(to, "/"))
}
