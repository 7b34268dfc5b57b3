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
	row, err := h.selectedVolume(c, "volume.edit")
	if row == nil || err != nil {
		return err
	}
	m := views.Edit{Form: newForm(c, h.actionURL(row.ID, "edit")), Kind: "volume", ID: row.ID, Name: row.Name, Description: row.Description}
	m.Version = row.Version
	m.Denial = Denial(h.Store.Rules().Volume(models.ActEdit, row))
	return Render(c, http.StatusOK, T(c, "volume.edit"), views.EditPopup(m))
}

// Edit renames a volume.
func (h Volumes) Edit(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	m := views.Edit{Form: submittedForm(c, h.actionURL(id, "edit")), Kind: "volume", ID: id, Name: c.FormValue("name"), Description: c.FormValue("description")}
	m.Version = formVersion(c)
	op, err := h.Store.EditVolume(ctx, actor, models.EditInput{
		ID: id, Name: m.Name, Description: m.Description, Version: m.Version, FormKey: m.Key})
	if err != nil {
		return rerenderForm(c, &m.Form, err, "volume.edit", func() templ.Component {
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
	row, err := h.selectedVolume(c, "volume.extend")
	if row == nil || err != nil {
		return err
	}
	m := h.extendView(newForm(c, h.actionURL(row.ID, "extend")), row, strconv.Itoa(row.SizeGiB+1))
	m.Denial = Denial(h.Store.Rules().Volume(models.ActExtend, row))
	return Render(c, http.StatusOK, T(c, "volume.extend"), views.ExtendPopup(m))
}

func (h Volumes) extendView(form views.Form, row *models.Volume, typed string) views.Extend {
	caps := h.Store.Capabilities()
	m := views.Extend{Form: form, Volume: volumeBrief(row), SizeGiB: typed, MinGiB: row.SizeGiB + 1, MaxGiB: caps.MaxSizeGiB, FreeBytes: caps.FreeBytes}
	if row.ProjectID == h.Store.OwnProjectID() { // another project's limits are not known
		m.Quotas = quotaViews(models.QuotaForExtension(caps, parseGiB(typed)-row.SizeGiB), row.VolumeType, row.SizeGiB, true)
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
		m := h.extendView(submittedForm(c, h.actionURL(id, "extend")), row, c.FormValue("size_gib"))
		return rerenderForm(c, &m.Form, err, "volume.extend", func() templ.Component { return views.ExtendPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.extend")
}

// RepairForm is the administrator's popup «복구».
func (h Volumes) RepairForm(c echo.Context) error {
	row, err := h.selectedVolume(c, "volume.repair")
	if row == nil || err != nil {
		return err
	}
	m := h.repairView(newForm(c, h.actionURL(row.ID, "repair")), row)
	m.Denial = Denial(h.Store.Rules().Volume(models.ActRepair, row))
	return Render(c, http.StatusOK, T(c, "volume.repair"), views.RepairPopup(m))
}

func (h Volumes) repairView(form views.Form, row *models.Volume) views.Repair {
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
		m := h.repairView(submittedForm(c, h.actionURL(in.ID, "repair")), row)
		m.Reason, m.ResetTo = in.Reason, c.FormValue("reset_to")
		return rerenderForm(c, &m.Form, err, "volume.repair", func() templ.Component { return views.RepairPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.volume.repair")
}
