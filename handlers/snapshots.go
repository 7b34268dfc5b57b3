package handlers

import (
	"context"
	"net/http"
	"strconv"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// SnapshotStore is what the Block Snapshot pages need.
type SnapshotStore interface {
	Rules() models.Rules
	AllProjects() bool
	ProjectsWith(ctx context.Context, actor models.Actor, kind models.SubjectType) ([]string, error)
	Capabilities() models.Capabilities
	ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error)
	ListSnapshots(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Snapshot], error)
	CountMatching(ctx context.Context, actor models.Actor, kind models.SubjectType, q models.ListQuery) (int64, error)
	Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error)
	SnapshotBlockers(ctx context.Context, row *models.Snapshot) ([]models.Link, error)
	Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error)
	ListVolumes(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Volume], error)
	VolumesFrom(ctx context.Context, actor models.Actor, snapshot string, limit int) ([]models.Volume, error)
	ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error)
	NameTaken(ctx context.Context, actor models.Actor, kind models.SubjectType, name, except string) (bool, error)
	RevertDenial(ctx context.Context, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error)
	CreateSnapshot(ctx context.Context, actor models.Actor, in models.SnapshotInput) (*models.Operation, error)
	EditSnapshot(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error)
	DeleteSnapshot(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error)
	RepairSnapshot(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error)
	RevertVolume(ctx context.Context, actor models.Actor, snapshotID, formKey string) (*models.Operation, error)
}

// ListSnapshots are the Block Snapshot pages and popups.
type Snapshots struct {
	Store SnapshotStore
	Rows  *RowCache
}

const someOperations = 10

// List is the Block Snapshot list: a page, JSON or CSV.
func (h Snapshots) List(c echo.Context) error {
	s := readList(c, views.SnapshotsPath)
	ctx, actor := c.Request().Context(), Actor(c)
	var facts models.ListSummary
	read := func(q models.ListQuery) (models.Page[models.Snapshot], error) {
		q.AsOf = facts.LastChange
		return h.Store.ListSnapshots(ctx, actor, q)
	}
	if wantsCSV(c) {
		head, record := withOwners(ownersOf(h.Store), snapshotHead, snapshotRecord, func(s *models.Snapshot) string { return s.ProjectID })
		return streamCSV(c, &s, "block-snapshots", head, read, record)
	}
	// The figures come first: the live stream goes on after their last change, and
	// must not skip one that the rows do not have yet.
	var err error
	if facts, err = h.Store.ListSummary(ctx, actor, models.SubjectSnapshot); err != nil {
		return err
	}
	page, err := load(c, &s, read)
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		return h.listJSON(c, &s, page, facts)
	}
	m := views.SnapshotList{List: s.view(facts, models.SnapshotStatuses, page.Next, page.Previous)}
	if id := s.query.VolumeID; id != "" {
		m.Volume = &views.Link{ID: id}
		if v, err := h.Store.Volume(ctx, actor, id); err == nil {
			m.Volume.Name = v.Name
		}
	}
	rules, all, rowCtx := h.Store.Rules(), ownersOf(h.Store), rowContext(ctx, VisitOf(c).Site)
	ids, err := h.Store.ProjectsWith(ctx, actor, models.SubjectSnapshot)
	if err != nil {
		return err
	}
	s.projects(&m.List, all, ids)
	for i := range page.Rows {
		row, err := h.Rows.snapshot(rowCtx, snapshotRow(&page.Rows[i], rules, all))
		if err != nil {
			return err
		}
		m.Rows = append(m.Rows, row)
	}
	return Render(c, http.StatusOK, T(c, "snapshot.list"), views.SnapshotsPage(m))
}

// Count is the filtered total, which loads after the page.
func (h Snapshots) Count(c echo.Context) error {
	s := readList(c, views.SnapshotsPath)
	n, err := h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectSnapshot, s.query)
	if err != nil {
		return err
	}
	return found(c, n)
}

