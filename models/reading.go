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

// UnderOperation says which of the objects with these backend's ids an operation
// is changing.
func (s *Store) UnderOperation(ctx context.Context, backendIDs []string) (map[string]bool, error) {
	under := map[string]bool{}
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
			under[id] = true
		}
	}
	return under, nil
}

// TwinRow is the row of an object that the backend has twice.
type TwinRow struct {
	ID, BackendID, Name string
	Busy                bool          // an operation is changing it
	Ours                bool          // this console made it,
	Made                time.Duration // in an operation that lasted so long
}

// TwinIsUsed says whether the object with this backend's id has a row of its own or
// snapshots: then users know it, and it may hold what they need.
func (s *Store) TwinIsUsed(ctx context.Context, kind SubjectType, backendID string) (bool, error) {
	var n int64
	err := s.read(ctx).Table(string(kind)+"s").Where("backend_id = ?", backendID).Limit(1).Count(&n).Error
	if n > 0 || err != nil || kind != SubjectVolume {
		return n > 0, err
	}
	err = s.read(ctx).Model(&Snapshot{}).Where("volume_id = ?", backendID).Limit(1).Count(&n).Error
	return n > 0, err
}

// TwinOf is the row with an id that several objects carry; nil when there is none.
func (s *Store) TwinOf(ctx context.Context, kind SubjectType, id string) (*TwinRow, error) {
	var row struct {
		ID, BackendID, Name string
		Origin              Origin
	}
	err := first(s.read(ctx).Table(string(kind)+"s").Select("id", "backend_id", "name", "origin").
		Where("id = ? AND backend_id <> ''", lookup(id)), &row)
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	busy, err := busySubjects(s.read(ctx), []string{row.ID}, s.Now())
	if err != nil {
		return nil, err
	}
	twin := &TwinRow{ID: row.ID, BackendID: row.BackendID, Name: row.Name, Busy: busy[row.ID]}
	if row.Origin == Elsewhere {
		return twin, nil
	}
	var made Operation
	err = s.read(ctx).Where("subject_id = ? AND kind IN ? AND finished_at > 0", row.ID, []Kind{VolumeCreate, SnapshotRestore, SnapshotCreate}).
		Order("num DESC").Limit(1).Find(&made).Error
	if made.StartedAt > 0 {
		twin.Ours, twin.Made = true, time.Duration(made.FinishedAt-made.StartedAt)*time.Microsecond
	}
	return twin, err
}

// RecordTwin writes into the audit that the second copy of an object was deleted.
func (s *Store) RecordTwin(ctx context.Context, kind SubjectType, row *TwinRow, backendID string) error {
	return s.writeQuietly(ctx, func(tx *gorm.DB) error {
		return s.record(tx, Actor{Name: "blockconsole", Project: DefaultProject}, AuditEntry{
			Action: "twin.delete", SubjectType: string(kind), SubjectID: row.ID, SubjectName: row.Name, Detail: backendID, Outcome: AuditDone,
		})
	})
}
