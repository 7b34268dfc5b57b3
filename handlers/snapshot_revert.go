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
	row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	m := views.Revert{Form: newForm(c, views.SnapshotsPath+"/"+row.ID+"/revert"), Snapshot: snapshotBrief(row)}
	if err := h.fillRevert(c, &m, row); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, "snapshot.revert"), views.RevertPopup(m))
}

// fillRevert loads the volume, and why it cannot be reverted.
func (h Snapshots) fillRevert(c echo.Context, m *views.Revert, row *models.Snapshot) error {
	v, denial, err := h.revertTarget(c.Request().Context(), Actor(c), row)
	if v != nil {
		m.Volume = volumeBrief(v)
	}
	m.Denial = Denial(denial)
	return err
}

// revertTarget returns the snapshot's volume, nil when it is gone, and why it cannot
// be reverted.
func (h Snapshots) revertTarget(ctx context.Context, actor models.Actor, row *models.Snapshot) (*models.Volume, *models.Denial, error) {
	v, err := h.Store.Volume(ctx, actor, row.VolumeID)
	if errors.Is(err, models.ErrNotFound) {
		return nil, &models.Denial{Text: models.NewText("deny.volume_gone")}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	denial, err := h.Store.RevertDenial(ctx, row, v)
	return v, denial, err
}

// Revert reverts the volume.
func (h Snapshots) Revert(c echo.Context) error {
	op, err := h.Store.RevertVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("form_key"))
	if err != nil {
		row, rowErr := h.Store.Snapshot(c.Request().Context(), Actor(c), c.Param("id"))
		if rowErr != nil {
			return rowErr
		}
		m := views.Revert{Form: submittedForm(c, views.SnapshotsPath+"/"+row.ID+"/revert"), Snapshot: snapshotBrief(row)}
		if fillErr := h.fillRevert(c, &m, row); fillErr != nil {
			return fillErr
		}
		return rerenderForm(c, &m.Form, err, "snapshot.revert", func() (templ.Component, error) { return views.RevertPopup(m), nil })
	}
	return answerAccepted(c, op, pageUpdate{list: views.SnapshotsPath, message: operationMessage("accepted.volume.revert", op)})
}

// revertDenial is known, else the reason why the snapshot's volume cannot be
// reverted.
func (h Snapshots) revertDenial(ctx context.Context, actor models.Actor, row *models.Snapshot, known views.Message) (views.Message, error) {
	if known.Key != "" {
		return known, nil
	}
	_, denial, err := h.revertTarget(ctx, actor, row)
	return denialMessage(denial), err
}