type snapshotJSON struct {
	ID          string   `json:"id"`
	BackendID   string   `json:"backend_id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Status      string   `json:"status"`
	SizeGiB     int      `json:"size_gib"`
	CreatedAt   string   `json:"created_at"`
	Volume      linkJSON `json:"volume"`
	Consistency string   `json:"consistency"`
	HeldUS      int64    `json:"held_us,omitempty"`
	ProjectID   string   `json:"project_id"`
	ProjectName string   `json:"project_name,omitempty"`
	Error       string   `json:"error,omitempty"`
	RequestID   string   `json:"request_id,omitempty"`
	Version     int64    `json:"version"`
}

type linkJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func toSnapshotJSON(s *models.Snapshot) snapshotJSON {
	return snapshotJSON{ID: s.ID, BackendID: s.BackendID, Name: s.Name, Description: s.Description, Status: string(s.Status),
		SizeGiB: s.SizeGiB, CreatedAt: rfc3339(s.CreatedAt), Volume: linkJSON{s.VolumeID, s.VolumeName},
		Consistency: string(s.Consistency), HeldUS: s.HeldUS, ProjectID: s.ProjectID, Version: s.Version}
}

func (h Snapshots) listJSON(c echo.Context, s *listState, page models.Page[models.Snapshot], facts models.ListSummary) error {
	total := facts.Total
	if s.query.Filtered() {
		var err error
		if total, err = h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectSnapshot, s.query); err != nil {
			return err
		}
	}
	all := ownersOf(h.Store)
	items := make([]snapshotJSON, 0, len(page.Rows))
	for i := range page.Rows {
		item := toSnapshotJSON(&page.Rows[i])
		item.ProjectName = all[item.ProjectID]
		item.Error, item.RequestID = said(c, page.Rows[i].Failure, page.Rows[i].RequestID)
		items = append(items, item)
	}
	return answerListJSON(c, s, items, page.Next, page.Previous, total)
}

var snapshotHead = []string{"id", "backend_id", "name", "status", "size_gib", "volume_id", "volume_name", "consistency", "created_at", "project_id"}

func snapshotRecord(s *models.Snapshot) []string {
	return []string{s.ID, s.BackendID, s.Name, string(s.Status), strconv.Itoa(s.SizeGiB), s.VolumeID, s.VolumeName,
		string(s.Consistency), rfc3339(s.CreatedAt), s.ProjectID}
}

// Show is the page of one Block Snapshot.
func (h Snapshots) Show(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	facts, err := h.Store.ListSummary(ctx, actor, models.SubjectSnapshot) // before the row: what changes meanwhile is told
	if err != nil {
		return err
	}
	row, err := h.Store.Snapshot(ctx, actor, c.Param("id"))
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		Vary(c)
		item := toSnapshotJSON(row)
		item.Error, item.RequestID = said(c, row.Failure, row.RequestID)
		return c.JSON(http.StatusOK, item)
	}
	volumes, err := h.Store.VolumesFrom(ctx, actor, row.ID, someOperations)
	if err != nil {
		return err
	}
	operations, err := h.Store.ListOperations(ctx, actor, models.OperationQuery{Subject: row.ID, Limit: someOperations})
	if err != nil {
		return err
	}
	view := snapshotRow(row, h.Store.Rules(), nil)
	if view.Deny.Revert, err = h.whyNoRevert(ctx, actor, row, view.Deny.Revert); err != nil {
		return err
	}
	m := views.SnapshotDetail{Row: view, Deny: view.Deny, Description: row.Description, Project: owner(h.Store, row.ProjectID), Degraded: degraded(facts),
		CreatedBy: row.CreatedBy, TakenFrom: lines(row.TakenFrom), HeldUS: row.HeldUS, EventsURL: eventsURL(views.SnapshotsPath, facts)}
	for i := range volumes {
		m.Volumes = append(m.Volumes, volumeBrief(&volumes[i]))
	}
	for i := range operations {
		m.Operations = append(m.Operations, operationRow(&operations[i], false))
	}
	return Render(c, http.StatusOK, views.Label(row.ID, row.Name), views.SnapshotPage(m))
}

const snapshotCreateTitle = "snapshot.create"

// NewForm is the popup «Block Snapshot 생성»: of the volume in the path or in
// ?volume_id=, or with a field to search for one.
func (h Snapshots) NewForm(c echo.Context) error {
	id := c.Param("id")
	if id == "" {
		id = c.QueryParam("volume_id")
	}
	return h.newForm(c, id)
}

// NewForSelection is the target of the Volume list's 스냅샷 생성: always possible,
// with or without a selection.
func (h Snapshots) NewForSelection(c echo.Context) error {
	switch ids := selectedIDs(c.QueryParams()["id"]); len(ids) {
	case 0:
		return h.newForm(c, "")
	case 1:
		return h.newForm(c, ids[0])
	}
	return choose(c, snapshotCreateTitle, views.VolumesPath, "list.need_one")
}

func (h Snapshots) newForm(c echo.Context, volumeID string) error {
	m := views.SnapshotCreate{Form: newForm(c, views.SnapshotsPath), VolumeQuery: cutTyped(c.QueryParam("q"))}
	if err := h.fillCreate(c, &m, volumeID); err != nil {
		return err
	}
	if m.Volume != nil {
		m.Name = models.SuggestName(m.Volume.Name, here(c))
	}
	return Render(c, http.StatusOK, T(c, snapshotCreateTitle), views.SnapshotCreatePopup(m))
}

// Choices answers the volumes that the search of the Volume field finds.
func (h Snapshots) Choices(c echo.Context) error {
	choices, err := h.choices(c, cutTyped(c.QueryParam("q")))
	if err != nil {
		return err
	}
	return Fragment(c, http.StatusOK, views.VolumeChoices(choices))
}

const choicesShown = 20

// choices are volumes a snapshot can be made of.
func (h Snapshots) choices(c echo.Context, search string) ([]views.VolumeBrief, error) {
	page, err := h.Store.ListVolumes(c.Request().Context(), Actor(c), models.ListQuery{Search: search, Sort: models.DefaultSort, Size: choicesShown})
	var choices []views.VolumeBrief
	rules := h.Store.Rules()
	for i := range page.Rows {
		if rules.Volume(models.ActCreateSnapshot, &page.Rows[i]) == nil {
			choices = append(choices, volumeBrief(&page.Rows[i]))
		}
	}
	return choices, err
}

// fillCreate loads what the popup shows of the volume, or the choices when none is
// given.
func (h Snapshots) fillCreate(c echo.Context, m *views.SnapshotCreate, volumeID string) error {
	facts := h.Store.Capabilities()
	m.CrashSafe, m.FreeBytes, m.NeedBytes = facts.CrashSafe, facts.FreeBytes, -1
	m.SearchURL = views.SnapshotsPath + "/new/volumes"
	m.Quotas = quotas(models.QuotaForSnapshot(facts, 0), "", 0, false)
	if volumeID == "" {
		var err error
		m.VolumeChoices, err = h.choices(c, m.VolumeQuery)
		return err
	}
	v, err := h.Store.Volume(c.Request().Context(), Actor(c), volumeID)
	if err != nil {
		return err
	}
	brief := volumeBrief(v)
	m.Volume = &brief
	m.Quotas = quotas(models.QuotaForSnapshot(facts, v.SizeGiB), v.VolumeType, 0, true)
	if m.Denial == nil {
		m.Denial = Denial(h.Store.Rules().Volume(models.ActCreateSnapshot, v))
	}
	if m.Name != "" {
		m.NameTaken, err = h.Store.NameTaken(c.Request().Context(), Actor(c), models.SubjectSnapshot, m.Name, "")
	}
	return err
}

// Create makes a snapshot of the volume in the path or the form.
func (h Snapshots) Create(c echo.Context) error {
	volumeID := c.Param("id")
	if volumeID == "" {
		volumeID = c.FormValue("volume_id")
	}
	m := views.SnapshotCreate{
		Form: sentForm(c, views.SnapshotsPath), Name: c.FormValue("name"), Description: c.FormValue("description"),
		Acknowledge: c.FormValue("acknowledge") == "1",
	}
	ctx, actor := c.Request().Context(), Actor(c)
	op, err := h.Store.CreateSnapshot(ctx, actor, models.SnapshotInput{
		VolumeID: volumeID, Name: m.Name, Description: m.Description, Acknowledge: m.Acknowledge, FormKey: m.Key})
	if err != nil && c.Param("id") != "" {
		// Not before: the same form sent again is answered although its volume is gone.
		if _, gone := h.Store.Volume(ctx, actor, volumeID); gone != nil {
			return gone
		}
	}
	if err != nil {
		return h.createAgain(c, &m, volumeID, err)
	}
	return accepted(c, op, outcome{list: views.SnapshotsPath, message: message("accepted.snapshot.create", op)})
}

func (h Snapshots) createAgain(c echo.Context, m *views.SnapshotCreate, volumeID string, err error) error {
	return again(c, &m.Form, err, snapshotCreateTitle, func() templ.Component {
		fillErr := h.fillCreate(c, m, volumeID)
		if fillErr != nil { // the volume is gone or was none: choose another
			m.Volume = nil
			m.VolumeChoices, _ = h.choices(c, "")
		}
		return views.SnapshotCreatePopup(*m)
	})
}

// EditForm is the popup «Block Snapshot 수정».
func (h Snapshots) EditForm(c echo.Context) error {
	id, ok := oneID(c)
	if !ok {
		return choose(c, "snapshot.edit", views.SnapshotsPath, "list.need_one")
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
	m := views.Edit{Form: sentForm(c, views.SnapshotsPath+"/"+id+"/edit"), Kind: "snapshot", ID: id,
		Name: c.FormValue("name"), Description: c.FormValue("description")}
	m.Version = formVersion(c)
	op, err := h.Store.EditSnapshot(ctx, actor, models.EditInput{
		ID: id, Name: m.Name, Description: m.Description, Version: m.Version, FormKey: m.Key})
	if err != nil {
		return again(c, &m.Form, err, "snapshot.edit", func() templ.Component {
			if row, rowErr := h.Store.Snapshot(ctx, actor, id); rowErr == nil && isStale(err) {
				m.Version, m.Theirs = row.Version, &views.Theirs{Name: row.Name, Description: row.Description, By: row.EditedBy, At: row.EditedAt}
			}
			return views.EditPopup(m)
		})
	}
	return h.acceptedRow(c, op, "accepted.snapshot.edit")
}

// acceptedRow answers with the snapshot's row as it is now.
func (h Snapshots) acceptedRow(c echo.Context, op *models.Operation, key string) error {
	o := outcome{list: views.SnapshotsPath, message: message(key, op)}
	if row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), op.SubjectID); err == nil {
		o.row, o.rowID = views.SnapshotRowHTML(snapshotRow(row, h.Store.Rules(), ownersOf(h.Store))), "snapshot-"+row.ID
	}
	return accepted(c, op, o)
}

// RepairForm is the administrator's popup «복구».
func (h Snapshots) RepairForm(c echo.Context) error {
	row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), c.Param("id"))
	if err != nil {
		return err
	}
	m := h.repair(newForm(c, ""), row)
	m.Denial = Denial(h.Store.Rules().Snapshot(models.ActRepair, row))
	return Render(c, http.StatusOK, T(c, "snapshot.repair"), views.RepairPopup(m))
}

func (h Snapshots) repair(form views.Form, row *models.Snapshot) views.Repair {
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
		m := h.repair(sentForm(c, ""), row)
		m.Reason, m.ResetTo = in.Reason, c.FormValue("reset_to")
		return again(c, &m.Form, err, "snapshot.repair", func() templ.Component { return views.RepairPopup(m) })
	}
	return h.acceptedRow(c, op, "accepted.snapshot.repair")
}
