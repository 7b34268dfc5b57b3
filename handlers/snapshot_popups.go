package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

const snapshotCreateTitle = "snapshot.create"

// NewForm is the popup «Block Snapshot 생성» for the volume in the path or in
// ?volume_id=, else with a chooser of volumes.
func (h Snapshots) NewForm(c echo.Context) error {
	id := c.Param("id")
	if id == "" {
		id = c.QueryParam("volume_id")
	}
	return h.newForm(c, id)
}

// NewForSelection is NewForm for the selection of the Volume list: one volume, or
// none.
func (h Snapshots) NewForSelection(c echo.Context) error {
	switch ids := uniqueIDs(c.QueryParams()["id"]); len(ids) {
	case 0:
		return h.newForm(c, "")
	case 1:
		return h.newForm(c, ids[0])
	}
	return renderChooser(c, snapshotCreateTitle, views.VolumesPath, "list.need_one")
}

func (h Snapshots) newForm(c echo.Context, volumeID string) error {
	m := views.SnapshotCreate{Form: newForm(c, views.SnapshotsPath), VolumeQuery: truncateInput(c.QueryParam("q"))}
	if err := h.fillCreateForm(c, &m, volumeID); err != nil {
		return err
	}
	if m.Volume != nil {
		m.Name = models.SuggestName(m.Volume.Name, localNow(c))
		var err error
		if m.NameTaken, err = nameTaken(c, h.Store, models.SubjectSnapshot, m.Name, ""); err != nil {
			return err
		}
	}
	return Render(c, http.StatusOK, T(c, snapshotCreateTitle), views.SnapshotCreatePopup(m))
}

// Choices renders the choices of the chooser for a search.
func (h Snapshots) Choices(c echo.Context) error {
	choices, err := h.volumeChoices(c, truncateInput(c.QueryParam("q")))
	if err != nil {
		return err
	}
	return Fragment(c, http.StatusOK, views.VolumeChoices(choices))
}

const maxChoices = 20

// volumeChoices are the newest volumes that a snapshot can be made of. One query per
// status, since each has an index in the order of the list.
func (h Snapshots) volumeChoices(c echo.Context, search string) ([]views.VolumeBrief, error) {
	var volumes []models.Volume
	for _, status := range h.Store.Rules().VolumeStatusesFor(models.ActCreateSnapshot) {
		page, err := h.Store.ListVolumes(c.Request().Context(), Actor(c),
			models.ListQuery{Search: search, Status: status, Sort: models.DefaultSort, Size: maxChoices})
		if err != nil {
			return nil, err
		}
		volumes = append(volumes, page.Rows...)
	}
	slices.SortFunc(volumes, func(a, b models.Volume) int {
		return cmp.Or(cmp.Compare(b.CreatedAt, a.CreatedAt), cmp.Compare(b.ID, a.ID))
	})
	var choices []views.VolumeBrief
	for i := range min(len(volumes), maxChoices) {
		choices = append(choices, volumeBrief(&volumes[i]))
	}
	return choices, nil
}

// fillCreateForm loads what the popup shows of the volume; the choices when volumeID
// is empty.
func (h Snapshots) fillCreateForm(c echo.Context, m *views.SnapshotCreate, volumeID string) error {
	caps := h.Store.Capabilities()
	m.Today = localNow(c).Format(time.DateOnly)
	m.CrashSafe, m.FreeBytes, m.NeedBytes = caps.CrashSafe, caps.FreeBytes, -1
	m.SearchURL = views.SnapshotsPath + "/new/volumes"
	if m.Denial == nil {
		m.Denial = Denial(h.Store.Rules().Room(models.ActCreateSnapshot))
	}
	m.Quotas = quotaViews(models.QuotaForSnapshot(caps, 0), "", 0, false)
	var err error
	if m.NameTaken, err = nameTaken(c, h.Store, models.SubjectSnapshot, m.Name, ""); err != nil {
		return err
	}
	if volumeID == "" {
		m.VolumeChoices, err = h.volumeChoices(c, m.VolumeQuery)
		return err
	}
	v, err := h.Store.Volume(c.Request().Context(), Actor(c), volumeID)
	if err != nil {
		return err
	}
	brief := volumeBrief(v)
	m.Volume = &brief
	m.Quotas = quotaViews(models.QuotaForSnapshot(caps, v.SizeGiB), v.VolumeType, 0, true)
	if m.Denial == nil {
		m.Denial = Denial(h.Store.Rules().Volume(models.ActCreateSnapshot, v))
	}
	return nil
}

// Create makes a snapshot of the volume in the path or the form.
func (h Snapshots) Create(c echo.Context) error {
	volumeID := c.Param("id")
	if volumeID == "" {
		volumeID = trimmedValue(c, "volume_id")
	}
	m := views.SnapshotCreate{
		Form: submittedForm(c, views.SnapshotsPath), Name: c.FormValue("name"), Description: c.FormValue("description"),
		LockUntil: trimmedValue(c, "lock_until"), Acknowledge: c.FormValue("acknowledge") == "1", VolumeQuery: truncateInput(trimmedValue(c, "q")),
	}
	if c.FormValue("find") != "" { // the search of the popup, without scripts
		if err := h.fillCreateForm(c, &m, ""); err != nil {
			return err
		}
		return Render(c, http.StatusOK, T(c, snapshotCreateTitle), views.SnapshotCreatePopup(m))
	}
	ctx, actor := c.Request().Context(), Actor(c)
	op, err := h.Store.CreateSnapshot(ctx, actor, models.SnapshotInput{
		VolumeID: volumeID, Name: m.Name, Description: m.Description, Acknowledge: m.Acknowledge,
		LockUntil: m.LockUntil, Zone: zoneOf(c), FormKey: m.Key})
	if err != nil && c.Param("id") != "" {
		// After CreateSnapshot: a form sent twice has the same answer, even when its volume is gone.
		if _, gone := h.Store.Volume(ctx, actor, volumeID); gone != nil {
			return gone
		}
	}
	if err != nil {
		return h.rerenderCreate(c, &m, volumeID, err)
	}
	return answerAccepted(c, op, pageUpdate{list: views.SnapshotsPath, message: operationMessage("accepted.snapshot.create", op)})
}

func (h Snapshots) rerenderCreate(c echo.Context, m *views.SnapshotCreate, volumeID string, err error) error {
	return rerenderForm(c, &m.Form, err, snapshotCreateTitle, func() (templ.Component, error) {
		err := h.fillCreateForm(c, m, volumeID)
		if errors.Is(err, models.ErrNotFound) { // the volume is gone, or was none: choose another
			m.Volume = nil
			m.VolumeChoices, err = h.volumeChoices(c, m.VolumeQuery)
		}
		return views.SnapshotCreatePopup(*m), err
	})
}

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
