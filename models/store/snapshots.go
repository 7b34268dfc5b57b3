package store

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// CreateSnapshot requests a snapshot. The snapshots of one volume queue: a request is
// accepted while another one runs. Errors: CodeForbidden, CodeConflict, CodeInvalid with
// the fields volume_id, name, description, lock_until, acknowledge (required when the volume
// is attached) and quota, those of the database.
func (s Snapshots) CreateSnapshot(ctx context.Context, actor models.Actor, in models.SnapshotInput) (*models.Operation, error) {
	return s.enqueue(ctx, actor, click{models.ActCreateSnapshot, models.SubjectSnapshot, "", form{in.FormKey, in}}, func(tx *gorm.DB) (*models.Operation, error) {
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
		lock, invalid := in.Lock(actor, s.Now())
		fields.Add("lock_until", invalid)
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertSnapshot(tx, actor, in, v, lock)
	})
}

func (s *Store) insertSnapshot(tx *gorm.DB, actor models.Actor, in models.SnapshotInput, v *models.Volume, lock models.Lock) (*models.Operation, error) {
	now := models.Micros(s.Now())
	row := models.Snapshot{
		ID: models.NewID(), ProjectID: s.projectFor(actor), VolumeID: v.ID, VolumeName: v.Name, Name: in.Name, Description: in.Description,
		Status: models.Creating, StatusSince: now, Percent: backend.PercentUnknown, SizeGiB: v.SizeGiB, CreatedBy: actor.Name, Origin: models.ByHand,
		Consistency: s.consistencyOf(v), TakenFrom: strings.Join(v.ServerNames(), "\n"), CreatedAt: now, Lock: lock, Version: 1,
	}
	return &models.Operation{
		Kind: models.SnapshotCreate, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, Lane: v.ID,
		Params: models.Params{VolumeID: v.ID, Name: in.Name, Description: in.Description, SizeGiB: v.SizeGiB,
			Attached: v.IsAttached(), Acknowledged: in.Acknowledge, LockedUntil: lock.LockedUntil},
	}, tx.Create(&row).Error
}

// consistencyOf is the consistency of a snapshot of the volume taken now.
func (s *Store) consistencyOf(v *models.Volume) models.Consistency {
	switch {
	case !v.IsAttached():
		return models.Clean
	case s.Capabilities().CrashSafe:
		return models.CrashConsistent
	}
	return models.Inconsistent
}

// EditSnapshot renames a snapshot: the row at once, the object by an operation. Errors:
// ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the fields name and
// description, CodeStale when the row is newer than in.Version, those of the database.
func (s Snapshots) EditSnapshot(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActEdit, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.editOperation(actor, in, models.SnapshotEdit, row.Name, row.Description, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// DeleteSnapshot requests the deletion of a snapshot. Errors: ErrNotFound,
// CodeForbidden, CodeConflict with the volumes that block it, those of the database.
func (s Snapshots) DeleteSnapshot(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActDelete, id, form{formKey, nil}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		return &models.Operation{Kind: models.SnapshotDelete, Params: models.Params{VolumeID: row.VolumeID, PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(s.unlocked(tx), &models.Snapshot{}, row.ID, row.Status, s.statusColumns(models.Deleting))
	})
}

// dependents returns the volumes that block the deletion of a snapshot: those being
// created from it, and where the backend requires it every volume created from it.
func (s *Store) dependents(tx *gorm.DB, row *models.Snapshot) ([]models.Link, error) {
	q := tx.Model(&models.Volume{}).Select("id", "name").Where("snapshot_id = ? AND snapshot_id <> ''", row.ID).Order("id").Limit(maxBlockers)
	if !s.Capabilities().BusySnapshots {
		q = q.Where("status = ?", models.Creating)
	}
	var links []models.Link
	return links, q.Find(&links).Error
}

// LockSnapshot keeps a snapshot from being deleted until the end of a day: the row at once,
// the storage's record of it by an operation. Errors: ErrNotFound, CodeForbidden (also to
// shorten), CodeConflict, CodeInvalid with the fields until and reason, CodeStale when the
// row is newer than in.Version, those of the database.
func (s Snapshots) LockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActLock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.lockOperation(actor, in, models.SnapshotLock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// UnlockSnapshot ends a lock. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid
// with the field reason, CodeStale when the row is newer than in.Version, those of the
// database.
func (s Snapshots) UnlockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActUnlock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.unlockOperation(in, models.SnapshotUnlock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// RepairSnapshot requests another status for a stuck snapshot. Its operations that have
// not ended fail. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the
// fields reason and reset_to, those of the database.
func (s Snapshots) RepairSnapshot(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActRepair, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.SnapshotRepair, Lane: repairLane(row.ID), Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.abandonOperations(tx, row.ID)
	})
}

// Snapshot finds a snapshot by the console's id or the backend's. Errors: ErrNotFound,
// those of the database.
func (s Snapshots) Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	scope := s.scope(actor.Project)
	if err := takeOne(byID(s.read(ctx), scope, id), &row); err != nil {
		return nil, s.deletion(s.read(ctx), scope, models.SnapshotDelete, id, err)
	}
	var v models.Volume
	err := takeOne(s.read(ctx).Select("id", "name").Where("id = ?", row.VolumeID), &v)
	if err == nil {
		row.VolumeName = v.Name
	}
	row.VolumeGone = err != nil
	return &row, ignoreNotFound(err)
}

// SnapshotByID finds a snapshot of any project by the console's id. Errors: ErrNotFound,
// those of the database.
func (s Snapshots) SnapshotByID(ctx context.Context, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	return &row, takeOne(s.read(ctx).Where("id = ?", id), &row)
}

// SnapshotsByID returns those snapshots of any project that exist. Errors: those of the
// database.
func (s Snapshots) SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error) {
	var rows []models.Snapshot
	return rows, s.read(ctx).Raw(snapshotTable.from+" WHERE t.id IN ?", ids).Scan(&rows).Error
}

// SnapshotBlockers returns the volumes that block the deletion of a snapshot. Errors:
// those of the database.
func (s Snapshots) SnapshotBlockers(ctx context.Context, row *models.Snapshot) ([]models.Link, error) {
	return s.dependents(s.read(ctx), row)
}
