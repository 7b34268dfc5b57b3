package store

import (
	"context"

	"gorm.io/gorm"

	"blockconsole/models"
)

// SyncServers makes the table say what the backend says. Servers registered here
// are none of its business.
func (s Sync) SyncServers(ctx context.Context, now []models.Server) error {
	var before []models.Server
	if err := s.read(ctx).Where("origin = ?", models.Elsewhere).Find(&before).Error; err != nil {
		return err
	}
	for i := range now {
		now[i].Origin = models.Elsewhere
		for _, text := range []*string{&now[i].Name, &now[i].Status, &now[i].ProjectID} {
			*text = models.Sanitize(*text)
		}
	}
	return s.syncSet(ctx, diff(before, now, func(r models.Server) string { return r.ID }, func(a, b models.Server) bool {
		return a.Name == b.Name && a.Status == b.Status && a.ProjectID == b.ProjectID
	}))
}

// SyncImages makes the table say what the backend says.
func (s Sync) SyncImages(ctx context.Context, now []models.Image) error {
	before, err := s.Servers.ListImages(ctx)
	if err != nil {
		return err
	}
	return s.syncSet(ctx, diff(before, now, func(r models.Image) string { return r.ID }, func(a, b models.Image) bool { return a == b }))
}

// difference is what a small table needs to become like the backend.
type difference[T any] struct {
	save   []T
	remove []T
}

func diff[T any](before, now []T, id func(T) string, same func(a, b T) bool) difference[T] {
	known := map[string]T{}
	for _, row := range before {
		known[id(row)] = row
	}
	var c difference[T]
	for _, row := range now {
		old, there := known[id(row)]
		if !there || !same(old, row) {
			c.save = append(c.save, row)
		}
		delete(known, id(row))
	}
	for _, row := range known {
		c.remove = append(c.remove, row)
	}
	return c
}

type applier interface{ apply(tx *gorm.DB) error }

func (c difference[T]) apply(tx *gorm.DB) error {
	for i := range c.save {
		if err := tx.Save(&c.save[i]).Error; err != nil {
			return err
		}
	}
	for i := range c.remove {
		if err := tx.Delete(&c.remove[i]).Error; err != nil {
			return err
		}
	}
	return nil
}

func (c difference[T]) empty() bool { return len(c.save)+len(c.remove) == 0 }

func (s *Store) syncSet(ctx context.Context, c interface {
	applier
	empty() bool
}) error {
	if c.empty() {
		return nil
	}
	return s.write(ctx, c.apply)
}
