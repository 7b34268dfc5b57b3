package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
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

// Refusals are collected in memory and written together after refusalDelay, so that who
// is refused keeps neither the database busy nor learns anything from the time of the
// answer. Those that repeat are one line for each day; RefusalLines is how many different
// ones of a person, or of all that are not signed in, are told apart in a day. Further
// ones are only counted, in one line more.
const (
	RefusalLines = 100
	refusalDelay = time.Second
	refusalDay   = 24 * time.Hour
	maxRefusals  = 10_000 // different ones that wait
	refusalTime  = 10 * time.Second
)

// refusals are those that wait to be written, by Fold.
type refusals struct {
	flushing sync.Mutex // held while they are written

	mu      sync.Mutex
	waiting map[string]*models.AuditEntry
	timer   *time.Timer // nil: none runs
	delay   time.Duration
}

// audited audits err, the answer to what e describes, if it is a refusal, and returns it.
func (s *Store) audited(ctx context.Context, actor models.Actor, e models.AuditEntry, err error) error {
	if models.IsRefusal(err) {
		s.AuditRefusal(ctx, actor, e, models.AsError(err).Text)
	}
	return err
}

// AuditRefusal audits that e was refused, and why: within refusalDelay, and before
// ListAudit and Close return. It does not fail, since the refusal stands: what cannot be
// written is logged.
func (s *Store) AuditRefusal(ctx context.Context, actor models.Actor, e models.AuditEntry, why models.Text) {
	s.fillEntry(&e, actor)
	e.Outcome, e.Detail = models.AuditDenied, why.Encode()
	e.Fold = hashed([]any{e.At / refusalDay.Microseconds(), e.ProjectID, e.UserName, addressKey(e.Address), e.Action, e.SubjectType, e.SubjectID, e.SubjectName, why.Key})
	if !s.refusals.add(e, s.flushRefusals) {
		s.log.ErrorContext(ctx, "too many refusals to audit", "action", e.Action, "user", e.UserName, "address", e.Address, "reason", why.Key)
	}
}

// add lets the entry wait, and flush be called in time. It reports whether there is room.
func (r *refusals) add(e models.AuditEntry, flush func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if first, ok := r.waiting[e.Fold]; ok {
		first.Count += e.Count
		first.LastAt = e.At
		return true
	}
	if len(r.waiting) >= maxRefusals {
		return false
	}
	if r.waiting == nil {
		r.waiting = map[string]*models.AuditEntry{}
	}
	r.waiting[e.Fold] = &e
	if r.timer == nil {
		r.timer = time.AfterFunc(cmp.Or(r.delay, refusalDelay), flush)
	}
	return true
}

// take empties the refusals that wait.
func (r *refusals) take() []*models.AuditEntry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
	all := slices.Collect(maps.Values(r.waiting))
	r.waiting = nil
	slices.SortFunc(all, func(a, b *models.AuditEntry) int { return cmp.Compare(a.At, b.At) })
	return all
}

// flushRefusals writes the refusals that wait. Those that cannot be written are logged.
func (s *Store) flushRefusals() {
	s.refusals.flushing.Lock()
	defer s.refusals.flushing.Unlock()
	all := s.refusals.take()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), refusalTime)
	defer cancel()
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		for _, e := range all {
			if err := s.writeRefusal(tx, *e); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return
	}
	for _, e := range all {
		s.log.ErrorContext(ctx, "cannot audit a refusal", "at", e.At, "action", e.Action, "user", e.UserName, "address", e.Address,
			"subject", e.SubjectName, "reason", e.Detail, "count", e.Count, "error", err)
	}
}

// writeRefusal inserts the line of a refusal, or counts it in the line that is there.
func (s *Store) writeRefusal(tx *gorm.DB, e models.AuditEntry) error {
	if err := nameSubject(tx, &e); err != nil {
		return err
	}
	day := e.At - e.At%refusalDay.Microseconds()
	var lines struct{ Known, Others int64 }
	err := tx.Raw(`SELECT COALESCE(sum(CASE WHEN fold = ? THEN 1 ELSE 0 END), 0) AS known, COALESCE(sum(CASE WHEN fold <> ? THEN 1 ELSE 0 END), 0) AS others
		FROM audit WHERE user_name = ? AND at >= ? AND fold <> ''`, e.Fold, e.Fold, e.UserName, day).Scan(&lines).Error
	if err != nil {
		return err
	}
	if lines.Known == 0 && lines.Others >= RefusalLines {
		e = models.AuditEntry{At: e.At, Count: e.Count, LastAt: e.LastAt, ProjectID: e.ProjectID, UserName: e.UserName, Action: models.ActionRefusals,
			Outcome: e.Outcome, RequestID: e.RequestID, Fold: hashed([]any{day, e.ProjectID, e.UserName})}
	}
	return tx.Clauses(clause.OnConflict{
		Columns: []clause.Column{{Name: "fold"}}, TargetWhere: clause.Where{Exprs: []clause.Expression{clause.Expr{SQL: "fold <> ''"}}},
		DoUpdates: clause.Assignments(map[string]any{"count": gorm.Expr("audit.count + ?", e.Count), "last_at": max(e.At, e.LastAt)}),
	}).Create(&e).Error
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

// ListAudit returns a page of limit entries of the actor's project, newest first: those
// with sequence numbers below before, or those next above after, or the newest when
// both are 0. Errors: those of the database.
func (s *Store) ListAudit(ctx context.Context, actor models.Actor, before, after int64, limit int) (models.AuditPage, error) {
	s.flushRefusals()
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
