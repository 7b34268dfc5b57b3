package handlers

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

// SnapshotStore is what Snapshots needs.
type SnapshotStore interface {
	listStore
	ListSnapshots(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Snapshot], error)
	Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error)
	SnapshotBlockers(ctx context.Context, row *models.Snapshot) ([]models.Link, error)
	Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error)
	ListVolumes(ctx context.Context, actor models.Actor, q models.ListQuery) (models.Page[models.Volume], error)
	VolumesFrom(ctx context.Context, actor models.Actor, snapshot string, limit int) ([]models.Volume, error)
	ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error)
	ServersOfProject(ctx context.Context, actor models.Actor, project string, limit int) ([]models.Server, error)
	Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error)
	RevertDenial(ctx context.Context, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error)
	CreateSnapshot(ctx context.Context, actor models.Actor, in models.SnapshotInput) (*models.Operation, error)
	EditSnapshot(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error)
	DeleteSnapshot(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error)
	AttachSnapshot(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error)
	DetachSnapshot(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error)
	RepairSnapshot(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error)
	LockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)
	UnlockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error)
	RevertVolume(ctx context.Context, actor models.Actor, snapshotID, formKey string) (*models.Operation, error)
	CheckSnapshot(ctx context.Context, actor models.Actor, in models.CheckInput) (*models.Operation, error)
	UncheckedSnapshots(ctx context.Context, actor models.Actor) ([]string, error)
}

// Snapshots has the pages and popups of Block Snapshots.
type Snapshots struct {
	listing[models.Snapshot]
	resource
	Store SnapshotStore
}

// NewSnapshots makes the handlers of a store. rows keeps the rows that the list renders.
func NewSnapshots(store SnapshotStore, rows *RowCache) Snapshots {
	h := Snapshots{Store: store}
	h.resource = resource{kind: models.SubjectSnapshot, path: views.SnapshotsPath, load: h.object,
		names: store, capabilities: store.Capabilities, edit: store.EditSnapshot, repair: store.RepairSnapshot, delete: store.DeleteSnapshot,
		lock: store.LockSnapshot, unlock: store.UnlockSnapshot}
	h.listing = listing[models.Snapshot]{
		kind: models.SubjectSnapshot, path: views.SnapshotsPath, statuses: models.SnapshotStatuses, store: store,
		read: store.ListSnapshots, render: rows.snapshot,
		page: func(c echo.Context, s *listState, list views.List, rendered []views.RenderedRow) templ.Component {
			m := views.SnapshotList{List: list, Rows: rendered}
			if id := s.query.VolumeID; id != "" {
				m.Volume = &views.Link{ID: id}
				if v, err := store.Volume(c.Request().Context(), Actor(c), id); err == nil {
					m.Volume.Name = v.Name
				}
			}
			m.Server = serverFilter(c, store, s)
			return views.SnapshotsPage(m)
		},
		toJSON: func(c echo.Context, s *models.Snapshot, projects projectNames) any {
			item := toSnapshotJSON(c, s)
			item.ProjectName = projects[s.ProjectID]
			return item
		},
		csvName: "block-snapshots", projectID: func(s *models.Snapshot) string { return s.ProjectID },
		csvHead: []string{"id", "backend_id", "name", "status", "size_gib", "volume_id", "volume_name", "consistency", "servers", "created_at", "taken_at", "checked_at", "damage", "project_id", "locked_until", "lock_reason"},
		csvRecord: func(s *models.Snapshot) []any {
			until, reason := lockCells(s.Lock, store.Rules().Now)
			return []any{s.ID, s.BackendID, s.Name, string(s.Status), s.SizeGiB, s.VolumeID, s.VolumeName,
				string(s.Consistency), strings.Join(s.ServerNames(), "; "), time.UnixMicro(s.CreatedAt), csvTime(s.TakenAt), csvTime(s.Checks.CheckedAt), s.Checks.Damage.Key, s.ProjectID, until, reason}
		},
	}
	return h
}

const maxRecent = 10 // rows of each table of an object's page

type snapshotJSON struct {
	ID          string   `json:"id"`
	BackendID   string   `json:"backend_id"`
	Name        string   `json:"name"`
	Description string   `json:"description"`
	Status      string   `json:"status"`
	SizeGiB     int      `json:"size_gib"`
	CreatedAt   string   `json:"created_at"`
	TakenAt     *string  `json:"taken_at"` // null: not yet
	Volume      linkJSON `json:"volume"`
	Consistency string   `json:"consistency"`
	HeldUS      int64    `json:"held_us,omitempty"`

	Attachments []attachmentJSON `json:"attachments"`
	// The checks are empty or null where the backend has no checksums, and until there are some.
	ChecksummedAt *string `json:"checksummed_at"`
	CheckedAt     *string `json:"checked_at"`
	Damage        string  `json:"damage,omitempty"`

	ProjectID   string `json:"project_id"`
	ProjectName string `json:"project_name,omitempty"`
	Error       string `json:"error,omitempty"`
	RequestID   string `json:"request_id,omitempty"`
	Version     int64  `json:"version"`
	lockJSON
}

