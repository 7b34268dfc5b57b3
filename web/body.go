package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
)

// maxFields is how many fields a body may have; as many as net/url takes of an address.
const maxFields = 10_000

// form reads the body of a POST into the request's form, so that csrf and the handlers
// find the same fields whether a page, an upload or a program's JSON brought them, and
// no handler meets a body that cannot be read.
func (s *Server) form(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodPost && c.Path() != "" {
			if err := whileWaiting(c, func() error { return readForm(c.Request()) }); err != nil {
				return err
			}
		}
		return next(c)
	}
}

// readForm sets r.PostForm, and r.Form with the fields of the address behind them. A
// request without a body is an empty form, whatever its type. Errors: CodeMalformed,
// CodeInvalid, *echo.HTTPError of 408, 413 and 415.
func readForm(r *http.Request) error {
	var err error
	if r.ContentLength == 0 {
		r.PostForm = url.Values{}
		r.Header.Del(echo.HeaderContentType) // else net/http would look for the parts of a form
	} else if r.PostForm, err = parseBody(r); err != nil {
		return bodyError(err)
	}
	if r.Form, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return malformed("body.address", err)
	}
	for name, values := range r.PostForm {
		r.Form[name] = slices.Concat(values, r.Form[name])
	}
	return nil
}

// parseBody reads the body by its type, which must be one of those that forms and
// programs use, in UTF-8 and not compressed.
func parseBody(r *http.Request) (url.Values, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get(echo.HeaderContentType))
	charset, encoding := params["charset"], r.Header.Get(echo.HeaderContentEncoding)
	if err != nil || charset != "" && !strings.EqualFold(charset, "utf-8") || encoding != "" && encoding != "identity" {
		return nil, echo.ErrUnsupportedMediaType
	}
	switch media {
	case echo.MIMEMultipartForm:
		if err := r.ParseMultipartForm(bodyLimit); err != nil {
			return nil, malformed("body.multipart", err)
		}
		return r.MultipartForm.Value, nil
	case echo.MIMEApplicationForm, echo.MIMEApplicationJSON:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, malformed("body.cut", err)
		}
		if media == echo.MIMEApplicationJSON {
			return parseJSON(body)
		}
		if bytes.Count(body, []byte("&")) >= maxFields {
			return nil, echo.ErrStatusRequestEntityTooLarge
		}
		values, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, malformed("body.form", err)
		}
		return values, nil
	}
	return nil, echo.ErrUnsupportedMediaType
}

// parseJSON reads an object as the form of the same fields: a number as it is written,
// true as 1, false as 0, a list as the field several times, null as a field that is not
// there.
func parseJSON(body []byte) (url.Values, error) {
	if !utf8.Valid(body) {
		return nil, malformed("body.json", errors.New("not UTF-8"))
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	values := url.Values{}
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, malformed("body.json", err)
	}
	for count := 0; d.More(); {
		token, err := d.Token()
		name, ok := token.(string)
		if _, twice := values[name]; err != nil || !ok || twice {
			return nil, malformed("body.json", err)
		}
		if values[name], err = jsonValues(d, name); err != nil {
			return nil, err
		}
		if count += 1 + len(values[name]); count > 2*maxFields {
			return nil, echo.ErrStatusRequestEntityTooLarge
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, malformed("body.json", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) { // something follows the object
		return nil, malformed("body.json", err)
	}
	return values, nil
}

// jsonValues reads the value of a field, or the list of its values.
func jsonValues(d *json.Decoder, name string) ([]string, error) {
	var values []string
	for list := false; ; {
		token, err := d.Token()
		if err != nil {
			return nil, malformed("body.json", err)
		}
		switch token := token.(type) {
		case string:
			values = append(values, token)
		case json.Number:
			values = append(values, token.String())
		case bool:
			values = append(values, map[bool]string{true: "1", false: "0"}[token])
		case json.Delim:
			if opens := token == '['; opens == list || token == '{' {
				return nil, models.Invalid(name, models.NewText("body.json_value", name))
			}
			list = token == '['
		}
		if !list {
			return values, nil
		}
		if len(values) > maxFields {
			return nil, echo.ErrStatusRequestEntityTooLarge
		}
	}
}

// malformed is the error of a body that cannot be read. cause is for the log; it may be nil.
func malformed(key string, cause error) error {
	return errors.Join(&models.Error{Code: models.CodeMalformed, Text: models.NewText(key)}, cause)
}

// bodyError tells a body that is too large or did not arrive in time from one that cannot be
// read.
func bodyError(err error) error {
	var tooLarge *echo.HTTPError
	switch {
	case errors.As(err, &tooLarge):
		return tooLarge
	case errors.Is(err, multipart.ErrMessageTooLarge):
		return echo.ErrStatusRequestEntityTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return echo.ErrRequestTimeout
	}
	return err
}
