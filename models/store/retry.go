package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// RetryOperation puts a failed operation back into the queue, unless something else was
// requested for its subject since. Errors: ErrNotFound, CodeForbidden, CodeConflict,
// those of the database.
func (s Queue) RetryOperation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	return s.changeOperation(ctx, actor, id, "operation.retry", func(tx *gorm.DB, op *models.Operation) error {
		if !op.Retryable() {
			return models.Refused(models.NewDenial("deny.not_retryable", string(op.State)))
		}
		if s.postgres {
			// It returns to its place in the lane: no claim may take a later operation of the lane meanwhile.
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
		if err := s.retryRequest(tx, s.scope(actor.Project), op); err != nil {
			return err
		}
		op.State, op.FinishedAt, op.Params.Retried = models.Pending, 0, true
		if created := op.Step >= models.StepCreated && (op.Kind == models.VolumeCreate || op.Kind == models.SnapshotRestore); created {
			op.Step = models.StepCreated
		} else {
			op.Step = 0
		}
		return tx.Model(&models.Operation{}).Where("num = ?", op.Num).Updates(map[string]any{
			"state": models.Pending, "finished_at": 0, "started_at": 0, "called_at": 0, "attempts": 0, "step": op.Step, "percent": backend.PercentUnknown,
			"last_error": models.Failure{}, "request_id": "", "run_at": models.Micros(s.Now()), "params": op.Params,
		}).Error
	})
}

// retryRequest puts the subject's row back into the status of a running operation, if
// the rules still allow it.
func (s *Store) retryRequest(tx *gorm.DB, scope string, op *models.Operation) error {
	if op.Kind == models.SnapshotCreate {
		return s.retrySnapshot(tx, scope, op)
	}
	row, err := s.volumeForUpdate(tx, scope, op.SubjectID)
	if err != nil {
		return err
	}
	action, transition := models.ActExtend, models.Extending
	switch op.Kind {
	case models.VolumeAttach:
		action, transition = models.ActAttach, models.Attaching
	case models.VolumeDetach:
		action, transition = models.ActDetach, models.Detaching
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step < models.StepCreated {
			return s.retryVolume(tx, scope, op)
		}
		action, transition = models.ActAttach, models.Attaching
	}
	if d := s.Rules().Volume(action, row); d != nil {
		return models.Refused(d)
	}
	return changeRow(tx, &models.Volume{}, op.SubjectID, row.Status, s.statusColumns(transition))
}

func (s *Store) retrySnapshot(tx *gorm.DB, scope string, op *models.Operation) error {
	v, err := s.volumeForUpdate(tx, scope, op.Params.VolumeID)
	if err != nil {
		return err
	}
	if d := s.Rules().Volume(models.ActCreateSnapshot, v); d != nil {
		return models.Refused(d)
	}
	return changeRow(tx, &models.Snapshot{}, op.SubjectID, models.ErrorStatus, s.statusColumns(models.Creating))
}

func (s *Store) retryVolume(tx *gorm.DB, scope string, op *models.Operation) error {
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
