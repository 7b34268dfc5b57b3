package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// click is what a user asks for with a form.
type click struct {
	action models.Action
	kind   models.SubjectType
	id     string // of the object; empty: it is to be made
	form
}

// form identifies a form that was sent: the same key with another input is another form.
type form struct {
	key   string // empty: each time it is sent counts
	input any
}

// use is what the form asks for, hashed.
func (c click) use() string {
	return hashed([]any{c.action, c.kind, c.id, c.input})
}

// hashed is a short hash of the parts, which are plain data.
func hashed(parts any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // only a mistake in this package can be the cause
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16])
}

// errFormKeyUsed is the error of a form key that was sent before with another form.
var errFormKeyUsed = &models.Error{Code: models.CodeConflict, Text: models.NewText(models.FormKeyUsed)}

// enqueue inserts the operation of a click. After the role is checked, fn checks and
// changes the rows and returns the operation; the operation and its audit entry are
// written in the same transaction. A form that was sent before returns the operation
// that it made then. What a rule refuses is audited.
func (s *Store) enqueue(ctx context.Context, actor models.Actor, c click,
	fn func(tx *gorm.DB) (*models.Operation, error)) (*models.Operation, error) {
	op, err := s.enqueueUnaudited(ctx, actor, c, fn)
	action := string(c.action)
	if !strings.Contains(action, ".") {
		action = string(c.kind) + "." + action
	}
	return op, s.audited(ctx, actor, models.AuditEntry{Action: action, SubjectType: string(c.kind), SubjectID: c.id}, err)
}

func (s *Store) enqueueUnaudited(ctx context.Context, actor models.Actor, c click,
	fn func(tx *gorm.DB) (*models.Operation, error)) (*models.Operation, error) {
	if d := models.CanRole(c.action, actor.Role); d != nil {
		return nil, models.Refused(d)
	}
	formKey, use := "", c.use()
	if c.key != "" {
		sum := sha256.Sum256([]byte(actor.UserID + ":" + c.key)) // a client may send anything
		formKey = hex.EncodeToString(sum[:])
		if existing, err := s.operationOfForm(s.read(ctx), formKey, use); existing != nil || err != nil {
			return existing, err
		}
	}
	if d := s.Rules().Room(c.action); d != nil {
		return nil, models.Refused(d)
	}
	var op *models.Operation
	err := s.write(ctx, func(tx *gorm.DB) error {
		var err error
		if op, err = fn(tx); err != nil {
			return err
		}
		s.initOperation(op, actor, formKey, use)
		if err := nameServer(tx, op); err != nil {
			return err
		}
		if err := tx.Create(op).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, models.AuditEntry{
			Action: string(op.Kind), SubjectType: string(op.SubjectType), SubjectID: op.SubjectID,
			SubjectName: op.SubjectName, Detail: op.Params.Summary(), Outcome: models.AuditAccepted,
		})
	})
	if formKey != "" && err != nil {
		// The same form, sent at the same time, may have been first: then the rows have changed under this one.
		if existing, findErr := s.operationOfForm(s.read(ctx), formKey, use); existing != nil || findErr != nil {
			return existing, findErr
		}
	}
	return op, err
}

func (s *Store) initOperation(op *models.Operation, actor models.Actor, formKey, formUse string) {
	op.ID = models.NewID()
	op.ProjectID = cmp.Or(op.ProjectID, s.projectFor(actor))
	op.FormKey, op.FormUse = formKey, formUse
	op.State = models.Pending
	op.Steps = len(op.StepNames())
	op.Percent = backend.PercentUnknown
	op.AskedBy = actor.Name
	op.AskedAt = models.Micros(s.Now())
	op.RunAt = op.AskedAt
	op.Lane = cmp.Or(op.Lane, op.SubjectID)
}

// nameServer adds the name of the operation's server, by which the audit tells it after
// the server is removed. Errors: those of the database.
func nameServer(tx *gorm.DB, op *models.Operation) error {
	if op.Params.ServerID == "" {
		return nil
	}
	return tx.Model(&models.Server{}).Select("name").Where("id = ?", op.Params.ServerID).Limit(1).Scan(&op.Params.ServerName).Error
}

// operationOfForm finds the operation that a form made; nil when there is none. Errors:
// errFormKeyUsed, those of the database.
func (s *Store) operationOfForm(q *gorm.DB, formKey, use string) (*models.Operation, error) {
	var op models.Operation
	err := takeOne(q.Where("form_key = ? AND form_key <> ''", formKey), &op) // the partial index leaves empty keys out
	if errors.Is(err, models.ErrNotFound) {
		return nil, nil
	}
	if err == nil && op.FormUse != "" && op.FormUse != use {
		return nil, errFormKeyUsed
	}
	op.Replayed = true
	return &op, err
}

