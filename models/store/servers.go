package store

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"
	"gorm.io/gorm"

	"blockconsole/models"
)

// serverOrigin is the origin of the servers that volumes can be attached to.
func (s *Store) serverOrigin() models.Origin {
	if s.Capabilities().OwnServers {
		return models.ByHand
	}
	return models.Elsewhere
}

// ListServers returns the servers that the actor sees, sorted by name, at most limit
// rows. Errors: those of the database.
func (s Servers) ListServers(ctx context.Context, actor models.Actor, limit int) ([]models.Server, error) {
	return s.listServers(ctx, s.scope(actor.Project), limit)
}

// ServersOfProject returns the servers that volumes of the project can be attached to,
// sorted by name, at most limit rows. An empty project is that of the objects the actor
// creates. Errors: those of the database.
func (s Servers) ServersOfProject(ctx context.Context, actor models.Actor, project string, limit int) ([]models.Server, error) {
	project = cmp.Or(project, s.projectFor(actor))
	if !s.InScope(actor.Project, project) {
		return nil, nil
	}
	return s.listServers(ctx, project, limit)
}

func (s *Store) listServers(ctx context.Context, scope string, limit int) ([]models.Server, error) {
	var rows []models.Server
	return rows, inProject(s.read(ctx), scope).Where("origin = ?", s.serverOrigin()).Order("name, id").Limit(limit).Find(&rows).Error
}

// Server finds a server. Errors: ErrNotFound, those of the database.
func (s Servers) Server(ctx context.Context, actor models.Actor, id string) (*models.Server, error) {
	var row models.Server
	if err := takeOne(inProject(s.read(ctx), s.scope(actor.Project)).Where("id = ? AND origin = ?", searchable(id), s.serverOrigin()), &row); err != nil {
		return nil, s.deletionAudited(s.read(ctx), actor.Project, models.AuditSubjectServer, id, err)
	}
	return &row, nil
}

// ListImages returns the images sorted by name. Errors: those of the database.
func (s Servers) ListImages(ctx context.Context) ([]models.Image, error) {
	var rows []models.Image
	return rows, s.read(ctx).Order("name, id").Find(&rows).Error
}

// checkOwnServers refuses to change servers where the backend has its own.
func (s *Store) checkOwnServers() error {
	if !s.Capabilities().OwnServers {
		return &models.Error{Code: models.CodeUnsupported, Text: models.NewText("server.elsewhere")}
	}
	return nil
}

// AddServer registers a server in the actor's project. The same form key sent again
// returns the server that it registered then. Errors: CodeInvalid with the fields name
// and address, CodeUnsupported, those of the database.
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
		var existing models.Server
		err := takeOne(tx.Where("id = ?", row.ID), &existing)
		if err == nil {
			if existing.Name != in.Name || existing.Address != address {
				return errFormKeyUsed
			}
			row = existing
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
	if errors.Is(err, gorm.ErrDuplicatedKey) { // added at the same time
		return nil, errServerNameTaken
	}
	return &row, err
}

var errServerNameTaken = models.Invalid("name", models.NewText("server.name_taken"))

// checkNameFree looks for the name before the unique index refuses it: PostgreSQL aborts
// a transaction whose statement fails.
func checkNameFree(tx *gorm.DB, project, name, except string) error {
	var taken int64
	err := tx.Model(&models.Server{}).Where("project_id = ? AND lower(name) = lower(?) AND origin = 'hand' AND id <> ?", project, name, except).Count(&taken).Error
	if err == nil && taken > 0 {
		return errServerNameTaken
	}
	return err
}

