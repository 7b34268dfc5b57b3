package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

const failureMissing = "failure.missing"

// missingFailure says where the objects should be.
func (s *Store) missingFailure() models.Failure {
	return models.NewFailure(failureMissing, s.Capabilities().DataDir)
}

// SyncMissing marks the rows whose objects a complete listing did not have: listed has
// the console's ids, startedAt is when the listing began. In a shared backend they were
// deleted elsewhere, and the rows are deleted; otherwise data is lost, and the rows get
// the status ERROR. It returns the number of them. Rows whose object was never created,
// rows newer than startedAt, and those that an operation changed since are not marked.
// Errors: those of the database.
func (s Sync) SyncMissing(ctx context.Context, kind models.SubjectType, listed map[string]struct{}, startedAt time.Time) (int, error) {
	missing, err := s.findMissing(ctx, kind, listed, startedAt)
	count := 0
	for len(missing) > 0 && err == nil {
		n := min(len(missing), syncBatch)
		var marked int
		marked, err = s.markMissing(ctx, kind, missing[:n], startedAt)
		count, missing = count+marked, missing[n:]
	}
	return count, err
}

// markMissing marks rows after locking them and checking again that no operation has
// begun.
func (s *Store) markMissing(ctx context.Context, kind models.SubjectType, ids []string, startedAt time.Time) (int, error) {
	o := ObservedState{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: s.missingFailure()}
	if s.Capabilities().Shared {
		o = ObservedState{Gone: true}
	}
	count := 0
	return count, s.write(ctx, func(tx *gorm.DB) error {
		count = 0
		var locked []string
		if err := s.forUpdate(tx).Table(kind.Plural()).Where("id IN ?", ids).Order("id").Pluck("id", &locked).Error; err != nil {
			return err
		}
		busy, err := busySubjects(tx, locked, startedAt)
		if err != nil {
			return err
		}
		for _, id := range locked {
			if busy[id] {
				continue
			}
			if err := s.apply(tx, kind, id, o); err != nil {
				return err
			}
			count++
		}
		return nil
	})
}

// findMissing reads all rows by pages in the order of their ids, and returns those that
// SyncMissing has to mark.
func (s *Store) findMissing(ctx context.Context, kind models.SubjectType, listed map[string]struct{}, startedAt time.Time) ([]string, error) {
	const page = 5000
	var missing []string
	for last := ""; ; {
		var ids []string
		err := s.read(ctx).Table(kind.Plural()).Order("id").Limit(page).
			Where("id > ? AND backend_id <> '' AND status_since < ? AND failure <> ?", last, models.Micros(startedAt), s.missingFailure()).Pluck("id", &ids).Error
		if err != nil {
			return nil, err
		}
		var unlisted []string
		for _, id := range ids {
			if _, ok := listed[id]; !ok {
				unlisted = append(unlisted, id)
			}
		}
		busy, err := busySubjects(s.read(ctx), unlisted, startedAt)
		if err != nil {
			return nil, err
		}
		for _, id := range unlisted {
			if !busy[id] {
				missing = append(missing, id)
			}
		}
		if len(ids) < page {
			return missing, nil
		}
		last = ids[len(ids)-1]
	}
}

// RemoveGone is SyncMissing for one object, by the backend's id; requestedAt is when the
// backend was called. Errors: those of the database.
func (s Sync) RemoveGone(ctx context.Context, kind models.SubjectType, backendID string, requestedAt time.Time) error {
	var id string
	err := s.read(ctx).Table(kind.Plural()).Where("backend_id = ?", backendID).Limit(1).Pluck("id", &id).Error
	if err != nil || id == "" {
		return err
	}
	_, err = s.markMissing(ctx, kind, []string{id}, requestedAt)
	return err
}

// BusyBackendIDs returns those of the backend's ids whose object an operation is changing.
// Errors: those of the database.
func (s Sync) BusyBackendIDs(ctx context.Context, backendIDs []string) (map[string]bool, error) {
	busy := map[string]bool{}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		table := kind.Plural()
		var ids []string
		err := s.read(ctx).Table(table).
			Where("backend_id IN ? AND EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = "+table+".id AND o.finished_at = 0 AND o.kind <> ?)", backendIDs, models.SnapshotCheck).
			Pluck("backend_id", &ids).Error
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			busy[id] = true
		}
	}
	return busy, nil
}

// DuplicateRow is the row whose id several objects of the backend carry.
type DuplicateRow struct {
	ID, BackendID, Name string
	Busy                bool          // an operation has not ended
	CreatedHere         bool          // by an operation
	CreateDuration      time.Duration // of that operation
}

// DuplicateIsUsed reports whether the object with this backend's id has a row of its own
// or snapshots: then users may have written to it. Errors: those of the database.
func (s Sync) DuplicateIsUsed(ctx context.Context, kind models.SubjectType, backendID string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(kind.Plural()).Where("backend_id = ?", backendID).Limit(1).Count(&n).Error
	if n > 0 || err != nil || kind != models.SubjectVolume {
		return n > 0, err
	}
	err = s.read(ctx).Model(&models.Snapshot{}).Where("volume_id = ?", backendID).Limit(1).Count(&n).Error
	return n > 0, err
}

// DuplicateOf returns the row with the console's id that several objects carry; nil when
// there is none. Errors: those of the database.
func (s Sync) DuplicateOf(ctx context.Context, kind models.SubjectType, id string) (*DuplicateRow, error) {
	var row struct {
		ID, BackendID, Name string
		Origin              models.Origin
	}
	err := takeOne(s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "name", "origin").
		Where("id = ? AND backend_id <> ''", searchable(id)), &row)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	busy, err := busySubjects(s.read(ctx), []string{row.ID}, s.Now())
	if err != nil {
		return nil, err
	}
	duplicate := &DuplicateRow{ID: row.ID, BackendID: row.BackendID, Name: row.Name, Busy: busy[row.ID]}
	if row.Origin == models.Elsewhere {
		return duplicate, nil
	}
	var creation models.Operation
	err = s.read(ctx).Where("subject_id = ? AND kind IN ? AND finished_at > 0", row.ID, []models.Kind{models.VolumeCreate, models.SnapshotRestore, models.SnapshotCreate}).
		Order("num DESC").Limit(1).Find(&creation).Error
	if creation.StartedAt > 0 {
		duplicate.CreatedHere, duplicate.CreateDuration = true, time.Duration(creation.FinishedAt-creation.StartedAt)*time.Microsecond
	}
	return duplicate, err
}

// RecordDuplicate audits that a duplicate, with this backend's id, was deleted. Errors:
// those of the database.
func (s Sync) RecordDuplicate(ctx context.Context, kind models.SubjectType, row *DuplicateRow, backendID string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.audit(tx, models.Actor{Name: "blockconsole", Project: models.DefaultProject}, models.AuditEntry{
			Action: "twin.delete", SubjectType: string(kind), SubjectID: row.ID, SubjectName: row.Name, Detail: backendID, Outcome: models.AuditDone,
		})
	})
}

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
