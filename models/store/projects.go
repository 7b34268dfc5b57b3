package store

import (
	"cmp"
	"context"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
)

// Actor.Project is a project of the console's users. This file maps it to projects of
// the backend: the scope of what these users see, and the project of what they create.
// Users of DefaultProject see the backend's own project or, with Options.AllProjects,
// everything.

// everyProject is the scope of users who see all projects.
const everyProject = ""

// OwnProjectID is the project of the backend that new objects belong to; DefaultProject
// until the backend has answered, and where it has no projects.
func (s *Store) OwnProjectID() string {
	if p := s.ownProject.Load(); p != nil {
		return p.ID
	}
	return cmp.Or(s.Capabilities().Project.ID, models.DefaultProject)
}

// ownProjectKnown reports whether new objects have a project: a cloud must have answered
// once.
func (s *Store) ownProjectKnown() bool {
	return !s.hasProjects.Load() || s.OwnProjectID() != models.DefaultProject
}

// OwnProjectName is the name of the project that new objects belong to, or its id.
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

// AllProjects is Options.AllProjects.
func (s *Store) AllProjects() bool { return s.allProjects }

// scope is the project whose objects the users of project see, or everyProject.
func (s *Store) scope(project string) string {
	switch {
	case project != models.DefaultProject:
		return project
	case s.allProjects:
		return everyProject
	}
	return s.OwnProjectID()
}

// InScope reports whether the users of project see the objects of the backend's project
// owner.
func (s *Store) InScope(project, owner string) bool {
	scope := s.scope(project)
	return scope == everyProject || scope == owner
}

// projectFor is the project of the objects that the actor creates.
func (s *Store) projectFor(actor models.Actor) string {
	if actor.Project != models.DefaultProject {
		return actor.Project
	}
	return s.OwnProjectID()
}

// ProjectsWith returns the projects that have objects of the kind, when the actor sees
// more than one project. Errors: those of the database.
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

// allProjectsIndexes are the indexes of lists that show every project. Those of the
// migrations begin with the project and are enough for most installations.
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

// syncProjectIndexes creates allProjectsIndexes, or drops them where they only cost time.
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
