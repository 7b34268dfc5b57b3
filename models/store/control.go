package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// CancelOperation takes an operation back that has not begun: what the click
// changed is as it was before.
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

func (s *Store) undoRequest(tx *gorm.DB, op *models.Operation) error {
	switch op.Kind {
	case models.SnapshotCreate:
		return s.applySnapshot(tx, op.SubjectID, ObservedState{Gone: true})
	case models.VolumeCreate, models.SnapshotRestore:
		return s.applyVolume(tx, op.SubjectID, ObservedState{Gone: true})
	case models.SnapshotEdit, models.VolumeEdit:
		return s.restoreName(tx, op)
	case models.SnapshotDelete:
		return s.applySnapshot(tx, op.SubjectID, ObservedState{Status: op.Params.PriorStatus, Percent: -1})
	}
	return s.applyVolume(tx, op.SubjectID, ObservedState{Status: op.Params.PriorStatus, Percent: -1})
}

// restoreName gives a row the name back that it had before the edit, unless
// somebody has changed it again.
func (s *Store) restoreName(tx *gorm.DB, op *models.Operation) error {
	var model any = &models.Volume{}
	if op.SubjectType == models.SubjectSnapshot {
		model = &models.Snapshot{}
	}
	return tx.Model(model).Where("id = ? AND name = ? AND description = ?", op.SubjectID, op.Params.Name, op.Params.Description).
		Updates(map[string]any{"name": op.Params.OldName, "description": op.Params.OldDescription, "version": gorm.Expr("version + 1")}).Error
}

// RetryOperation tries a failed operation again, unless something else was asked
// of its subject since.
func (s Queue) RetryOperation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	return s.changeOperation(ctx, actor, id, "operation.retry", func(tx *gorm.DB, op *models.Operation) error {
		if !op.Retryable() {
			return models.Refused(models.NewDenial("deny.not_retryable", string(op.State)))
		}
		if s.postgres {
			// It keeps its place in the lane, before what may just be claimed there.
			if err := lockQueue(tx); err != nil {
				return err
			}
		}
		var later int64
		err := tx.Model(&models.Operation{}).Select("1").Where("subject_id = ? AND num > ?", op.SubjectID, op.Num).Limit(1).Scan(&later).Error
		if err != nil {
			return err
		}
		if later > 0 {
			return models.Refused(models.NewDenial("deny.superseded"))
		}
		if err := s.redoRequest(tx, s.scope(actor.Project), op); err != nil {
			return err
		}
		op.State, op.FinishedAt, op.Params.Retried = models.Pending, 0, true
		if made := op.Step >= stepMade && (op.Kind == models.VolumeCreate || op.Kind == models.SnapshotRestore); made {
			op.Step = stepMade
		} else {
			op.Step = 0
		}
		return tx.Model(&models.Operation{}).Where("num = ?", op.Num).Updates(map[string]any{
			"state": models.Pending, "finished_at": 0, "started_at": 0, "called_at": 0, "attempts": 0, "step": op.Step, "percent": -1,
			"last_error": models.Failure{}, "request_id": "", "run_at": models.Micros(s.Now()), "params": op.Params,
		}).Error
	})
}

// stepMade is the Step of a creation whose volume is there and only has to be
// attached.
const stepMade = 2

// redoRequest puts the subject's row back into the status of the operation, as long as
// the rules still allow it.
func (s *Store) redoRequest(tx *gorm.DB, scope string, op *models.Operation) error {
	if op.Kind == models.SnapshotCreate {
		return s.redoSnapshot(tx, scope, op)
	}
	row, err := s.volumeForUpdate(tx, scope, op.SubjectID)
	if err != nil {
		return err
	}
	action, during := models.ActExtend, models.Extending
	switch op.Kind {
	case models.VolumeAttach:
		action, during = models.ActAttach, models.Attaching
	case models.VolumeDetach:
		action, during = models.ActDetach, models.Detaching
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step < stepMade {
			return s.redoVolume(tx, scope, op)
		}
		action, during = models.ActAttach, models.Attaching
	}
	if d := s.Rules().Volume(action, row); d != nil {
		return models.Refused(d)
	}
	return changeRow(tx, &models.Volume{}, op.SubjectID, row.Status, s.statusColumns(during))
}

func (s *Store) redoSnapshot(tx *gorm.DB, scope string, op *models.Operation) error {
	v, err := s.volumeForUpdate(tx, scope, op.Params.VolumeID)
	if err != nil {
		return err
	}
	if d := s.Rules().Volume(models.ActCreateSnapshot, v); d != nil {
		return models.Refused(d)
	}
	return changeRow(tx, &models.Snapshot{}, op.SubjectID, models.ErrorStatus, s.statusColumns(models.Creating))
}

func (s *Store) redoVolume(tx *gorm.DB, scope string, op *models.Operation) error {
	if op.Params.SnapshotID != "" {
		source, err := s.snapshotForUpdate(tx, scope, op.Params.SnapshotID)
		if err != nil {
			return err
		}
		if d := s.Rules().Snapshot(models.ActRestore, source); d != nil {
			return models.Refused(d)
		}
	}
	return changeRow(tx, &models.Volume{}, op.SubjectID, models.ErrorStatus, s.statusColumns(models.Creating))
}

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
			Detail: string(op.Kind), Outcome: "accepted",
		})
	})
	return &op, err
}
