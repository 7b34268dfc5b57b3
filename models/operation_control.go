package models

import (
	"context"

	"gorm.io/gorm"
)

// Cancellable says that the operation has not begun and can be taken back.
func (o *Operation) Cancellable() bool {
	neverRan := o.StartedAt == 0 && o.RunAt == o.AskedAt // one that is tried again has run
	return o.State == Pending && neverRan && o.Kind != VolumeRepair && o.Kind != SnapshotRepair
}

// Retryable says that the operation failed and may simply be tried again.
func (o *Operation) Retryable() bool {
	if o.State != Failed {
		return false
	}
	switch o.Kind {
	case VolumeCreate, SnapshotCreate, SnapshotRestore, VolumeExtend, VolumeAttach, VolumeDetach:
		return true
	}
	return false
}

// CancelOperation takes an operation back that has not begun: what the click
// changed is as it was before.
func (s *Store) CancelOperation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	return s.control(ctx, actor, id, "operation.cancel", func(tx *gorm.DB, op *Operation) error {
		if !op.Cancellable() {
			return Refused(deny("deny.not_cancellable", string(op.State)))
		}
		if err := s.undo(tx, op); err != nil {
			return err
		}
		now := Micros(s.Now())
		op.State, op.FinishedAt = Cancelled, now
		return tx.Model(&Operation{}).Where("num = ?", op.Num).Updates(map[string]any{"state": Cancelled, "finished_at": now}).Error
	})
}

func (s *Store) undo(tx *gorm.DB, op *Operation) error {
	switch op.Kind {
	case SnapshotCreate:
		return s.observeSnapshot(tx, op.SubjectID, Observed{Gone: true})
	case VolumeCreate, SnapshotRestore:
		return s.observeVolume(tx, op.SubjectID, Observed{Gone: true})
	case SnapshotEdit:
		return s.observeSnapshot(tx, op.SubjectID, Observed{Name: &op.Params.OldName, Description: &op.Params.OldDescription})
	case VolumeEdit:
		return s.observeVolume(tx, op.SubjectID, Observed{Name: &op.Params.OldName, Description: &op.Params.OldDescription})
	case SnapshotDelete:
		return s.observeSnapshot(tx, op.SubjectID, Observed{Status: op.Params.Was, Percent: -1})
	}
	return s.observeVolume(tx, op.SubjectID, Observed{Status: op.Params.Was, Percent: -1})
}

// RetryOperation tries a failed operation again, unless something else was asked
// of its subject since.
func (s *Store) RetryOperation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	return s.control(ctx, actor, id, "operation.retry", func(tx *gorm.DB, op *Operation) error {
		if !op.Retryable() {
			return Refused(deny("deny.not_retryable", string(op.State)))
		}
		var later int64
		if err := tx.Model(&Operation{}).Where("subject_id = ? AND num > ?", op.SubjectID, op.Num).Limit(1).Count(&later).Error; err != nil {
			return err
		}
		if later > 0 {
			return Refused(deny("deny.superseded"))
		}
		if err := s.redo(tx, op); err != nil {
			return err
		}
		op.State, op.FinishedAt = Pending, 0
		return tx.Model(&Operation{}).Where("num = ?", op.Num).Updates(map[string]any{
			"state": Pending, "finished_at": 0, "started_at": 0, "attempts": 0, "percent": -1, "last_error": Failure{}, "run_at": Micros(s.Now()),
		}).Error
	})
}

// redo puts the subject's row back into the status of the operation, as long as
// the rules still allow it.
func (s *Store) redo(tx *gorm.DB, op *Operation) error {
	if op.Kind == SnapshotCreate {
		if _, err := s.snapshotForUpdate(tx, op.ProjectID, op.SubjectID); err != nil {
			return err
		}
		return changeRow(tx, &Snapshot{}, op.SubjectID, ErrorStatus, s.status(Creating))
	}
	row, err := s.volumeForUpdate(tx, op.ProjectID, op.SubjectID)
	if err != nil {
		return err
	}
	action, during := ActExtend, Extending
	switch op.Kind {
	case VolumeAttach:
		action, during = ActAttach, Attaching
	case VolumeDetach:
		action, during = ActDetach, Detaching
	case VolumeCreate, SnapshotRestore:
		if op.Step == 0 {
			return changeRow(tx, &Volume{}, op.SubjectID, ErrorStatus, s.status(Creating))
		}
		action, during = ActAttach, Attaching
	}
	if d := s.Rules().Volume(action, row); d != nil {
		return Refused(d)
	}
	return changeRow(tx, &Volume{}, op.SubjectID, row.Status, s.status(during))
}

func (s *Store) control(ctx context.Context, actor Actor, id, action string, fn func(tx *gorm.DB, op *Operation) error) (*Operation, error) {
	if d := CanRole(ActEdit, actor.Role); d != nil {
		return nil, Refused(d)
	}
	var op Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		if err := first(s.forUpdate(tx.Where("project_id = ? AND id = ?", actor.Project, id)), &op); err != nil {
			return err
		}
		if err := fn(tx, &op); err != nil {
			return err
		}
		return s.record(tx, actor, AuditEntry{
			Action: action, SubjectType: string(op.SubjectType), SubjectID: op.SubjectID, SubjectName: op.SubjectName,
			Detail: string(op.Kind), Outcome: "accepted",
		})
	})
	return &op, err
}
