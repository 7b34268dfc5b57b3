package store

import (
	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// snapshotForUpdate finds a snapshot and locks its row.
func (s *Store) snapshotForUpdate(tx *gorm.DB, scope, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, err
	}
	return &row, nil
}

// volumeForUpdate finds a volume with its attachments and locks its row.
func (s *Store) volumeForUpdate(tx *gorm.DB, scope, id string) (*models.Volume, error) {
	var row models.Volume
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, err
	}
	if err := tx.Where("volume_id = ?", row.ID).Order("server_name, server_id").Find(&row.Attachments).Error; err != nil {
		return nil, err
	}
	return &row, nil
}

// byID limits a query to the object of a scope with the console's or the backend's id.
func byID(q *gorm.DB, scope, id string) *gorm.DB {
	id = searchable(id)
	return inProject(q.Where("(id = ? OR (backend_id = ? AND backend_id <> ''))", id, id), scope)
}

// changeRow updates a row if it still has the status that the rules were checked with;
// otherwise CodeConflict.
func changeRow(tx *gorm.DB, model any, id string, status models.Status, set map[string]any) error {
	result := tx.Model(model).Where("id = ? AND status = ?", id, status).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected != 1 {
		return &models.Error{Code: models.CodeConflict, Text: models.NewText("conflict.state")}
	}
	return nil
}

// statusColumns are the columns of a row whose status changes to the one that was
// requested.
func (s *Store) statusColumns(to models.Status) map[string]any {
	return map[string]any{"status": to, "status_since": models.Micros(s.Now()), "percent": backend.PercentUnknown, "failure": models.Failure{}, "request_id": ""}
}
