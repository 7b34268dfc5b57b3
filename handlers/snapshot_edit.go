package handlers

import (
	"context"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

func (h Snapshots) resource() resource {
	return resource{kind: models.SubjectSnapshot, path: views.SnapshotsPath, load: h.object,
		edit: h.Store.EditSnapshot, repair: h.Store.RepairSnapshot, delete: h.Store.DeleteSnapshot}
}

func (h Snapshots) object(ctx context.Context, actor models.Actor, id string) (*object, error) {
	s, err := h.Store.Snapshot(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	rules := h.Store.Rules()
	return &object{
		DeleteItem: views.DeleteItem{ID: s.ID, Name: s.Name, Status: string(s.Status), SizeGiB: s.SizeGiB,
			Volume: views.Link{ID: s.VolumeID, Name: s.VolumeName}, CreatedAt: s.CreatedAt},
		description: s.Description, version: s.Version, editedBy: s.EditedBy, editedAt: s.EditedAt, since: s.StatusSince, failure: s.Failure,
		denial: func(action models.Action) *models.Denial { return rules.Snapshot(action, s) },
		deleteDenial: func(ctx context.Context) (*models.Denial, error) {
			blockers, err := h.Store.SnapshotBlockers(ctx, s)
			return rules.Snapshot(models.ActDelete, s, blockers...), err
		},
		row: func() templ.Component { return views.SnapshotRowHTML(snapshotRow(s, rules, projectNamesOf(h.Store))) },
	}, nil
}

// EditForm is the popup «Block Snapshot 수정».
func (h Snapshots) EditForm(c echo.Context) error { return h.resource().editForm(c) }

// Edit changes name and description of a snapshot.
func (h Snapshots) Edit(c echo.Context) error { return h.resource().submitEdit(c) }

// RepairForm is the administrator's popup «Block Snapshot 복구».
func (h Snapshots) RepairForm(c echo.Context) error { return h.resource().repairForm(c) }

// Repair gives a stuck snapshot a status in which it can be used again.
func (h Snapshots) Repair(c echo.Context) error { return h.resource().submitRepair(c) }

// DeleteForm is the popup «Block Snapshot 삭제».
func (h Snapshots) DeleteForm(c echo.Context) error { return h.resource().deleteForm(c) }

// Delete deletes the snapshot in the path.
func (h Snapshots) Delete(c echo.Context) error { return h.resource().submitDelete(c) }

// DeleteMany deletes the selected snapshots.
func (h Snapshots) DeleteMany(c echo.Context) error { return h.resource().submitDeleteMany(c) }
