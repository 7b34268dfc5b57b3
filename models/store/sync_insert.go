package store

import (
	"cmp"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"blockconsole/models"
)

// insertVolumes inserts the rows of volumes created elsewhere, in a few statements. Rows
// that another console on the database has inserted meanwhile stay as they are.
func (s *Store) insertVolumes(tx *gorm.DB, objects []ObservedObject) error {
	var sources []models.Snapshot
	if err := tx.Where(byEitherID, idsOf(objects, source), idsOf(objects, source)).Find(&sources).Error; err != nil {
		return err
	}
	byID := map[string]*models.Snapshot{}
	for i, row := range sources {
		byID[row.ID], byID[row.BackendID] = &sources[i], &sources[i]
	}
	rows := make([]models.Volume, 0, len(objects))
	for _, m := range objects {
		row := models.Volume{
			ID: cmp.Or(m.ID, models.NewID()), BackendID: m.BackendID, ProjectID: m.Project, Name: m.Name, Description: m.Description,
			Status: m.Status, StatusSince: models.Micros(s.Now()), Percent: m.Percent, Failure: m.Failure, RequestID: m.RequestID,
			SizeGiB: m.SizeGiB, ImageID: m.ImageID, VolumeType: m.Type, Zone: m.Zone, Origin: models.Elsewhere,
			CreatedAt: models.Micros(m.CreatedAt), Version: 1,
		}
		if source := byID[m.Source]; m.Source != "" && source != nil {
			row.SnapshotID, row.Consistency = source.ID, source.Consistency
		}
		rows = append(rows, row)
	}
	if err := insertMissing(tx, &rows); err != nil {
		return err
	}
	known, err := s.knownRows(tx, models.SubjectVolume, objects)
	if err != nil {
		return err
	}
	if err := adoptSnapshots(tx, objects, known); err != nil {
		return err
	}
	for _, m := range objects {
		if id := known.idOf(m); id != "" && m.Attachments != nil && len(*m.Attachments) > 0 {
			if err := attachmentDiff(id, known.rows[id].attachments, *m.Attachments).apply(tx); err != nil {
				return err
			}
		}
	}
	return nil
}

// adoptSnapshots sets the volume of snapshots that were listed before their volumes.
func adoptSnapshots(tx *gorm.DB, objects []ObservedObject, known *knownRows) error {
	var unresolved []string
	err := tx.Model(&models.Snapshot{}).Where("volume_id IN ?", idsOf(objects, backendID)).Distinct().Pluck("volume_id", &unresolved).Error
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, m := range objects {
		names[m.BackendID] = m.Name
	}
	for _, id := range unresolved {
		if known.ids[id] == "" || known.ids[id] == id {
			continue
		}
		err := tx.Model(&models.Snapshot{}).Where("volume_id = ?", id).
			Updates(map[string]any{"volume_id": known.ids[id], "volume_name": names[id]}).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// insertSnapshots is insertVolumes for snapshots.
func (s *Store) insertSnapshots(tx *gorm.DB, objects []ObservedObject) error {
	var volumes []models.Volume
	err := tx.Select("id", "backend_id", "name").Where(byEitherID, idsOf(objects, source), idsOf(objects, source)).Find(&volumes).Error
	if err != nil {
		return err
	}
	byID := map[string]*models.Volume{}
	for i, row := range volumes {
		byID[row.ID], byID[row.BackendID] = &volumes[i], &volumes[i]
	}
	rows := make([]models.Snapshot, 0, len(objects))
	for _, m := range objects {
		row := models.Snapshot{
			ID: cmp.Or(m.ID, models.NewID()), BackendID: m.BackendID, ProjectID: m.Project, VolumeID: m.Source,
			Name: m.Name, Description: m.Description, Status: m.Status, StatusSince: models.Micros(s.Now()), Percent: m.Percent,
			Failure: m.Failure, RequestID: m.RequestID, SizeGiB: m.SizeGiB, Consistency: m.Consistency, Origin: models.Elsewhere,
			CreatedAt: models.Micros(m.CreatedAt), Version: 1,
		}
		if v := byID[m.Source]; m.Source != "" && v != nil {
			row.VolumeID, row.VolumeName = v.ID, v.Name
		}
		rows = append(rows, row)
	}
	return insertMissing(tx, &rows)
}

func ref(m ObservedObject) string       { return m.ID }
func source(m ObservedObject) string    { return m.Source }
func backendID(m ObservedObject) string { return m.BackendID }

// idsOf returns the ids that are not empty, each once.
func idsOf(rows []ObservedObject, id func(ObservedObject) string) []string {
	seen, ids := map[string]bool{"": true}, []string{}
	for _, m := range rows {
		if one := id(m); !seen[one] {
			seen[one], ids = true, append(ids, one)
		}
	}
	return ids
}

// insertMissing inserts the rows that do not exist yet.
func insertMissing(tx *gorm.DB, rows any) error {
	return tx.Clauses(clause.OnConflict{DoNothing: true}).Create(rows).Error
}
