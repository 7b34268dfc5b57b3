package handlers

import (
	"context"
	"net/http"
	"strconv"

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

// Snapshots has the pages and popups of Block Snapshots.
type Snapshots struct {
	Store SnapshotStore
	Rows  *RowCache
}

const recentOperations = 10

// List is the Block Snapshot list: a page, JSON or CSV.
func (h Snapshots) List(c echo.Context) error {
	s := parseList(c, views.SnapshotsPath)
	ctx, actor := c.Request().Context(), Actor(c)
	var summary models.ListSummary
	read := func(q models.ListQuery) (models.Page[models.Snapshot], error) {
		q.AsOf = summary.LastChange
		return h.Store.ListSnapshots(ctx, actor, q)
	}
	if wantsCSV(c) {
		head, record := withProjectNames(projectNamesOf(h.Store), snapshotHead, snapshotRecord, func(s *models.Snapshot) string { return s.ProjectID })
		return streamCSV(c, &s, "block-snapshots", head, read, record)
	}
	// The figures come first: the live stream goes on after their last change, and
	// must not skip one that the rows do not have yet.
	var err error
	if summary, err = h.Store.ListSummary(ctx, actor, models.SubjectSnapshot); err != nil {
		return err
	}
	page, err := loadPage(c, &s, read)
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		return h.listJSON(c, &s, page, summary)
	}
	m := views.SnapshotList{List: s.view(summary, models.SnapshotStatuses, page.Next, page.Previous)}
	if id := s.query.VolumeID; id != "" {
		m.Volume = &views.Link{ID: id}
		if v, err := h.Store.Volume(ctx, actor, id); err == nil {
			m.Volume.Name = v.Name
		}
	}
	rules, all, rowCtx := h.Store.Rules(), projectNamesOf(h.Store), rowContext(ctx, RequestOf(c).Site)
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
	s := parseList(c, views.SnapshotsPath)
	n, err := h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectSnapshot, s.query)
	if err != nil {
		return err
	}
	return renderCount(c, n)
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

func (h Snapshots) listJSON(c echo.Context, s *listState, page models.Page[models.Snapshot], summary models.ListSummary) error {
	total := summary.Total
	if s.query.Filtered() {
		var err error
		if total, err = h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectSnapshot, s.query); err != nil {
			return err
		}
	}
	all := projectNamesOf(h.Store)
	items := make([]snapshotJSON, 0, len(page.Rows))
	for i := range page.Rows {
		item := toSnapshotJSON(&page.Rows[i])
		item.ProjectName = all[item.ProjectID]
		item.Error, item.RequestID = failureText(c, page.Rows[i].Failure, page.Rows[i].RequestID)
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
	summary, err := h.Store.ListSummary(ctx, actor, models.SubjectSnapshot) // before the row: what changes meanwhile is told
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
		item.Error, item.RequestID = failureText(c, row.Failure, row.RequestID)
		return c.JSON(http.StatusOK, item)
	}
	volumes, err := h.Store.VolumesFrom(ctx, actor, row.ID, recentOperations)
	if err != nil {
		return err
	}
	operations, err := h.Store.ListOperations(ctx, actor, models.OperationQuery{Subject: row.ID, Limit: recentOperations})
	if err != nil {
		return err
	}
	view := snapshotRow(row, h.Store.Rules(), nil)
	if view.Deny.Revert, err = h.revertDenial(ctx, actor, row, view.Deny.Revert); err != nil {
		return err
	}
	m := views.SnapshotDetail{Row: view, Deny: view.Deny, Description: row.Description, Project: projectLink(h.Store, row.ProjectID), Degraded: degraded(summary),
		CreatedBy: row.CreatedBy, TakenFrom: splitLines(row.TakenFrom), HeldUS: row.HeldUS, EventsURL: eventsURL(views.SnapshotsPath, summary)}
	for i := range volumes {
		m.Volumes = append(m.Volumes, volumeBrief(&volumes[i]))
	}
	for i := range operations {
		m.Operations = append(m.Operations, operationRow(&operations[i], false))
	}
	return Render(c, http.StatusOK, views.Label(row.ID, row.Name), views.SnapshotPage(m))
}

// acceptedRow answers with the snapshot's row as it is now.
func (h Snapshots) acceptedRow(c echo.Context, op *models.Operation, key string) error {
	o := pageUpdate{list: views.SnapshotsPath, message: operationMessage(key, op)}
	if row, err := h.Store.Snapshot(c.Request().Context(), Actor(c), op.SubjectID); err == nil {
		o.row, o.rowID = views.SnapshotRowHTML(snapshotRow(row, h.Store.Rules(), projectNamesOf(h.Store))), "snapshot-"+row.ID
	}
	return answerAccepted(c, op, o)
}
