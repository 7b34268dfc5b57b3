package handlers

import (
	"context"
	"errors"
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// ServerStore is what Servers needs.
type ServerStore interface {
	Capabilities() models.Capabilities
	AllProjects() bool
	ListServers(ctx context.Context, actor models.Actor, limit int) ([]models.Server, error)
	Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error)
	ServerUse(ctx context.Context, ids []string) (map[string]models.ServerUse, error)
	ServerClients(ctx context.Context, id string) ([]models.ServerClient, error)
	ServerDenial(ctx context.Context, row *models.Server) (*models.Denial, error)
	AddServer(ctx context.Context, actor models.Actor, in models.ServerInput) (*models.Server, error)
	EditServer(ctx context.Context, actor models.Actor, in models.ServerInput) (*models.Server, error)
	RemoveServer(ctx context.Context, actor models.Actor, id string) error
}

// Servers has the pages of the servers that volumes can be attached to. Where the
// backend serves volumes itself the administrator registers servers; elsewhere the
// backend knows them, and the list is read-only.
type Servers struct{ Store ServerStore }

// maxServers is how many servers the page shows at most.
const maxServers = 1000

// List is the page of servers, or JSON.
func (h Servers) List(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	rows, err := h.Store.ListServers(ctx, actor, maxServers+1)
	if err != nil {
		return err
	}
	m := views.Servers{Registered: h.Store.Capabilities().OwnServers, ShowProjects: h.Store.AllProjects(), TLS: RequestOf(c).Site.ExportTLS}
	if m.More = len(rows) > maxServers; m.More {
		rows = rows[:maxServers]
	}
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ID
	}
	use, err := h.Store.ServerUse(ctx, ids)
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		items := make([]serverJSON, 0, len(rows))
		for i := range rows {
			items = append(items, toServerJSON(&rows[i], use[rows[i].ID]))
		}
		Vary(c)
		return c.JSON(http.StatusOK, struct {
			Items []serverJSON `json:"items"`
		}{items})
	}
	shared, all := models.Overlaps(rows), projectNamesOf(h.Store)
	for i := range rows {
		row := serverRow(&rows[i])
		row.Volumes, row.Snapshots = use[row.ID].Volumes, use[row.ID].Snapshots
		row.SharedWith, row.Project = links(shared[row.ID]), all.link(rows[i].ProjectID)
		m.Rows = append(m.Rows, row)
		m.SharedAddresses = m.SharedAddresses || len(row.SharedWith) > 0
	}
	return Render(c, http.StatusOK, T(c, "nav.servers"), views.ServersPage(m))
}

func serverRow(s *models.Server) views.ServerRow {
	return views.ServerRow{ID: s.ID, Name: s.Name, Addresses: s.Addresses(), Status: s.Status, CreatedAt: s.CreatedAt, CreatedBy: s.CreatedBy}
}

type serverJSON struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Addresses []string `json:"addresses"`
	Status    string   `json:"status,omitempty"`
	Volumes   int      `json:"volumes"`
	Snapshots int      `json:"snapshots"`
	CreatedAt string   `json:"created_at"`
	ProjectID string   `json:"project_id"`
	Version   int64    `json:"version"`
}

func toServerJSON(s *models.Server, use models.ServerUse) serverJSON {
	return serverJSON{ID: s.ID, Name: s.Name, Addresses: append([]string{}, s.Addresses()...), Status: s.Status, Volumes: use.Volumes, Snapshots: use.Snapshots,
		CreatedAt: rfc3339(s.CreatedAt), ProjectID: s.ProjectID, Version: s.Version}
}

// readOnlyDenial says why servers cannot be changed; nil when they can.
func (h Servers) readOnlyDenial() *views.Denial {
	if h.Store.Capabilities().OwnServers {
		return nil
	}
	return &views.Denial{Reason: views.Message{Key: "server.elsewhere"}}
}

// NewForm is the popup «서버 등록».
func (h Servers) NewForm(c echo.Context) error {
	m := views.ServerForm{Form: newForm(c, views.ServersPath)}
	m.Denial = h.readOnlyDenial()
	return Render(c, http.StatusOK, T(c, "server.new"), views.ServerPopup(m))
}

// Add registers a server.
func (h Servers) Add(c echo.Context) error {
	m := views.ServerForm{Form: submittedForm(c, views.ServersPath), Name: c.FormValue("name"), Address: c.FormValue("address")}
	row, err := h.Store.AddServer(c.Request().Context(), Actor(c), models.ServerInput{Name: m.Name, Address: m.Address, FormKey: m.Key})
	if err != nil {
		return rerenderForm(c, &m.Form, err, "server.new", func() (templ.Component, error) {
			m.Denial = h.readOnlyDenial()
			return views.ServerPopup(m), nil
		})
	}
	return answerServerSaved(c, http.StatusCreated, row, "accepted.server.add")
}

