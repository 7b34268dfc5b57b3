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

// RevertForm is the popup that reverts a volume to its latest snapshot.
func (h Snapshots) RevertForm(c echo.Context) error {
	body, err := h.revertPopup(c, newForm(c, ""))
	if err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, "snapshot.revert"), body)
}

// Revert reverts the volume.
func (h Snapshots) Revert(c echo.Context) error {
	op, err := h.Store.RevertVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("form_key"))
	if err != nil {
		form := submittedForm(c, "")
		return rerenderForm(c, &form, err, "snapshot.revert", func() (templ.Component, error) { return h.revertPopup(c, form) })
	}
	return answerAccepted(c, op, pageUpdate{list: views.SnapshotsPath, message: operationMessage("accepted.volume.revert", op)})
}

func (h Snapshots) revertPopup(c echo.Context, form views.Form) (templ.Component, error) {
	ctx, actor := c.Request().Context(), Actor(c)
	row, err := h.Store.Snapshot(ctx, actor, c.Param("id"))
	if err != nil {
		return nil, err
	}
	m := views.Revert{Form: form, Snapshot: snapshotBrief(row)}
	m.Action = h.url(row.ID, "revert")
	v, denial, err := h.revertTarget(ctx, actor, row)
	if v != nil {
		m.Volume = volumeBrief(v)
	}
	if m.Denial == nil {
		m.Denial = Denial(denial)
	}
	return views.RevertPopup(m), err
}

// revertTarget returns the snapshot's volume, nil when it is gone, and why it cannot
// be reverted.
func (h Snapshots) revertTarget(ctx context.Context, actor models.Actor, row *models.Snapshot) (*models.Volume, *models.Denial, error) {
	v, err := h.Store.Volume(ctx, actor, row.VolumeID)
	if errors.Is(err, models.ErrNotFound) {
		return nil, models.NewDenial("deny.volume_gone"), nil
	}
	if err != nil {
		return nil, nil, err
	}
	denial, err := h.Store.RevertDenial(ctx, row, v)
	return v, denial, err
}
