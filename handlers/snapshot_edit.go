package handlers

import (
	"net/http"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// EditForm is the popup «Block Snapshot 수정».
func (h Snapshots) EditForm(c echo.Context) error {
	id, ok := targetID(c)
	if !ok {
		return renderChooser(c, "snapshot.edit", views.SnapshotsPath, "list.need_one")
	}
	row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), id)
	if err != nil {
		return err
	}
	m := views.Edit{Form: newForm(c, views.SnapshotsPath+"/"+row.ID+"/edit"), Kind: "snapshot", ID: row.ID, Name: row.Name, Description: row.Description}
	m.Version = row.Version
	m.Denial = Denial(h.Store.Rules().Snapshot(models.ActEdit, row))
	return Render(c, http.StatusOK, T(c, "snapshot.edit"), views.EditPopup(m))
}

// Edit renames a snapshot.
func (h Snapshots) Edit(c echo.Context) error {
	ctx, actor, id := c.Request().Context(), Actor(c), c.Param("id")
	m := views.Edit{Form: submittedForm(c, views.SnapshotsPath+"/"+id+"/edit"), Kind: "snapshot", ID: id,
		Name: c.FormValue("name"), Description: c.FormValue("description")}
	m.Version = formVersion(c)
	op, err := h.Store.EditSnapshot(ctx, actor, models.EditInput{
		ID: id, Name: m.Name, Description: m.Description, Version: m.Version, FormKey: m.Key})
	if err != nil {
		return rerenderForm(c, &m.Form, err, "snapshot.edit", func() templ.Component {
			if row, rowErr := h.Store.Snapshot(ctx, actor, id); rowErr == nil && isStale(err) {
				m.Version, m.Theirs = row.Version, &views.Theirs{Name: row.Name, Description: row.Description, By: row.EditedBy, At: row.EditedAt}
			}
			return views.EditPopup(m)
		})
	}
	return h.acceptedRow(c, op, "accepted.snapshot.edit")
}

// RepairForm is the administrator's popup «복구».
func (h Snapshots) RepairForm(c echo.Context) error {
	row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	m := h.repairView(newForm(c, ""), row)
	m.Denial = Denial(h.Store.Rules().Snapshot(models.ActRepair, row))
	return Render(c, http.StatusOK, T(c, "snapshot.repair"), views.RepairPopup(m))
}

func (h Snapshots) repairView(form views.Form, row *models.Snapshot) views.Repair {
	form.Action = views.SnapshotsPath + "/" + row.ID + "/repair"
	return views.Repair{Form: form, Kind: "snapshot", ID: row.ID, Name: row.Name, Status: string(row.Status),
		Since: row.StatusSince, Failure: Msg(row.Failure.Text), ResetTo: "error"}
}

// Repair puts a stuck snapshot into a status from which one can go on.
func (h Snapshots) Repair(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	in := repairInput(c)
	op, err := h.Store.RepairSnapshot(ctx, actor, in)
	if err != nil {
		row, rowErr := h.Store.Snapshot(ctx, actor, in.ID)
		if rowErr != nil {
			return rowErr
		}
		m := h.repairView(submittedForm(c, ""), row)
		m.Reason, m.ResetTo = in.Reason, c.FormValue("reset_to")
		return rerenderForm(c, &m.Form, err, "snapshot.repair", func() templ.Component { return views.RepairPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.snapshot.repair")
}

// resetStatuses are the statuses that the form «복구» offers; any other is none.
var resetStatuses = map[string]models.Status{"": models.ErrorStatus, "error": models.ErrorStatus, "available": models.Available}

// repairInput reads the administrator's form «복구».
func repairInput(c echo.Context) models.RepairInput {
	return models.RepairInput{ID: c.Param("id"), Reason: c.FormValue("reason"), ResetTo: resetStatuses[c.FormValue("reset_to")], FormKey: c.FormValue("form_key")}
}
