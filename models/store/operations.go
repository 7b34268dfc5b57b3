package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// Operation finds an operation. Errors: ErrNotFound, those of the database.
func (s Queue) Operation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	var op models.Operation
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ?", searchable(id)), &op); err != nil {
		return nil, err
	}
	return &op, nil
}

// ListOperations returns a page of operations, newest first. Errors: those of the
// database.
func (s Queue) ListOperations(ctx context.Context, actor models.Actor, query models.OperationQuery) ([]models.Operation, error) {
	q := s.read(ctx).Order("num DESC").Limit(query.Limit)
	scope := s.scope(actor.Project)
	switch {
	case query.Subject == "":
		q = inProject(q, scope)
	case scope == everyProject:
		q = q.Where("subject_id = ?", searchable(query.Subject))
	default:
		q = q.Where("subject_id = ? AND "+s.unindexed("project_id")+" = ?", searchable(query.Subject), scope)
	}
	if query.State != "" {
		q = q.Where("state = ?", searchable(string(query.State)))
	}
	if query.Before > 0 {
		q = q.Where("num < ?", query.Before)
	}
	var ops []models.Operation
	return ops, q.Find(&ops).Error
}

// CountRunning returns the number of the project's operations that have not ended.
// Errors: those of the database.
func (s Queue) CountRunning(ctx context.Context, project string) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Model(&models.Operation{}), s.scope(project))
	err := q.Where("state IN ?", []models.OperationState{models.Pending, models.Running}).Count(&n).Error
	return n, err
}

// ExistingSubjects returns the ids of the operations' volumes and snapshots that still
// exist. Errors: those of the database.
func (s Queue) ExistingSubjects(ctx context.Context, actor models.Actor, ops []models.Operation) (map[string]bool, error) {
	existing := map[string]bool{}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		var ids []string
		for _, op := range ops {
			if op.SubjectType == kind {
				ids = append(ids, op.SubjectID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		var found []string
		err := inProject(s.read(ctx).Table(kind.Plural()), s.scope(actor.Project)).Where("id IN ?", ids).Pluck("id", &found).Error
		if err != nil {
			return nil, err
		}
		for _, id := range found {
			existing[id] = true
		}
	}
	return existing, nil
}

// FailedOperations returns those of the operations that have failed, of any project.
// Errors: those of the database.
func (s Queue) FailedOperations(ctx context.Context, ids []string) ([]models.Operation, error) {
	var rows []models.Operation
	return rows, s.read(ctx).Where("id IN ? AND "+s.unindexed("state")+" = ?", ids, models.Failed).Order("num").Find(&rows).Error
}

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
	case models.SnapshotAttach, models.SnapshotDetach: // the click changed nothing
		return nil
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
// audit entry of action, or of its refusal by a rule.
func (s *Store) changeOperation(ctx context.Context, actor models.Actor, id, action string, fn func(tx *gorm.DB, op *models.Operation) error) (*models.Operation, error) {
	var op models.Operation
	if d := models.CanRole(models.ActEdit, actor.Role); d != nil {
		return nil, s.audited(ctx, actor, models.AuditEntry{Action: action}, models.Refused(d))
	}
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
	return &op, s.audited(ctx, actor, models.AuditEntry{Action: action, SubjectType: string(op.SubjectType), SubjectID: op.SubjectID}, err)
}

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
		if op.Kind == models.SnapshotCreate { // it may have failed after it had left the lane of its volume
			op.Lane = op.Params.VolumeID
		}
		return tx.Model(&models.Operation{}).Where("num = ?", op.Num).Updates(map[string]any{
			"state": models.Pending, "lane": op.Lane, "finished_at": 0, "started_at": 0, "called_at": 0, "attempts": 0, "step": op.Step, "percent": backend.PercentUnknown,
			"last_error": models.Failure{}, "request_id": "", "run_at": models.Micros(s.Now()), "params": op.Params,
		}).Error
	})
}

// retryRequest puts the subject's row back into the status of a running operation, if
// the rules still allow it.
func (s *Store) retryRequest(tx *gorm.DB, scope string, op *models.Operation) error {
	switch op.Kind {
	case models.SnapshotCreate:
		return s.retrySnapshot(tx, scope, op)
	case models.SnapshotAttach, models.SnapshotDetach:
		return s.retryReader(tx, scope, op)
	case models.VolumeLock, models.VolumeUnlock, models.SnapshotLock, models.SnapshotUnlock:
		return nil // the row has the lock
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
	columns := s.statusColumns(models.Creating)
	columns["taken_at"] = 0
	return changeRow(tx, &models.Snapshot{}, op.SubjectID, models.ErrorStatus, columns)
}

// retryReader checks the rules of attaching or detaching a snapshot again.
func (s *Store) retryReader(tx *gorm.DB, scope string, op *models.Operation) error {
	row, err := s.snapshotForUpdate(tx, scope, op.SubjectID)
	if err != nil {
		return err
	}
	action := models.ActDetach
	if op.Kind == models.SnapshotAttach {
		action = models.ActAttach
	}
	if d := s.Rules().Snapshot(action, row); d != nil {
		return models.Refused(d)
	}
	return nil
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
