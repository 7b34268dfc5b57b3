package models

import (
	"context"
	"time"

	"gorm.io/gorm"
)

// mirrorLease names the lease of who reads the backend into the tables.
const mirrorLease = "reading"

// AcquireLeadership says whether owner is the one of the consoles on this database that
// reads the backend into the tables now, for the next while; the others need not.
func (s *Store) AcquireLeadership(ctx context.Context, owner string, lease time.Duration) (bool, error) {
	now := s.Now()
	held := false
	return held, s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		result := tx.Exec(`INSERT INTO leases (name, owner, until) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
			WHERE leases.owner = excluded.owner OR leases.until <= ?`,
			mirrorLease, owner, Micros(now.Add(lease)), Micros(now))
		held = result.RowsAffected > 0
		return result.Error
	})
}

// ResignLeadership gives the lease of AcquireLeadership back, if owner has it.
func (s *Store) ResignLeadership(ctx context.Context, owner string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return tx.Exec("DELETE FROM leases WHERE name = ? AND owner = ?", mirrorLease, owner).Error
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
	untold, err := Failure{Text: NewText(FailureUnknown)}.Value()
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
	untold, err := Failure{Text: NewText(FailureUnknown)}.Value()
	if err != nil {
		return err
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		return tx.Table(string(kind)+"s").
			Where("id = ? AND status_since = ? AND failure = ?", object.ID, object.StatusSince, untold).
			Updates(map[string]any{"failure": why.Sanitized(), "request_id": Sanitize(requestID)}).Error
	})
}

// RemoveGone takes the row of an object away that the backend no longer has, as
// asked at that time, unless an operation is changing it.
func (s *Store) RemoveGone(ctx context.Context, kind SubjectType, backendID string, asked time.Time) error {
	var id string
	err := s.read(ctx).Table(string(kind)+"s").Where("backend_id = ?", backendID).Limit(1).Pluck("id", &id).Error
	if err != nil || id == "" {
		return err
	}
	_, err = s.markMissing(ctx, kind, []string{id}, asked)
	return err
}

// BusyBackendIDs says which of the objects with these backend's ids an operation
// is changing.
func (s *Store) BusyBackendIDs(ctx context.Context, backendIDs []string) (map[string]bool, error) {
	busy := map[string]bool{}
	for _, kind := range []SubjectType{SubjectVolume, SubjectSnapshot} {
		table := string(kind) + "s"
		var ids []string
		err := s.read(ctx).Table(table).
			Where("backend_id IN ? AND EXISTS (SELECT 1 FROM operations o WHERE o.subject_id = "+table+".id AND o.finished_at = 0)", backendIDs).
			Pluck("backend_id", &ids).Error
		if err != nil {
			return nil, err
		}
		for _, id := range ids {
			busy[id] = true
		}
	}
	return busy, nil
}

// DuplicateRow is the row of an object that the backend has twice.
type DuplicateRow struct {
	ID, BackendID, Name string
	Busy                bool          // an operation is changing it
	CreatedHere         bool          // this console made it,
	CreateDuration      time.Duration // in an operation that lasted so long
}

// DuplicateIsUsed says whether the object with this backend's id has a row of its own or
// snapshots: then users know it, and it may hold what they need.
func (s *Store) DuplicateIsUsed(ctx context.Context, kind SubjectType, backendID string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(string(kind)+"s").Where("backend_id = ?", backendID).Limit(1).Count(&n).Error
	if n > 0 || err != nil || kind != SubjectVolume {
		return n > 0, err
	}
	err = s.read(ctx).Model(&Snapshot{}).Where("volume_id = ?", backendID).Limit(1).Count(&n).Error
	return n > 0, err
}

// DuplicateOf is the row with an id that several objects carry; nil when there is none.
func (s *Store) DuplicateOf(ctx context.Context, kind SubjectType, id string) (*DuplicateRow, error) {
	var row struct {
		ID, BackendID, Name string
		Origin              Origin
	}
	err := takeOne(s.read(ctx).Table(string(kind)+"s").Select("id", "backend_id", "name", "origin").
		Where("id = ? AND backend_id <> ''", searchable(id)), &row)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	busy, err := busySubjects(s.read(ctx), []string{row.ID}, s.Now())
	if err != nil {
		return nil, err
	}
	twin := &DuplicateRow{ID: row.ID, BackendID: row.BackendID, Name: row.Name, Busy: busy[row.ID]}
	if row.Origin == Elsewhere {
		return twin, nil
	}
	var made Operation
	err = s.read(ctx).Where("subject_id = ? AND kind IN ? AND finished_at > 0", row.ID, []Kind{VolumeCreate, SnapshotRestore, SnapshotCreate}).
		Order("num DESC").Limit(1).Find(&made).Error
	if made.StartedAt > 0 {
		twin.CreatedHere, twin.CreateDuration = true, time.Duration(made.FinishedAt-made.StartedAt)*time.Microsecond
	}
	return twin, err
}

// RecordDuplicate writes into the audit that the second copy of an object was deleted.
func (s *Store) RecordDuplicate(ctx context.Context, kind SubjectType, row *DuplicateRow, backendID string) error {
	return s.writeUnsignalled(ctx, func(tx *gorm.DB) error {
		return s.audit(tx, Actor{Name: "blockconsole", Project: DefaultProject}, AuditEntry{
			Action: "twin.delete", SubjectType: string(kind), SubjectID: row.ID, SubjectName: row.Name, Detail: backendID, Outcome: AuditDone,
		})
	})
}
