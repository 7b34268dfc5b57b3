package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// claimable selects the operations whose lane is free for them: of each lane the running
// one, or when none is running the first.
const claimable = `o.finished_at = 0 AND (o.state = 'RUNNING' OR (
	NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.finished_at = 0 AND p.num < o.num)
	AND NOT EXISTS (SELECT 1 FROM operations p WHERE p.lane = o.lane AND p.state = 'RUNNING')))`

// Claim leases the next operation that is due and whose lane is free to owner, for the
// time of lease; nil when there is none. Each claim needs an owner of its own: only that
// one can save the result. Errors: those of the database.
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
			// One claim at a time: each must see the lanes that the others have taken.
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

// Heartbeat renews the lease for the time of lease. Errors: ErrLeaseLost, those of the
// database.
func (s Queue) Heartbeat(ctx context.Context, op *models.Operation, lease time.Duration) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"lease_until": models.Micros(s.Now().Add(lease))})
	})
}

// RecordCall records, before the backend is called for what must not happen twice, the
// time of the call and the operation's parameters: when the response is lost, the next
// worker knows how long the result may take to become visible. Errors: ErrLeaseLost,
// those of the database.
func (s Queue) RecordCall(ctx context.Context, op *models.Operation) error {
	return s.setCalledAt(ctx, op, models.Micros(s.Now()))
}

// ForgetCall undoes RecordCall when the backend was not reached: calledAt, in Unix
// microseconds, is that of the call before. Errors: ErrLeaseLost, those of the database.
func (s Queue) ForgetCall(ctx context.Context, op *models.Operation, calledAt int64) error {
	return s.setCalledAt(ctx, op, calledAt)
}

func (s *Store) setCalledAt(ctx context.Context, op *models.Operation, at int64) error {
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.updateLeased(tx, op, map[string]any{"called_at": at, "params": op.Params})
	})
	if err == nil {
		op.CalledAt = at
	}
	return err
}

// updateLeased updates an operation if its lease is still held; else ErrLeaseLost.
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

// NextDue returns when the next operation may be claimed; the zero time when there is
// none. Operations whose lane is taken do not count: the end of the one that runs wakes
// subscribers. Errors: those of the database.
func (s Queue) NextDue(ctx context.Context) (time.Time, error) {
	var at *int64
	err := s.read(ctx).Raw(`SELECT min(CASE WHEN o.lease_until > o.run_at THEN o.lease_until ELSE o.run_at END)
		FROM operations o WHERE ` + claimable).Scan(&at).Error
	if err != nil || at == nil {
		return time.Time{}, err
	}
	return time.UnixMicro(*at), nil
}

// Progress is the result of one reconciliation of an operation.
type Progress struct {
	State        models.OperationState // PENDING: it waits for its lane again
	RunAt        time.Time             // when to reconcile again, unless State is final
	Step         int                   // number of steps done
	Percent      int
	Failure      models.Failure // why it failed, or the error after which it is tried again
	CountAttempt bool           // Failure counts as one more attempt
	RequestID    string         // the backend's id of the request
	Lane         string         // the operation goes on in this lane; empty: where it is
	Subject      *ObservedState
}

// SaveProgress writes the result of a reconciliation into the leased operation and the
// row of its subject, and releases the lease. Errors: ErrLeaseLost, those of the
// database; then nothing was written.
func (s Queue) SaveProgress(ctx context.Context, op *models.Operation, p Progress) error {
	set := map[string]any{
		"step": p.Step, "percent": p.Percent, "last_error": p.Failure.Sanitized(),
		"lease_owner": "", "lease_until": 0, "run_at": models.Micros(p.RunAt),
	}
	if p.CountAttempt {
		set["attempts"] = gorm.Expr("attempts + 1")
	}
	if p.RequestID != "" {
		set["request_id"] = models.Sanitize(p.RequestID)
	}
	if p.Lane != "" {
		set["lane"] = p.Lane
	}
	switch p.State {
	case models.Running:
	case models.Pending:
		set["state"] = p.State
	default:
		set["state"] = p.State
		set["finished_at"] = models.Micros(s.Now())
		set["run_at"] = models.Micros(s.Now())
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		if err := s.updateLeased(tx, op, set); err != nil {
			return err
		}
		if p.Subject == nil {
			return nil
		}
		return s.apply(tx, op.SubjectType, op.SubjectID, *p.Subject)
	})
}
