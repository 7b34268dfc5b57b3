package handlers

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// VolumeStore is what Volumes needs.
type VolumeStore interface {
	listStore
	OwnProjectID() string
	ListVolumes(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Volume], error)
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
	LockVolume(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)
	UnlockVolume(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)
}

// Volumes has the pages and popups of Volumes.
type Volumes struct {
	listing[models.Volume]
	resource
	Store VolumeStore
}

// NewVolumes makes the handlers of a store. rows keeps the rows that the list renders.
func NewVolumes(store VolumeStore, rows *RowCache) Volumes {
	h := Volumes{Store: store}
	h.resource = resource{kind: models.SubjectVolume, path: views.VolumesPath, load: h.object,
		names: store, capabilities: store.Capabilities, edit: store.EditVolume, repair: store.RepairVolume, delete: store.DeleteVolume,
		lock: store.LockVolume, unlock: store.UnlockVolume}
	h.listing = listing[models.Volume]{
		kind: models.SubjectVolume, path: views.VolumesPath, statuses: models.VolumeStatuses, store: store,
		read: store.ListVolumes, render: rows.volume,
		page: func(c echo.Context, s *listState, list views.List, rendered []views.RenderedRow) templ.Component {
			m := views.VolumeList{List: list, Rows: rendered}
			m.Server = serverFilter(c, store, s)
			return views.VolumesPage(m)
		},
		toJSON: func(c echo.Context, v *models.Volume, projects projectNames) any {
			item := toVolumeJSON(c, v)
			item.ProjectName = projects[v.ProjectID]
			return item
		},
		csvName: "volumes", projectID: func(v *models.Volume) string { return v.ProjectID },
		csvHead: []string{"id", "backend_id", "name", "status", "size_gib", "servers", "snapshots", "created_at", "project_id", "locked_until", "lock_reason"},
		csvRecord: func(v *models.Volume) []any {
			until, reason := lockCells(v.Lock, store.Rules().Now)
			return []any{v.ID, v.BackendID, v.Name, string(v.Status), v.SizeGiB, strings.Join(v.ServerNames(), "; "),
				v.SnapshotCount, time.UnixMicro(v.CreatedAt), v.ProjectID, until, reason}
		},
	}
	return h
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
	lockJSON
}

type attachmentJSON struct {
	ServerID   string `json:"server_id"`
	ServerName string `json:"server_name"`
	Device     string `json:"device,omitempty"`
	UsedAt     string `json:"used_at,omitempty"`
}

func toVolumeJSON(c echo.Context, v *models.Volume) volumeJSON {
	j := volumeJSON{ID: v.ID, BackendID: v.BackendID, Name: v.Name, Description: v.Description, Status: string(v.Status),
		SizeGiB: v.SizeGiB, CreatedAt: rfc3339(v.CreatedAt), Attachments: toAttachmentsJSON(v.Attachments), SnapshotID: v.SnapshotID,
		ProjectID: v.ProjectID, Version: v.Version, lockJSON: toLockJSON(v.Lock, RequestOf(c).Site.Now())}
	j.Error, j.RequestID = failureText(c, v.Failure, v.RequestID)
	return j
}

func toAttachmentsJSON(all []models.Attachment) []attachmentJSON {
	items := []attachmentJSON{}
	for _, a := range all {
		k := attachmentJSON{ServerID: a.ServerID, ServerName: a.ServerName, Device: a.Device}
		if a.UsedAt > 0 {
			k.UsedAt = rfc3339(a.UsedAt)
		}
		items = append(items, k)
	}
	return items
}

// Show is the page of one Volume.
func (h Volumes) Show(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	summary, err := h.Store.ListSummary(ctx, actor, models.SubjectVolume) // before the row, as in a list
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
	snapshots, err := h.Store.ListSnapshots(ctx, actor, models.ListQuery{VolumeID: row.ID, Sort: models.DefaultSort, Size: maxRecent})
	if err != nil {
		return err
	}
	rules := h.Store.Rules()
	view := volumeRow(row, rules, nil)
	m := views.VolumeDetail{Row: view, Deny: view.Deny, Description: row.Description, SourceImage: row.ImageID,
		SourceTaken: string(row.Consistency), Project: projectLink(h.Store, row.ProjectID), Type: row.VolumeType, Zone: row.Zone, CreatedBy: row.CreatedBy}
	m.Degraded = degraded(summary)
	m.EventsURL, m.Export, m.Attached = eventsURL(views.VolumesPath, summary), exportView(c, models.SubjectVolume, &row.Attached), attachedServers(&row.Attached)
	if row.SnapshotID != "" {
		m.Source = &views.Link{ID: row.SnapshotID}
		source, err := h.Store.Snapshot(ctx, actor, row.SnapshotID)
		switch {
		case err == nil:
			m.Source.Name = source.Name
		case errors.Is(err, models.ErrNotFound):
			m.SourceDeleted = true
		default:
			return err
		}
	}
	for i := range snapshots.Rows {
		m.Snapshots = append(m.Snapshots, snapshotRow(&snapshots.Rows[i], rules, nil))
	}
	if m.Operations, err = recentOperations(c, h.Store, row.ID); err != nil {
		return err
	}
	return Render(c, http.StatusOK, views.Label(row.ID, row.Name), views.VolumePage(m))
}

// object loads a volume for the common popups.
func (h Volumes) object(ctx context.Context, actor models.Actor, id string) (*object, error) {
	v, err := h.Store.Volume(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	rules := h.Store.Rules()
	return &object{
		DeleteItem:  views.DeleteItem{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, CreatedAt: v.CreatedAt, Servers: v.ServerNames(), Locked: lockView(v.Lock, rules.Now)},
		description: v.Description, version: v.Version, editedBy: v.EditedBy, editedAt: v.EditedAt, since: v.StatusSince, failure: v.Failure,
		denial: func(action models.Action) *models.Denial { return rules.Volume(action, v) },
		deleteDenial: func(ctx context.Context) (denial *models.Denial, err error) {
			if denial = rules.Volume(models.ActDelete, v); denial != nil {
				denial.Snaps, err = h.Store.VolumeBlockers(ctx, v)
			}
			return denial, err
		},
		row: func() templ.Component { return views.VolumeTableRow(volumeRow(v, rules, projectNamesOf(h.Store))) },
	}, nil
}
