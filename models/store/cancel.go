package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// CancelOperation cancels an operation that has not begun, and restores the row that
// the click had changed. Errors: ErrNotFound, CodeForbidden, CodeConflict, those of the
// database.
func (s Queue) CancelOperation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	return s.changeOperation(ctx, actor, id, "operation.cancel", func(tx *gorm.DB, op *models.Operation) error {
		if !op.Cancellable() {
			return models.Refused(models.NewDenial("deny.not_cancellable", string(op.State)))
		}
		if err := s.undoRequest(tx, op); err != nil {
			return err
		}
		now := models.Micros(s.Now())
		op.State, op.FinishedAt = models.Cancelled, now
		return tx.Model(&models.Operation{}).Where("num = ?", op.Num).Updates(map[string]any{"state": models.Cancelled, "finished_at": now}).Error
	})
}

// undoRequest restores the subject's row as it was before the click.
func (s *Store) undoRequest(tx *gorm.DB, op *models.Operation) error {
	o := ObservedState{Status: op.Params.PriorStatus, Percent: backend.PercentUnknown}
	switch op.Kind {
	case models.SnapshotEdit, models.VolumeEdit:
		return s.restoreName(tx, op)
	case models.VolumeCreate, models.SnapshotRestore, models.SnapshotCreate:
		o = ObservedState{Gone: true}
	}
	return s.apply(tx, op.SubjectType, op.SubjectID, o)
}

// restoreName restores the name of a row as it was before an edit, unless it was edited
// again.
func (s *Store) restoreName(tx *gorm.DB, op *models.Operation) error {
	return tx.Model(modelOf(op.SubjectType)).Where("id = ? AND name = ? AND description = ?", op.SubjectID, op.Params.Name, op.Params.Description).
		Updates(map[string]any{"name": op.Params.OldName, "description": op.Params.OldDescription, "version": gorm.Expr("version + 1")}).Error
}

// changeOperation runs fn on a locked operation of the actor's project, and writes the
// audit entry of action.
func (s *Store) changeOperation(ctx context.Context, actor models.Actor, id, action string, fn func(tx *gorm.DB, op *models.Operation) error) (*models.Operation, error) {
	if d := models.CanRole(models.ActEdit, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	var op models.Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		op = models.Operation{}
		if err := takeOne(s.forUpdate(inProject(tx, s.scope(actor.Project)).Where("id = ?", searchable(id))), &op); err != nil {
			return err
		}
		if err := fn(tx, &op); err != nil {
			return err
		}
		return s.audit(tx, actor, models.AuditEntry{
			Action: action, SubjectType: string(op.SubjectType), SubjectID: op.SubjectID, SubjectName: op.SubjectName,
			Detail: string(op.Kind), Outcome: models.AuditAccepted,
		})
	})
	return &op, err
}
