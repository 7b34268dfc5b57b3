package handlers

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// VolumeStore is what the Volume pages need.
type VolumeStore interface {
	Rules() models.Rules
	AllProjects() bool
	ProjectsWith(ctx context.Context, actor models.Actor, kind models.SubjectType) ([]string, error)
	OwnProjectID() string
	Capabilities() models.Capabilities
	ListSummary(ctx context.Context, actor models.Actor, kind models.SubjectType) (models.ListSummary, error)
	ListVolumes(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Volume], error)
	CountMatching(ctx context.Context, actor models.Actor, kind models.SubjectType, q models.ListQuery) (int64, error)
	Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error)
	VolumeBlockers(ctx context.Context, row *models.Volume) ([]models.Link, error)
	Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error)
	ListSnapshots(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Snapshot], error)
	ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error)
	ServersOfProject(ctx context.Context, actor models.Actor, project string, limit int) ([]models.Server, error)
	Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error)
	ListImages(ctx context.Context) ([]models.Image, error)
	CreateVolume(ctx context.Context, actor models.Actor, in models.VolumeInput) (*models.Operation, error)
	EditVolume(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error)
	ExtendVolume(ctx context.Context, actor models.Actor, id, typed, formKey string) (*models.Operation, error)
	AttachVolume(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error)
	DetachVolume(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error)
	DeleteVolume(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error)
	RepairVolume(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error)
}

// Volumes has the pages and popups of Volumes.
type Volumes struct {
	Store VolumeStore
	Rows  *RowCache
}

// List is the Volume list: a page, JSON or CSV.
func (h Volumes) List(c echo.Context) error {
	s := parseList(c, views.VolumesPath)
	ctx, actor := c.Request().Context(), Actor(c)
	var summary models.ListSummary
	read := func(q models.ListQuery) (models.Page[models.Volume], error) {
		q.AsOf = summary.LastChange
		return h.Store.ListVolumes(ctx, actor, q)
	}
	if wantsCSV(c) {
		head, record := withProjectNames(projectNamesOf(h.Store), volumeHead, volumeRecord, func(v *models.Volume) string { return v.ProjectID })
		return streamCSV(c, &s, "volumes", head, read, record)
	}
	// The figures come first: the live stream goes on after their last change, and
	// must not skip one that the rows do not have yet.
	var err error
	if summary, err = h.Store.ListSummary(ctx, actor, models.SubjectVolume); err != nil {
		return err
	}
	page, err := loadPage(c, &s, read)
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		return h.listJSON(c, &s, page, summary)
	}
	m := views.VolumeList{List: s.view(summary, models.VolumeStatuses, page.Next, page.Previous)}
	if id := s.query.ServerID; id != "" {
		m.Server = &views.Link{ID: id}
		if server, err := h.Store.Server(ctx, actor, id); err == nil {
			m.Server.Name = server.Name
		}
	}
	rules, all, rowCtx := h.Store.Rules(), projectNamesOf(h.Store), rowContext(ctx, RequestOf(c).Site)
	ids, err := h.Store.ProjectsWith(ctx, actor, models.SubjectVolume)
	if err != nil {
		return err
	}
	s.projects(&m.List, all, ids)
	for i := range page.Rows {
		row, err := h.Rows.volume(rowCtx, volumeRow(&page.Rows[i], rules, all))
		if err != nil {
			return err
		}
		m.Rows = append(m.Rows, row)
	}
	return Render(c, http.StatusOK, T(c, "volume.list"), views.VolumesPage(m))
}

// Count is the filtered total, which loads after the page.
func (h Volumes) Count(c echo.Context) error {
	s := parseList(c, views.VolumesPath)
	n, err := h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectVolume, s.query)
	if err != nil {
		return err
	}
	return renderCount(c, n)
}

type volumeJSON struct {
	ID          string           `json:"id"`
	BackendID   string           `json:"backend_id"`
	Name        string           `json:"name"`
	Description string           `json:"description"`
	Status      string           `json:"status"`
	SizeGiB     int              `json:"size_gib"`
	CreatedAt   string           `json:"created_at"`
	Attachments []attachmentJSON `json:"attachments"`
	SnapshotID  string           `json:"snapshot_id,omitempty"`
	ProjectID   string           `json:"project_id"`
	ProjectName string           `json:"project_name,omitempty"`
	Error       string           `json:"error,omitempty"`
	RequestID   string           `json:"request_id,omitempty"`
	Version     int64            `json:"version"`
}

type attachmentJSON struct {
	ServerID   string `json:"server_id"`
	ServerName string `json:"server_name"`
	Device     string `json:"device,omitempty"`
	UsedAt     string `json:"used_at,omitempty"`
}

