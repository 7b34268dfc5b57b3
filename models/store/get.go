package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// Snapshot finds a snapshot by the console's id or the backend's. Errors: ErrNotFound,
// those of the database.
func (s Snapshots) Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	if err := takeOne(byID(s.read(ctx), s.scope(actor.Project), id), &row); err != nil {
		return nil, err
	}
	var v models.Volume
	err := takeOne(s.read(ctx).Select("id", "name").Where("id = ?", row.VolumeID), &v)
	if err == nil {
		row.VolumeName = v.Name
	}
	row.VolumeGone = err != nil
	return &row, ignoreNotFound(err)
}

// Volume finds a volume by the console's id or the backend's, with its attachments and
// connections. Errors: ErrNotFound, those of the database.
func (s Volumes) Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error) {
	rows := make([]models.Volume, 1)
	if err := takeOne(byID(s.read(ctx), s.scope(actor.Project), id), &rows[0]); err != nil {
		return nil, err
	}
	if err := s.attachmentsOf(s.read(ctx), rows); err != nil {
		return nil, err
	}
	return &rows[0], s.loadConnections(ctx, rows, func(*models.Volume) bool { return true })
}

// SnapshotByID finds a snapshot of any project by the console's id. Errors: ErrNotFound,
// those of the database.
func (s Snapshots) SnapshotByID(ctx context.Context, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	return &row, takeOne(s.read(ctx).Where("id = ?", id), &row)
}

// VolumeByID finds a volume of any project by the console's id, without its
// attachments. Errors: ErrNotFound, those of the database.
func (s Volumes) VolumeByID(ctx context.Context, id string) (*models.Volume, error) {
	var row models.Volume
	return &row, takeOne(s.read(ctx).Where("id = ?", id), &row)
}

// SnapshotsByID returns those snapshots of any project that exist. Errors: those of the
// database.
func (s Snapshots) SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error) {
	var rows []models.Snapshot
	return rows, s.read(ctx).Raw(snapshotTable.from+" WHERE t.id IN ?", ids).Scan(&rows).Error
}

// VolumesByID returns those volumes of any project that exist, as lists have them.
// Errors: those of the database.
func (s Volumes) VolumesByID(ctx context.Context, ids []string) ([]models.Volume, error) {
	var rows []models.Volume
	if err := s.read(ctx).Where("id IN ?", ids).Find(&rows).Error; err != nil {
		return nil, err
	}
	return rows, s.loadAttachments(ctx, rows)
}

// VolumesFrom returns the volumes created from a snapshot, newest first, at most limit
// rows. Errors: those of the database.
func (s Volumes) VolumesFrom(ctx context.Context, actor models.Actor, snapshot string, limit int) ([]models.Volume, error) {
	var rows []models.Volume
	q := s.read(ctx).Where("snapshot_id = ? AND snapshot_id <> ''", searchable(snapshot))
	if scope := s.scope(actor.Project); scope != everyProject {
		q = q.Where(s.unindexed("project_id")+" = ?", scope)
	}
	return rows, q.Order("id DESC").Limit(limit).Find(&rows).Error
}

// NameTaken reports whether another object of the project than except has the name.
// Names need not be unique: it is for a hint. Errors: those of the database.
func (s *Store) NameTaken(ctx context.Context, actor models.Actor, kind models.SubjectType, name, except string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(kind.Plural()).Select("1").Where("project_id = ? AND name = ? AND id <> ?", s.projectFor(actor), searchable(name), searchable(except)).
		Limit(1).Scan(&n).Error
	return n > 0, err
}

// SnapshotBlockers returns the volumes that block the deletion of a snapshot. Errors:
// those of the database.
func (s Snapshots) SnapshotBlockers(ctx context.Context, row *models.Snapshot) ([]models.Link, error) {
	return s.dependents(s.read(ctx), row)
}

// VolumeBlockers returns the newest snapshots that block the deletion of a volume.
// Errors: those of the database.
func (s Volumes) VolumeBlockers(ctx context.Context, row *models.Volume) ([]models.Link, error) {
	if row.SnapshotCount == 0 {
		return nil, nil
	}
	return s.snapshotLinks(s.read(ctx), row.ID)
}

// RevertDenial returns why a volume cannot be reverted to the snapshot; nil when it can.
// Errors: those of the database.
func (s Volumes) RevertDenial(ctx context.Context, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error) {
	if d := s.Rules().Volume(models.ActRevert, v); d != nil {
		return d, nil
	}
	return s.revertDenial(s.read(ctx), snapshot, v)
}

// loadAttachments fills in what lists show of attachments and connections.
func (s *Store) loadAttachments(ctx context.Context, rows []models.Volume) error {
	if err := s.attachmentsOf(s.read(ctx), rows); err != nil {
		return err
	}
	return s.loadConnections(ctx, rows, func(v *models.Volume) bool { return v.Status == models.Detaching })
}

func (s *Store) attachmentsOf(q *gorm.DB, rows []models.Volume) error {
	attached := func(v *models.Volume) bool { return v.AttachmentCount > 0 }
	return loadOf(q.Order("server_name, server_id"), rows, attached, func(byID map[string]*models.Volume, a models.Attachment) {
		byID[a.VolumeID].Attachments = append(byID[a.VolumeID].Attachments, a)
	})
}

// loadConnections fills in the connections of the volumes for which wanted returns true.
func (s *Store) loadConnections(ctx context.Context, rows []models.Volume, wanted func(*models.Volume) bool) error {
	return loadOf(s.read(ctx).Order("volume_id, since, id"), rows, wanted, func(byID map[string]*models.Volume, c models.Connection) {
		byID[c.VolumeID].Connections = append(byID[c.VolumeID].Connections, c)
	})
}

// loadOf calls add with each row of another table that belongs to a wanted volume.
func loadOf[T any](q *gorm.DB, volumes []models.Volume, wanted func(*models.Volume) bool, add func(byID map[string]*models.Volume, row T)) error {
	var ids []string
	byID := map[string]*models.Volume{}
	for i := range volumes {
		if wanted(&volumes[i]) {
			ids = append(ids, volumes[i].ID)
			byID[volumes[i].ID] = &volumes[i]
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var rows []T
	err := q.Where("volume_id IN ?", ids).Find(&rows).Error
	for _, row := range rows {
		add(byID, row)
	}
	return err
}
