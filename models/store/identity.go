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

// identityRow is one word of the database's identity.
type identityRow struct {
	Name  string `gorm:"primaryKey"`
	Value string
}

// TableName is the table's.
func (identityRow) TableName() string { return "identity" }

func (s *Store) identity(q *gorm.DB) (map[string]string, error) {
	var rows []identityRow
	err := q.Find(&rows).Error
	words := map[string]string{}
	for _, r := range rows {
		words[r.Name] = r.Value
	}
	return words, err
}

func saveIdentity(tx *gorm.DB, words map[string]string) error {
	for name, value := range words {
		err := tx.Clauses(clause.OnConflict{UpdateAll: true}).Create(&identityRow{Name: name, Value: value}).Error
		if err != nil {
			return err
		}
	}
	return nil
}

// loadOwnProject remembers which project the database's rows come from, so that pages
// show them before the backend has answered.
func (s *Store) loadOwnProject() error {
	words, err := s.identity(s.db)
	if err == nil && words[identityProject] != "" {
		s.ownProject.Store(&models.Project{ID: words[identityProject], Name: words[identityProjectName]})
	}
	return err
}

// CheckIdentity notes at the first start which backend the database mirrors, and
// refuses another one later with an *IdentityError. A cloud that has moved to
// another address is told by its project, which CheckProject asks for.
func (s *Store) CheckIdentity(ctx context.Context, now models.Identity) error {
	s.hasProjects.Store(now.Backend != "local")
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		words, err := s.identity(tx)
		if err != nil {
			return err
		}
		is := models.Identity{Backend: words[identityBackend], Cloud: words[identityCloud], Region: words[identityRegion]}
		if is.Backend == "" && now.Backend != "local" {
			// Until it was written down, there was only one kind.
			var rows int64
			if err := tx.Raw("SELECT count(*) FROM (SELECT 1 FROM volumes LIMIT 1) v").Scan(&rows).Error; err != nil {
				return err
			}
			if rows > 0 {
				is.Backend = "local"
			}
		}
		switch {
		case is.Backend != "" && is.Backend != now.Backend:
			return &models.IdentityError{Stored: is.String(), Configured: now.String(), Check: "BLOCKCONSOLE_BACKEND"}
		case is.Region != "" && now.Region != "" && is.Region != now.Region:
			return &models.IdentityError{Stored: is.String(), Configured: now.String(), Check: "OS_REGION_NAME and the region in the clouds.yaml entry that OS_CLOUD names"}
		}
		set := map[string]string{identityBackend: now.Backend}
		if now.Region != "" {
			set[identityRegion] = now.Region
		}
		if is.Cloud == "" && now.Cloud != "" {
			set[identityCloud] = now.Cloud
		}
		return saveIdentity(tx, set)
	})
}

// CheckProject notes the first time which project of the backend new objects belong
// to, and refuses another one later with an *IdentityError: nothing must be
// mirrored or asked then. An empty project says nothing.
func (s *Store) CheckProject(ctx context.Context, now models.Project) error {
	if now.ID = models.Sanitize(now.ID); now.ID == "" {
		return nil
	}
	now.Name = models.Sanitize(now.Name)
	if p := s.ownProject.Load(); p != nil && *p == now {
		return nil
	}
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		words, err := s.identity(tx)
		if err != nil {
			return err
		}
		is := models.Project{ID: words[identityProject], Name: words[identityProjectName]}
		if is.ID != "" && is.ID != now.ID {
			return &models.IdentityError{Stored: is.String(), Configured: now.String(),
				Check: "OS_CLOUD, OS_PROJECT_ID, OS_PROJECT_NAME and the application credential"}
		}
		return saveIdentity(tx, map[string]string{identityProject: now.ID, identityProjectName: now.Name})
	})
	if err == nil {
		s.ownProject.Store(&now)
		s.signals.wake()
	}
	return err
}