type linkJSON struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

func toSnapshotJSON(c echo.Context, s *models.Snapshot) snapshotJSON {
	j := snapshotJSON{ID: s.ID, BackendID: s.BackendID, Name: s.Name, Description: s.Description, Status: string(s.Status),
		SizeGiB: s.SizeGiB, CreatedAt: rfc3339(s.CreatedAt), Volume: linkJSON{s.VolumeID, s.VolumeName},
		Consistency: string(s.Consistency), HeldUS: s.HeldUS, ProjectID: s.ProjectID, Version: s.Version, Attachments: toAttachmentsJSON(s.Attachments),
		lockJSON: toLockJSON(s.Lock, RequestOf(c).Site.Now())}
	j.Error, j.RequestID = failureText(c, s.Failure, s.RequestID)
	j.TakenAt, j.ChecksummedAt, j.CheckedAt = jsonTime(s.TakenAt), jsonTime(s.Checks.ChecksummedAt), jsonTime(s.Checks.CheckedAt)
	j.Damage, _ = failureText(c, s.Checks.Damage, "")
	return j
}

// jsonTime is a time in JSON; null where it is not known.
func jsonTime(micros int64) *string {
	if micros == 0 {
		return nil
	}
	text := rfc3339(micros)
	return &text
}

// csvTime is a time in CSV; empty where it is not known.
func csvTime(micros int64) any {
	if micros == 0 {
		return ""
	}
	return time.UnixMicro(micros)
}

// Show is the page of one Block Snapshot.
func (h Snapshots) Show(c echo.Context) error {
	ctx, actor := c.Request().Context(), Actor(c)
	summary, err := h.Store.ListSummary(ctx, actor, models.SubjectSnapshot) // before the row, as in a list
	if err != nil {
		return err
	}
	row, err := h.Store.Snapshot(ctx, actor, c.Param("id"))
	if err != nil {
		return err
	}
	if Wants(c) == JSON {
		Vary(c)
		return c.JSON(http.StatusOK, struct {
			snapshotJSON
			servedJSON
		}{toSnapshotJSON(c, row), toServedJSON(c, models.SubjectSnapshot, &row.Attached)})
	}
	volumes, err := h.Store.VolumesFrom(ctx, actor, row.ID, maxRecent)
	if err != nil {
		return err
	}
	view := snapshotRow(row, h.Store.Rules(), nil)
	if view.Deny.Revert.Key == "" {
		_, denial, err := h.revertTarget(ctx, actor, row)
		if err != nil {
			return err
		}
		view.Deny.Revert = denialMessage(denial)
	}
	m := views.SnapshotDetail{Row: view, Deny: view.Deny, Description: row.Description, Project: projectLink(h.Store, row.ProjectID), Degraded: degraded(summary),
		CreatedBy: row.CreatedBy, TakenFrom: splitLines(row.TakenFrom), WritePauseMicros: row.HeldUS,
		ChecksummedAt: row.Checks.ChecksummedAt, CheckedAt: row.Checks.CheckedAt, EventsURL: eventsURL(views.SnapshotsPath, summary)}
	m.Export, m.Attached = exportView(c, models.SubjectSnapshot, &row.Attached), attachedServers(&row.Attached)
	for i := range volumes {
		m.Volumes = append(m.Volumes, volumeBrief(&volumes[i]))
	}
	if m.Operations, err = recentOperations(c, h.Store, row.ID); err != nil {
		return err
	}
	return Render(c, http.StatusOK, views.Label(row.ID, row.Name), views.SnapshotPage(m))
}

// object loads a snapshot for the common popups.
func (h Snapshots) object(ctx context.Context, actor models.Actor, id string) (*object, error) {
	s, err := h.Store.Snapshot(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	rules := h.Store.Rules()
	return &object{
		DeleteItem: views.DeleteItem{ID: s.ID, Name: s.Name, Status: string(s.Status), SizeGiB: s.SizeGiB,
			Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, CreatedAt: s.CreatedAt, Servers: s.ServerNames(), Locked: lockView(s.Lock, rules.Now)},
		description: s.Description, version: s.Version, editedBy: s.EditedBy, editedAt: s.EditedAt, since: s.StatusSince, failure: s.Failure,
		denial: func(action models.Action) *models.Denial { return rules.Snapshot(action, s) },
		deleteDenial: func(ctx context.Context) (*models.Denial, error) {
			blockers, err := h.Store.SnapshotBlockers(ctx, s)
			return rules.Snapshot(models.ActDelete, s, blockers...), err
		},
		row: func() templ.Component { return views.SnapshotTableRow(snapshotRow(s, rules, projectNamesOf(h.Store))) },
	}, nil
}
