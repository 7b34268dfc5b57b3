package store

import (
	"cmp"
	"context"
	"slices"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// SyncConnections makes the table say who uses which volume now; connections to
// volumes that the console does not know are left out. It writes, and tells live pages, only what differs.
func (s Sync) SyncConnections(ctx context.Context, now []backend.Connection) error {
	var before []models.Connection
	if err := s.read(ctx).Find(&before).Error; err != nil {
		return err
	}
	if len(before)+len(now) == 0 {
		return nil
	}
	known, err := s.volumesOf(ctx, before, now)
	if err != nil {
		return err
	}
	var named []models.Connection
	for _, c := range now {
		id := cmp.Or(known.ids[c.Volume.Ref], known.ids[c.Volume.ID])
		if id == "" {
			continue
		}
		c.Volume = backend.Key{}
		for _, text := range []*string{&c.ID, &c.ServerID, &c.Address, &c.Identity} {
			*text = models.Sanitize(*text)
		}
		named = append(named, models.Connection{VolumeID: id, Connection: c})
	}
	d := diff(before, named, func(c models.Connection) string { return c.ID }, func(a, b models.Connection) bool { return a == b })
	if d.empty() {
		return nil
	}
	byID := func(a, b models.Connection) int { return cmp.Compare(a.ID, b.ID) }
	slices.SortFunc(d.save, byID)
	slices.SortFunc(d.remove, byID)
	return s.write(ctx, func(tx *gorm.DB) error {
		if err := d.apply(tx); err != nil {
			return err
		}
		return s.recordUse(tx, before, d, known.projects)
	})
}

// connectedVolumes are the volumes that connections are about.
type connectedVolumes struct {
	ids      map[string]string // by the console's id and by the backend's
	projects map[string]string
}

func (s *Store) volumesOf(ctx context.Context, before []models.Connection, now []backend.Connection) (connectedVolumes, error) {
	var ids, backendIDs []string
	for _, c := range before {
		ids = append(ids, c.VolumeID)
	}
	for _, c := range now {
		ids, backendIDs = append(ids, c.Volume.Ref), append(backendIDs, c.Volume.ID)
	}
	slices.Sort(ids)
	slices.Sort(backendIDs)
	var rows []models.Volume
	err := s.read(ctx).Select("id", "backend_id", "project_id").
		Where(byEitherID, slices.Compact(ids), slices.Compact(backendIDs)).Find(&rows).Error
	known := connectedVolumes{map[string]string{}, map[string]string{}}
	for _, v := range rows {
		known.ids[v.ID], known.projects[v.ID] = v.ID, v.ProjectID
		if v.BackendID != "" {
			known.ids[v.BackendID] = v.ID
		}
	}
	return known, err
}

// recordUse remembers when an attachment was used, and tells live pages:
// who came or went changes the volume's row, figures only its page.
func (s *Store) recordUse(tx *gorm.DB, before []models.Connection, d difference[models.Connection], projects map[string]string) error {
	was := map[string]bool{}
	for _, c := range before {
		was[c.ID] = true
	}
	kinds := map[string]models.SubjectType{}
	moved := func(c models.Connection, at int64) error {
		kinds[c.VolumeID] = models.SubjectVolume
		return tx.Model(&models.Attachment{}).Where("volume_id = ? AND server_id = ? AND used_at < ?", c.VolumeID, c.ServerID, at).
			Update("used_at", at).Error
	}
	for _, c := range d.save {
		if was[c.ID] {
			kinds[c.VolumeID] = cmp.Or(kinds[c.VolumeID], models.SubjectConnection)
		} else if err := moved(c, c.Since); err != nil {
			return err
		}
	}
	for _, c := range d.remove {
		if err := moved(c, max(c.ActiveAt, c.Since)); err != nil {
			return err
		}
	}
	var changes []models.Change
	for id, kind := range kinds {
		if project, there := projects[id]; there {
			changes = append(changes, models.Change{Kind: kind, ID: id, ProjectID: project})
		}
	}
	slices.SortFunc(changes, func(a, b models.Change) int { return cmp.Compare(a.ID, b.ID) })
	return s.insertChanges(tx, changes)
}

// insertChanges writes changes that no trigger writes. It comes last in its
// transaction: on PostgreSQL it takes the lock that makes the order of changes
// that of the commits.
func (s *Store) insertChanges(tx *gorm.DB, changes []models.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if s.postgres {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", lockChanges).Error; err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := tx.Exec("INSERT INTO changes (kind, id, project_id) VALUES (?, ?, ?)", c.Kind, c.ID, c.ProjectID).Error; err != nil {
			return err
		}
	}
	return nil
}

// loadConnections gives the volumes that wanted names the connections to them.
func (s *Store) loadConnections(ctx context.Context, rows []models.Volume, wanted func(*models.Volume) bool) error {
	at, ids := map[string]*models.Volume{}, []string(nil)
	for i := range rows {
		if wanted(&rows[i]) {
			ids = append(ids, rows[i].ID)
			at[rows[i].ID] = &rows[i]
		}
	}
	if len(ids) == 0 {
		return nil
	}
	var all []models.Connection
	err := s.read(ctx).Where("volume_id IN ?", ids).Order("volume_id, since, id").Find(&all).Error
	for _, c := range all {
		v := at[c.VolumeID]
		v.Connections = append(v.Connections, c)
	}
	return err
}
