package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// How long the rows that only tell what was are kept.
const (
	OperationsKept = 90 * 24 * time.Hour  // after an operation has ended
	AuditKept      = 365 * 24 * time.Hour // a line of the audit
	ChangesKept    = 100_000              // changes, not time: for pages that come back
)

// What is old goes in small transactions, so that clicks get in between, and no more
// of it at once than this.
const (
	pruneBatch   = 500
	pruneBatches = 20
)

// Prune removes what is no longer needed: sessions that have expired, counts of
// failed sign-ins, old changes, and the oldest operations and audit lines. What is
// left over, the next call finds. An operation that has not ended always stays.
func (s *Store) Prune(ctx context.Context) error {
	now := s.Now()
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes) - ?", ChangesKept).Error; err != nil {
			return err
		}
		if err := tx.Where("expires_at <= ?", models.Micros(now)).Delete(&models.Session{}).Error; err != nil {
			return err
		}
		return tx.Where("first_at < ? AND blocked_until <= ?", models.Micros(now.Add(-attemptWindow)), models.Micros(now)).Delete(&LoginFailure{}).Error
	})
	if err != nil {
		return err
	}
	// Along the primary keys, which grow with time: an index only for this would cost every click.
	err = s.pruneOldest(ctx, `DELETE FROM operations WHERE num IN (SELECT num FROM
		(SELECT num, finished_at FROM operations WHERE finished_at > 0 ORDER BY num LIMIT ?) AS oldest WHERE finished_at < ?)`, now.Add(-OperationsKept))
	if err != nil {
		return err
	}
	return s.pruneOldest(ctx, `DELETE FROM audit WHERE num IN (SELECT num FROM
		(SELECT num, at FROM audit ORDER BY num LIMIT ?) AS oldest WHERE at < ?)`, now.Add(-AuditKept))
}

// pruneOldest removes batch after batch of the oldest rows, until one is not full.
func (s *Store) pruneOldest(ctx context.Context, statement string, before time.Time) error {
	for range pruneBatches {
		var deleted int64
		err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
			result := tx.Exec(statement, pruneBatch, models.Micros(before))
			deleted = result.RowsAffected
			return result.Error
		})
		if err != nil || deleted < pruneBatch {
			return err
		}
	}
	return nil
}
