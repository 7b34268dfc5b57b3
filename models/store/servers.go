package store

import (
	"cmp"
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// serverOrigin is where the servers that volumes can be attached to come from.
func (s *Store) serverOrigin() models.Origin {
	if s.Capabilities().OwnServers {
		return models.ByHand
	}
	return models.Elsewhere
}

// ListServers lists the project's servers by name, at most limit.
func (s Servers) ListServers(ctx context.Context, actor models.Actor, limit int) ([]models.Server, error) {
	var rows []models.Server
	return rows, inProject(s.read(ctx), s.scope(actor.Project)).Where("origin = ?", s.serverOrigin()).Order("name, id").Limit(limit).Find(&rows).Error
}

// ServersOfProject lists those servers that volumes of the project can be attached to, by
// name, at most limit. An empty project is the one that what the actor makes
// belongs to.
func (s Servers) ServersOfProject(ctx context.Context, actor models.Actor, project string, limit int) ([]models.Server, error) {
	project = cmp.Or(project, s.projectFor(actor))
	if !s.InScope(actor.Project, project) {
		return nil, nil
	}
	var rows []models.Server
	return rows, inProject(s.read(ctx), project).Where("origin = ?", s.serverOrigin()).Order("name, id").Limit(limit).Find(&rows).Error
}

// Server finds one server.
func (s Servers) Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error) {
	var row models.Server
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ? AND origin = ?", searchable(id), s.serverOrigin()), &row); err != nil {
		return nil, err
	}
	return &row, nil
}

// ListImages lists the images by name.
func (s Servers) ListImages(ctx context.Context) ([]models.Image, error) {
	var rows []models.Image
	return rows, s.read(ctx).Order("name, id").Find(&rows).Error
}

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

// SyncState returns the freshness of the mirror of kind (volume, snapshot).
func (s Sync) SyncState(ctx context.Context, kind models.SubjectType) (models.SyncState, error) {
	var m models.SyncState
	return m, ignoreNotFound(takeOne(s.read(ctx).Where("kind = ?", kind), &m))
}

// SyncHealthy says that the backend's volumes and snapshots could be read the last
// time.
func (s Sync) SyncHealthy(ctx context.Context) (bool, error) {
	var well int64
	err := s.read(ctx).Model(&models.SyncState{}).Where("seen_at > 0 AND failed_since = 0").Count(&well).Error
	return well == 2, err
}

// RecordSync records that the backend was read at that time, or could not be.
func (s Sync) RecordSync(ctx context.Context, kind models.SubjectType, at time.Time, failure models.Failure) error {
	return s.write(ctx, func(tx *gorm.DB) error {
		m := models.SyncState{Kind: string(kind)}
		if err := ignoreNotFound(takeOne(tx.Where("kind = ?", kind), &m)); err != nil {
			return err
		}
		m.Failure = failure
		if failure.None() {
			m.SeenAt, m.FailedSince = models.Micros(at), 0
		} else if m.FailedSince == 0 {
			m.FailedSince = models.Micros(at)
		}
		return tx.Save(&m).Error
	})
}
