package handlers

import (
	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// AttachForm is the popup «Volume 연결».
func (h Volumes) AttachForm(c echo.Context) error {
	return h.renderPopup(c, "attach", models.ActAttach, h.attachPopup)
}

// Attach attaches a volume to a server.
func (h Volumes) Attach(c echo.Context) error {
	op, err := h.Store.AttachVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("server_id"), c.FormValue("form_key"))
	return h.answerPopup(c, op, err, "attach", h.attachPopup)
}

func (h Volumes) attachPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	servers, err := h.serverChoices(c, row.ProjectID)
	return views.AttachPopup(views.Attach{Form: form, Volume: volumeBrief(row), Servers: servers, ServerID: c.FormValue("server_id"),
		Own: h.Store.Capabilities().OwnServers}), err
}

// DetachForm is the popup «Volume 연결 해제».
func (h Volumes) DetachForm(c echo.Context) error {
	return h.renderPopup(c, "detach", models.ActDetach, h.detachPopup)
}

// Detach detaches a volume from a server.
func (h Volumes) Detach(c echo.Context) error {
	op, err := h.Store.DetachVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("server_id"), c.FormValue("force") == "1", c.FormValue("form_key"))
	return h.answerPopup(c, op, err, "detach", h.detachPopup)
}

func (h Volumes) detachPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	m := views.Detach{Form: form, Volume: volumeBrief(row), ServerID: c.FormValue("server_id"), Force: c.FormValue("force") == "1",
		Waits: h.Store.Capabilities().OwnServers, Waiting: row.Status == models.Detaching, Attached: attachedServers(row)}
	for _, a := range row.Attachments {
		m.Servers = append(m.Servers, views.Link{ID: a.ServerID, Name: a.ServerName})
	}
	return views.DetachPopup(m), nil
}

// serverChoices are the servers that a volume of the project can be attached to; an
// empty project is that of new volumes.
func (h Volumes) serverChoices(c echo.Context, project string) ([]views.Link, error) {
	if !h.Store.Capabilities().Attach {
		return nil, nil
	}
	rows, err := h.Store.ServersOfProject(c.Request().Context(), Actor(c), project, maxServerChoices)
	var all []views.Link
	for _, s := range rows {
		all = append(all, views.Link{ID: s.ID, Name: s.Name})
	}
	return all, err
}
