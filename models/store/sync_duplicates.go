package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// DuplicateRow is the row whose id several objects of the backend carry.
type DuplicateRow struct {
	ID, BackendID, Name string
	Busy                bool          // an operation has not ended
	CreatedHere         bool          // by an operation
	CreateDuration      time.Duration // of that operation
}

// DuplicateIsUsed reports whether the object with this backend's id has a row of its own
// or snapshots: then users may have written to it. Errors: those of the database.
func (s Sync) DuplicateIsUsed(ctx context.Context, kind models.SubjectType, backendID string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(kind.Plural()).Where("backend_id = ?", backendID).Limit(1).Count(&n).Error
	if n > 0 || err != nil || kind != models.SubjectVolume {
		return n > 0, err
	}
	err = s.read(ctx).Model(&models.Snapshot{}).Where("volume_id = ?", backendID).Limit(1).Count(&n).Error
	return n > 0, err
}

// DuplicateOf returns the row with the console's id that several objects carry; nil when
// there is none. Errors: those of the database.
func (s Sync) DuplicateOf(ctx context.Context, kind models.SubjectType, id string) (*DuplicateRow, error) {
	var row struct {
		ID, BackendID, Name string
		Origin              models.Origin
	}
	err := takeOne(s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "name", "origin").
		Where("id = ? AND backend_id <> ''", searchable(id)), &row)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	busy, err := busySubjects(s.read(ctx), []string{row.ID}, s.Now())
	if err != nil {
		return nil, err
	}
	duplicate := &DuplicateRow{ID: row.ID, BackendID: row.BackendID, Name: row.Name, Busy: busy[row.ID]}
	if row.Origin == models.Elsewhere {
		return duplicate, nil
	}
	var creation models.Operation
	err = s.read(ctx).Where("subject_id = ? AND kind IN ? AND finished_at > 0", row.ID, []models.Kind{models.VolumeCreate, models.SnapshotRestore, models.SnapshotCreate}).
		Order("num DESC").Limit(1).Find(&creation).Error
	if creation.StartedAt > 0 {
		duplicate.CreatedHere, duplicate.CreateDuration = true, time.Duration(creation.FinishedAt-creation.StartedAt)*time.Microsecond
	}
	return duplicate, err
}

// RecordDuplicate audits that a duplicate, with this backend's id, was deleted. Errors:
// those of the database.
func (s Sync) RecordDuplicate(ctx context.Context, kind models.SubjectType, row *DuplicateRow, backendID string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.audit(tx, models.Actor{Name: "blockconsole", Project: models.DefaultProject}, models.AuditEntry{
			Action: "twin.delete", SubjectType: string(kind), SubjectID: row.ID, SubjectName: row.Name, Detail: backendID, Outcome: models.AuditDone,
		})
	})
}
