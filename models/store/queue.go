package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

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
		s.prepare(op, actor, formKey)
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

func (s *Store) prepare(op *models.Operation, actor models.Actor, formKey string) {
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

// claimable are the operations whose lane is free for them: its present one, or,
// when none is, the first that was asked.
const claimable = `o.finished_at = 0 AND (o.state = 'RUNNING' OR (
	NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.finished_at = 0 AND p.num < o.num)
	AND NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.state = 'RUNNING')))`

// Claim takes the next operation that is due and whose lane is free, for the
// worker called owner, until lease has passed. Nil: there is none. Every claim
// should have its own owner: then nobody else saves what this one did.
func (s Queue) Claim(ctx context.Context, owner string, lease time.Duration) (*models.Operation, error) {
	now := s.Now()
	const due = "SELECT o.num FROM operations o WHERE " + claimable + " AND o.run_at <= ? AND o.lease_until <= ? ORDER BY o.run_at, o.num LIMIT 1"
	var found int64
	if err := s.read(ctx).Raw(due, models.Micros(now), models.Micros(now)).Scan(&found).Error; err != nil || found == 0 {
		return nil, err
	}
	var op models.Operation
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		op = models.Operation{}
		skipLocked := ""
		if s.postgres {
			// One claim at a time: each sees the lanes that the others have taken.
			if err := lockQueue(tx); err != nil {
				return err
			}
			skipLocked = " FOR UPDATE SKIP LOCKED"
		}
		return tx.Raw(`UPDATE operations SET state = 'RUNNING', lease_owner = ?, lease_until = ?,
				started_at = CASE WHEN started_at = 0 THEN ? ELSE started_at END
			WHERE num = (`+due+skipLocked+`) RETURNING *`, owner, models.Micros(now.Add(lease)), models.Micros(now), models.Micros(now), models.Micros(now)).Scan(&op).Error
	})
	if err != nil || op.ID == "" {
		return nil, err
	}
	s.signals.wake()
	op.First = op.StartedAt == models.Micros(now)
	return &op, nil
}

// lockQueue keeps other claims from PostgreSQL until the transaction ends.
func lockQueue(tx *gorm.DB) error {
	return tx.Exec("SELECT pg_advisory_xact_lock(?)", lockClaims).Error
}

// Heartbeat prolongs the lease; ErrLeaseLost when another worker has it.
func (s Queue) Heartbeat(ctx context.Context, op *models.Operation, lease time.Duration) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"lease_until": models.Micros(s.Now().Add(lease))})
	})
}

// RecordCall records that the backend is about to be asked for what must not happen
// twice, and the operation's parameters as they are now: when the answer is lost,
// the next worker knows how long it may take to become visible. ErrLeaseLost.
func (s Queue) RecordCall(ctx context.Context, op *models.Operation) error {
	now := models.Micros(s.Now())
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"called_at": now, "params": op.Params})
	})
	if err == nil {
		op.CalledAt = now
	}
	return err
}

// ForgetCall takes the last RecordCall back, since the backend was not reached: what
// counts is what it said at before. ErrLeaseLost.
func (s Queue) ForgetCall(ctx context.Context, op *models.Operation, before int64) error {
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"called_at": before})
	})
	if err == nil {
		op.CalledAt = before
	}
	return err
}

// updateLeased updates an operation as long as its lease is held.
func (s *Store) updateLeased(tx *gorm.DB, op *models.Operation, set map[string]any) error {
	result := tx.Model(&models.Operation{}).Where("num = ? AND lease_owner = ? AND finished_at = 0", op.Num, op.LeaseOwner).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected == 0 {
		return models.ErrLeaseLost
	}
	return nil
}

// NextDue is when the next operation may be claimed; zero when there is none. One
// whose lane is taken does not count: whoever frees the lane signals a change.
func (s Queue) NextDue(ctx context.Context) (time.Time, error) {
	var at *int64
	err := s.read(ctx).Raw(`SELECT min(CASE WHEN o.lease_until > o.run_at THEN o.lease_until ELSE o.run_at END)
		FROM operations o WHERE ` + claimable).Scan(&at).Error
	if err != nil || at == nil {
		return time.Time{}, err
	}
	return time.UnixMicro(*at), nil
}

// CountRunning is how many operations of the project are not over.
func (s Queue) CountRunning(ctx context.Context, project string) (int64, error) {
	var n int64
	q := inProject(s.read(ctx).Model(&models.Operation{}), s.scope(project))
	err := q.Where("state IN ?", []models.OperationState{models.Pending, models.Running}).Count(&n).Error
	return n, err
}

// Operation finds one operation.
func (s Queue) Operation(ctx context.Context, actor models.Actor, id string) (*models.Operation, error) {
	var op models.Operation
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ?", searchable(id)), &op); err != nil {
		return nil, err
	}
	return &op, nil
}

// ListOperations lists operations, newest first.
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

// ExistingSubjects says of which operations the volume or snapshot still exists,
// by its id.
func (s Queue) ExistingSubjects(ctx context.Context, actor models.Actor, ops []models.Operation) (map[string]bool, error) {
	there := map[string]bool{}
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
			there[id] = true
		}
	}
	return there, nil
}
