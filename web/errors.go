package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// statusOf is the one table from the models' codes to statuses.
var statusOf = map[models.Code]int{
	models.CodeNotFound:     http.StatusNotFound,
	models.CodeInvalid:      http.StatusUnprocessableEntity,
	models.CodeConflict:     http.StatusConflict,
	models.CodeStale:        http.StatusConflict,
	models.CodeForbidden:    http.StatusForbidden,
	models.CodeUnauthorized: http.StatusUnauthorized,
	models.CodeThrottled:    http.StatusTooManyRequests,
	models.CodeUnsupported:  http.StatusConflict,
}

// textOf is what is said about a status that did not come with a text. Statuses
// that are not here say what 400 or 500 say.
var textOf = map[int]models.Text{
	http.StatusBadRequest:            models.NewText("error.400"),
	http.StatusUnauthorized:          models.NewText("error.401"),
	http.StatusForbidden:             models.NewText("error.403"),
	http.StatusNotFound:              models.NewText("error.404"),
	http.StatusMethodNotAllowed:      models.NewText("error.405"),
	http.StatusRequestEntityTooLarge: models.NewText("error.413"),
	http.StatusInternalServerError:   models.NewText("error.500"),
	http.StatusServiceUnavailable:    models.NewText("error.503"),
}

// guidanceOf is what to do about a status.
var guidanceOf = map[int]models.Text{
	http.StatusForbidden:             models.NewText("error.403.guide"),
	http.StatusMethodNotAllowed:      models.NewText("error.405.guide"),
	http.StatusConflict:              models.NewText("error.409.guide"),
	http.StatusRequestEntityTooLarge: models.NewText("error.413.guide"),
	http.StatusTooManyRequests:       models.NewText("error.429.guide"),
	http.StatusNotFound:              models.NewText("error.404.guide"),
	http.StatusInternalServerError:   models.NewText("error.500.guide"),
	http.StatusServiceUnavailable:    models.NewText("error.503.guide"),
}

// failure is an error as it is answered.
type failure struct {
	status   int
	code     string
	text     models.Text
	guidance models.Text
	fields   map[string]models.Text
}

// failureOf decides what an error becomes. What is not expected is a 500 that
// says nothing of its cause.
func failureOf(err error) failure {
	var http4xx *echo.HTTPError
	e := models.AsError(err)
	switch {
	case e != nil:
		status, known := statusOf[e.Code]
		if !known {
			return plainFailure(http.StatusInternalServerError)
		}
		f := failure{status: status, code: string(e.Code), text: e.Text, guidance: guidanceOf[status], fields: e.Fields}
		switch own := e.Text.Key + ".guide"; {
		case e.Denial != nil && e.Denial.Guidance.Key != "":
			f.guidance = e.Denial.Guidance
		case i18n.Has(own):
			f.guidance = models.NewText(own)
		}
		return f
	case errors.As(err, &http4xx) && http4xx.Code < http.StatusInternalServerError:
		return plainFailure(http4xx.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return plainFailure(http.StatusServiceUnavailable)
	}
	return plainFailure(http.StatusInternalServerError)
}

func plainFailure(status int) failure {
	text, known := textOf[status]
	if !known {
		text = textOf[http.StatusBadRequest]
	}
	return failure{status: status, code: codeOf(status), text: text, guidance: guidanceOf[status]}
}

// codeOf is the word for programs of a status that did not come with one.
func codeOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return string(models.CodeNotFound)
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusServiceUnavailable:
		return "unavailable"
	case http.StatusInternalServerError:
		return "internal"
	}
	return "bad_request"
}

// answerError answers a request that failed: page, fragment or JSON.
func (s *Server) answerError(err error, c echo.Context) {
	c.Set(failureKey, err)
	if c.Response().Committed {
		return
	}
	// The request's own time may be over, which can be the very error to tell.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), errorPageTimeout)
	defer cancel()
	c.SetRequest(c.Request().WithContext(ctx))
	f := failureOf(err)
	var throttled *models.ThrottledError
	if errors.As(err, &throttled) {
		handlers.SetRetryAfter(c, throttled.RetryAfter)
	}
	if writeErr := s.writeFailure(c, f); writeErr != nil && !c.Response().Committed {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "error page failed",
			slog.String("request_id", handlers.VisitOf(c).RequestID), slog.String("error", writeErr.Error()))
		http.Error(c.Response(), http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (s *Server) writeFailure(c echo.Context, f failure) error {
	handlers.Vary(c)
	switch format := handlers.Wants(c); {
	case format == handlers.JSON || format == handlers.CSV || format == handlers.Events || isStream(c):
		return c.JSON(f.status, jsonError(c, f))
	case f.status == http.StatusUnauthorized && f.code == string(models.CodeUnauthorized):
		return toLogin(c)
	case c.Request().Method == http.MethodHead:
		return c.NoContent(f.status)
	}
	v := handlers.VisitOf(c)
	return handlers.Render(c, f.status, handlers.T(c, f.text.Key, args(f.text)...), views.ErrorView(views.ErrorPage{
		Status: f.status, Message: handlers.Msg(f.text), Guidance: handlers.Msg(f.guidance), RequestID: v.RequestID, Back: back(c),
	}))
}

func args(t models.Text) []any {
	all := make([]any, len(t.Args))
	for i, a := range t.Args {
		all[i] = a
	}
	return all
}

type jsonBody struct {
	Error struct {
		Code      string            `json:"code"`
		Message   string            `json:"message"`
		Fields    map[string]string `json:"fields"`
		RequestID string            `json:"request_id"`
	} `json:"error"`
}

func jsonError(c echo.Context, f failure) jsonBody {
	ctx := c.Request().Context()
	var b jsonBody
	b.Error.Code = f.code
	b.Error.Message = i18n.T(ctx, f.text.Key, args(f.text)...)
	b.Error.Fields = map[string]string{}
	for field, text := range f.fields {
		b.Error.Fields[field] = i18n.T(ctx, text.Key, args(text)...)
	}
	b.Error.RequestID = handlers.VisitOf(c).RequestID
	return b
}

// toLogin sends whoever is not signed in to the sign-in page, and from there back
// to the page they were on.
func toLogin(c echo.Context) error {
	address := loginPath
	if next := pageToReturnTo(c); next != "/" {
		address += "?next=" + url.QueryEscape(next)
	}
	if handlers.IsHTMX(c) {
		c.Response().Header().Set("HX-Redirect", address)
		return c.NoContent(http.StatusUnauthorized)
	}
	return c.Redirect(http.StatusSeeOther, address)
}

// pageToReturnTo is the page that was asked for; after a click or for a fragment,
// the page it was on, since neither can be shown as a page.
func pageToReturnTo(c echo.Context) string {
	r := c.Request()
	if handlers.IsHTMX(c) {
		return localOf(r.Header.Get("HX-Current-URL"), r.Host)
	}
	if !isSafe(r.Method) {
		return localOf(r.Referer(), r.Host)
	}
	return handlers.LocalPath(r.URL.RequestURI(), "/")
}

// localOf is the path and query of an address of this site.
func localOf(address, host string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path == "" || (u.Host != "" && u.Host != host) {
		return "/"
	}
	return handlers.LocalPath(u.RequestURI(), "/")
}

// back is where the error page's link leads: the page before.
func back(c echo.Context) string {
	r := c.Request()
	if from := localOf(r.Referer(), r.Host); from != "/" && from != r.URL.RequestURI() {
		return from
	}
	return "/"
}
