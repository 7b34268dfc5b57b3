package handlers

import (
	"net/http"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// ExtendForm is the popup «Volume 확장».
func (h Volumes) ExtendForm(c echo.Context) error {
	row, err := h.selectedVolume(c, "volume.extend")
	if row == nil || err != nil {
		return err
	}
	m := h.extendView(newForm(c, h.resource.url(row.ID, "extend")), row, strconv.Itoa(row.SizeGiB+1))
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
		m := h.extendView(submittedForm(c, h.resource.url(id, "extend")), row, c.FormValue("size_gib"))
		return rerenderForm(c, &m.Form, err, "volume.extend", func() (templ.Component, error) { return views.ExtendPopup(m), nil })
	}
	return h.resource.answer(c, op, "extend")
}
