package store

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"
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

// checkOwnServers refuses to change servers that the backend itself knows.
func (s *Store) checkOwnServers() error {
	if !s.Capabilities().OwnServers {
		return &models.Error{Code: models.CodeUnsupported, Text: models.NewText("server.elsewhere")}
	}
	return nil
}

// AddServer registers a server in the actor's project. The same form sent again
// returns what it made the first time. Errors: CodeInvalid with the fields name and
// address, CodeUnsupported.
func (s Servers) AddServer(ctx context.Context, actor models.Actor, in models.ServerInput) (*models.Server, error) {
	if err := s.checkOwnServers(); err != nil {
		return nil, err
	}
	address, err := in.Validate()
	if err != nil {
		return nil, err
	}
	row := models.Server{ID: models.NewID(), ProjectID: s.projectFor(actor), Name: in.Name, Address: address, Origin: models.ByHand,
		CreatedBy: actor.Name, CreatedAt: models.Micros(s.Now()), Version: 1}
	if in.FormKey != "" {
		row.ID = uuid.NewSHA1(uuid.Nil, []byte("server:"+actor.UserID+":"+in.FormKey)).String()
	}
	err = s.write(ctx, func(tx *gorm.DB) error {
		var before models.Server
		err := takeOne(tx.Where("id = ?", row.ID), &before)
		if err == nil {
			row = before
			return nil
		}
		if err := ignoreNotFound(err); err != nil {
			return err
		}
		if err := checkNameFree(tx, row.ProjectID, in.Name, row.ID); err != nil {
			return err
		}
		if err := tx.Create(&row).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, row.AuditEntry("server.create", row.Address))
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) { // somebody was a moment faster
		return nil, errServerNameTaken
	}
	return &row, err
}

var errServerNameTaken = models.Invalid("name", models.NewText("server.name_taken"))

// checkNameFree asks for the name before the index does: PostgreSQL ends a transaction
// whose statement fails.
func checkNameFree(tx *gorm.DB, project, name, except string) error {
	var taken int64
	err := tx.Model(&models.Server{}).Where("project_id = ? AND lower(name) = lower(?) AND origin = 'hand' AND id <> ?", project, name, except).Count(&taken).Error
	if err == nil && taken > 0 {
		return errServerNameTaken
	}
	return err
}

// EditServer changes a registered server; who connects from now on meets the new
// address. Errors: ErrNotFound, CodeInvalid, CodeStale, CodeUnsupported.
func (s Servers) EditServer(ctx context.Context, actor models.Actor, in models.ServerInput) (*models.Server, error) {
	var row *models.Server
	err := s.changeServer(ctx, actor, in.ID, func(tx *gorm.DB, before *models.Server) error {
		address, err := in.Validate()
		if err != nil {
			return err
		}
		if in.Version > 0 && in.Version != before.Version {
			return &models.Error{Code: models.CodeStale, Text: models.NewText("conflict.version")}
		}
		if err := checkNameFree(tx, before.ProjectID, in.Name, before.ID); err != nil {
			return err
		}
		row = before
		renamed := row.Name != in.Name
		row.Name, row.Address, row.Version = in.Name, address, row.Version+1
		set := map[string]any{"name": row.Name, "address": row.Address, "version": row.Version}
		if err := tx.Model(&models.Server{}).Where("id = ?", row.ID).Updates(set).Error; err != nil {
			return err
		}
		if renamed {
			if err := tx.Model(&models.Attachment{}).Where("server_id = ?", row.ID).Update("server_name", row.Name).Error; err != nil {
				return err
			}
		}
		return s.audit(tx, actor, row.AuditEntry("server.edit", row.Address))
	})
	if errors.Is(err, gorm.ErrDuplicatedKey) {
		return nil, errServerNameTaken
	}
	return row, err
}

// RemoveServer removes a registered server that no volume is attached to. Errors:
// ErrNotFound, CodeConflict with the volumes that keep it, CodeUnsupported.
func (s Servers) RemoveServer(ctx context.Context, actor models.Actor, id string) error {
	return s.changeServer(ctx, actor, id, func(tx *gorm.DB, row *models.Server) error {
		denial, err := serverDenial(tx, row)
		if err != nil || denial != nil {
			return denialError(denial, err)
		}
		if err := tx.Where("id = ?", row.ID).Delete(&models.Server{}).Error; err != nil {
			return err
		}
		return s.audit(tx, actor, row.AuditEntry("server.delete", row.Address))
	})
}

// changeServer runs fn on a registered server whose row is locked: who attaches to
// it locks it too.
func (s *Store) changeServer(ctx context.Context, actor models.Actor, id string, fn func(tx *gorm.DB, row *models.Server) error) error {
	if err := s.checkOwnServers(); err != nil {
		return err
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		var row models.Server
		if err := takeOne(inProject(s.forUpdate(tx), s.scope(actor.Project)).Where("id = ? AND origin = ?", searchable(id), models.ByHand), &row); err != nil {
			return err
		}
		return fn(tx, &row)
	})
}

// ServerDenial says why a registered server cannot be removed, with the volumes
// that keep it; nil: it can.
func (s Servers) ServerDenial(ctx context.Context, row *models.Server) (*models.Denial, error) {
	return serverDenial(s.read(ctx), row)
}

const blockersShown = 20

func serverDenial(q *gorm.DB, row *models.Server) (*models.Denial, error) {
	var attached []models.Link
	err := q.Raw(`SELECT v.id, v.name FROM attachments a JOIN volumes v ON v.id = a.volume_id
		WHERE a.server_id = ? ORDER BY a.volume_id LIMIT ?`, row.ID, blockersShown).Scan(&attached).Error
	if err != nil {
		return nil, err
	}
	if len(attached) > 0 {
		return &models.Denial{Text: models.NewText("deny.server_attached"), Volumes: attached, Guidance: models.NewText("guide.detach_volumes")}, nil
	}
	var ops []models.Operation // on the way to it
	err = q.Where("project_id = ? AND state IN ? AND kind IN ?", row.ProjectID, []models.OperationState{models.Pending, models.Running},
		[]models.Kind{models.VolumeAttach, models.VolumeCreate, models.SnapshotRestore}).Order("num").Find(&ops).Error
	if err != nil {
		return nil, err
	}
	for _, op := range ops {
		if op.Params.ServerID == row.ID && len(attached) < blockersShown {
			attached = append(attached, models.Link{ID: op.SubjectID, Name: op.SubjectName})
		}
	}
	if len(attached) > 0 {
		return &models.Denial{Text: models.NewText("deny.server_awaited"), Volumes: attached, Guidance: models.NewText("guide.wait")}, nil
	}
	return nil, nil
}

// RegisteredServers are the servers registered here, of all projects: those whom a
// backend that serves volumes itself lets in.
func (s Servers) RegisteredServers(ctx context.Context) ([]models.Server, error) {
	var rows []models.Server
	return rows, s.read(ctx).Where("origin = ?", models.ByHand).Order("id").Find(&rows).Error
}

// ServerUse is how many volumes are attached to each of the servers, by their ids.
func (s Servers) ServerUse(ctx context.Context, ids []string) (map[string]int, error) {
	var rows []struct {
		ServerID string
		N        int
	}
	err := s.read(ctx).Model(&models.Attachment{}).Select("server_id, count(*) AS n").Where("server_id IN ?", ids).Group("server_id").Scan(&rows).Error
	use := map[string]int{}
	for _, r := range rows {
		use[r.ServerID] = r.N
	}
	return use, err
}
