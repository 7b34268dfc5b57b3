package models

import (
	"context"
	"strings"

	"gorm.io/gorm"
)

// Actor.Project names the installation's users; which of the backend's projects
// they see, and which one what they make belongs to, is asked here. Users of
// DefaultProject see the installation's own project or, where the console shows
// all projects, everything.

// everyProject is the scope of who sees all projects.
const everyProject = ""

// Home is the project of the backend that new objects belong to: DefaultProject
// until the backend has told another.
func (s *Store) Home() string {
	if p := s.home.Load(); p != nil {
		return p.ID
	}
	return firstNonEmpty(s.Facts().Project.ID, DefaultProject)
}

// homeKnown says that what is made now belongs to a project. A cloud must have
// answered once.
func (s *Store) homeKnown() bool { return !s.foreign.Load() || s.Home() != DefaultProject }

// HomeName is what people call the project that new objects belong to.
func (s *Store) HomeName() string {
	home := s.Home()
	if p := s.Facts().Project; p.ID == home && p.Name != "" {
		return p.Name
	}
	if p := s.home.Load(); p != nil && p.Name != "" {
		return p.Name
	}
	return home
}

// AllProjects says that users see the objects of every project of the backend.
func (s *Store) AllProjects() bool { return s.allProjects }

// scope is the project whose objects the users of a project see, or everyProject.
func (s *Store) scope(project string) string {
	switch {
	case project != DefaultProject:
		return project
	case s.allProjects:
		return everyProject
	}
	return s.Home()
}

// InScope says whether users of the project see what belongs to the backend's
// project called owner.
func (s *Store) InScope(project, owner string) bool {
	scope := s.scope(project)
	return scope == everyProject || scope == owner
}

// newIn is the project that what the actor makes belongs to.
func (s *Store) newIn(actor Actor) string {
	if actor.Project != DefaultProject {
		return actor.Project
	}
	return s.Home()
}

// Owners are the projects that have objects of the kind, where the actor sees more
// than one.
func (s *Store) Owners(ctx context.Context, actor Actor, kind SubjectType) ([]string, error) {
	if s.scope(actor.Project) != everyProject {
		return nil, nil
	}
	var ids []string
	return ids, s.read(ctx).Table("counters").Where("kind = ? AND n > 0", kind).Order("project_id").Pluck("project_id", &ids).Error
}

// within limits a query to a scope.
func within(q *gorm.DB, scope string) *gorm.DB {
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

// indexProjects makes the indexes of lists of every project, or removes them where
// they would only cost time.
func (s *Store) indexProjects() error {
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

// ProjectNames are the names of the projects whose objects are shown, by id.
func (f Facts) ProjectNames() map[string]string {
	names := map[string]string{}
	for _, p := range f.Projects {
		names[p.ID] = p.Name
	}
	if f.Project.Name != "" {
		names[f.Project.ID] = f.Project.Name
	}
	return names
}
