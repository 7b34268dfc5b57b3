// Package handlers has a file per resource: it reads requests, calls the store and
// renders pages, fragments, JSON and CSV. Errors are returned, and answered by web.
package handlers

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers/typed"
	"blockconsole/models"
	"blockconsole/views"
	"blockconsole/views/i18n"
)

// Site is what all pages have in common.
type Site struct {
	Store      SiteStore  // nil: nothing is known
	Operations *OpCounter // nil: none are counted
	Now        func() time.Time
	Log        *slog.Logger
	TimeZone   string // IANA name
	Secure     bool   // browsers come by HTTPS
	ExportHost string // where servers find attached volumes; empty: where the backend listens
	ExportTLS  bool   // servers prove by certificate who they are

	Trouble         func() models.Text // what every page says above it; nil, or the zero Text: nothing
	SessionsPerUser int                // maximum number of sessions of one user
}

// SiteStore is what every page asks. It answers from memory.
type SiteStore interface {
	Capabilities() models.Capabilities
	OwnProjectName() string
	AllProjects() bool
}

// Request is what the middleware knows of a request.
type Request struct {
	Site      *Site
	SignedIn  *models.SignedIn // nil: nobody
	Token     string           // as the session cookie has it
	CSRF      string           // the token that forms must carry
	Theme     string
	Compact   bool
	RequestID string
	Typed     *typed.Form     // fills the page; nil: nothing was typed
	Banners   []views.Message // above the page
}

const requestKey = "request"

// SetRequest attaches req to the context.
func SetRequest(c echo.Context, req *Request) { c.Set(requestKey, req) }

// RequestOf returns what SetRequest stored; never nil.
func RequestOf(c echo.Context) *Request {
	if req, ok := c.Get(requestKey).(*Request); ok {
		return req
	}
	return &Request{Site: &Site{Now: time.Now, Log: slog.Default()}}
}

// Actor is who sent the request. Without a session it has no role, which allows
// nothing.
func Actor(c echo.Context) models.Actor {
	req := RequestOf(c)
	if req.SignedIn == nil {
		return models.Actor{Address: c.RealIP(), RequestID: req.RequestID}
	}
	return req.SignedIn.Actor(c.RealIP(), req.RequestID)
}

// T is a text of the catalog in the language of the request.
func T(c echo.Context, key string, args ...any) string {
	return i18n.T(c.Request().Context(), key, args...)
}

// TextOf is a text of the models in the language of the request.
func TextOf(c echo.Context, text models.Text) string {
	args := make([]any, len(text.Args))
	for i, arg := range text.Args {
		args[i] = arg
	}
	return T(c, text.Key, args...)
}

// frame is the view model of what surrounds the page.
func frame(c echo.Context, title string) *views.PageContext {
	req := RequestOf(c)
	f := &views.PageContext{
		Active: activeEntry(c.Request().URL.Path), Title: title, URL: pageURL(c), CSRF: req.CSRF,
		Theme: req.Theme, Compact: req.Compact, TimeZone: req.Site.TimeZone, Now: req.Site.Now().UnixMicro(),
		Fragment: IsFragment(c), Banners: req.Banners,
	}
	if req.Site.Store != nil {
		can := req.Site.Store.Capabilities()
		f.Attach, f.AttachSnapshots, f.Revert, f.Checksums = can.Attach, can.AttachSnapshots, can.Revert, can.Checksums
	}
	in := req.SignedIn
	if in == nil {
		return f
	}
	f.Person = in.Mark
	f.User = views.User{Name: in.Name, Role: string(in.Role),
		Operator: in.Role.Allows(models.Operator), Administrator: in.Role.Allows(models.Administrator)}
	f.Project = in.ProjectID
	if req.Site.Store != nil {
		f.Project, f.AllProjects = req.Site.Store.OwnProjectName(), req.Site.Store.AllProjects()
	}
	if req.Site.Trouble != nil {
		if trouble := req.Site.Trouble(); trouble.Key != "" {
			f.Banners = append(f.Banners, Msg(trouble))
		}
	}
	if req.Site.Operations != nil {
		f.Running = req.Site.Operations.Running(c.Request().Context(), in.ProjectID)
	}
	return f
}

// WithFrame returns the request's context with the frame, for components that are not
// rendered by Render.
func WithFrame(c echo.Context) context.Context {
	return views.WithPageContext(c.Request().Context(), frame(c, ""))
}

// activeEntry is the menu entry that a path belongs to.
func activeEntry(path string) string {
	for _, e := range []struct{ prefix, entry string }{
		{views.VolumesPath, "volumes"}, {views.SnapshotsPath, "snapshots"}, {"/activity", "activity"},
		{"/admin/users", "users"}, {"/admin/servers", "servers"}, {"/admin/audit", "audit"}, {"/help", "help"}, {"/account", "account"},
	} {
		if path == e.prefix || strings.HasPrefix(path, e.prefix+"/") {
			return e.entry
		}
	}
	return ""
}

// PreferenceParams are the query parameters that choose how pages look. A cookie
// remembers them, so links do not repeat them.
var PreferenceParams = []string{"lang", "theme", "density"}

// pageURL is the path and query of the page, for a fragment of the page around it.
func pageURL(c echo.Context) string {
	u := *c.Request().URL
	if IsHTMX(c) {
		if current, err := url.Parse(c.Request().Header.Get("HX-Current-URL")); err == nil && current.Path != "" {
			u = *current
		}
	}
	if u.RawQuery != "" && (c.Request().Method == http.MethodPost && !IsHTMX(c) || RequestOf(c).Typed != nil) {
		u.RawQuery = ""
	}
	u.RawQuery = withoutPreferences(u.RawQuery)
	local := u.EscapedPath()
	if u.RawQuery != "" {
		local += "?" + u.RawQuery
	}
	return LocalPath(local, "/")
}

// withoutPreferences drops PreferenceParams from a query and leaves the rest as it
// is, in its order.
func withoutPreferences(query string) string {
	if query == "" {
		return ""
	}
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(pair, "=")
		preference := false
		for _, p := range PreferenceParams {
			preference = preference || name == p
		}
		if !preference {
			kept = append(kept, pair)
		}
	}
	return strings.Join(kept, "&")
}

const maxPathBytes = 4096

// LocalPath returns path when it is a path of this site with an optional query, else
// fallback. A path that a browser could take for another host, or that would break a
// header line, is none.
func LocalPath(path, fallback string) string {
	if path == "" || len(path) > maxPathBytes || path[0] != '/' || strings.HasPrefix(path, "//") ||
		strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return fallback
	}
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || strings.HasPrefix(u.Path, "//") || strings.Contains(u.Path, "\\") {
		return fallback
	}
	return path
}

// ReturnTo is the form's return_to where it is a local path, else fallback.
func ReturnTo(c echo.Context, fallback string) string {
	return LocalPath(c.FormValue("return_to"), fallback)
}
