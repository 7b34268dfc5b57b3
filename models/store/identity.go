package store

import (
	"context"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"blockconsole/models"
)

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
