package store

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

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
// SearchAudit and Close return. It does not fail, since the refusal stands: what cannot be
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

// SearchAudit returns a page of the entries of the actor's project that match, newest
// first: those with sequence numbers below Before, or those next above After, or the
// newest when both are 0. Errors: those of the database.
func (s *Store) SearchAudit(ctx context.Context, actor models.Actor, query models.AuditQuery) (models.AuditPage, error) {
	s.flushRefusals() //nolint:contextcheck // they are written even when the reader has left
	query.Search = foldName(searchable(query.Search))
	var page models.AuditPage
	before, after, limit := query.Before, query.After, query.Limit
	q := s.matchingAudit(s.read(ctx).Where("audit.project_id = ?", actor.Project), query).Limit(limit + 1)
	num := "audit.num"
	if !s.postgres && utf8.RuneCountInString(query.Search) >= auditGram {
		num = "audit_fts.rowid" // in the order of the index, so that a common text is as fast as a rare one
	}
	switch {
	case after > 0:
		q = q.Where(num+" > ?", after).Order(num)
	case before > 0:
		q = q.Where(num+" < ?", before).Order(num + " DESC")
	default:
		q = q.Order(num + " DESC")
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

const (
	auditGram = 3 // letters of a piece in the index
	auditText = "audit_text(user_name, address, action, subject_id, subject_name, detail, request_id)"
	// auditTextSQLite is what the index has of an entry.
	auditTextSQLite = `fold_name(user_name || char(10) || address || char(10) || action || char(10) || subject_id || char(10) ||
		subject_name || char(10) || detail || char(10) || request_id)`
)

// matchingAudit adds the filters of a query, whose text is folded. One or two letters are in most entries, so
// that walking them finds a page soon.
func (s *Store) matchingAudit(q *gorm.DB, query models.AuditQuery) *gorm.DB {
	text := query.Search
	switch indexed := utf8.RuneCountInString(text) >= auditGram; {
	case text == "":
	case indexed && s.postgres:
		q = q.Where("trigrams("+auditText+") @> trigrams(fold_name(?)) AND strpos("+auditText+", fold_name(?)) > 0", text, text)
	case indexed:
		q = q.Table("audit_fts").Select("audit.*").Joins("CROSS JOIN audit ON audit.num = audit_fts.rowid").
			Where("audit_fts MATCH ?", `"`+strings.ReplaceAll(text, `"`, `""`)+`"`)
	case s.postgres:
		q = q.Where("strpos("+auditText+", fold_name(?)) > 0", text)
	default:
		q = q.Where("instr("+auditTextSQLite+", ?) > 0", text)
	}
	if query.Action != "" {
		q = q.Where("audit.action = ?", searchable(query.Action))
	}
	if query.Outcome != "" {
		q = q.Where("audit.outcome = ?", searchable(query.Outcome))
	}
	if query.From > 0 {
		q = q.Where("CASE WHEN last_at > 0 THEN last_at ELSE at END >= ?", query.From)
	}
	if query.To > 0 {
		q = q.Where("at < ?", query.To)
	}
	return q
}

// AuditActions returns the actions that the audit of the actor's project has, in order.
// It steps from one to the next in an index. Errors: those of the database.
func (s *Store) AuditActions(ctx context.Context, actor models.Actor) ([]string, error) {
	var actions []string
	return actions, s.read(ctx).Raw(`WITH RECURSIVE step (action) AS (
		SELECT (SELECT min(action) FROM audit WHERE project_id = ?)
		UNION ALL SELECT (SELECT min(action) FROM audit WHERE project_id = ? AND action > step.action) FROM step WHERE step.action IS NOT NULL)
		SELECT action FROM step WHERE action IS NOT NULL`, actor.Project, actor.Project).Scan(&actions).Error
}
