package web

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/handlers/typed"
	"blockconsole/models"
)

// show answers a form with its own page as it was typed, in the language or look that
// the query asks for. Nothing is carried out.
func (s *Server) show(c echo.Context) error {
	if _, err := c.FormParams(); err != nil {
		return err
	}
	form := typed.Of(c.Request())
	if form == nil {
		return models.ErrNotFound
	}
	return s.showTyped(c, form)
}

// showTyped answers with the page of a form, filled as it was typed. Errors:
// ErrNotFound when no page has that form, those of the page.
func (s *Server) showTyped(c echo.Context, form *typed.Form) error {
	router := s.Echo.Router()
	router.Find(http.MethodPost, form.Action, c)
	page := cmp.Or(s.formPages[c.Path()], c.Path())
	if !slices.ContainsFunc(s.access, func(r accessRule) bool { return r.method == http.MethodGet && r.path == page }) {
		return models.ErrNotFound
	}
	for i, name := range c.ParamNames() {
		page = strings.Replace(page, ":"+name, c.ParamValues()[i], 1)
	}
	r := c.Request().Clone(c.Request().Context())
	r.Method, r.URL, r.Body = http.MethodGet, &url.URL{Path: page, RawQuery: form.Fields.Encode()}, http.NoBody
	r.Form, r.PostForm, r.MultipartForm = nil, nil, nil
	c.SetRequest(r)
	query := c.QueryParams() // Echo keeps what it returned for the former request
	clear(query)
	maps.Copy(query, form.Fields)
	router.Find(http.MethodGet, page, c)
	handlers.RequestOf(c).Typed = form
	return c.Handler()(c)
}
