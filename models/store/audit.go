package store

import (
	"context"
	"slices"

	"gorm.io/gorm"

	"blockconsole/models"
)

// audit inserts an audit entry in the caller's transaction.
func (s *Store) audit(tx *gorm.DB, actor models.Actor, e models.AuditEntry) error {
	e.At = models.Micros(s.Now())
	e.ProjectID = actor.Project
	e.UserName = actor.Name
	e.Address = actor.Address
	e.RequestID = actor.RequestID
	return tx.Create(&e).Error
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
