package handlers

import (
	"net/http"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// EditForm is the popup «Volume 수정».
func (h Volumes) EditForm(c echo.Context) error {
	row, err := h.selected(c, "volume.edit")
	if row == nil || err != nil {
		return err
	}
	m := views.Edit{Form: newForm(c, h.action(row.ID, "edit")), Kind: "volume", ID: row.ID, Name: row.Name, Description: row.Description}
	m.Version = row.Version
	m.Denial = Denial(h.Store.Rules().Volume(models.ActEdit, row))
	return Render(c, http.StatusOK, T(c, "volume.edit"), views.EditPopup(m))
}

// Edit renames a volume.
func (h Volumes) Edit(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	m := views.Edit{Form: sentForm(c, h.action(id, "edit")), Kind: "volume", ID: id, Name: c.FormValue("name"), Description: c.FormValue("description")}
	m.Version = formVersion(c)
	op, err := h.Store.EditVolume(ctx, actor, models.EditInput{
		ID: id, Name: m.Name, Description: m.Description, Version: m.Version, FormKey: m.Key})
	if err != nil {
		return again(c, &m.Form, err, "volume.edit", func() templ.Component {
			if row, rowErr := h.Store.Volume(ctx, actor, id); rowErr == nil && isStale(err) {
				m.Version, m.Theirs = row.Version, &views.Theirs{Name: row.Name, Description: row.Description, By: row.EditedBy, At: row.EditedAt}
			}
			return views.EditPopup(m)
		})
	}
	return h.acceptedRow(c, op, "accepted.volume.edit")
}

// ExtendForm is the popup «Volume 확장».
func (h Volumes) ExtendForm(c echo.Context) error {
	row, err := h.selected(c, "volume.extend")
	if row == nil || err != nil {
		return err
	}
	m := h.extend(newForm(c, h.action(row.ID, "extend")), row, strconv.Itoa(row.SizeGiB+1))
	m.Denial = Denial(h.Store.Rules().Volume(models.ActExtend, row))
	return Render(c, http.StatusOK, T(c, "volume.extend"), views.ExtendPopup(m))
}

func (h Volumes) extend(form views.Form, row *models.Volume, typed string) views.Extend {
	facts := h.Store.Capabilities()
	m := views.Extend{Form: form, Volume: volumeBrief(row), SizeGiB: typed, MinGiB: row.SizeGiB + 1, MaxGiB: facts.MaxSizeGiB, FreeBytes: facts.FreeBytes}
	if row.ProjectID == h.Store.OwnProjectID() { // another project's limits are not known
		m.Quotas = quotas(models.QuotaForExtension(facts, typedGiB(typed)-row.SizeGiB), row.VolumeType, row.SizeGiB, true)
	}
	return m
}

// Extend grows a volume.
func (h Volumes) Extend(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	op, err := h.Store.ExtendVolume(ctx, actor, id, c.FormValue("size_gib"), c.FormValue("form_key"))
	if err != nil {
		row, rowErr := h.Store.Volume(ctx, actor, id)
		if rowErr != nil {
			return rowErr
		}
		m := h.extend(sentForm(c, h.action(id, "extend")), row, c.FormValue("size_gib"))
		return again(c, &m.Form, err, "volume.extend", func() templ.Component { return views.ExtendPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.extend")
}

// AttachForm is the popup «Volume 연결».
func (h Volumes) AttachForm(c echo.Context) error {
	row, err := h.selected(c, "volume.attach")
	if row == nil || err != nil {
		return err
	}
	m, err := h.attach(c, newForm(c, h.action(row.ID, "attach")), row)
	if err != nil {
		return err
	}
	m.Denial = Denial(h.Store.Rules().Volume(models.ActAttach, row))
	return Render(c, http.StatusOK, T(c, "volume.attach"), views.AttachPopup(m))
}

func (h Volumes) attach(c echo.Context, form views.Form, row *models.Volume) (views.Attach, error) {
	servers, err := h.servers(c, row.ProjectID)
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
		m, serversErr := h.attach(c, sentForm(c, h.action(id, "attach")), row)
		if serversErr != nil {
			return serversErr
		}
		return again(c, &m.Form, err, "volume.attach", func() templ.Component { return views.AttachPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.attach")
}

// DetachForm is the popup «Volume 연결 해제».
func (h Volumes) DetachForm(c echo.Context) error {
	row, err := h.selected(c, "volume.detach")
	if row == nil || err != nil {
		return err
	}
	m := h.detach(c, newForm(c, h.action(row.ID, "detach")), row)
	m.Denial = Denial(h.Store.Rules().Volume(models.ActDetach, row))
	return Render(c, http.StatusOK, T(c, "volume.detach"), views.DetachPopup(m))
}

func (h Volumes) detach(c echo.Context, form views.Form, row *models.Volume) views.Detach {
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
		m := h.detach(c, sentForm(c, h.action(id, "detach")), row)
		return again(c, &m.Form, err, "volume.detach", func() templ.Component { return views.DetachPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.detach")
}

// RepairForm is the administrator's popup «복구».
func (h Volumes) RepairForm(c echo.Context) error {
	row, err := h.selected(c, "volume.repair")
	if row == nil || err != nil {
		return err
	}
	m := h.repair(newForm(c, h.action(row.ID, "repair")), row)
	m.Denial = Denial(h.Store.Rules().Volume(models.ActRepair, row))
	return Render(c, http.StatusOK, T(c, "volume.repair"), views.RepairPopup(m))
}

func (h Volumes) repair(form views.Form, row *models.Volume) views.Repair {
	return views.Repair{Form: form, Kind: "volume", ID: row.ID, Name: row.Name, Status: string(row.Status),
		Since: row.StatusSince, Failure: Msg(row.Failure.Text), ResetTo: "error"}
}

// Repair puts a stuck volume into a status from which one can go on.
func (h Volumes) Repair(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	in := repairInput(c)
	op, err := h.Store.RepairVolume(ctx, actor, in)
	if err != nil {
		row, rowErr := h.Store.Volume(ctx, actor, in.ID)
		if rowErr != nil {
			return rowErr
		}
		m := h.repair(sentForm(c, h.action(in.ID, "repair")), row)
		m.Reason, m.ResetTo = in.Reason, c.FormValue("reset_to")
		return again(c, &m.Form, err, "volume.repair", func() templ.Component { return views.RepairPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.repair")
}
