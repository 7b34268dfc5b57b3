package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/views"
)

// Handlers is what the routes lead to.
type Handlers struct {
	Sessions  handlers.Sessions
	Account   handlers.Account
	Users     handlers.Users
	Servers   handlers.Servers
	Audit     handlers.Audit
	Volumes   handlers.Volumes
	Snapshots handlers.Snapshots
	Activity  handlers.Activity
	Live      *handlers.Live
}

// newHandlers makes the handlers of a store. The live pages render their rows as
// the site's pages do.
func newHandlers(st *store.Store, site *handlers.Site) Handlers {
	rows := &handlers.RowCache{}
	db := parts{st, st.Volumes, st.Snapshots, st.Servers, st.Users, st.Sessions, st.Queue, st.Sync}
	return Handlers{
		Sessions:  handlers.Sessions{Store: db},
		Account:   handlers.Account{Store: db},
		Users:     handlers.Users{Store: db},
		Servers:   handlers.Servers{Store: db},
		Audit:     handlers.Audit{Store: db},
		Volumes:   handlers.Volumes{Store: db, Rows: rows},
		Snapshots: handlers.Snapshots{Store: db, Rows: rows},
		Activity:  handlers.Activity{Store: db},
		Live:      handlers.NewLive(db, rows, site),
	}
}

// The parts of a store under one roof: most handlers ask several of them.
type parts struct {
	*store.Store
	store.Volumes
	store.Snapshots
	store.Servers
	store.Users
	store.Sessions
	store.Queue
	store.Sync
}

const (
	loginPath = "/login"
	homePath  = views.VolumesPath
)

// anybody is the role of routes that need nobody to be signed in.
const anybody models.Role = ""

// accessRule is a route and the least role that it needs.
type accessRule struct {
	method, path string
	role         models.Role
}

