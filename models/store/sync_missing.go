package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

const failureMissing = "failure.vanished"

// SyncMissing deals with the rows that a whole listing, begun at asked, did not
// have. In a shared backend they were deleted elsewhere and leave the list;
// otherwise their data is missing, which is said. It returns how many there were.
// Rows whose object was never made, those that came since, and those of an
// operation are not missed.
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

// markMissing writes that objects are gone, after locking their rows and asking once more
// whether an operation has begun.
func (s *Store) markMissing(ctx context.Context, kind models.SubjectType, ids []string, startedAt time.Time) (int, error) {
	o := ObservedState{Status: models.ErrorStatus, Percent: -1, Failure: models.Failure{Text: models.NewText(failureMissing)}}
	if s.Capabilities().Shared {
		o = ObservedState{Gone: true}
	}
	apply := s.applyVolume
	if kind == models.SubjectSnapshot {
		apply = s.applySnapshot
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
			if err := apply(tx, id, o); err != nil {
				return err
			}
			count++
		}
		return nil
	})
}

// findMissing walks all rows in order of id, in pages, and returns those that no
// operation can account for.
func (s *Store) findMissing(ctx context.Context, kind models.SubjectType, listed map[string]struct{}, startedAt time.Time) ([]string, error) {
	const page = 5000
	vanished, err := models.Failure{Text: models.NewText(failureMissing)}.Value()
	if err != nil {
		return nil, err
	}
	var missing []string
	for last := ""; ; {
		var ids []string
		err := s.read(ctx).Table(kind.Plural()).Order("id").Limit(page).
			Where("id > ? AND backend_id <> '' AND status_since < ? AND failure <> ?", last, models.Micros(startedAt), vanished).Pluck("id", &ids).Error
		if err != nil {
			return nil, err
		}
		var unlisted []string
		for _, id := range ids {
			if _, there := listed[id]; !there {
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

// RemoveGone takes the row of an object away that the backend no longer has, as
// asked at that time, unless an operation is changing it.
func (s Sync) RemoveGone(ctx context.Context, kind models.SubjectType, backendID string, requestedAt time.Time) error {
	var id string
	err := s.read(ctx).Table(kind.Plural()).Where("backend_id = ?", backendID).Limit(1).Pluck("id", &id).Error
	if err != nil || id == "" {
		return err
	}
	_, err = s.markMissing(ctx, kind, []string{id}, requestedAt)
	return err
}

// BusyBackendIDs says which of the objects with these backend's ids an operation
// is changing.
func (s Sync) BusyBackendIDs(ctx context.Context, backendIDs []string) (map[string]bool, error) {
	busy := map[string]bool{}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		table := kind.Plural()
		var ids []string
		err := s.read(ctx).Table(table).
			Where("backend_id IN ? AND EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = "+table+".id AND o.finished_at = 0)", backendIDs).
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
