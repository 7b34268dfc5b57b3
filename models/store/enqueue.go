package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"gorm.io/gorm"

	"blockconsole/models"
)

// enqueue is one click: fn checks and changes the rows and returns the operation and
// its audit line; both are written in the same transaction. The same form key
// sent again returns the operation that it made the first time.
func (s *Store) enqueue(ctx context.Context, actor models.Actor, formKey string, fn func(tx *gorm.DB) (*models.Operation, error)) (*models.Operation, error) {
	if formKey != "" {
		sum := sha256.Sum256([]byte(actor.UserID + ":" + formKey)) // it may hold anything
		formKey = hex.EncodeToString(sum[:])
		if before, err := s.operationByFormKey(s.read(ctx), formKey); before != nil || err != nil {
			return before, err
		}
	}
	var op *models.Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		var err error
		if op, err = fn(tx); err != nil {
			return err
		}
		s.initOperation(op, actor, formKey)
		if err := tx.Create(op).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, models.AuditEntry{
			Action: string(op.Kind), SubjectType: string(op.SubjectType), SubjectID: op.SubjectID,
			SubjectName: op.SubjectName, Detail: op.Params.Summary(), Outcome: "accepted",
		})
	})
	if formKey != "" && err != nil {
		// Its twin may have been a moment faster: then the rows have already changed under this one.
		if before, again := s.operationByFormKey(s.read(ctx), formKey); before != nil || again != nil {
			return before, again
		}
	}
	return op, err
}

func (s *Store) initOperation(op *models.Operation, actor models.Actor, formKey string) {
	op.ID = models.NewID()
	op.ProjectID = cmp.Or(op.ProjectID, s.projectFor(actor))
	op.FormKey = formKey
	op.State = models.Pending
	op.Steps = len(op.StepNames())
	op.Percent = -1
	op.AskedBy = actor.Name
	op.AskedAt = models.Micros(s.Now())
	op.RunAt = op.AskedAt
	if op.Lane == "" {
		op.Lane = op.SubjectID
	}
}

func (s *Store) operationByFormKey(q *gorm.DB, formKey string) (*models.Operation, error) {
	var op models.Operation
	err := takeOne(q.Where("form_key = ? AND form_key <> ''", formKey), &op) // the index has no others
	if errors.Is(err, models.ErrNotFound) {
		return nil, nil
	}
	op.Replayed = true
	return &op, err
}

// enqueueVolume is ask for an action on one volume: role and rules first, then fn,
// which checks the form and changes the row.
func (s *Store) enqueueVolume(ctx context.Context, actor models.Actor, action models.Action, id, formKey string,
	fn func(tx *gorm.DB, row *models.Volume) (*models.Operation, error)) (*models.Operation, error) {
	if d := models.CanRole(action, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	return s.enqueue(ctx, actor, formKey, func(tx *gorm.DB) (*models.Operation, error) {
		if action == models.ActRepair {
			if err := s.lockSubject(tx, s.scope(actor.Project), models.SubjectVolume, id); err != nil {
				return nil, err
			}
		}
		row, err := s.volumeForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Volume(action, row); d != nil {
			if action == models.ActDelete && row.SnapshotCount > 0 {
				d.Snaps, err = s.snapshotLinks(tx, row.ID)
			}
			if err != nil {
				return nil, err
			}
			return nil, models.Refused(d)
		}
		op, err := fn(tx, row)
		if err != nil {
			return nil, err
		}
		op.SubjectType, op.SubjectID, op.ProjectID = models.SubjectVolume, row.ID, row.ProjectID
		op.SubjectName = cmp.Or(op.SubjectName, row.Name)
		return op, nil
	})
}

// repairLane lets a repair overtake what is stuck before it.
func repairLane(subject string) string { return subject + "/repair" }

// lockSubject locks the operations under way on a subject before its row is locked: a
// worker that saves does it in that order too.
func (s *Store) lockSubject(tx *gorm.DB, scope string, kind models.SubjectType, id string) error {
	if !s.postgres {
		return nil
	}
	var subjects []string
	if err := byID(tx.Table(kind.Plural()), scope, id).Pluck("id", &subjects).Error; err != nil {
		return err
	}
	var locked []int64
	return s.forUpdate(tx).Model(&models.Operation{}).Where("subject_id IN ? AND finished_at = 0", subjects).Order("num").Pluck("num", &locked).Error
}

// cancelQueued ends what is under way on a subject, because an administrator repairs
// it.
func (s *Store) cancelQueued(tx *gorm.DB, subject string) error {
	now := models.Micros(s.Now())
	return tx.Model(&models.Operation{}).Where("subject_id = ? AND finished_at = 0", subject).Updates(map[string]any{
		"state": models.Failed, "finished_at": now, "lease_owner": "", "lease_until": 0, "last_error": models.Failure{Text: models.NewText("failure.abandoned")},
	}).Error
}
