package store

import (
	"cmp"
	"context"
	"slices"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// SyncServers replaces the backend's servers in the table with rows. Registered servers
// stay. Errors: those of the database.
func (s Sync) SyncServers(ctx context.Context, rows []models.Server) error {
	var before []models.Server
	if err := s.read(ctx).Where("origin = ?", models.Elsewhere).Find(&before).Error; err != nil {
		return err
	}
	for i := range rows {
		rows[i].Origin = models.Elsewhere
		for _, text := range []*string{&rows[i].Name, &rows[i].Status, &rows[i].ProjectID} {
			*text = models.Sanitize(*text)
		}
	}
	return applyDiff(ctx, s.Store, diff(before, rows, func(r models.Server) string { return r.ID }, func(a, b models.Server) bool {
		return a.Name == b.Name && a.Status == b.Status && a.ProjectID == b.ProjectID
	}))
}

// SyncImages replaces the images in the table with rows. Errors: those of the database.
func (s Sync) SyncImages(ctx context.Context, rows []models.Image) error {
	before, err := s.Servers.ListImages(ctx)
	if err != nil {
		return err
	}
	return applyDiff(ctx, s.Store, diff(before, rows, func(r models.Image) string { return r.ID }, func(a, b models.Image) bool { return a == b }))
}

// difference are the rows to save and to remove in a small table.
type difference[T any] struct {
	save   []T
	remove []T
}

func diff[T any](before, now []T, id func(T) string, same func(a, b T) bool) difference[T] {
	old := map[string]T{}
	for _, row := range before {
		old[id(row)] = row
	}
	var d difference[T]
	for _, row := range now {
		if was, exists := old[id(row)]; !exists || !same(was, row) {
			d.save = append(d.save, row)
		}
		delete(old, id(row))
	}
	for _, row := range old {
		d.remove = append(d.remove, row)
	}
	return d
}

func (d difference[T]) apply(tx *gorm.DB) error {
	for i := range d.save {
		if err := tx.Save(&d.save[i]).Error; err != nil {
			return err
		}
	}
	for i := range d.remove {
		if err := tx.Delete(&d.remove[i]).Error; err != nil {
			return err
		}
	}
	return nil
}

func (d difference[T]) empty() bool { return len(d.save)+len(d.remove) == 0 }

func applyDiff[T any](ctx context.Context, s *Store, d difference[T]) error {
	if d.empty() {
		return nil
	}
	return s.write(ctx, d.apply)
}

// SyncConnections updates the table of connections. Connections to unknown objects are
// left out. It writes, and inserts changes for, only what differs. Errors: those of the
// database.
func (s Sync) SyncConnections(ctx context.Context, now []backend.Connection) error {
	var before []models.Connection
	if err := s.read(ctx).Find(&before).Error; err != nil {
		return err
	}
	if len(before)+len(now) == 0 {
		return nil
	}
	known, err := s.lookupConnected(ctx, before, now)
	if err != nil {
		return err
	}
	var rows []models.Connection
	for _, c := range now {
		object, ok := known[c.Object.Ref]
		if !ok {
			object, ok = known[c.Object.ID]
		}
		if !ok {
			continue
		}
		c.Kind, c.Object = "", backend.Key{}
		for _, text := range []*string{&c.ID, &c.ServerID, &c.Address, &c.Identity} {
			*text = models.Sanitize(*text)
		}
		rows = append(rows, models.Connection{SubjectID: object.ID, Connection: c})
	}
	d := diff(before, rows, func(c models.Connection) string { return c.ID }, func(a, b models.Connection) bool { return a == b })
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
		return s.recordUse(tx, before, d, known)
	})
}

// connected is a volume or snapshot of connections.
type connected struct {
	ID, BackendID, ProjectID string
	kind                     models.SubjectType
}

// lookupConnected finds the objects of connections by the console's id and by the
// backend's.
func (s *Store) lookupConnected(ctx context.Context, before []models.Connection, now []backend.Connection) (map[string]connected, error) {
	var ids, backendIDs []string
	for _, c := range before {
		ids = append(ids, c.SubjectID)
	}
	for _, c := range now {
		ids, backendIDs = append(ids, c.Object.Ref), append(backendIDs, c.Object.ID)
	}
	slices.Sort(ids)
	slices.Sort(backendIDs)
	ids, backendIDs = slices.Compact(ids), slices.Compact(backendIDs)
	known := map[string]connected{}
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		var rows []connected
		if err := s.read(ctx).Table(kind.Plural()).Select("id", "backend_id", "project_id").Where(byEitherID, ids, backendIDs).Scan(&rows).Error; err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.kind = kind
			known[row.ID] = row
			if row.BackendID != "" {
				known[row.BackendID] = row
			}
		}
	}
	return known, nil
}

// recordUse updates when attachments were used last, and inserts changes: of the object
// when clients connected or disconnected, of its connections when only counters changed.
func (s *Store) recordUse(tx *gorm.DB, before []models.Connection, d difference[models.Connection], known map[string]connected) error {
	existed := map[string]bool{}
	for _, c := range before {
		existed[c.ID] = true
	}
	kinds := map[string]models.SubjectType{}
	touch := func(c models.Connection, at int64) error {
		kinds[c.SubjectID] = known[c.SubjectID].kind
		return tx.Model(&models.Attachment{}).Where("subject_id = ? AND server_id = ? AND used_at < ?", c.SubjectID, c.ServerID, at).
			Update("used_at", at).Error
	}
	for _, c := range d.save {
		if existed[c.ID] {
			kinds[c.SubjectID] = cmp.Or(kinds[c.SubjectID], models.SubjectConnection)
		} else if err := touch(c, c.Since); err != nil {
			return err
		}
	}
	for _, c := range d.remove {
		if err := touch(c, max(c.ActiveAt, c.Since)); err != nil {
			return err
		}
	}
	var changes []models.Change
	for id, kind := range kinds {
		if object, ok := known[id]; ok {
			changes = append(changes, models.Change{Kind: kind, ID: id, ProjectID: object.ProjectID})
		}
	}
	slices.SortFunc(changes, func(a, b models.Change) int { return cmp.Compare(a.ID, b.ID) })
	return s.insertChanges(tx, changes)
}
