package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
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
