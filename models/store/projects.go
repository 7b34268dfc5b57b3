package store

import (
	"cmp"
	"context"
	"strings"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

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
	"snapshots_all_by_taken ON snapshots (taken_at, id)",
	"snapshots_all_by_name ON snapshots (name, id)",
	"snapshots_all_by_size ON snapshots (size_gib, id)",
	"snapshots_all_by_status ON snapshots (status, id)",
	"snapshots_all_by_status_created ON snapshots (status, created_at, id)",
	"snapshots_all_by_status_taken ON snapshots (status, taken_at, id)",
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

const (
	identityBackend     = "backend"
	identityCloud       = "cloud"
	identityRegion      = "region"
	identityProject     = "project"
	identityProjectName = "project_name"
)

// identityRow is one value of the database's identity.
type identityRow struct {
	Name  string `gorm:"primaryKey"`
	Value string
}

// TableName is the name that gorm uses.
func (identityRow) TableName() string { return "identity" }

func loadIdentity(q *gorm.DB) (map[string]string, error) {
	var rows []identityRow
	err := q.Find(&rows).Error
	values := map[string]string{}
	for _, r := range rows {
		values[r.Name] = r.Value
	}
	return values, err
}

func saveIdentity(tx *gorm.DB, values map[string]string) error {
	for name, value := range values {
		err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&identityRow{Name: name, Value: value}).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// loadOwnProject loads the project of the database's rows, so that pages show them
// before the backend has answered.
func (s *Store) loadOwnProject() error {
	values, err := loadIdentity(s.db)
	if err == nil && values[identityProject] != "" {
		s.ownProject.Store(&models.Project{ID: values[identityProject], Name: values[identityProjectName]})
	}
	return err
}

// CheckIdentity records at the first start which backend the database mirrors, and
// refuses another one later. A cloud may move to another address: its project
// identifies it, see CheckProject. Errors: *models.IdentityError, those of the database.
func (s *Store) CheckIdentity(ctx context.Context, configured models.Identity) error {
	s.hasProjects.Store(configured.Backend != "local")
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		values, err := loadIdentity(tx)
		if err != nil {
			return err
		}
		stored := models.Identity{Backend: values[identityBackend], Cloud: values[identityCloud], Region: values[identityRegion]}
		if stored.Backend == "" && configured.Backend != "local" {
			// Databases from before there was an identity are local.
			var rows int64
			if err := tx.Raw("SELECT count(*) FROM (SELECT 1 FROM volumes LIMIT 1) v").Scan(&rows).Error; err != nil {
				return err
			}
			if rows > 0 {
				stored.Backend = "local"
			}
		}
		switch {
		case stored.Backend != "" && stored.Backend != configured.Backend:
			return &models.IdentityError{Stored: stored.String(), Configured: configured.String(), Check: "BLOCKCONSOLE_BACKEND"}
		case stored.Region != "" && configured.Region != "" && stored.Region != configured.Region:
			return &models.IdentityError{Stored: stored.String(), Configured: configured.String(), Check: "OS_REGION_NAME and the region in the clouds.yaml entry that OS_CLOUD names"}
		}
		set := map[string]string{identityBackend: configured.Backend}
		if configured.Region != "" {
			set[identityRegion] = configured.Region
		}
		if stored.Cloud == "" && configured.Cloud != "" {
			set[identityCloud] = configured.Cloud
		}
		return saveIdentity(tx, set)
	})
}

// CheckProject records the first time which project of the backend new objects belong
// to, and refuses another one later. A project without an id is not checked. Errors:
// *models.IdentityError, those of the database.
func (s *Store) CheckProject(ctx context.Context, configured models.Project) error {
	if configured.ID = models.Sanitize(configured.ID); configured.ID == "" {
		return nil
	}
	configured.Name = models.Sanitize(configured.Name)
	if p := s.ownProject.Load(); p != nil && *p == configured {
		return nil
	}
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		values, err := loadIdentity(tx)
		if err != nil {
			return err
		}
		stored := models.Project{ID: values[identityProject], Name: values[identityProjectName]}
		if stored.ID != "" && stored.ID != configured.ID {
			return &models.IdentityError{Stored: stored.String(), Configured: configured.String(),
				Check: "OS_CLOUD, OS_PROJECT_ID, OS_PROJECT_NAME and the application credential"}
		}
		return saveIdentity(tx, map[string]string{identityProject: configured.ID, identityProjectName: configured.Name})
	})
	if err == nil {
		s.ownProject.Store(&configured)
		s.signals.wake()
	}
	return err
}
