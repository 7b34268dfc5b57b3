package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// mirrorLease is the name of the lease of the console whose mirror runs.
const mirrorLease = "reading"

// AcquireLeadership acquires or renews the lease of the leader among the consoles on
// this database, and reports whether owner has it. The leader's mirror runs. lease is
// the time until another one may take it. Errors: those of the database.
func (s *Store) AcquireLeadership(ctx context.Context, owner string, lease time.Duration) (bool, error) {
	now := s.Now()
	acquired := false
	err := s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		result := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE leases.owner = excluded.owner OR leases.until <= ?`,
			mirrorLease, owner, models.Micros(now.Add(lease)), models.Micros(now))
		acquired = result.RowsAffected > 0
		return result.Error
	})
	return acquired, err
}

// ResignLeadership releases the leader's lease if owner has it. Errors: those of the
// database.
func (s *Store) ResignLeadership(ctx context.Context, owner string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return tx.Exec("DELETE FROM leases WHERE name = ? AND owner = ?", mirrorLease, owner).Error
	})
}

// ReleaseLeases releases the leases of the leader and of all operations. A console with
// a database of its own calls it at the start: its predecessor is dead, and the
// operations need not wait for its leases to expire. Errors: those of the database.
func (s *Store) ReleaseLeases(ctx context.Context) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM leases").Error; err != nil {
			return err
		}
		return tx.Model(&models.Operation{}).Where("finished_at = 0 AND lease_until > 0").
			Updates(map[string]any{"lease_owner": "", "lease_until": 0}).Error
	})
}
