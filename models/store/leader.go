package store

import (
	"context"
	"time"

	"gorm.io/gorm"

	"blockconsole/models"
)

// mirrorLease names the lease of who reads the backend into the tables.
const mirrorLease = "reading"

// AcquireLeadership says whether owner is the one of the consoles on this database that
// reads the backend into the tables now, for the next while; the others need not.
func (s *Store) AcquireLeadership(ctx context.Context, owner string, lease time.Duration) (bool, error) {
	now := s.Now()
	acquired := false
	return acquired, s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		result := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE leases.owner = excluded.owner OR leases.until <= ?`,
			mirrorLease, owner, models.Micros(now.Add(lease)), models.Micros(now))
		acquired = result.RowsAffected > 0
		return result.Error
	})
}

// ResignLeadership gives the lease of AcquireLeadership back, if owner has it.
func (s *Store) ResignLeadership(ctx context.Context, owner string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return tx.Exec("DELETE FROM leases WHERE name = ? AND owner = ?", mirrorLease, owner).Error
	})
}

// ReleaseLeases gives all leases back. A console that has its
// database for itself calls it at the start: whoever held them is dead, and what
// was under way goes on at once instead of when the leases run out.
func (s *Store) ReleaseLeases(ctx context.Context) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM leases").Error; err != nil {
			return err
		}
		return tx.Model(&models.Operation{}).Where("finished_at = 0 AND lease_until > 0").
			Updates(map[string]any{"lease_owner": "", "lease_until": 0}).Error
	})
}
