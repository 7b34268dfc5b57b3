package handlers

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
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
	m.OneInstant, m.FreeBytes, m.NeedBytes = caps.OwnServers, caps.FreeBytes, -1
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

func (h Snapshots) popups() popups[models.Snapshot] {
	return popups[models.Snapshot]{h.resource, h.Store.Snapshot, func(action models.Action, s *models.Snapshot) *models.Denial {
		return h.Store.Rules().Snapshot(action, s)
	}}
}

// AttachForm is the popup «Block Snapshot 연결 (읽기 전용)».
func (h Snapshots) AttachForm(c echo.Context) error {
	return h.popups().render(c, "attach", models.ActAttach, h.attachPopup)
}

// Attach lets one more server read a snapshot.
func (h Snapshots) Attach(c echo.Context) error {
	op, err := h.Store.AttachSnapshot(c.Request().Context(), Actor(c), c.Param("id"), trimmedValue(c, "server_id"), c.FormValue("form_key"))
	return h.popups().answer(c, op, err, "attach", h.attachPopup)
}

// attachPopup offers the servers that do not read the snapshot yet.
func (h Snapshots) attachPopup(c echo.Context, form views.Form, row *models.Snapshot) (templ.Component, error) {
	servers, err := serverChoices(c, h.Store, row.ProjectID)
	chosen := trimmedValue(c, "server_id")
	servers = slices.DeleteFunc(servers, func(s views.Link) bool { return s.ID != chosen && row.AttachedTo(s.ID) })
	brief := snapshotBrief(row)
	return views.AttachPopup(views.Attach{Form: form, Snapshot: &brief, Servers: servers, ServerID: chosen,
		RegisteredServers: h.Store.Capabilities().OwnServers}), err
}

// DetachForm is the popup «Block Snapshot 연결 해제».
func (h Snapshots) DetachForm(c echo.Context) error {
	return h.popups().render(c, "detach", models.ActDetach, h.detachPopup)
}

// Detach detaches a snapshot from a server.
func (h Snapshots) Detach(c echo.Context) error {
	op, err := h.Store.DetachSnapshot(c.Request().Context(), Actor(c), c.Param("id"), trimmedValue(c, "server_id"), c.FormValue("force") == "1", c.FormValue("form_key"))
	return h.popups().answer(c, op, err, "detach", h.detachPopup)
}

func (h Snapshots) detachPopup(c echo.Context, form views.Form, row *models.Snapshot) (templ.Component, error) {
	m, brief := detachView(c, form, &row.Attached, true), snapshotBrief(row)
	m.Snapshot = &brief
	m.AlreadyWaiting = len(row.Attachments) > 0 && !slices.ContainsFunc(row.Attachments, func(a models.Attachment) bool { return a.DetachingAt == 0 })
	return views.DetachPopup(m), nil
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

const snapshotCheckTitle = "snapshot.check"

// CheckForm is the administrator's popup «검증» for the Block Snapshot in the path, for the
// selected ones, or without a selection for all.
func (h Snapshots) CheckForm(c echo.Context) error {
	ids, problem := pickedIDs(c)
	if len(ids) > 0 && problem != "" { // none are all
		return renderChooser(c, snapshotCheckTitle, views.SnapshotsPath, problem)
	}
	m := views.Check{Form: newForm(c, views.SnapshotsPath+"/check")}
	if len(ids) == 1 {
		m.Action = h.url(ids[0], "check")
	}
	if err := h.fillCheck(c, &m, ids); err != nil {
		return err
	}
	return Render(c, http.StatusOK, T(c, snapshotCheckTitle), views.CheckPopup(m))
}

// fillCheck loads what the popup shows. The first snapshot that cannot be checked is its
// denial.
func (h Snapshots) fillCheck(c echo.Context, m *views.Check, ids []string) error {
	ctx, actor, rules := c.Request().Context(), Actor(c), h.Store.Rules()
	if m.All = len(ids) == 0; m.All {
		all, err := h.Store.UncheckedSnapshots(ctx, actor)
		m.Count = len(all)
		if m.Denial == nil && !rules.Capabilities.Checksums {
			m.Denial = Denial(models.NewDenial("deny.unsupported"))
		} else if m.Denial == nil && len(all) == 0 {
			m.Denial = Denial(models.NewDenial("check.none"))
		}
		return err
	}
	for _, id := range ids {
		row, err := h.Store.Snapshot(ctx, actor, id)
		if err != nil {
			return err
		}
		m.Snapshots = append(m.Snapshots, snapshotBrief(row))
		if m.Denial == nil {
			m.Denial = Denial(rules.Snapshot(models.ActCheck, row))
		}
	}
	return nil
}

// Check has the Block Snapshot in the path verified.
func (h Snapshots) Check(c echo.Context) error {
	id := c.Param("id")
	m := views.Check{Form: submittedForm(c, h.url(id, "check")), Renew: c.FormValue("renew") == "1"}
	op, err := h.Store.CheckSnapshot(c.Request().Context(), Actor(c), models.CheckInput{ID: id, Renew: m.Renew, FormKey: m.Key})
	if err != nil {
		return rerenderForm(c, &m.Form, err, snapshotCheckTitle, func() (templ.Component, error) {
			return views.CheckPopup(m), h.fillCheck(c, &m, []string{id})
		})
	}
	return h.answer(c, op, "check")
}

// CheckMany has the selected Block Snapshots verified, or with all=1 all of them that can
// be: an operation for each, which run one after the other. Those that cannot be verified
// now are left out; it is refused where none can.
func (h Snapshots) CheckMany(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	ids, err := formIDs(c)
	if len(ids) > maxBulk {
		return models.Invalid("id", models.NewText("list.too_many"))
	}
	if err == nil && c.FormValue("all") == "1" {
		ids, err = h.Store.UncheckedSnapshots(ctx, actor)
	}
	switch {
	case err != nil:
		return err
	case len(ids) == 0 && c.FormValue("all") != "1":
		return models.Invalid("id", models.NewText("list.need_many"))
	case len(ids) == 0:
		return models.Refused(models.NewDenial("check.none"))
	}
	update := pageUpdate{list: views.SnapshotsPath, operations: []acceptedJSON{}, refused: []refusedJSON{}}
	form := submittedForm(c, views.SnapshotsPath+"/check")
	var last *models.Operation
	for _, id := range ids {
		op, failed := h.Store.CheckSnapshot(ctx, actor, models.CheckInput{ID: id, FormKey: keyOf(form, id)})
		if failed == nil {
			last = op
			update.operations = append(update.operations, toAcceptedJSON(op))
			continue
		}
		e := models.AsError(failed)
		if e == nil {
			return failed
		}
		err = failed
		update.refused = append(update.refused, refusedJSON{ID: id, Reason: TextOf(c, e.Text)})
	}
	if last == nil {
		return err
	}
	update.message = views.NewMessage("accepted.snapshot.check_many", strconv.Itoa(len(update.operations)))
	return answerAccepted(c, last, update)
}
