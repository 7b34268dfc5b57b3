package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// EditVolume renames a volume: the row at once, the object by an operation. Errors:
// ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the fields name and
// description, CodeStale when the row is newer than in.Version, those of the database.
func (s Volumes) EditVolume(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActEdit, in.ID, in.FormKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		columns, op, err := s.editOperation(actor, in, models.VolumeEdit, row.Name, row.Description, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, columns)
	})
}

// ExtendVolume requests a larger size, in GiB as typed. Errors: ErrNotFound,
// CodeForbidden, CodeConflict, CodeInvalid with the fields size_gib and quota, those of
// the database.
func (s Volumes) ExtendVolume(ctx context.Context, actor models.Actor, id, typed, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActExtend, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		size := s.checkSize(models.VolumeInput{Size: typed}, row.SizeGiB+1, fields)
		if row.ProjectID == s.OwnProjectID() { // the quotas of other projects are not known
			models.CheckQuota(models.QuotaForExtension(s.Capabilities(), size-row.SizeGiB), row.VolumeType, true, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeExtend, Params: models.Params{SizeGiB: size, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Extending))
	})
}

// AttachVolume requests that a volume is attached to a server. Errors: ErrNotFound,
// CodeForbidden, CodeConflict, CodeInvalid with the field server_id, those of the
// database.
func (s Volumes) AttachVolume(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActAttach, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		if row.AttachedTo(server) {
			fields["server_id"] = models.NewText("server.already_attached")
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeAttach, Params: models.Params{ServerID: server, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Attaching))
	})
}

// DetachVolume requests that a volume is detached from a server; an empty server means
// the only one. force disconnects its clients, also when a detach without force already
// waits for them. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with
// the fields server_id and force (required in the latter case), those of the database.
func (s Volumes) DetachVolume(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDetach, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		if !row.AttachedTo(server) {
			return nil, models.Invalid("server_id", models.NewText("server.not_attached"))
		}
		op := &models.Operation{Kind: models.VolumeDetach, Params: models.Params{ServerID: server, Force: force, PriorStatus: row.Status}}
		if row.Status == models.Detaching {
			if !force {
				return nil, models.Invalid("force", models.NewText("detach.waits"))
			}
			op.Lane, op.Params.PriorStatus = row.ID+"/cut", models.InUse // a lane of its own: it overtakes the waiting detach
			return op, nil
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Detaching))
	})
}

// DeleteVolume requests the deletion of a volume. Errors: ErrNotFound, CodeForbidden,
// CodeConflict when it is attached, locked or has snapshots, those of the database.
func (s Volumes) DeleteVolume(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDelete, id, formKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		return &models.Operation{Kind: models.VolumeDelete, Params: models.Params{PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(tx.Where("attachment_count = 0 AND snapshot_count = 0"), &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Deleting))
	})
}

// RepairVolume requests another status for a stuck volume. Its operations that have not
// ended fail. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the
// fields reason and reset_to, those of the database.
func (s Volumes) RepairVolume(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActRepair, in.ID, in.FormKey, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeRepair, Lane: repairLane(row.ID), Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.abandonOperations(tx, row.ID)
	})
}

// RevertVolume requests that a volume gets the bytes of its latest snapshot back.
// Errors: ErrNotFound, CodeForbidden, CodeConflict, those of the database.
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

// revertDenial returns why a volume cannot be reverted to a snapshot, beyond the
// volume's own status: the snapshot must be AVAILABLE, the latest, and of equal size.
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

// snapshotLinks returns the newest snapshots that block the deletion of a volume.
func (s *Store) snapshotLinks(tx *gorm.DB, volume string) ([]models.Link, error) {
	var links []models.Link
	return links, tx.Model(&models.Snapshot{}).Select("id", "name").Where("volume_id = ?", volume).
		Order("created_at DESC, id DESC").Limit(maxBlockers).Find(&links).Error
}
