package store

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"blockconsole/models"
)

// audit inserts an audit entry in the caller's transaction.
func (s *Store) audit(tx *gorm.DB, actor models.Actor, e models.AuditEntry) error {
	s.fillEntry(&e, actor)
	return tx.Create(&e).Error
}

func (s *Store) fillEntry(e *models.AuditEntry, actor models.Actor) {
	e.At = models.Micros(s.Now())
	e.Count = 1
	e.ProjectID = cmp.Or(actor.Project, models.DefaultProject)
	e.UserName = actor.Name
	e.Address = actor.Address
	e.RequestID = actor.RequestID
}

// Refusals that repeat are one line for each day, so that who is refused cannot flood the
// audit; RefusalLines is how many different ones of a person, or of all that are not
// signed in, are told apart in a day. Further ones are only counted, in one line more.
const (
	RefusalLines = 100
	refusalDay   = 24 * time.Hour
	refusalTime  = 5 * time.Second // to write one down
)

// audited audits err, the answer to what e describes, if it is a refusal, and returns it.
func (s *Store) audited(ctx context.Context, actor models.Actor, e models.AuditEntry, err error) error {
	if models.IsRefusal(err) {
		s.AuditRefusal(ctx, actor, e, models.AsError(err).Text)
	}
	return err
}

// AuditRefusal audits that e was refused, and why. It does not fail, since the refusal
// stands: what cannot be written is logged.
func (s *Store) AuditRefusal(ctx context.Context, actor models.Actor, e models.AuditEntry, why models.Text) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalTime) // the client may be gone
	defer cancel()
	s.fillEntry(&e, actor)
	e.Outcome = models.AuditDenied
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		if err := nameSubject(tx, &e); err != nil {
			return err
		}
		return s.countRefusal(tx, e, why)
	})
	if err != nil {
		s.log.ErrorContext(ctx, "cannot audit a refusal", "action", e.Action, "user", e.UserName, "address", e.Address, "reason", why.Key, "error", err)
	}
}

// nameSubject sets the name of the entry's object. An id without an object is dropped:
// it may be anything.
func nameSubject(tx *gorm.DB, e *models.AuditEntry) error {
	if e.SubjectID == "" || e.SubjectName != "" {
		return nil
	}
	err := takeOne(tx.Table(e.SubjectType+"s").Select("name").Where("id = ?", searchable(e.SubjectID)), &e.SubjectName)
	if errors.Is(err, models.ErrNotFound) {
		e.SubjectID = ""
		return nil
	}
	return err
}

// countRefusal inserts the line of a refusal, or counts it in the line that is there.
func (s *Store) countRefusal(tx *gorm.DB, e models.AuditEntry, why models.Text) error {
	day := models.Micros(s.Now().Truncate(refusalDay))
	e.Detail = why.Encode()
	e.Fold = hashed([]any{day, e.ProjectID, e.UserName, addressKey(e.Address), e.Action, e.SubjectType, e.SubjectID, e.SubjectName, why.Key})
	var lines struct{ Known, Others int64 }
	err := tx.Raw(`SELECT COALESCE(sum(CASE WHEN fold = ? THEN 1 ELSE 0 END), 0) AS known, COALESCE(sum(CASE WHEN fold <> ? THEN 1 ELSE 0 END), 0) AS others
		FROM audit WHERE user_name = ? AND at >= ? AND fold <> ''`, e.Fold, e.Fold, e.UserName, day).Scan(&lines).Error
	if err != nil {
		return err
	}
	if lines.Known == 0 && lines.Others >= RefusalLines {
		e = models.AuditEntry{At: e.At, Count: 1, ProjectID: e.ProjectID, UserName: e.UserName, Action: models.ActionRefusals,
			Outcome: e.Outcome, RequestID: e.RequestID, Fold: hashed([]any{day, e.ProjectID, e.UserName})}
	}
	return tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "fold"}}, TargetWhere: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "fold <> ''"}}},
		DoUpdates: clause.Assignments(map[string]any{"count": gorm.Expr("audit.count + 1"), "last_at": e.At}),
	}).Create(&e).Error
}

// ListAudit returns a page of limit entries of the actor's project, newest first: those
// with sequence numbers below before, or those next above after, or the newest when
// both are 0. Errors: those of the database.
func (s *Store) ListAudit(ctx context.Context, actor models.Actor, before, after int64, limit int) (models.AuditPage, error) {
	var page models.AuditPage
	q := s.read(ctx).Where("project_id = ?", actor.Project).Limit(limit + 1)
	switch {
	case after > 0:
		q = q.Where("num > ?", after).Order("num")
	case before > 0:
		q = q.Where("num < ?", before).Order("num DESC")
	default:
		q = q.Order("num DESC")
	}
	if err := q.Find(&page.Entries).Error; err != nil {
		return page, err
	}
	more := len(page.Entries) > limit
	if more {
		page.Entries = page.Entries[:limit]
	}
	if after > 0 {
		slices.Reverse(page.Entries)
	}
	if len(page.Entries) == 0 {
		return page, nil
	}
	if after > 0 || more {
		page.Older = page.Entries[len(page.Entries)-1].Num
	}
	if before > 0 || (after > 0 && more) {
		page.Newer = page.Entries[0].Num
	}
	return page, nil
}
