package store

import (
	"cmp"
	"context"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
)

// Actor.Project names the installation's users; which of the backend's projects
// they see, and which one what they make belongs to, is asked here. Users of
// DefaultProject see the installation's own project or, where the console shows
// all projects, everything.

// everyProject is the scope of who sees all projects.
const everyProject = ""

// OwnProjectID is the project of the backend that new objects belong to: DefaultProject
// until the backend has told another.
func (s *Store) OwnProjectID() string {
	if p := s.ownProject.Load(); p != nil {
		return p.ID
	}
	return cmp.Or(s.Capabilities().Project.ID, models.DefaultProject)
}

// ownProjectKnown says that what is made now belongs to a project. A cloud must have
// answered once.
func (s *Store) ownProjectKnown() bool {
	return !s.hasProjects.Load() || s.OwnProjectID() != models.DefaultProject
}

// OwnProjectName is what people call the project that new objects belong to.
func (s *Store) OwnProjectName() string {
	own := s.OwnProjectID()
	if p := s.Capabilities().Project; p.ID == own && p.Name != "" {
		return p.Name
	}
	if p := s.ownProject.Load(); p != nil && p.Name != "" {
		return p.Name
	}
	return own
}

// AllProjects says that users see the objects of every project of the backend.
func (s *Store) AllProjects() bool { return s.allProjects }

// scope is the project whose objects the users of a project see, or everyProject.
func (s *Store) scope(project string) string {
	switch {
	case project != models.DefaultProject:
		return project
	case s.allProjects:
		return everyProject
	}
	return s.OwnProjectID()
}

// InScope says whether users of the project see what belongs to the backend's
// project called owner.
func (s *Store) InScope(project, owner string) bool {
	scope := s.scope(project)
	return scope == everyProject || scope == owner
}

// projectFor is the project that what the actor makes belongs to.
func (s *Store) projectFor(actor models.Actor) string {
	if actor.Project != models.DefaultProject {
		return actor.Project
	}
	return s.OwnProjectID()
}

// ProjectsWith are the projects that have objects of the kind, where the actor sees more
// than one.
func (s *Store) ProjectsWith(ctx context.Context, actor models.Actor, kind models.SubjectType) ([]string, error) {
	if s.scope(actor.Project) != everyProject {
		return nil, nil
	}
	var ids []string
	return ids, s.read(ctx).Table("counters").Where("kind = ? AND n > 0", kind).Order("project_id").Pluck("project_id", &ids).Error
}

// inProject limits a query to a scope.
func inProject(q *gorm.DB, scope string) *gorm.DB {
	if scope == everyProject {
		return q
	}
	return q.Where("project_id = ?", scope)
}

// The indexes of lists that show every project. The other ones begin with the
// project and would be of no use; most installations need only those.
var allProjectsIndexes = []string{
	"volumes_all_by_created ON volumes (created_at, id)",
	"volumes_all_by_name ON volumes (name, id)",
	"volumes_all_by_size ON volumes (size_gib, id)",
	"volumes_all_by_status ON volumes (status, id)",
	"volumes_all_by_status_created ON volumes (status, created_at, id)",
	"volumes_all_by_status_name ON volumes (status, name, id)",
	"volumes_all_by_status_size ON volumes (status, size_gib, id)",
	"snapshots_all_by_created ON snapshots (created_at, id)",
	"snapshots_all_by_name ON snapshots (name, id)",
	"snapshots_all_by_size ON snapshots (size_gib, id)",
	"snapshots_all_by_status ON snapshots (status, id)",
	"snapshots_all_by_status_created ON snapshots (status, created_at, id)",
	"snapshots_all_by_status_name ON snapshots (status, name, id)",
	"snapshots_all_by_status_size ON snapshots (status, size_gib, id)",
	"servers_all_by_name ON servers (origin, name, id)",
	"operations_all_by_state ON operations (state, num)",
}

// syncProjectIndexes makes the indexes of lists of every project, or removes them where
// they would only cost time.
func (s *Store) syncProjectIndexes() error {
	for _, index := range allProjectsIndexes {
		statement := "CREATE INDEX IF NOT EXISTS " + index
		if !s.allProjects {
			name, _, _ := strings.Cut(index, " ")
			statement = "DROP INDEX IF EXISTS " + name
		}
		if err := s.db.Exec(statement).Error; err != nil {
			return err
		}
	}
	return nil
}
