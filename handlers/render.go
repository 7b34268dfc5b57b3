package handlers

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
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

const keptBuffer = 1 << 20

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

func putBuffer(b *bytes.Buffer) {
	if b.Cap() <= keptBuffer {
		buffers.Put(b)
	}
}

// IsHTMX says that htmx sent the request.
func IsHTMX(c echo.Context) bool { return c.Request().Header.Get("HX-Request") == "true" }

// IsFragment says that only a part of the page was asked for.
func IsFragment(c echo.Context) bool {
	h := c.Request().Header
	return h.Get("HX-Request") == "true" && h.Get("HX-Boosted") != "true" && h.Get("HX-History-Restore-Request") != "true"
}

// Format is the form of an answer.
type Format string

// The formats.
const (
	HTML   Format = "text/html"
	JSON   Format = "application/json"
	CSV    Format = "text/csv"
	Events Format = "text/event-stream"
)

// Wants is the format that the request's Accept header likes best. Whoever takes
// anything gets HTML.
func Wants(c echo.Context) Format {
	best, bestQ, bestRank := HTML, 0.0, -1
	for part := range strings.SplitSeq(strings.Join(c.Request().Header.Values(echo.HeaderAccept), ","), ",") {
		media, params, err := mime.ParseMediaType(strings.TrimSpace(part))
		if err != nil {
			continue
		}
		format, rank := formatOf(media)
		if format == "" {
			continue
		}
		q := 1.0
		if text, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(text, 64); err != nil || q <= 0 {
				continue
			}
		}
		// Of equally liked ones the named beats the wildcard, and then the first one.
		if q > bestQ || (q == bestQ && rank > bestRank) {
			best, bestQ, bestRank = format, q, rank
		}
	}
	return best
}

func formatOf(media string) (Format, int) {
	switch media {
	case "text/html", "application/xhtml+xml":
		return HTML, 2
	case string(JSON), string(CSV), string(Events):
		return Format(media), 2
	case "text/*":
		return HTML, 1
	case "application/*":
		return JSON, 1
	case "*/*":
		return HTML, 0
	}
	return "", 0
}

// SeeOther sends the browser to a page of this site, by 303.
func SeeOther(c echo.Context, to string) error {
	return c.Redirect(http.StatusSeeOther, LocalPath(to, "/"))
}

// acceptedJSON tells programs after a click where the operation is and which object
// it is about.
type acceptedJSON struct {
	Operation string `json:"operation"`
	ID        string `json:"id"`
	URL       string `json:"url"`
}

func toAcceptedJSON(op *models.Operation) acceptedJSON {
	return acceptedJSON{Operation: op.ID, ID: op.SubjectID, URL: activityPath + "/" + op.ID}
}

// acceptedManyJSON is the same after a click on many objects: the last operation,
// all of them, and what was refused.
type acceptedManyJSON struct {
	acceptedJSON
	Operations []acceptedJSON `json:"operations"`
	Refused    []refusedJSON  `json:"refused"`
}

type refusedJSON struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// tellAccepted answers a program: 202, and the place of the operation.
func tellAccepted(c echo.Context, url string, body any) error {
	c.Response().Header().Set(echo.HeaderLocation, url)
	Vary(c)
	return c.JSON(http.StatusAccepted, body)
}

// Msg is a text of the models as the views take it.
func Msg(t models.Text) views.Message {
	m := views.Message{Key: t.Key}
	copy(m.Args[:], t.Args)
	return m
}

// FieldErrors are the messages beside the fields.
func FieldErrors(fields map[string]models.Text) map[string]views.Message {
	errors := make(map[string]views.Message, len(fields))
	for field, text := range fields {
		errors[field] = Msg(text)
	}
	return errors
}

// Denial is why something cannot be done now, as the views take it.
func Denial(d *models.Denial) *views.Denial {
	if d == nil {
		return nil
	}
	return &views.Denial{Reason: Msg(d.Text), Guidance: Msg(d.Guidance), Volumes: links(d.Volumes), Snaps: links(d.Snaps), Servers: d.Servers}
}

func links(all []models.Link) []views.Link {
	var out []views.Link
	for _, l := range all {
		out = append(out, views.Link(l))
	}
	return out
}

// FormError puts an expected refusal into a form: per field, or as a whole. It
// returns the status to answer with, and false for errors that are none of the
// form's.
func FormError(form *views.Form, err error) (status int, ok bool) {
	e := models.AsError(err)
	if e == nil {
		return 0, false
	}
	switch e.Code {
	case models.CodeInvalid:
		form.Errors = FieldErrors(e.Fields)
		if len(e.Fields) != 1 || e.Fields[""].Key != "" {
			form.Error = Msg(e.Text)
		}
		return http.StatusUnprocessableEntity, true
	case models.CodeConflict, models.CodeStale, models.CodeUnsupported:
		form.Error = Msg(e.Text)
		if e.Denial != nil {
			form.Denial = Denial(e.Denial)
		}
		return http.StatusConflict, true
	}
	return 0, false
}

const (
	noticeCookie  = "blockconsole-notice"
	noticeSeconds = 60
	longestNotice = 2048
)

// Notify shows a message on the next full page: after a click without
// JavaScript. It travels in a cookie, as keys of the catalog.
func Notify(c echo.Context, alert views.Alert) {
	b, err := json.Marshal(alert)
	if err != nil || len(b) > longestNotice {
		return
	}
	c.SetCookie(&http.Cookie{Name: noticeCookie, Value: base64.RawURLEncoding.EncodeToString(b), Path: "/", MaxAge: noticeSeconds,
		HttpOnly: true, Secure: VisitOf(c).Site.Secure, SameSite: http.SameSiteLaxMode})
}

func takeNotices(c echo.Context) []views.Alert {
	cookie, err := c.Cookie(noticeCookie)
	if err != nil {
		return nil
	}
	c.SetCookie(&http.Cookie{Name: noticeCookie, Path: "/", MaxAge: -1, HttpOnly: true, Secure: VisitOf(c).Site.Secure, SameSite: http.SameSiteLaxMode})
	b, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(b) > longestNotice {
		return nil
	}
	var alert views.Alert
	if err := json.Unmarshal(b, &alert); err != nil || !i18n.Has(alert.Message.Key) {
		return nil
	}
	alert.Link = LocalPath(alert.Link, "")
	return []views.Alert{alert}
}