// EditServer changes a registered server; clients that do not match any more are
// disconnected. Errors: ErrNotFound, CodeInvalid with the fields name and address,
// CodeStale, CodeUnsupported, those of the database.
func (s Servers) EditServer(ctx context.Context, actor models.Actor, in models.ServerInput) (*models.Server, error) {
	var row *models.Server
	err := s.changeServer(ctx, actor, in.ID, "server.edit", func(tx *gorm.DB, locked *models.Server) error {
		address, err := in.Validate()
		if err != nil {
			return err
		}
		row = locked
		if err := checkVersion(in.Version, row.Version); err != nil {
			return err
		}
		if err := checkNameFree(tx, row.ProjectID, in.Name, row.ID); err != nil {
			return err
		}
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

// RemoveServer removes a registered server. Errors: ErrNotFound, CodeConflict with what
// is or will be attached to it, CodeUnsupported, those of the database.
func (s Servers) RemoveServer(ctx context.Context, actor models.Actor, id string) error {
	return s.changeServer(ctx, actor, id, "server.delete", func(tx *gorm.DB, row *models.Server) error {
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

// changeServer runs fn on a registered server with its row locked; checkServer locks it
// for an attach, too. What a rule refuses is audited.
func (s *Store) changeServer(ctx context.Context, actor models.Actor, id, action string, fn func(tx *gorm.DB, row *models.Server) error) error {
	if err := s.checkOwnServers(); err != nil {
		return err
	}
	err := s.write(ctx, func(tx *gorm.DB) error {
		var row models.Server
		if err := takeOne(inProject(s.forUpdate(tx), s.scope(actor.Project)).Where("id = ? AND origin = ?", searchable(id), models.ByHand), &row); err != nil {
			return s.deletionAudited(tx, actor.Project, models.AuditSubjectServer, id, err)
		}
		return fn(tx, &row)
	})
	return s.audited(ctx, actor, models.AuditEntry{Action: action, SubjectType: models.AuditSubjectServer, SubjectID: id}, err)
}

// ServerDenial returns why a registered server cannot be removed, with what is
// attached to it; nil when it can. Errors: those of the database.
func (s Servers) ServerDenial(ctx context.Context, row *models.Server) (*models.Denial, error) {
	return serverDenial(s.read(ctx), row)
}

// maxBlockers is the largest number of blockers of a kind in a Denial.
const maxBlockers = 20

func serverDenial(q *gorm.DB, row *models.Server) (*models.Denial, error) {
	attached := &models.Denial{Text: models.NewText("deny.server_attached"), Guidance: models.NewText("guide.detach_volumes")}
	for kind, links := range map[models.SubjectType]*[]models.Link{models.SubjectVolume: &attached.Volumes, models.SubjectSnapshot: &attached.Snaps} {
		err := q.Raw("SELECT v.id, v.name FROM attachments a JOIN "+kind.Plural()+` v ON v.id = a.subject_id
			WHERE a.server_id = ? ORDER BY a.subject_id LIMIT ?`, row.ID, maxBlockers).Scan(links).Error
		if err != nil {
			return nil, err
		}
	}
	if len(attached.Volumes)+len(attached.Snaps) > 0 {
		return attached, nil
	}
	var ops []models.Operation // that will attach something to it
	err := q.Where("project_id = ? AND state IN ? AND kind IN ?", row.ProjectID, []models.OperationState{models.Pending, models.Running},
		[]models.Kind{models.VolumeAttach, models.VolumeCreate, models.SnapshotRestore, models.SnapshotAttach}).Order("num").Find(&ops).Error
	if err != nil {
		return nil, err
	}
	awaited := &models.Denial{Text: models.NewText("deny.server_awaited"), Guidance: models.NewText("guide.wait")}
	for _, op := range ops {
		links := &awaited.Volumes
		if op.SubjectType == models.SubjectSnapshot {
			links = &awaited.Snaps
		}
		if op.Params.ServerID == row.ID && len(*links) < maxBlockers {
			*links = append(*links, models.Link{ID: op.SubjectID, Name: op.SubjectName})
		}
	}
	if len(awaited.Volumes)+len(awaited.Snaps) > 0 {
		return awaited, nil
	}
	return nil, nil
}

// ServerClients returns the clients of a server that are connected, in the order of
// their objects' names. Errors: those of the database.
func (s Servers) ServerClients(ctx context.Context, id string) ([]models.ServerClient, error) {
	var rows []models.ServerClient
	return rows, s.read(ctx).Raw(`SELECT CASE WHEN v.id IS NULL THEN 'snapshot' ELSE 'volume' END AS subject_type, c.subject_id,
			COALESCE(v.name, n.name) AS subject_name, c.address, c.identity
		FROM connections c LEFT JOIN volumes v ON v.id = c.subject_id LEFT JOIN snapshots n ON n.id = c.subject_id
		WHERE c.server_id = ? ORDER BY subject_name, c.subject_id, c.since, c.id`, id).Scan(&rows).Error
}

// RegisteredServers returns the registered servers of all projects, for a backend that
// serves volumes itself to check clients. Errors: those of the database.
func (s Servers) RegisteredServers(ctx context.Context) ([]models.Server, error) {
	var rows []models.Server
	return rows, s.read(ctx).Where("origin = ?", models.ByHand).Order("id").Find(&rows).Error
}

// ServerUse returns how many objects are attached to each of the servers, by server id.
// Errors: those of the database.
func (s Servers) ServerUse(ctx context.Context, ids []string) (map[string]models.ServerUse, error) {
	var rows []struct {
		ServerID string
		models.ServerUse
	}
	err := s.read(ctx).Raw(`SELECT a.server_id, count(v.id) AS volumes, count(n.id) AS snapshots
		FROM attachments a LEFT JOIN volumes v ON v.id = a.subject_id LEFT JOIN snapshots n ON n.id = a.subject_id
		WHERE a.server_id IN ? GROUP BY a.server_id`, ids).Scan(&rows).Error
	use := map[string]models.ServerUse{}
	for _, r := range rows {
		use[r.ServerID] = r.ServerUse
	}
	return use, err
}
