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

// RevertForm is the popup that puts a volume back to its latest snapshot.
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

// fillRevert loads the volume, and says why it cannot be put back.
func (h Snapshots) fillRevert(c echo.Context, m *views.Revert, row *models.Snapshot) error {
	ctx := c.Request().Context()
	v, err := h.Store.Volume(ctx, Actor(c), row.VolumeID)
	if errors.Is(err, models.ErrNotFound) {
		m.Denial = Denial(&models.Denial{Text: models.Say("deny.volume_gone")})
		return nil
	}
	if err != nil {
		return err
	}
	m.Volume = volumeBrief(v)
	denial, err := h.Store.RevertDenial(ctx, row, v)
	m.Denial = Denial(denial)
	return err
}

// Revert puts the volume back.
func (h Snapshots) Revert(c echo.Context) error {
	op, err := h.Store.RevertVolume(c.Request().Context(), Actor(c), c.Param("id"), c.FormValue("form_key"))
	if err != nil {
		row, rowErr := h.Store.Snapshot(c.Request().Context(), Actor(c), c.Param("id"))
		if rowErr != nil {
			return rowErr
		}
		m := views.Revert{Form: sentForm(c, views.SnapshotsPath+"/"+row.ID+"/revert"), Snapshot: snapshotBrief(row)}
		if fillErr := h.fillRevert(c, &m, row); fillErr != nil {
			return fillErr
		}
		return again(c, &m.Form, err, "snapshot.revert", func() templ.Component { return views.RevertPopup(m) })
	}
	return accepted(c, op, outcome{list: views.SnapshotsPath, message: message("accepted.volume.revert", op)})
}

// whyNoRevert is why the volume cannot be put back to the snapshot, as far as the
// snapshot alone does not tell.
func (h Snapshots) whyNoRevert(ctx context.Context, actor models.Actor, row *models.Snapshot, known views.Message) (views.Message, error) {
	if known.Key != "" {
		return known, nil
	}
	v, err := h.Store.Volume(ctx, actor, row.VolumeID)
	if errors.Is(err, models.ErrNotFound) {
		return views.Message{Key: "deny.volume_gone"}, nil
	}
	if err != nil {
		return known, err
	}
	denial, err := h.Store.RevertDenial(ctx, row, v)
	return reason(denial), err
}
