package models

import (
	"context"

	"gorm.io/gorm"
)

// ReleaseLeases gives all leases back. A console that has its
// database for itself calls it at the start: whoever held them is dead, and what
// was under way goes on at once instead of when the leases run out.
func (s *Store) ReleaseLeases(ctx context.Context) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		if err := tx.Exec("DELETE FROM leases").Error; err != nil {
			return err
		}
		return tx.Model(&Operation{}).Where("finished_at = 0 AND lease_until > 0").
			Updates(map[string]any{"lease_owner": "", "lease_until": 0}).Error
	})
}
