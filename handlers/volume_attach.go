package handlers

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// AttachForm is the popup «Volume 연결».
func (h Volumes) AttachForm(c echo.Context) error {
	row, err := h.selectedVolume(c, "volume.attach")
	if row == nil || err != nil {
		return err
	}
	m, err := h.attachView(c, newForm(c, h.resource.url(row.ID, "attach")), row)
	if err != nil {
		return err
	}
	m.Denial = Denial(h.Store.Rules().Volume(models.ActAttach, row))
	return Render(c, http.StatusOK, T(c, "volume.attach"), views.AttachPopup(m))
}

func (h Volumes) attachView(c echo.Context, form views.Form, row *models.Volume) (views.Attach, error) {
	servers, err := h.serverChoices(c, row.ProjectID)
	return views.Attach{Form: form, Volume: volumeBrief(row), Servers: servers, ServerID: c.FormValue("server_id"),
		Own: h.Store.Capabilities().OwnServers}, err
}

// Attach attaches a volume to a server.
func (h Volumes) Attach(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := h.Store.AttachVolume(ctx, actor, id, c.FormValue("server_id"), c.FormValue("form_key"))
	if err != nil {
		row, rowErr := h.Store.Volume(ctx, actor, id)
		if rowErr != nil {
			return rowErr
		}
		m, serversErr := h.attachView(c, submittedForm(c, h.resource.url(id, "attach")), row)
		if serversErr != nil {
			return serversErr
		}
		return rerenderForm(c, &m.Form, err, "volume.attach", func() (templ.Component, error) { return views.AttachPopup(m), nil })
	}
	return h.resource.answer(c, op, "attach")
}

// DetachForm is the popup «Volume 연결 해제».
func (h Volumes) DetachForm(c echo.Context) error {
	row, err := h.selectedVolume(c, "volume.detach")
	if row == nil || err != nil {
		return err
	}
	m := h.detachView(c, newForm(c, h.resource.url(row.ID, "detach")), row)
	m.Denial = Denial(h.Store.Rules().Volume(models.ActDetach, row))
	return Render(c, http.StatusOK, T(c, "volume.detach"), views.DetachPopup(m))
}

func (h Volumes) detachView(c echo.Context, form views.Form, row *models.Volume) views.Detach {
	m := views.Detach{Form: form, Volume: volumeBrief(row), ServerID: c.FormValue("server_id"), Force: c.FormValue("force") == "1",
		Waits: h.Store.Capabilities().OwnServers, Waiting: row.Status == models.Detaching, Attached: attachedServers(row)}
	for _, a := range row.Attachments {
		m.Servers = append(m.Servers, views.Link{ID: a.ServerID, Name: a.ServerName})
	}
	return m
}

// Detach detaches a volume from a server.
func (h Volumes) Detach(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := h.Store.DetachVolume(ctx, actor, id, c.FormValue("server_id"), c.FormValue("force") == "1", c.FormValue("form_key"))
	if err != nil {
		row, rowErr := h.Store.Volume(ctx, actor, id)
		if rowErr != nil {
			return rowErr
		}
		m := h.detachView(c, submittedForm(c, h.resource.url(id, "detach")), row)
		return rerenderForm(c, &m.Form, err, "volume.detach", func() (templ.Component, error) { return views.DetachPopup(m), nil })
	}
	return h.resource.answer(c, op, "detach")
}

// serverChoices are those that a volume of the project can be attached to; an empty one is
// that of new volumes.
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
