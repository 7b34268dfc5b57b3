package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// SyncState returns the result of the last resync of a kind. Errors: those of the
// database.
func (s Sync) SyncState(ctx context.Context, kind models.SubjectType) (models.SyncState, error) {
	var state models.SyncState
	return state, ignoreNotFound(takeOne(s.read(ctx).Where("kind = ?", kind), &state))
}

// SyncHealthy reports whether the last resync of both volumes and snapshots succeeded.
// Errors: those of the database.
func (s Sync) SyncHealthy(ctx context.Context) (bool, error) {
	var healthy int64
	err := s.read(ctx).Model(&models.SyncState{}).Where("seen_at > 0 AND failed_since = 0").Count(&healthy).Error
	return healthy == 2, err
}

// RecordSync records the result of a resync that began at that time. Errors: those of the
// database.
func (s Sync) RecordSync(ctx context.Context, kind models.SubjectType, at time.Time, failure models.Failure) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		state := models.SyncState{Kind: string(kind)}
		if err := ignoreNotFound(takeOne(tx.Where("kind = ?", kind), &state)); err != nil {
			return err
		}
		state.Failure = failure
		if failure.None() {
			state.SeenAt, state.FailedSince = models.Micros(at), 0
		} else if state.FailedSince == 0 {
			state.FailedSince = models.Micros(at)
		}
		return tx.Save(&state).Error
	})
}
