package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// EditVolume renames a volume: the row changes at once, the backend follows.
// CodeStale: somebody else changed it since Version.
func (s Volumes) EditVolume(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActEdit, in.ID, in.FormKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if err := in.Validate(row.Name); err != nil {
			return nil, err
		}
		in := in.RestoreName(row.Name)
		if in.Version > 0 && in.Version != row.Version {
			return nil, &models.Error{Code: models.CodeStale, Text: models.NewText("conflict.version")}
		}
		return &models.Operation{
			Kind: models.VolumeEdit, SubjectName: in.Name,
			Params: models.Params{Name: in.Name, Description: in.Description, OldName: row.Name, OldDescription: row.Description},
		}, changeRow(tx, &models.Volume{}, row.ID, row.Status, s.editColumns(actor, in))
	})
}

// ExtendVolume asks for a larger size, in GiB as typed. Invalid field: size_gib.
func (s Volumes) ExtendVolume(ctx context.Context, actor models.Actor, id, typed, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActExtend, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		size := s.checkSize(models.VolumeInput{Size: typed}, row.SizeGiB+1, fields)
		if row.ProjectID == s.OwnProjectID() { // another project's limits are not known
			models.CheckQuota(models.QuotaForExtension(s.Capabilities(), size-row.SizeGiB), row.VolumeType, true, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeExtend, Params: models.Params{SizeGiB: size, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Extending))
	})
}

// AttachVolume asks that the server sees the volume. Invalid field: server_id.
func (s Volumes) AttachVolume(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActAttach, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		for _, a := range row.Attachments {
			if a.ServerID == server {
				fields["server_id"] = models.NewText("server.already_attached")
			}
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeAttach, Params: models.Params{ServerID: server, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Attaching))
	})
}

// DetachVolume asks that the server no longer sees the volume; an empty server
// means the only one. force cuts it off although it uses the volume, also when a
// detaching already waits for it. Invalid fields: server_id, force (needed there).
func (s Volumes) DetachVolume(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDetach, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		attached := false
		for _, a := range row.Attachments {
			attached = attached || a.ServerID == server
		}
		if !attached {
			return nil, models.Invalid("server_id", models.NewText("server.not_attached"))
		}
		op := &models.Operation{Kind: models.VolumeDetach, Params: models.Params{ServerID: server, Force: force, PriorStatus: row.Status}}
		if row.Status == models.Detaching {
			if !force {
				return nil, models.Invalid("force", models.NewText("detach.waits"))
			}
			op.Lane, op.Params.PriorStatus = row.ID+"/cut", models.InUse // it overtakes the one that waits
			return op, nil
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Detaching))
	})
}

// DeleteVolume asks for the deletion of a volume that is detached and has no
// snapshots.
func (s Volumes) DeleteVolume(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDelete, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		return &models.Operation{Kind: models.VolumeDelete, Params: models.Params{PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(tx.Where("attachment_count = 0 AND snapshot_count = 0"), &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Deleting))
	})
}

// RepairVolume puts a volume that is stuck into a status from which one can go
// on. What was under way for it ends as failed.
func (s Volumes) RepairVolume(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActRepair, in.ID, in.FormKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeRepair, Lane: repairLane(row.ID), Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.cancelQueued(tx, row.ID)
	})
}

// RevertVolume asks that the volume gets the bytes of its latest snapshot back.
func (s Volumes) RevertVolume(ctx context.Context, actor models.Actor, snapshotID, formKey string) (*models.Operation, error) {
	snapshot, err := s.Snapshots.Snapshot(ctx, actor, snapshotID)
	if err != nil {
		return nil, err
	}
	return s.enqueueVolume(ctx, actor, models.ActRevert, snapshot.VolumeID, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		source, err := s.snapshotForUpdate(tx, s.scope(actor.Project), snapshot.ID)
		if err != nil {
			return nil, err
		}
		if d, err := s.revertDenial(tx, source, row); d != nil || err != nil {
			return nil, denialError(d, err)
		}
		return &models.Operation{Kind: models.VolumeRevert, Params: models.Params{SnapshotID: source.ID, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Restoring))
	})
}

func denialError(d *models.Denial, err error) error {
	if err != nil {
		return err
	}
	return models.Refused(d)
}

// revertDenial: both AVAILABLE, the latest snapshot, of equal size.
func (s *Store) revertDenial(tx *gorm.DB, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error) {
	if d := s.Rules().Snapshot(models.ActRevert, snapshot); d != nil {
		return d, nil
	}
	if snapshot.SizeGiB != v.SizeGiB {
		return models.NewDenial("deny.size_differs"), nil
	}
	var newest models.Snapshot
	err := takeOne(tx.Where("volume_id = ?", v.ID).Order("created_at DESC, id DESC"), &newest)
	if err == nil && newest.ID != snapshot.ID {
		return &models.Denial{Text: models.NewText("deny.not_latest"), Snaps: []models.Link{newest.Link()}}, nil
	}
	return nil, ignoreNotFound(err)
}

// snapshotLinks names the first snapshots that keep a volume from being deleted.
func (s *Store) snapshotLinks(tx *gorm.DB, volume string) ([]models.Link, error) {
	var links []models.Link
	return links, tx.Model(&models.Snapshot{}).Select("id", "name").Where("volume_id = ?", volume).
		Order("created_at DESC, id DESC").Limit(20).Find(&links).Error
}