func toVolumeJSON(v *models.Volume) volumeJSON {
	j := volumeJSON{ID: v.ID, BackendID: v.BackendID, Name: v.Name, Description: v.Description, Status: string(v.Status),
		SizeGiB: v.SizeGiB, CreatedAt: rfc3339(v.CreatedAt), Attachments: []attachmentJSON{}, SnapshotID: v.SnapshotID,
		ProjectID: v.ProjectID, Version: v.Version}
	for _, a := range v.Attachments {
		k := attachmentJSON{ServerID: a.ServerID, ServerName: a.ServerName, Device: a.Device}
		if a.UsedAt > 0 {
			k.UsedAt = rfc3339(a.UsedAt)
		}
		j.Attachments = append(j.Attachments, k)
	}
	return j
}

func (h Volumes) listJSON(c echo.Context, s *listState, page models.Page[models.Volume], summary models.ListSummary) error {
	total := summary.Total
	if s.query.Filtered() {
		var err error
		if total, err = h.Store.CountMatching(c.Request().Context(), Actor(c), models.SubjectVolume, s.query); err != nil {
			return err
		}
	}
	all := projectNamesOf(h.Store)
	items := make([]volumeJSON, 0, len(page.Rows))
	for i := range page.Rows {
		item := toVolumeJSON(&page.Rows[i])
		item.ProjectName = all[item.ProjectID]
		item.Error, item.RequestID = failureText(c, page.Rows[i].Failure, page.Rows[i].RequestID)
		items = append(items, item)
	}
	return answerListJSON(c, s, items, page.Next, page.Previous, total)
}

var volumeHead = []string{"id", "backend_id", "name", "status", "size_gib", "servers", "snapshots", "created_at", "project_id"}

func volumeRecord(v *models.Volume) []string {
	return []string{v.ID, v.BackendID, v.Name, string(v.Status), strconv.Itoa(v.SizeGiB), strings.Join(v.ServerNames(), "; "),
		strconv.Itoa(v.SnapshotCount), rfc3339(v.CreatedAt), v.ProjectID}
}

const recentSnapshots = 10

// Show is the page of one Volume.
func (h Volumes) Show(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	summary, err := h.Store.ListSummary(ctx, actor, models.SubjectVolume) // before the row: what changes meanwhile is told
	if err != nil {
		return err
	}
	row, err := h.Store.Volume(ctx, actor, c.Param("id"))
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		Vary(c)
		return c.JSON(http.StatusOK, toVolumeDetailJSON(c, row))
	}
	snapshots, err := h.Store.ListSnapshots(ctx, actor, models.ListQuery{VolumeID: row.ID, Sort: models.DefaultSort, Size: recentSnapshots})
	if err != nil {
		return err
	}
	operations, err := h.Store.ListOperations(ctx, actor, models.OperationQuery{Subject: row.ID, Limit: recentOperations})
	if err != nil {
		return err
	}
	rules := h.Store.Rules()
	view := volumeRow(row, rules, nil)
	m := views.VolumeDetail{Row: view, Deny: view.Deny, Description: row.Description, SourceImage: row.ImageID,
		SourceTaken: string(row.Consistency), Project: projectLink(h.Store, row.ProjectID), Type: row.VolumeType, Zone: row.Zone, CreatedBy: row.CreatedBy}
	m.Degraded = degraded(summary)
	m.EventsURL, m.Export, m.Attached = eventsURL(views.VolumesPath, summary), exportView(c, row), attachedServers(row)
	if row.SnapshotID != "" {
		m.Source = &views.Link{ID: row.SnapshotID}
		source, err := h.Store.Snapshot(ctx, actor, row.SnapshotID)
		switch {
		case err == nil:
			m.Source.Name = source.Name
		case errors.Is(err, models.ErrNotFound):
			m.SourceGone = true
		default:
			return err
		}
	}
	for i := range snapshots.Rows {
		m.Snapshots = append(m.Snapshots, snapshotRow(&snapshots.Rows[i], rules, nil))
	}
	for i := range operations {
		m.Operations = append(m.Operations, operationRow(&operations[i], false))
	}
	return Render(c, http.StatusOK, views.Label(row.ID, row.Name), views.VolumePage(m))
}

// selectedVolume loads the volume that a popup is about; nil, nil after it has answered
// with the chooser because none or several are selected.
func (h Volumes) selectedVolume(c echo.Context, title string) (*models.Volume, error) {
	id, ok := targetID(c)
	if !ok {
		return nil, renderChooser(c, title, views.VolumesPath, "list.need_one")
	}
	return h.Store.Volume(c.Request().Context(), Actor(c), id)
}

// actionURL is where a volume's popup posts to.
func (h Volumes) actionURL(id, name string) string { return views.VolumesPath + "/" + id + "/" + name }

// acceptedRow answers with the volume's row as it is now.
func (h Volumes) acceptedRow(c echo.Context, op *models.Operation, key string) error {
	o := pageUpdate{list: views.VolumesPath, message: operationMessage(key, op)}
	if row, err := h.Store.Volume(c.Request().Context(), Actor(c), op.SubjectID); err == nil {
		o.row, o.rowID = views.VolumeRowHTML(volumeRow(row, h.Store.Rules(), projectNamesOf(h.Store))), "volume-"+row.ID
	}
	return answerAccepted(c, op, o)
}