// routes is every route of the console with the least role it needs.
func (s *Server) routes(h Handlers) {
	const v, n = views.VolumesPath, views.SnapshotsPath
	read, act, rule := models.Viewer, models.Operator, models.Administrator

	s.get(anybody, "/healthz", s.healthz)
	s.get(anybody, "/readyz", s.readyz)
	s.get(anybody, "/static/*", s.static)
	s.get(anybody, "/favicon.ico", s.favicon)
	s.get(anybody, "/robots.txt", s.robots)

	s.get(anybody, loginPath, h.Sessions.LoginForm)
	s.post(anybody, loginPath, h.Sessions.Login)
	s.post(anybody, "/logout", h.Sessions.Logout)

	s.get(read, "/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, homePath) })
	s.get(read, "/help", handlers.Help)
	s.get(read, "/account", h.Account.Show)
	s.post(read, "/account", h.Account.ChangePassword)
	s.post(read, "/account/sessions/end-others", h.Account.EndOtherSessions)
	s.post(read, "/account/sessions/:session/end", h.Account.EndSession)

	s.get(read, v, h.Volumes.List)
	s.get(read, v+"/count", h.Volumes.Count)
	s.stream(read, v+"/events", h.Live.VolumeEvents)
	s.popup(act, v+"/new", h.Volumes.NewForm, v, h.Volumes.Create)
	s.get(act, v+"/new-snapshot", h.Snapshots.NewForSelection)
	s.toolbar(act, v, "edit", h.Volumes.EditForm, h.Volumes.Edit)
	s.toolbar(act, v, "extend", h.Volumes.ExtendForm, h.Volumes.Extend)
	s.toolbar(act, v, "attach", h.Volumes.AttachForm, h.Volumes.Attach)
	s.toolbar(act, v, "detach", h.Volumes.DetachForm, h.Volumes.Detach)
	s.toolbar(act, v, "delete", h.Volumes.DeleteForm, h.Volumes.Delete)
	s.post(act, v+"/delete", h.Volumes.DeleteMany)
	s.popup(rule, v+"/:id/repair", h.Volumes.RepairForm, v+"/:id/repair", h.Volumes.Repair)
	s.popup(act, v+"/:id/snapshots/new", h.Snapshots.NewForm, v+"/:id/snapshots", h.Snapshots.Create)
	s.get(read, v+"/:id", h.Volumes.Show)

	s.get(read, n, h.Snapshots.List)
	s.get(read, n+"/count", h.Snapshots.Count)
	s.stream(read, n+"/events", h.Live.SnapshotEvents)
	s.popup(act, n+"/new", h.Snapshots.NewForm, n, h.Snapshots.Create)
	s.get(act, n+"/new/volumes", h.Snapshots.Choices)
	s.toolbar(act, n, "edit", h.Snapshots.EditForm, h.Snapshots.Edit)
	s.toolbar(act, n, "restore", h.Volumes.RestoreForm, h.Volumes.Restore)
	s.toolbar(act, n, "delete", h.Snapshots.DeleteForm, h.Snapshots.Delete)
	s.post(act, n+"/delete", h.Snapshots.DeleteMany)
	s.popup(act, n+"/:id/revert", h.Snapshots.RevertForm, n+"/:id/revert", h.Snapshots.Revert)
	s.popup(rule, n+"/:id/repair", h.Snapshots.RepairForm, n+"/:id/repair", h.Snapshots.Repair)
	s.get(read, n+"/:id", h.Snapshots.Show)

	s.get(read, "/activity", h.Activity.List)
	s.get(read, "/activity/:id", h.Activity.Show)
	s.post(act, "/activity/:id/cancel", h.Activity.Cancel)
	s.post(act, "/activity/:id/retry", h.Activity.Retry)

	s.adminRoutes(h, rule)
}

// adminRoutes are those below 관리.
func (s *Server) adminRoutes(h Handlers, rule models.Role) {
	s.popup(rule, "/admin/users", h.Users.List, "/admin/users", h.Users.Add)
	s.popup(rule, "/admin/users/:id", h.Users.Show, "/admin/users/:id", h.Users.Change)
	s.post(rule, "/admin/users/:id/password", h.Users.ResetPassword)
	s.post(rule, "/admin/users/:id/delete", h.Users.Delete)
	s.popup(rule, views.ServersPath, h.Servers.List, views.ServersPath, h.Servers.Add)
	s.get(rule, views.ServersPath+"/new", h.Servers.NewForm)
	s.popup(rule, views.ServersPath+"/:id", h.Servers.EditForm, views.ServersPath+"/:id", h.Servers.Edit)
	s.popup(rule, views.ServersPath+"/:id/delete", h.Servers.DeleteForm, views.ServersPath+"/:id/delete", h.Servers.Delete)
	s.get(rule, "/admin/audit", h.Audit.List)
}

// popup is a form and what it is sent to.
func (s *Server) popup(role models.Role, formPath string, form echo.HandlerFunc, path string, send echo.HandlerFunc) {
	s.get(role, formPath, form)
	s.post(role, path, send)
}

// toolbar is a popup that the toolbar opens for the selected rows as well.
func (s *Server) toolbar(role models.Role, list, action string, form, send echo.HandlerFunc) {
	s.get(role, list+"/"+action, form)
	s.popup(role, list+"/:id/"+action, form, list+"/:id/"+action, send)
}

// get also answers HEAD, as HTTP asks for.
func (s *Server) get(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodGet, role, path, handler)
	s.Echo.Add(http.MethodHead, path, handler, s.allow(role))
}

// stream is a live stream; to ask for its headers alone makes no sense.
func (s *Server) stream(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodGet, role, path, handler)
}

func (s *Server) post(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodPost, role, path, handler)
}

func (s *Server) add(method string, role models.Role, path string, handler echo.HandlerFunc) {
	s.access = append(s.access, accessRule{method, path, role})
	s.Echo.Add(method, path, handler, s.allow(role))
}

// allow is the guard of a route.
func (s *Server) allow(role models.Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if role == anybody {
				return next(c)
			}
			in := handlers.VisitOf(c).SignedIn
			if in == nil {
				return models.ErrSignedOut
			}
			if !in.Role.Allows(role) {
				return &models.Error{Code: models.CodeForbidden, Text: models.NewText("error.role", string(role))}
			}
			return next(c)
		}
	}
}
