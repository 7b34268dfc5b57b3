package handlers

import (
	"context"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"

	"blockconsole/models"
	"blockconsole/views"
)

func (h Volumes) resource() resource {
	return resource{kind: models.SubjectVolume, path: views.VolumesPath, load: h.object,
		edit: h.Store.EditVolume, repair: h.Store.RepairVolume, delete: h.Store.DeleteVolume}
}

func (h Volumes) object(ctx context.Context, actor models.Actor, id string) (*object, error) {
	v, err := h.Store.Volume(ctx, actor, id)
	if err != nil {
		return nil, err
	}
	rules := h.Store.Rules()
	return &object{
		DeleteItem:  views.DeleteItem{ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, CreatedAt: v.CreatedAt, Servers: v.ServerNames()},
		description: v.Description, version: v.Version, editedBy: v.EditedBy, editedAt: v.EditedAt, since: v.StatusSince, failure: v.Failure,
		denial: func(action models.Action) *models.Denial { return rules.Volume(action, v) },
		deleteDenial: func(ctx context.Context) (denial *models.Denial, err error) {
			if denial = rules.Volume(models.ActDelete, v); denial != nil {
				denial.Snaps, err = h.Store.VolumeBlockers(ctx, v)
			}
			return denial, err
		},
		row: func() templ.Component { return views.VolumeRowHTML(volumeRow(v, rules, projectNamesOf(h.Store))) },
	}, nil
}

// EditForm is the popup «Volume 수정».
func (h Volumes) EditForm(c echo.Context) error { return h.resource().editForm(c) }

// Edit changes name and description of a volume.
func (h Volumes) Edit(c echo.Context) error { return h.resource().submitEdit(c) }

// RepairForm is the administrator's popup «Volume 복구».
func (h Volumes) RepairForm(c echo.Context) error { return h.resource().repairForm(c) }

// Repair gives a stuck volume a status in which it can be used again.
func (h Volumes) Repair(c echo.Context) error { return h.resource().submitRepair(c) }

// DeleteForm is the popup «Volume 삭제».
func (h Volumes) DeleteForm(c echo.Context) error { return h.resource().deleteForm(c) }

// Delete deletes the volume in the path.
func (h Volumes) Delete(c echo.Context) error { return h.resource().submitDelete(c) }

// DeleteMany deletes the selected volumes.
func (h Volumes) DeleteMany(c echo.Context) error { return h.resource().submitDeleteMany(c) }
