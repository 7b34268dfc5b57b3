package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

const failureMissing = "failure.vanished"

// SyncMissing deals with the rows that a whole listing, begun at asked, did not
// have. In a shared backend they were deleted elsewhere and leave the list;
// otherwise their data is missing, which is said. It returns how many there were.
// Rows whose object was never made, those that came since, and those of an
// operation are not missed.
func (s *Store) SyncMissing(ctx context.Context, kind SubjectType, seen map[string]struct{}, asked time.Time) (int, error) {
	missing, err := s.findMissing(ctx, kind, seen, asked)
	count := 0
	for len(missing) > 0 && err == nil {
		n := min(len(missing), syncBatch)
		var missed int
		missed, err = s.markMissing(ctx, kind, missing[:n], asked)
		count, missing = count+missed, missing[n:]
	}
	return count, err
}

// markMissing writes that objects are gone, after locking their rows and asking once more
// whether an operation has begun.
func (s *Store) markMissing(ctx context.Context, kind SubjectType, ids []string, asked time.Time) (int, error) {
	o := ObservedState{Status: ErrorStatus, Percent: -1, Failure: Failure{Text: NewText(failureMissing)}}
	if s.Capabilities().Shared {
		o = ObservedState{Gone: true}
	}
	apply := s.applyVolume
	if kind == SubjectSnapshot {
		apply = s.applySnapshot
	}
	count := 0
	return count, s.write(ctx, func(tx *gorm.DB) error {
		count = 0
		var locked []string
		if err := s.forUpdate(tx).Table(string(kind)+"s").Where("id IN ?", ids).Order("id").Pluck("id", &locked).Error; err != nil {
			return err
		}
		busy, err := busySubjects(tx, locked, asked)
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
func (s *Store) findMissing(ctx context.Context, kind SubjectType, seen map[string]struct{}, asked time.Time) ([]string, error) {
	const page = 5000
	vanished, err := Failure{Text: NewText(failureMissing)}.Value()
	if err != nil {
		return nil, err
	}
	var missing []string
	for last := ""; ; {
		var ids []string
		err := s.read(ctx).Table(string(kind)+"s").Order("id").Limit(page).
			Where("id > ? AND backend_id <> '' AND status_since < ? AND failure <> ?", last, Micros(asked), vanished).Pluck("id", &ids).Error
		if err != nil {
			return nil, err
		}
		var unseen []string
		for _, id := range ids {
			if _, there := seen[id]; !there {
				unseen = append(unseen, id)
			}
		}
		busy, err := busySubjects(s.read(ctx), unseen, asked)
		if err != nil {
			return nil, err
		}
		for _, id := range unseen {
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
