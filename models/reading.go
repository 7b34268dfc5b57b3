package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// readingLease names the lease of who reads the backend into the tables.
const readingLease = "reading"

// HoldReading says whether owner is the one of the consoles on this database that
// reads the backend into the tables now, for the next while; the others need not.
func (s *Store) HoldReading(ctx context.Context, owner string, lease time.Duration) (bool, error) {
	now := s.Now()
	held := false
	return held, s.writeQuietly(ctx, func(tx *gorm.DB) error {
		result := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE leases.owner = excluded.owner OR leases.until <= ?`,
			readingLease, owner, Micros(now.Add(lease)), Micros(now))
		held = result.RowsAffected > 0
		return result.Error
	})
}

// EndReading gives the lease of HoldReading back, if owner has it.
func (s *Store) EndReading(ctx context.Context, owner string) error {
	return s.writeQuietly(ctx, func(tx *gorm.DB) error {
		return tx.Exec("DELETE FROM leases WHERE name = ? AND owner = ?", readingLease, owner).Error
	})
}

// Unexplained is an object in error whose row gives no reason.
type Unexplained struct {
	ID, BackendID string
	StatusSince   int64
}

// Unexplained finds, among the objects with these backend's ids, those in error
// whose rows give no reason, and which no operation follows.
func (s *Store) Unexplained(ctx context.Context, kind SubjectType, backendIDs []string) ([]Unexplained, error) {
	untold, err := Failure{Text: Say(FailureUntold)}.Value()
	if err != nil {
		return nil, err
	}
	var rows []Unexplained
	err = s.read(ctx).Table(string(kind)+"s").Select("id", "backend_id", "status_since").
		Where("backend_id IN ? AND failure = ? AND status IN ?", backendIDs, untold, []Status{ErrorStatus, ErrorDeleting}).
		Where("NOT EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = " + string(kind) + "s.id AND o.finished_at = 0)").
		Order("id").Scan(&rows).Error
	return rows, err
}

// Explain writes why an object is in error, unless its row has changed since.
func (s *Store) Explain(ctx context.Context, kind SubjectType, object Unexplained, why Failure, requestID string) error {
	untold, err := Failure{Text: Say(FailureUntold)}.Value()
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		return tx.Table(string(kind)+"s").
			Where("id = ? AND status_since = ? AND failure = ?", object.ID, object.StatusSince, untold).
			Updates(map[string]any{"failure": why.storable(), "request_id": storable(requestID)}).Error
	})
}

// MirrorGone takes the row of an object away that the backend no longer has, as
// asked at that time, unless an operation is changing it.
func (s *Store) MirrorGone(ctx context.Context, kind SubjectType, backendID string, asked time.Time) error {
	var id string
	err := s.read(ctx).Table(string(kind)+"s").Where("backend_id = ?", backendID).Limit(1).Pluck("id", &id).Error
	if err != nil || id == "" {
		return err
	}
	_, err = s.miss(ctx, kind, []string{id}, asked)
	return err
}
