package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// How long history is kept.
const (
	OperationsKept = 90 * 24 * time.Hour  // since the operation ended
	AuditKept      = 365 * 24 * time.Hour // since the entry
	ChangesKept    = 100_000              // number of changes, for pages that reconnect
)

// Prune deletes in small transactions, between which clicks are served, and not more
// than this in one call.
const (
	pruneBatch   = 500 // rows per transaction
	pruneBatches = 20
)

// Prune deletes expired sessions, old counts of failed sign-ins, old changes, and the
// oldest operations that have ended and audit entries. The next call continues. Errors:
// those of the database.
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
	// In the order of the primary keys, which grow with time: an index only for this would slow down every click.
	err = s.pruneOldest(ctx, `DELETE FROM operations WHERE num IN (SELECT num FROM
		(SELECT num, finished_at FROM operations WHERE finished_at > 0 ORDER BY num LIMIT ?) AS oldest WHERE finished_at < ?)`, now.Add(-OperationsKept))
	if err != nil {
		return err
	}
	return s.pruneOldest(ctx, `DELETE FROM audit WHERE num IN (SELECT num FROM
		(SELECT num, at FROM audit ORDER BY num LIMIT ?) AS oldest WHERE at < ?)`, now.Add(-AuditKept))
}

// pruneOldest deletes batches of the oldest rows until a batch is not full.
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
