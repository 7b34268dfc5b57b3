package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// SyncState returns the freshness of the mirror of kind (volume, snapshot).
func (s Sync) SyncState(ctx context.Context, kind models.SubjectType) (models.SyncState, error) {
	var state models.SyncState
	return state, ignoreNotFound(takeOne(s.read(ctx).Where("kind = ?", kind), &state))
}

// SyncHealthy says that the backend's volumes and snapshots could be read the last
// time.
func (s Sync) SyncHealthy(ctx context.Context) (bool, error) {
	var healthy int64
	err := s.read(ctx).Model(&models.SyncState{}).Where("seen_at > 0 AND failed_since = 0").Count(&healthy).Error
	return healthy == 2, err
}

// RecordSync records that the backend was read at that time, or could not be.
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
