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

// Dependents finds objects by their ids, the console's or the backend's, in the same
// order. One without a row keeps its id and gets the kind unknown. Errors: those of the
// database.
func (s Sync) Dependents(ctx context.Context, unknown models.SubjectType, ids []string) ([]models.Dependent, error) {
	if len(ids) > models.MaxDependents {
		ids = ids[:models.MaxDependents]
	}
	known := map[string]models.Dependent{}
	for _, kind := range []models.SubjectType{models.SubjectSnapshot, models.SubjectVolume} {
		var rows []struct{ ID, BackendID, Name string }
		err := s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "name").Where(byEitherID, ids, ids).Scan(&rows).Error
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			d := models.Dependent{Type: kind, ID: row.ID, Name: row.Name}
			known[row.ID], known[row.BackendID] = d, d
		}
	}
	found := make([]models.Dependent, 0, len(ids))
	for _, id := range ids {
		d, ok := known[id]
		if !ok {
			d = models.Dependent{Type: unknown, ID: models.Sanitize(id)}
		}
		found = append(found, d)
	}
	return found, nil
}

// Unexplained is an object in error whose row has no reason. StatusSince is in Unix
// microseconds.
type Unexplained struct {
	ID, BackendID string
	StatusSince   int64
}

// Unexplained returns, of the objects with these backend's ids, those in error whose rows
// have no reason, and which have no operation that has not ended. Errors: those of the
// database.
func (s Sync) Unexplained(ctx context.Context, kind models.SubjectType, backendIDs []string) ([]Unexplained, error) {
	var rows []Unexplained
	return rows, s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "status_since").
		Where("backend_id IN ? AND failure = ? AND status IN ?", backendIDs, models.NewFailure(models.FailureUnknown), []models.Status{models.ErrorStatus, models.ErrorDeleting}).
		Where("NOT EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = " + kind.Plural() + ".id AND o.finished_at = 0)").
		Order("id").Scan(&rows).Error
}

// Explain writes why an object is in error, unless its row has changed since. Errors:
// those of the database.
func (s Sync) Explain(ctx context.Context, kind models.SubjectType, object Unexplained, why models.Failure, requestID string) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		return tx.Table(kind.Plural()).
			Where("id = ? AND status_since = ? AND failure = ?", object.ID, object.StatusSince, models.NewFailure(models.FailureUnknown)).
			Updates(map[string]any{"failure": why.Sanitized(), "request_id": models.Sanitize(requestID)}).Error
	})
}
