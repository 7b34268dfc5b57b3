package store

import (
	"context"
	"sync"

	"gorm.io/gorm"

	"blockconsole/models"
)

// LastChange returns the sequence number of the newest change; 0 when there is none.
// Errors: those of the database.
func (s *Store) LastChange(ctx context.Context) (int64, error) {
	return s.changeSeq(ctx, "SELECT max(seq) FROM changes")
}

// FirstChange returns the sequence number of the oldest change that Prune has left; 0
// when there is none. Errors: those of the database.
func (s *Store) FirstChange(ctx context.Context) (int64, error) {
	return s.changeSeq(ctx, "SELECT min(seq) FROM changes")
}

func (s *Store) changeSeq(ctx context.Context, query string) (int64, error) {
	var seq *int64
	if err := s.read(ctx).Raw(query).Scan(&seq).Error; err != nil || seq == nil {
		return 0, err
	}
	return *seq, nil
}

// ChangesAfter returns the changes with sequence numbers above seq, oldest first, at
// most limit rows. Errors: those of the database.
func (s *Store) ChangesAfter(ctx context.Context, seq int64, limit int) ([]models.Change, error) {
	var rows []models.Change
	return rows, s.read(ctx).Where("seq > ?", seq).Order("seq").Limit(limit).Find(&rows).Error
}

// insertChanges inserts changes of tables without triggers. It must come last in its
// transaction: on PostgreSQL it takes the lock that gives changes the order of the
// commits.
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

// signals wakes the subscribers of this process after commits.
type signals struct {
	mu      sync.Mutex
	waiters map[chan struct{}]struct{}
}

// Subscribe returns a channel that receives after commits (one value may stand for
// several), and a function that ends the subscription.
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
