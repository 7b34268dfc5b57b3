package store

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/go-gormigrate/gormigrate/v2"
	"gorm.io/gorm"
)

// Migrations are SQL files, one per database and step, and are never changed after a
// release. AutoMigrate is not used: it rebuilds SQLite tables and silently drops
// indexes and triggers.
//
//go:embed migrations/*.sql
var migrationFiles embed.FS

var migrationSteps = []string{"0001_start", "0002_identity", "0003_leases", "0004_people", "0005_audit_search", "0006_images", "0007_instant", "0008_snapshot_attachments", "0009_checksums", "0010_locks"}

// NewerSchemaError is the error of a database that a newer version has migrated.
type NewerSchemaError struct{ Step string }

func (e *NewerSchemaError) Error() string { return "unknown schema step " + e.Step }

// migrate brings the schema up to date. Consoles that start at the same time on one
// PostgreSQL wait for each other.
func (s *Store) migrate() error {
	if !s.postgres {
		return s.migrateLocked()
	}
	pool, err := s.db.DB()
	if err != nil {
		return err
	}
	return locked(pool, lockMigrations, s.migrateLocked)
}

func (s *Store) migrateLocked() error {
	if err := s.checkNotNewer(); err != nil {
		return err
	}
	options := *gormigrate.DefaultOptions
	options.UseTransaction = true
	options.TableName = "migrations"
	var steps []*gormigrate.Migration
	for _, id := range s.schema {
		steps = append(steps, &gormigrate.Migration{ID: id, Migrate: func(tx *gorm.DB) error { return s.runStep(tx, id) }})
	}
	if err := gormigrate.New(s.db, &options, steps).Migrate(); err != nil {
		return err
	}
	return s.syncProjectIndexes()
}

func (s *Store) checkNotNewer() error {
	// The first query finds out that a file is damaged.
	if err := s.db.Exec("SELECT 1").Error; err != nil {
		return err
	}
	if !s.db.Migrator().HasTable("migrations") {
		if s.postgres {
			return nil
		}
		var tables int64
		return s.db.Raw("SELECT count(*) FROM sqlite_master").Scan(&tables).Error
	}
	var ids []string
	if err := s.db.Table("migrations").Order("id").Pluck("id", &ids).Error; err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.Contains(migrationSteps, id) {
			return &NewerSchemaError{Step: id}
		}
	}
	return nil
}

func (s *Store) runStep(tx *gorm.DB, id string) error {
	dialect := "sqlite"
	if s.postgres {
		dialect = "postgres"
	}
	text, err := migrationFiles.ReadFile("migrations/" + id + "." + dialect + ".sql")
	if err != nil {
		return err
	}
	for _, statement := range strings.Split(string(text), "\n;;\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := tx.Exec(statement).Error; err != nil {
			return fmt.Errorf("schema step %s: %w", id, err)
		}
	}
	return nil
}
