package store

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
)

// CreateSnapshot asks for a snapshot. Snapshots of one volume queue: a second
// request is accepted while the first is under way. Invalid fields: volume_id,
// name, description, acknowledge (the volume is attached and the tick is
// missing), quota (the project's limit, with the figures).
func (s Snapshots) CreateSnapshot(ctx context.Context, actor models.Actor, in models.SnapshotInput) (*models.Operation, error) {
	if d := models.CanRole(models.ActCreateSnapshot, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*models.Operation, error) {
		fields := models.FieldErrors{}
		fields.Add("name", models.ValidateName(in.Name))
		fields.Add("description", models.ValidateDescription(in.Description))
		v, err := s.volumeForUpdate(tx, s.scope(actor.Project), in.VolumeID)
		switch {
		case in.VolumeID == "":
			fields["volume_id"] = models.NewText("volume.required")
		case errors.Is(err, models.ErrNotFound):
			fields["volume_id"] = models.NewText("volume.not_found")
		case err != nil:
			return nil, err
		default:
			if d := s.Rules().Volume(models.ActCreateSnapshot, v); d != nil {
				return nil, models.Refused(d)
			}
			if v.IsAttached() && !in.Acknowledge {
				fields["acknowledge"] = models.NewText("ack.required")
			}
			models.CheckQuota(models.QuotaForSnapshot(s.Capabilities(), v.SizeGiB), v.VolumeType, false, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertSnapshot(tx, actor, in, v)
	})
}

func (s *Store) insertSnapshot(tx *gorm.DB, actor models.Actor, in models.SnapshotInput, v *models.Volume) (*models.Operation, error) {
	now := models.Micros(s.Now())
	row := models.Snapshot{
		ID: models.NewID(), ProjectID: s.projectFor(actor), VolumeID: v.ID, VolumeName: v.Name, Name: in.Name, Description: in.Description,
		Status: models.Creating, StatusSince: now, Percent: -1, SizeGiB: v.SizeGiB, CreatedBy: actor.Name, Origin: models.ByHand,
		Consistency: s.consistencyOf(v), TakenFrom: strings.Join(v.ServerNames(), "\n"), CreatedAt: now, Version: 1,
	}
	if err := tx.Create(&row).Error; err != nil {
		return nil, err
	}
	return &models.Operation{
		Kind: models.SnapshotCreate, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, Lane: v.ID,
		Params: models.Params{VolumeID: v.ID, Name: in.Name, Description: in.Description, SizeGiB: v.SizeGiB,
			Attached: v.IsAttached(), Acknowledged: in.Acknowledge},
	}, nil
}

func (s *Store) consistencyOf(v *models.Volume) models.Consistency {
	switch {
	case !v.IsAttached():
		return models.Clean
	case s.Capabilities().CrashSafe:
		return models.CrashConsistent
	}
	return models.Inconsistent
}

// EditSnapshot renames a snapshot: the row changes at once, the backend follows.
// CodeStale: somebody else changed it since Version.
func (s Snapshots) EditSnapshot(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	if d := models.CanRole(models.ActEdit, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*models.Operation, error) {
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.ID)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(models.ActEdit, row); d != nil {
			return nil, models.Refused(d)
		}
		if err := in.Validate(row.Name); err != nil {
			return nil, err
		}
		in := in.RestoreName(row.Name)
		if in.Version > 0 && in.Version != row.Version {
			return nil, &models.Error{Code: models.CodeStale, Text: models.NewText("conflict.version")}
		}
		if err := changeRow(tx, &models.Snapshot{}, row.ID, row.Status, s.editColumns(actor, in)); err != nil {
			return nil, err
		}
		return &models.Operation{
			Kind: models.SnapshotEdit, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: in.Name, ProjectID: row.ProjectID,
			Params: models.Params{Name: in.Name, Description: in.Description, OldName: row.Name, OldDescription: row.Description},
		}, nil
	})
}

// DeleteSnapshot asks for the deletion of a snapshot.
func (s Snapshots) DeleteSnapshot(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	if d := models.CanRole(models.ActDelete, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	return s.enqueue(ctx, actor, formKey, func(tx *gorm.DB) (*models.Operation, error) {
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		dependents, err := s.dependents(tx, row)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(models.ActDelete, row, dependents...); d != nil {
			return nil, models.Refused(d)
		}
		if err := changeRow(tx, &models.Snapshot{}, row.ID, row.Status, s.statusColumns(models.Deleting)); err != nil {
			return nil, err
		}
		return &models.Operation{
			Kind: models.SnapshotDelete, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, ProjectID: row.ProjectID,
			Params: models.Params{VolumeID: row.VolumeID, PriorStatus: row.Status, BackendID: row.BackendID},
		}, nil
	})
}

// dependents are the volumes that stand in the way of deleting a snapshot: those
// being made from it now, and where the backend says so all that were.
func (s *Store) dependents(tx *gorm.DB, row *models.Snapshot) ([]models.Link, error) {
	q := tx.Model(&models.Volume{}).Select("id", "name").Where("snapshot_id = ? AND snapshot_id <> ''", row.ID).Order("id").Limit(20)
	if !s.Capabilities().BusySnapshots {
		q = q.Where("status = ?", models.Creating)
	}
	var links []models.Link
	return links, q.Find(&links).Error
}

// RepairSnapshot puts a snapshot that is stuck into a status from which one can go
// on. What was under way for it ends as failed.
func (s Snapshots) RepairSnapshot(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	if d := models.CanRole(models.ActRepair, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*models.Operation, error) {
		if err := s.lockSubject(tx, s.scope(actor.Project), models.SubjectSnapshot, in.ID); err != nil {
			return nil, err
		}
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.ID)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(models.ActRepair, row); d != nil {
			return nil, models.Refused(d)
		}
		if err := in.Validate(); err != nil {
			return nil, err
		}
		if err := s.cancelQueued(tx, row.ID); err != nil {
			return nil, err
		}
		return &models.Operation{
			Kind: models.SnapshotRepair, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, ProjectID: row.ProjectID, Lane: repairLane(row.ID),
			Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status},
		}, nil
	})
}