// EditForm is the popup «서버 수정», or the server for programs.
func (h Servers) EditForm(c echo.Context) error {
	ctx := c.Request().Context()
	row, err := h.Store.Server(ctx, Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		use, err := h.Store.ServerUse(ctx, []string{row.ID})
		if err != nil {
			return err
		}
		Vary(c)
		return c.JSON(http.StatusOK, toServerJSON(row, use[row.ID]))
	}
	m := views.ServerForm{Form: newForm(c, serverPath(row.ID)), ID: row.ID, Name: row.Name, Address: row.Address}
	m.Version = row.Version
	if err := h.completeEdit(ctx, &m); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, "server.edit"), views.ServerPopup(m))
}

// completeEdit fills in what the popup «서버 수정» shows beside the fields.
func (h Servers) completeEdit(ctx context.Context, m *views.ServerForm) error {
	if m.Denial = h.readOnlyDenial(); m.Denial != nil {
		return nil
	}
	clients, err := h.Store.ServerClients(ctx, m.ID)
	for _, c := range clients {
		m.Clients = append(m.Clients, views.ServerClient{Kind: string(c.SubjectType), Object: views.Link{ID: c.SubjectID, Name: c.SubjectName}, Address: c.Address, Identity: c.Identity})
	}
	return err
}

func serverPath(id string) string { return views.ServersPath + "/" + id }

// Edit changes a registered server.
func (h Servers) Edit(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	m := views.ServerForm{Form: submittedForm(c, serverPath(id)), ID: id, Name: c.FormValue("name"), Address: c.FormValue("address")}
	m.Version = formVersion(c)
	row, err := h.Store.EditServer(ctx, actor, models.ServerInput{ID: id, Name: m.Name, Address: m.Address, Version: m.Version})
	if err != nil {
		return rerenderForm(c, &m.Form, err, "server.edit", func() (templ.Component, error) {
			if incomplete := h.completeEdit(ctx, &m); incomplete != nil || !isStale(err) {
				return views.ServerPopup(m), incomplete
			}
			now, err := h.Store.Server(ctx, actor, id)
			if err != nil {
				return nil, err
			}
			m.Version, m.Conflict = now.Version, &views.ServerRow{Name: now.Name, Addresses: now.Addresses()}
			return views.ServerPopup(m), nil
		})
	}
	return answerServerSaved(c, http.StatusOK, row, "accepted.server.edit")
}

// DeleteForm is the popup «서버 삭제».
func (h Servers) DeleteForm(c echo.Context) error {
	m, _, err := h.deleteView(c, newForm(c, ""))
	if err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, "server.delete"), views.ServerDeletePopup(m))
}

func (h Servers) deleteView(c echo.Context, form views.Form) (views.ServerDelete, *models.Server, error) {
	ctx := c.Request().Context()
	row, err := h.Store.Server(ctx, Actor(c), c.Param("id"))
	if err != nil {
		return views.ServerDelete{}, nil, err
	}
	m := views.ServerDelete{Form: form, Row: serverRow(row)}
	m.Action = serverPath(row.ID) + "/delete"
	if m.Denial = h.readOnlyDenial(); m.Denial != nil {
		return m, row, nil
	}
	denial, err := h.Store.ServerDenial(ctx, row)
	m.Denial = Denial(denial)
	return m, row, err
}

// Delete removes a registered server that nothing is attached to.
func (h Servers) Delete(c echo.Context) error {
	m, row, err := h.deleteView(c, submittedForm(c, ""))
	var gone *models.GoneError
	if errors.As(err, &gone) && Wants(c) != JSON {
		return answerServerSaved(c, http.StatusOK, &models.Server{Name: gone.Name}, "accepted.server.gone")
	}
	if err != nil {
		return err
	}
	if err := h.Store.RemoveServer(c.Request().Context(), Actor(c), row.ID); err != nil {
		return rerenderForm(c, &m.Form, err, "server.delete", func() (templ.Component, error) { return views.ServerDeletePopup(m), nil })
	}
	return answerServerSaved(c, http.StatusOK, row, "accepted.server.delete")
}

// answerServerSaved answers a change of a server, which takes effect at once.
func answerServerSaved(c echo.Context, status int, row *models.Server, key string) error {
	if Wants(c) == JSON {
		c.Response().Header().Set(echo.HeaderLocation, serverPath(row.ID))
		return c.JSON(status, map[string]string{"id": row.ID, "url": serverPath(row.ID)})
	}
	return answerChanged(c, views.ServersPath, views.Alert{Message: Msg(models.NewText(key, row.Name))})
}
