package web

import (
	"cmp"
	"context"
	"encoding/json"
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

// statusOf is the only table from the models' codes to statuses.
var statusOf = map[models.Code]int{
	models.CodeNotFound:     http.StatusNotFound,
	models.CodeMalformed:    http.StatusBadRequest,
	models.CodeInvalid:      http.StatusUnprocessableEntity,
	models.CodeConflict:     http.StatusConflict,
	models.CodeStale:        http.StatusConflict,
	models.CodeForbidden:    http.StatusForbidden,
	models.CodeUnauthorized: http.StatusUnauthorized,
	models.CodeThrottled:    http.StatusTooManyRequests,
	models.CodeUnsupported:  http.StatusConflict,
	models.CodeUnsaved:      http.StatusInsufficientStorage,
	models.CodeUnavailable:  http.StatusServiceUnavailable,
	models.CodeMisdirected:  http.StatusMisdirectedRequest,
}

// textOf is the message of a status whose error has none. Other statuses have the
// message of 400 or 500.
var textOf = map[int]models.Text{
	http.StatusBadRequest:            models.NewText("error.400"),
	http.StatusUnauthorized:          models.NewText("error.401"),
	http.StatusForbidden:             models.NewText("error.403"),
	http.StatusNotFound:              models.NewText("error.404"),
	http.StatusMethodNotAllowed:      models.NewText("error.405"),
	http.StatusRequestTimeout:        models.NewText("error.408"),
	http.StatusRequestEntityTooLarge: models.NewText("error.413"),
	http.StatusUnsupportedMediaType:  models.NewText("error.415"),
	http.StatusInternalServerError:   models.NewText("error.500"),
	http.StatusServiceUnavailable:    models.NewText("error.503"),
}

// guidanceOf is what the user can do about a status.
var guidanceOf = map[int]models.Text{
	http.StatusBadRequest:            models.NewText("error.400.guide"),
	http.StatusRequestTimeout:        models.NewText("error.408.guide"),
	http.StatusUnsupportedMediaType:  models.NewText("error.415.guide"),
	http.StatusForbidden:             models.NewText("error.403.guide"),
	http.StatusMethodNotAllowed:      models.NewText("error.405.guide"),
	http.StatusConflict:              models.NewText("error.409.guide"),
	http.StatusRequestEntityTooLarge: models.NewText("error.413.guide"),
	http.StatusTooManyRequests:       models.NewText("error.429.guide"),
	http.StatusNotFound:              models.NewText("error.404.guide"),
	http.StatusInternalServerError:   models.NewText("error.500.guide"),
	http.StatusServiceUnavailable:    models.NewText("error.503.guide"),
}

// errorAnswer is what the client is told of an error.
type errorAnswer struct {
	status   int
	code     string
	text     models.Text
	guidance models.Text
	fields   map[string]models.Text
}

// errorAnswerOf maps an error to its answer. An unexpected one is a 500 that does
// not tell its cause.
func errorAnswerOf(err error) errorAnswer {
	var http4xx *echo.HTTPError
	e := models.AsError(err)
	switch {
	case e != nil:
		status, known := statusOf[e.Code]
		if !known {
			return statusAnswer(http.StatusInternalServerError)
		}
		f := errorAnswer{status: status, code: string(e.Code), text: e.Text, guidance: guidanceOf[status], fields: e.Fields}
		switch own := e.Text.Key + ".guide"; {
		case e.Denial != nil && e.Denial.Guidance.Key != "":
			f.guidance = e.Denial.Guidance
		case i18n.Has(own):
			f.guidance = models.NewText(own)
		}
		return f
	case errors.As(err, &http4xx) && http4xx.Code < http.StatusInternalServerError:
		return statusAnswer(http4xx.Code)
	case errors.Is(err, context.DeadlineExceeded):
		return statusAnswer(http.StatusServiceUnavailable)
	}
	return statusAnswer(http.StatusInternalServerError)
}

func statusAnswer(status int) errorAnswer {
	text, known := textOf[status]
	if !known {
		text = textOf[http.StatusBadRequest]
	}
	return errorAnswer{status: status, code: codeOf(status), text: text, guidance: guidanceOf[status]}
}

// codeOf is the JSON code of a status whose error has none.
func codeOf(status int) string {
	switch status {
	case http.StatusNotFound:
		return string(models.CodeNotFound)
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusRequestTimeout:
		return "timeout"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "unsupported_media_type"
	case http.StatusServiceUnavailable:
		return "unavailable"
	case http.StatusInternalServerError:
		return "internal"
	}
	return "bad_request"
}

// refuse audits that a request is refused before its handler has seen it, and returns
// why. The route stands for the address, which may hold anything.
func (s *Server) refuse(c echo.Context, why *models.Error) error {
	route := cmp.Or(c.Path(), "/…")
	s.store.AuditRefusal(c.Request().Context(), handlers.Actor(c),
		models.AuditEntry{Action: models.ActionRequest, SubjectName: knownMethod(c.Request().Method) + " " + route}, why.Text)
	return why
}

// handleError answers a request that failed: page, fragment or JSON.
func (s *Server) handleError(err error, c echo.Context) {
	c.Set(errorKey, err)
	if c.Response().Committed {
		return
	}
	// The request's own time may be over, which can be the very error to tell.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Request().Context()), errorPageTimeout)
	defer cancel()
	c.SetRequest(c.Request().WithContext(ctx))
	f := errorAnswerOf(err)
	var throttled *models.ThrottledError
	if errors.As(err, &throttled) {
		handlers.SetRetryAfter(c, throttled.RetryAfter)
	}
	if writeErr := s.writeError(c, f); writeErr != nil && !c.Response().Committed {
		s.log.LogAttrs(c.Request().Context(), slog.LevelError, "error page failed",
			slog.String("request_id", handlers.RequestOf(c).RequestID), slog.String("error", writeErr.Error()))
		http.Error(c.Response(), http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

func (s *Server) writeError(c echo.Context, f errorAnswer) error {
	handlers.Vary(c)
	switch format := handlers.Wants(c); {
	case f.status == http.StatusUnauthorized && f.code == string(models.CodeUnauthorized) && handlers.IsHTMX(c):
		return expired(c)
	case format == handlers.JSON || format == handlers.CSV || format == handlers.Events || isStream(c):
		return c.JSON(f.status, toErrorJSON(c, f))
	case f.status == http.StatusUnauthorized && f.code == string(models.CodeUnauthorized):
		return s.askSignIn(c)
	case c.Request().Method == http.MethodHead:
		return c.NoContent(f.status)
	}
	if f.status == http.StatusNotFound && handlers.IsHTMX(c) {
		handlers.Trigger(c, "list:refresh") // its row leaves the page
	}
	req, back := handlers.RequestOf(c), backURL(c)
	if f.status == http.StatusMisdirectedRequest {
		back = s.config.PublicURL.String() // nothing is at this name
	}
	return handlers.Render(c, f.status, handlers.TextOf(c, f.text), views.ErrorPage(views.ErrorInfo{
		Status: f.status, Message: handlers.Msg(f.text), Guidance: handlers.Msg(f.guidance), RequestID: req.RequestID, Back: back,
	}))
}

type errorJSON struct {
	Error struct {
		Code      string            `json:"code"`
		Message   string            `json:"message"`
		Fields    map[string]string `json:"fields"`
		RequestID string            `json:"request_id"`
	} `json:"error"`
}

func toErrorJSON(c echo.Context, f errorAnswer) errorJSON {
	var b errorJSON
	b.Error.Code = f.code
	b.Error.Message = handlers.TextOf(c, f.text)
	b.Error.Fields = map[string]string{}
	for field, text := range f.fields {
		b.Error.Fields[field] = handlers.TextOf(c, text)
	}
	b.Error.RequestID = handlers.RequestOf(c).RequestID
	return b
}

// loginURL is the sign-in page, which leads back to the page that was asked for.
func loginURL(c echo.Context) string {
	if next := returnURL(c); next != "/" {
		return loginPath + "?next=" + url.QueryEscape(next)
	}
	return loginPath
}

// askSignIn leads to the sign-in page, and from there back. What a form sent is
// carried along, since it was not carried out.
func (s *Server) askSignIn(c echo.Context) error {
	if isSafe(c.Request().Method) {
		return c.Redirect(http.StatusSeeOther, loginURL(c))
	}
	if _, err := c.FormParams(); err != nil {
		return c.Redirect(http.StatusSeeOther, loginURL(c))
	}
	s.loginToken(c, handlers.RequestOf(c), true)
	return handlers.SignInAgain(c, handlers.LocalPath(c.FormValue("next"), returnURL(c)))
}

// expired tells htmx that the session has ended, and where to sign in. The script
// decides whether it goes there: something may have been typed.
func expired(c echo.Context) error {
	event, err := json.Marshal(map[string]map[string]string{"session:expired": {"address": loginURL(c)}})
	if err != nil {
		return err
	}
	c.Response().Header().Set("HX-Trigger", string(event))
	return c.NoContent(http.StatusUnauthorized)
}

// returnURL is the page to show after signing in: the one that was asked for, or
// the one around a fragment or a form.
func returnURL(c echo.Context) string {
	r := c.Request()
	if handlers.IsHTMX(c) {
		return localURL(r.Header.Get("HX-Current-URL"), r.Host)
	}
	if !isSafe(r.Method) {
		return localURL(r.Referer(), r.Host)
	}
	return handlers.LocalPath(r.URL.RequestURI(), "/")
}

// localURL is the path and query of an address of this site, / of any other.
func localURL(address, host string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path == "" || (u.Host != "" && u.Host != host) {
		return "/"
	}
	return handlers.LocalPath(u.RequestURI(), "/")
}

// backURL is the previous page, for the link of the error page.
func backURL(c echo.Context) string {
	r := c.Request()
	if from := localURL(r.Referer(), r.Host); from != "/" && from != r.URL.RequestURI() {
		return from
	}
	return "/"
}
