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
	return h.renderPopup(c, "extend", models.ActExtend, h.extendPopup)
}

// Extend grows a volume.
func (h Volumes) Extend(c echo.Context) error {
	op, err := h.Store.ExtendVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("size_gib"), c.FormValue("form_key"))
	return h.answerPopup(c, op, err, "extend", h.extendPopup)
}

func (h Volumes) extendPopup(c echo.Context, form views.Form, row *models.Volume) (templ.Component, error) {
	caps, size := h.Store.Capabilities(), strconv.Itoa(row.SizeGiB+1)
	if c.Request().Method == http.MethodPost {
		size = c.FormValue("size_gib")
	}
	m := views.Extend{Form: form, Volume: volumeBrief(row), SizeGiB: size, MinGiB: row.SizeGiB + 1, MaxGiB: caps.MaxSizeGiB, FreeBytes: caps.FreeBytes}
	if row.ProjectID == h.Store.OwnProjectID() { // another project's limits are not known
		m.Quotas = quotaViews(models.QuotaForExtension(caps, parseGiB(size)-row.SizeGiB), row.VolumeType, row.SizeGiB, true)
	}
	return views.ExtendPopup(m), nil
}
