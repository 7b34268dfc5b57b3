package web

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"blockconsole/handlers"
	"blockconsole/models"
	"blockconsole/models/store"
	"blockconsole/views"
)

// Handlers has the handlers of all routes.
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

// newHandlers makes the handlers of a store. The live pages need the site and the
// rows that the lists have rendered.
func newHandlers(st *store.Store, site *handlers.Site) Handlers {
	rows := handlers.NewRowCache()
	db := storeParts{st, st.Volumes, st.Snapshots, st.Servers, st.Users, st.Sessions, st.Queue, st.Sync}
	return Handlers{
		Sessions:  handlers.Sessions{Store: db},
		Account:   handlers.Account{Store: db},
		Users:     handlers.Users{Store: db},
		Servers:   handlers.Servers{Store: db},
		Audit:     handlers.Audit{Store: db},
		Volumes:   handlers.NewVolumes(db, rows),
		Snapshots: handlers.NewSnapshots(db, rows),
		Activity:  handlers.Activity{Store: db},
		Live:      handlers.NewLive(db, rows, site),
	}
}

// storeParts has the methods of all parts of a store, since most handlers need
// several parts.
type storeParts struct {
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

// anonymous is the role of routes without a session.
const anonymous models.Role = ""

// accessRule is a route and the lowest role that may use it.
type accessRule struct {
	method, path string
	role         models.Role
}

// routes registers every route with the lowest role that may use it.
func (s *Server) routes(h Handlers) {
	const v = views.VolumesPath
	viewer, operator, admin := models.Viewer, models.Operator, models.Administrator

	s.get(anonymous, "/healthz", s.healthz)
	s.get(anonymous, "/readyz", s.readyz)
	s.get(anonymous, "/static/*", s.static)
	s.get(anonymous, "/favicon.ico", s.favicon)
	s.get(anonymous, "/robots.txt", s.robots)

	s.get(anonymous, loginPath, h.Sessions.LoginForm)
	s.post(anonymous, loginPath, h.Sessions.Login)
	s.post(anonymous, "/logout", h.Sessions.Logout)

	s.get(viewer, "/", func(c echo.Context) error { return c.Redirect(http.StatusSeeOther, homePath) })
	s.get(viewer, "/help", handlers.Help)
	s.post(operator, "/show", s.show)
	s.get(viewer, "/account", h.Account.Show)
	s.post(viewer, "/account", h.Account.ChangePassword)
	s.post(viewer, "/account/sessions/end-others", h.Account.EndOtherSessions)
	s.post(viewer, "/account/sessions/:session/end", h.Account.EndSession)

	s.get(viewer, v, h.Volumes.List)
	s.get(viewer, v+"/count", h.Volumes.Count)
	s.stream(viewer, v+"/events", h.Live.VolumeEvents)
	s.get(operator, v+"/names", h.Volumes.NameHint)
	s.popup(operator, v+"/new", h.Volumes.NewForm, v, h.Volumes.Create)
	s.get(operator, v+"/new-snapshot", h.Snapshots.NewForSelection)
	s.toolbar(operator, v, "edit", h.Volumes.EditForm, h.Volumes.Edit)
	s.toolbar(operator, v, "extend", h.Volumes.ExtendForm, h.Volumes.Extend)
	s.toolbar(operator, v, "attach", h.Volumes.AttachForm, h.Volumes.Attach)
	s.toolbar(operator, v, "detach", h.Volumes.DetachForm, h.Volumes.Detach)
	s.toolbar(operator, v, "delete", h.Volumes.DeleteForm, h.Volumes.Delete)
	s.post(operator, v+"/delete", h.Volumes.DeleteMany)
	s.lockRoutes(v, h.Volumes)
	s.popup(admin, v+"/:id/repair", h.Volumes.RepairForm, v+"/:id/repair", h.Volumes.Repair)
	s.popup(operator, v+"/:id/snapshots/new", h.Snapshots.NewForm, v+"/:id/snapshots", h.Snapshots.Create)
	s.get(viewer, v+"/:id", h.Volumes.Show)

	s.snapshotRoutes(h, viewer, operator, admin)

	s.activityRoutes(h.Activity)
	s.adminRoutes(h, admin)
}

// snapshotRoutes registers the pages and popups of Block Snapshots.
func (s *Server) snapshotRoutes(h Handlers, viewer, operator, admin models.Role) {
	const n = views.SnapshotsPath
	s.get(viewer, n, h.Snapshots.List)
	s.get(viewer, n+"/count", h.Snapshots.Count)
	s.stream(viewer, n+"/events", h.Live.SnapshotEvents)
	s.get(operator, n+"/names", h.Snapshots.NameHint)
	s.popup(operator, n+"/new", h.Snapshots.NewForm, n, h.Snapshots.Create)
	s.get(operator, n+"/new/volumes", h.Snapshots.Choices)
	s.toolbar(operator, n, "edit", h.Snapshots.EditForm, h.Snapshots.Edit)
	s.toolbar(operator, n, "restore", h.Volumes.RestoreForm, h.Volumes.Restore)
	s.toolbar(operator, n, "attach", h.Snapshots.AttachForm, h.Snapshots.Attach)
	s.toolbar(operator, n, "detach", h.Snapshots.DetachForm, h.Snapshots.Detach)
	s.toolbar(operator, n, "delete", h.Snapshots.DeleteForm, h.Snapshots.Delete)
	s.post(operator, n+"/delete", h.Snapshots.DeleteMany)
	s.lockRoutes(n, h.Snapshots)
	s.popup(operator, n+"/:id/revert", h.Snapshots.RevertForm, n+"/:id/revert", h.Snapshots.Revert)
	s.popup(admin, n+"/:id/repair", h.Snapshots.RepairForm, n+"/:id/repair", h.Snapshots.Repair)
	s.get(viewer, n+"/:id", h.Snapshots.Show)
}

// lockRoutes registers the popups of locks below a list.
func (s *Server) lockRoutes(list string, h interface {
	LockForm(c echo.Context) error
	Lock(c echo.Context) error
	LockMany(c echo.Context) error
	UnlockForm(c echo.Context) error
	Unlock(c echo.Context) error
}) {
	s.toolbar(models.Operator, list, "lock", h.LockForm, h.Lock)
	s.post(models.Operator, list+"/lock", h.LockMany)
	s.popup(models.Administrator, list+"/:id/unlock", h.UnlockForm, list+"/:id/unlock", h.Unlock)
}

// activityRoutes registers what is below 작업.
func (s *Server) activityRoutes(h handlers.Activity) {
	s.get(models.Viewer, "/activity", h.List)
	s.get(models.Viewer, "/activity/:id", h.Show)
	s.post(models.Operator, "/activity/:id/cancel", h.Cancel)
	s.post(models.Operator, "/activity/:id/retry", h.Retry)
}

// adminRoutes registers what is below 관리, and the checks of Block Snapshots.
func (s *Server) adminRoutes(h Handlers, admin models.Role) {
	s.toolbar(admin, views.SnapshotsPath, "check", h.Snapshots.CheckForm, h.Snapshots.Check)
	s.post(admin, views.SnapshotsPath+"/check", h.Snapshots.CheckMany)
	s.popup(admin, "/admin/users", h.Users.List, "/admin/users", h.Users.Add)
	s.popup(admin, "/admin/users/:id", h.Users.Show, "/admin/users/:id", h.Users.Change)
	s.post(admin, "/admin/users/:id/password", h.Users.ResetPassword)
	s.post(admin, "/admin/users/:id/delete", h.Users.Delete)
	s.popup(admin, views.ServersPath, h.Servers.List, views.ServersPath, h.Servers.Add)
	s.get(admin, views.ServersPath+"/new", h.Servers.NewForm)
	s.popup(admin, views.ServersPath+"/:id", h.Servers.EditForm, views.ServersPath+"/:id", h.Servers.Edit)
	s.popup(admin, views.ServersPath+"/:id/delete", h.Servers.DeleteForm, views.ServersPath+"/:id/delete", h.Servers.Delete)
	s.get(admin, "/admin/audit", h.Audit.List)
}

// popup registers a form and what it posts to.
func (s *Server) popup(role models.Role, formPath string, form echo.HandlerFunc, path string, send echo.HandlerFunc) {
	s.get(role, formPath, form)
	s.post(role, path, send)
	s.formPages[path] = formPath
}

// toolbar registers a popup that the toolbar also opens for the selected rows.
func (s *Server) toolbar(role models.Role, list, action string, form, send echo.HandlerFunc) {
	s.get(role, list+"/"+action, form)
	s.popup(role, list+"/:id/"+action, form, list+"/:id/"+action, send)
}

// get registers GET and HEAD.
func (s *Server) get(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodGet, role, path, handler)
	s.Echo.Add(http.MethodHead, path, handler, s.requireRole(role))
}

// stream registers a live stream, which has no HEAD.
func (s *Server) stream(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodGet, role, path, handler)
}

func (s *Server) post(role models.Role, path string, handler echo.HandlerFunc) {
	s.add(http.MethodPost, role, path, handler)
}

func (s *Server) add(method string, role models.Role, path string, handler echo.HandlerFunc) {
	s.access = append(s.access, accessRule{method, path, role})
	s.Echo.Add(method, path, handler, s.requireRole(role))
}

// requireRole refuses requests without a session, and those of a lower role.
func (s *Server) requireRole(role models.Role) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if role == anonymous {
				return next(c)
			}
			in := handlers.RequestOf(c).SignedIn
			if in == nil {
				return models.ErrSignedOut
			}
			if !in.Role.Allows(role) {
				return s.refuse(c, &models.Error{Code: models.CodeForbidden, Text: models.NewText("error.role", string(role))})
			}
			return next(c)
		}
	}
}
