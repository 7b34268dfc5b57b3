package store

import (
	"gorm.io/gorm"

	"blockconsole/models"
)

func (s *Store) snapshotForUpdate(tx *gorm.DB, scope, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, err
	}
	return &row, nil
}

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

// byID finds an object of a scope by the console's id or by the backend's.
func byID(q *gorm.DB, scope, id string) *gorm.DB {
	id = searchable(id)
	return inProject(q.Where("(id = ? OR (backend_id = ? AND backend_id <> ''))", id, id), scope)
}

// changeRow updates a row as long as it still has the status that the rules were
// asked about.
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

// statusColumns is the change of a row to a status the user asked for.
func (s *Store) statusColumns(to models.Status) map[string]any {
	return map[string]any{"status": to, "status_since": models.Micros(s.Now()), "percent": -1, "failure": models.Failure{}, "request_id": ""}
}

func (s *Store) editColumns(actor models.Actor, in models.EditInput) map[string]any {
	return map[string]any{
		"name": in.Name, "description": in.Description, "version": gorm.Expr("version + 1"),
		"edited_by": actor.Name, "edited_at": models.Micros(s.Now()),
	}
}

func updateColumns(tx *gorm.DB, model any, id string, set map[string]any) error {
	if len(set) == 0 {
		return nil
	}
	return tx.Model(model).Where("id = ?", id).Updates(set).Error
}
