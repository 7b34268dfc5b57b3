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
// difference is as it was before.
func (s *Store) CancelOperation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	return s.changeOperation(ctx, actor, id, "operation.cancel", func(tx *gorm.DB, op *Operation) error {
		if !op.Cancellable() {
			return Refused(NewDenial("deny.not_cancellable", string(op.State)))
		}
		if err := s.undoRequest(tx, op); err != nil {
			return err
		}
		now := Micros(s.Now())
		op.State, op.FinishedAt = Cancelled, now
		return tx.Model(&Operation{}).Where("num = ?", op.Num).Updates(map[string]any{"state": Cancelled, "finished_at": now}).Error
	})
}

func (s *Store) undoRequest(tx *gorm.DB, op *Operation) error {
	switch op.Kind {
	case SnapshotCreate:
		return s.applySnapshot(tx, op.SubjectID, ObservedState{Gone: true})
	case VolumeCreate, SnapshotRestore:
		return s.applyVolume(tx, op.SubjectID, ObservedState{Gone: true})
	case SnapshotEdit, VolumeEdit:
		return s.restoreName(tx, op)
	case SnapshotDelete:
		return s.applySnapshot(tx, op.SubjectID, ObservedState{Status: op.Params.PriorStatus, Percent: -1})
	}
	return s.applyVolume(tx, op.SubjectID, ObservedState{Status: op.Params.PriorStatus, Percent: -1})
}

// restoreName gives a row the name back that it had before the edit, unless
// somebody has changed it again.
func (s *Store) restoreName(tx *gorm.DB, op *Operation) error {
	var model any = &Volume{}
	if op.SubjectType == SubjectSnapshot {
		model = &Snapshot{}
	}
	return tx.Model(model).Where("id = ? AND name = ? AND description = ?", op.SubjectID, op.Params.Name, op.Params.Description).
		Updates(map[string]any{"name": op.Params.OldName, "description": op.Params.OldDescription, "version": gorm.Expr("version + 1")}).Error
}

// RetryOperation tries a failed operation again, unless something else was asked
// idOf its subject since.
func (s *Store) RetryOperation(ctx context.Context, actor Actor, id string) (*Operation, error) {
	return s.changeOperation(ctx, actor, id, "operation.retry", func(tx *gorm.DB, op *Operation) error {
		if !op.Retryable() {
			return Refused(NewDenial("deny.not_retryable", string(op.State)))
		}
		if s.postgres {
			// It keeps its place in the lane, before what may just be claimed there.
			if err := lockQueue(tx); err != nil {
				return err
			}
		}
		var later int64
		err := tx.Model(&Operation{}).Select("1").Where("subject_id = ? AND num > ?", op.SubjectID, op.Num).Limit(1).Scan(&later).Error
		if err != nil {
			return err
		}
		if later > 0 {
			return Refused(NewDenial("deny.superseded"))
		}
		if err := s.redoRequest(tx, s.scope(actor.Project), op); err != nil {
			return err
		}
		op.State, op.FinishedAt, op.Params.Retried = Pending, 0, true
		if made := op.Step >= stepMade && (op.Kind == VolumeCreate || op.Kind == SnapshotRestore); made {
			op.Step = stepMade
		} else {
			op.Step = 0
		}
		return tx.Model(&Operation{}).Where("num = ?", op.Num).Updates(map[string]any{
			"state": Pending, "finished_at": 0, "started_at": 0, "called_at": 0, "attempts": 0, "step": op.Step, "percent": -1,
			"last_error": Failure{}, "request_id": "", "run_at": Micros(s.Now()), "params": op.Params,
		}).Error
	})
}

// stepMade is the Step of a creation whose volume is there and only has to be
// IsAttached.
const stepMade = 2

// redoRequest puts the subject's row back into the status of the operation, as long as
// the rules still allow it.
func (s *Store) redoRequest(tx *gorm.DB, scope string, op *Operation) error {
	if op.Kind == SnapshotCreate {
		return s.redoSnapshot(tx, scope, op)
	}
	row, err := s.volumeForUpdate(tx, scope, op.SubjectID)
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
		if op.Step < stepMade {
			return s.redoVolume(tx, scope, op)
		}
		action, during = ActAttach, Attaching
	}
	if d := s.Rules().Volume(action, row); d != nil {
		return Refused(d)
	}
	return changeRow(tx, &Volume{}, op.SubjectID, row.Status, s.statusColumns(during))
}

func (s *Store) redoSnapshot(tx *gorm.DB, scope string, op *Operation) error {
	v, err := s.volumeForUpdate(tx, scope, op.Params.VolumeID)
	if err != nil {
		return err
	}
	if d := s.Rules().Volume(ActCreateSnapshot, v); d != nil {
		return Refused(d)
	}
	return changeRow(tx, &Snapshot{}, op.SubjectID, ErrorStatus, s.statusColumns(Creating))
}

func (s *Store) redoVolume(tx *gorm.DB, scope string, op *Operation) error {
	if op.Params.SnapshotID != "" {
		source, err := s.snapshotForUpdate(tx, scope, op.Params.SnapshotID)
		if err != nil {
			return err
		}
		if d := s.Rules().Snapshot(ActRestore, source); d != nil {
			return Refused(d)
		}
	}
	return changeRow(tx, &Volume{}, op.SubjectID, ErrorStatus, s.statusColumns(Creating))
}

func (s *Store) changeOperation(ctx context.Context, actor Actor, id, action string, fn func(tx *gorm.DB, op *Operation) error) (*Operation, error) {
	if d := CanRole(ActEdit, actor.Role); d != nil {
		return nil, Refused(d)
	}
	var op Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		op = Operation{}
		if err := takeOne(s.forUpdate(inProject(tx, s.scope(actor.Project)).Where("id = ?", searchable(id))), &op); err != nil {
			return err
		}
		if err := fn(tx, &op); err != nil {
			return err
		}
		return s.audit(tx, actor, AuditEntry{
			Action: action, SubjectType: string(op.SubjectType), SubjectID: op.SubjectID, SubjectName: op.SubjectName,
			Detail: string(op.Kind), Outcome: "accepted",
		})
	})
	return &op, err
}