// enqueueVolume is enqueue for an action on one volume. After the rules are checked, fn
// checks the form, changes the row and returns the operation.
func (s *Store) enqueueVolume(ctx context.Context, actor models.Actor, action models.Action, id string, form form,
	fn func(tx *gorm.DB, row *models.Volume) (*models.Operation, error)) (*models.Operation, error) {
	return s.enqueue(ctx, actor, click{action, models.SubjectVolume, id, form}, func(tx *gorm.DB) (*models.Operation, error) {
		if err := s.lockOperations(tx, action, s.scope(actor.Project), models.SubjectVolume, id); err != nil {
			return nil, err
		}
		row, err := s.volumeForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Volume(action, row); d != nil {
			if action == models.ActDelete && row.SnapshotCount > 0 {
				d.Snaps, err = s.snapshotLinks(tx, row.ID)
			}
			return nil, denialError(d, err)
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

// enqueueSnapshot is enqueueVolume for snapshots.
func (s *Store) enqueueSnapshot(ctx context.Context, actor models.Actor, action models.Action, id string, form form,
	fn func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error)) (*models.Operation, error) {
	return s.enqueue(ctx, actor, click{action, models.SubjectSnapshot, id, form}, func(tx *gorm.DB) (*models.Operation, error) {
		if err := s.lockOperations(tx, action, s.scope(actor.Project), models.SubjectSnapshot, id); err != nil {
			return nil, err
		}
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		var dependents []models.Link
		if action == models.ActDelete {
			if dependents, err = s.dependents(tx, row); err != nil {
				return nil, err
			}
		}
		if d := s.Rules().Snapshot(action, row, dependents...); d != nil {
			return nil, models.Refused(d)
		}
		op, err := fn(tx, row)
		if err != nil {
			return nil, err
		}
		op.SubjectType, op.SubjectID, op.ProjectID = models.SubjectSnapshot, row.ID, row.ProjectID
		op.SubjectName = cmp.Or(op.SubjectName, row.Name)
		return op, nil
	})
}

func denialError(d *models.Denial, err error) error {
	if err != nil {
		return err
	}
	return models.Refused(d)
}

// repairLane is a lane of its own, so that a repair overtakes the operation that is
// stuck.
func repairLane(subject string) string { return subject + "/repair" }

// lockOperations locks the operations of a subject that have not ended, before a repair
// locks the subject's row: SaveProgress locks in that order too.
func (s *Store) lockOperations(tx *gorm.DB, action models.Action, scope string, kind models.SubjectType, id string) error {
	if !s.postgres || action != models.ActRepair {
		return nil
	}
	var subjects []string
	if err := byID(tx.Table(kind.Plural()), scope, id).Pluck("id", &subjects).Error; err != nil {
		return err
	}
	var locked []int64
	return s.forUpdate(tx).Model(&models.Operation{}).Where("subject_id IN ? AND finished_at = 0", subjects).Order("num").Pluck("num", &locked).Error
}

// abandonOperations ends the operations of a subject as failed, for a repair.
func (s *Store) abandonOperations(tx *gorm.DB, subject string) error {
	now := models.Micros(s.Now())
	return tx.Model(&models.Operation{}).Where("subject_id = ? AND finished_at = 0", subject).Updates(map[string]any{
		"state": models.Failed, "finished_at": now, "lease_owner": "", "lease_until": 0, "last_error": models.NewFailure("failure.abandoned"),
	}).Error
}

// editOperation checks an edit form against the name and version of the row, and
// returns the columns to update and the operation.
func (s *Store) editOperation(actor models.Actor, in models.EditInput, kind models.Kind, name, description string, version int64) (map[string]any, *models.Operation, error) {
	if err := in.Validate(name); err != nil {
		return nil, nil, err
	}
	if err := checkVersion(in.Version, version); err != nil {
		return nil, nil, err
	}
	in = in.RestoreName(name)
	columns := map[string]any{
		"name": in.Name, "description": in.Description, "version": gorm.Expr("version + 1"),
		"edited_by": actor.Name, "edited_at": models.Micros(s.Now()),
	}
	return columns, &models.Operation{Kind: kind, SubjectName: in.Name,
		Params: models.Params{Name: in.Name, Description: in.Description, OldName: name, OldDescription: description}}, nil
}

// lockOperation checks the form of a lock against the present one and the version of the
// row, and returns the columns to update and the operation.
func (s *Store) lockOperation(actor models.Actor, in models.LockInput, kind models.Kind, present models.Lock, version int64) (map[string]any, *models.Operation, error) {
	if err := checkVersion(in.Version, version); err != nil {
		return nil, nil, err
	}
	lock, err := in.Lock(present, actor, s.Now())
	return lockColumns(lock), &models.Operation{Kind: kind, Params: models.Params{LockedUntil: lock.LockedUntil, Reason: lock.LockReason}}, err
}

// unlockOperation is lockOperation for the end of a lock.
func (s *Store) unlockOperation(in models.LockInput, kind models.Kind, present models.Lock, version int64) (map[string]any, *models.Operation, error) {
	if err := checkVersion(in.Version, version); err != nil {
		return nil, nil, err
	}
	return lockColumns(models.Lock{}), &models.Operation{Kind: kind, Params: models.Params{LockedUntil: present.LockedUntil, Reason: models.TrimSpace(in.Reason)}}, in.ValidateUnlock()
}

func lockColumns(lock models.Lock) map[string]any {
	return map[string]any{"locked_until": lock.LockedUntil, "lock_reason": lock.LockReason, "locked_by": lock.LockedBy, "locked_at": lock.LockedAt,
		"version": gorm.Expr("version + 1")}
}

// unlocked limits the change of a row to one without a lock.
func (s *Store) unlocked(tx *gorm.DB) *gorm.DB {
	return tx.Where("locked_until <= ?", models.Micros(s.Now()))
}

// checkVersion returns errStale when a form knows another version of its row, a sequence
// number, than the present one; 0 knows none.
func checkVersion(known, present int64) error {
	if known > 0 && known != present {
		return errStale
	}
	return nil
}

// errStale is the error of a form whose row was changed since.
var errStale = &models.Error{Code: models.CodeStale, Text: models.NewText("conflict.version")}
