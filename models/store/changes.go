package store

import (
	"context"

	"blockconsole/models"
)

// LastChange is the number of the newest change; 0 when there was none.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	var seq *int64
	if err := s.read(ctx).Raw("SELECT max(seq) FROM changes").Scan(&seq).Error; err != nil || seq == nil {
		return 0, err
	}
	return *seq, nil
}

// FirstChange is the number of the oldest change that is kept; 0 when there is none.
func (s *Store) FirstChange(ctx context.Context) (int64, error) {
	var seq *int64
	if err := s.read(ctx).Raw("SELECT min(seq) FROM changes").Scan(&seq).Error; err != nil || seq == nil {
		return 0, err
	}
	return *seq, nil
}

// ChangesAfter returns up to limit changes after seq, oldest first.
func (s *Store) ChangesAfter(ctx context.Context, seq int64, limit int) ([]models.Change, error) {
	var rows []models.Change
	return rows, s.read(ctx).Where("seq > ?", seq).Order("seq").Limit(limit).Find(&rows).Error
}

// SnapshotsByID and VolumesByID load the rows that changed, whichever still exist,
// of any project: the live pages sort them out.
func (s Snapshots) SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error) {
	var rows []models.Snapshot
	return rows, s.read(ctx).Raw(snapshotTable.from+" WHERE t.id IN ?", ids).Scan(&rows).Error
}

// VolumesByID: see SnapshotsByID.
func (s Volumes) VolumesByID(ctx context.Context, ids []string) ([]models.Volume, error) {
	rows, err := rowsByID[models.Volume](s.read(ctx), ids)
	if err != nil {
		return nil, err
	}
	return rows, s.loadAttachments(ctx, rows)
}

// FailedOperations loads those of the operations that have failed, of any project.
func (s Queue) FailedOperations(ctx context.Context, ids []string) ([]models.Operation, error) {
	var rows []models.Operation
	return rows, s.read(ctx).Where("id IN ? AND "+s.unindexed("state")+" = ?", ids, models.Failed).Order("num").Find(&rows).Error
}
