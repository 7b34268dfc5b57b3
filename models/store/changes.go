package store

import (
	"context"
	"sync"

	"gorm.io/gorm"

	"blockconsole/models"
)

// LastChange is the number of the newest change; 0 when there was none.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	var seq *int64
	if err := s.read(ctx).Raw("SELECT max(seq) FROM changes").Scan(&seq).Error; err != nil || seq == nil {
		return 0, err
	}
	return *seq, nil
}

// FirstChange is the number of the oldest change that is kept; 0 when there is none.
func (s *Store) FirstChange(ctx context.Context) (int64, error) {
	var seq *int64
	if err := s.read(ctx).Raw("SELECT min(seq) FROM changes").Scan(&seq).Error; err != nil || seq == nil {
		return 0, err
	}
	return *seq, nil
}

// ChangesAfter returns up to limit changes after seq, oldest first.
func (s *Store) ChangesAfter(ctx context.Context, seq int64, limit int) ([]models.Change, error) {
	var rows []models.Change
	return rows, s.read(ctx).Where("seq > ?", seq).Order("seq").Limit(limit).Find(&rows).Error
}

// insertChanges writes changes that no trigger writes. It comes last in its
// transaction: on PostgreSQL it takes the lock that makes the order of changes
// that of the commits.
func (s *Store) insertChanges(tx *gorm.DB, changes []models.Change) error {
	if len(changes) == 0 {
		return nil
	}
	if s.postgres {
		if err := tx.Exec("SELECT pg_advisory_xact_lock(?)", lockChanges).Error; err != nil {
			return err
		}
	}
	for _, c := range changes {
		if err := tx.Exec("INSERT INTO changes (kind, id, project_id) VALUES (?, ?, ?)", c.Kind, c.ID, c.ProjectID).Error; err != nil {
			return err
		}
	}
	return nil
}

// signals wakes those who wait for a committed change of this process.
type signals struct {
	mu      sync.Mutex
	waiters map[chan struct{}]struct{}
}

// Subscribe returns a channel that receives after each committed change (several
// may fall together), and a function that ends it.
func (s *Store) Subscribe() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.signals.mu.Lock()
	defer s.signals.mu.Unlock()
	if s.signals.waiters == nil {
		s.signals.waiters = map[chan struct{}]struct{}{}
	}
	s.signals.waiters[ch] = struct{}{}
	return ch, func() {
		s.signals.mu.Lock()
		defer s.signals.mu.Unlock()
		delete(s.signals.waiters, ch)
	}
}

func (g *signals) wake() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for ch := range g.waiters {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
