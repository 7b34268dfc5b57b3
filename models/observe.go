package models

import (
	"context"
	"errors"
	"time"

	"gorm.io/gorm"
)

// Observed is what the backend said about a volume or snapshot. Empty fields say
// nothing and change nothing.
type Observed struct {
	BackendID   string
	Status      Status
	Percent     int
	Failure     Failure
	RequestID   string
	SizeGiB     int
	Name        *string
	Description *string
	Consistency Consistency
	Attachments *[]Attachment // of a volume; the whole set
	Gone        bool          // it does not exist any more: the row leaves
}

// Progress is what one look at an operation found.
type Progress struct {
	State   OperationState // Running: look again at Again
	Again   time.Time
	Step    int
	Percent int
	Trouble Failure // a passing error, shown while it is tried again; or why it failed
	Retry   bool    // Trouble counts as one more attempt
	Request string  // the backend's request id
	Subject *Observed
}

// SaveProgress writes what a look at a leased operation found, together with its
// subject's row, and gives the lease back. ErrLeaseLost: another worker has the
// operation, nothing was written.
func (s *Store) SaveProgress(ctx context.Context, op *Operation, p Progress) error {
	set := map[string]any{
		"step": p.Step, "percent": p.Percent, "last_error": p.Trouble,
		"lease_owner": "", "lease_until": 0, "run_at": Micros(p.Again),
	}
	if p.Retry {
		set["attempts"] = gorm.Expr("attempts + 1")
	}
	if p.Request != "" {
		set["request_id"] = p.Request
	}
	if p.State != Running {
		set["state"] = p.State
		set["finished_at"] = Micros(s.Now())
		set["run_at"] = Micros(s.Now())
	}
	return s.write(ctx, func(tx *gorm.DB) error {
		if err := s.leased(tx, op, set); err != nil {
			return err
		}
		if p.Subject == nil {
			return nil
		}
		if op.SubjectType == SubjectSnapshot {
			return s.observeSnapshot(tx, op.SubjectID, *p.Subject)
		}
		return s.observeVolume(tx, op.SubjectID, *p.Subject)
	})
}

func (s *Store) observeVolume(tx *gorm.DB, id string, o Observed) error {
	if o.Gone {
		return tx.Where("id = ?", id).Delete(&Volume{}).Error
	}
	var v Volume
	if err := first(s.forUpdate(tx).Where("id = ?", id), &v); err != nil {
		return ignoreNotFound(err)
	}
	if o.Attachments != nil {
		if err := replaceAttachments(tx, id, *o.Attachments); err != nil {
			return err
		}
	}
	set := s.observedColumns(o, v.Status, v.Percent, v.Failure, v.BackendID, v.SizeGiB, v.Name, v.Description)
	if o.Consistency != ConsistencyUnknown && o.Consistency != v.Consistency {
		set["consistency"] = o.Consistency
	}
	return updateColumns(tx, &Volume{}, id, set)
}

func (s *Store) observeSnapshot(tx *gorm.DB, id string, o Observed) error {
	if o.Gone {
		return tx.Where("id = ?", id).Delete(&Snapshot{}).Error
	}
	var v Snapshot
	if err := first(s.forUpdate(tx).Where("id = ?", id), &v); err != nil {
		return ignoreNotFound(err)
	}
	set := s.observedColumns(o, v.Status, v.Percent, v.Failure, v.BackendID, v.SizeGiB, v.Name, v.Description)
	if o.Consistency != ConsistencyUnknown && o.Consistency != v.Consistency {
		set["consistency"] = o.Consistency
	}
	return updateColumns(tx, &Snapshot{}, id, set)
}

// observedColumns are the columns that differ: a look that finds nothing new
// writes nothing, and so wakes nobody.
func (s *Store) observedColumns(o Observed, status Status, percent int, failure Failure, backendID string, size int, name, description string) map[string]any {
	set := map[string]any{}
	if o.Status != "" && o.Status != status {
		set["status"] = o.Status
		set["status_since"] = Micros(s.Now())
	}
	if o.Status != "" && o.Percent != percent {
		set["percent"] = o.Percent
	}
	if o.Status != "" && !sameText(o.Failure.Text, failure.Text) {
		set["failure"] = o.Failure
		set["request_id"] = o.RequestID
	}
	if o.BackendID != "" && o.BackendID != backendID {
		set["backend_id"] = o.BackendID
	}
	if o.SizeGiB > 0 && o.SizeGiB != size {
		set["size_gib"] = o.SizeGiB
	}
	if o.Name != nil && *o.Name != name {
		set["name"] = *o.Name
	}
	if o.Description != nil && *o.Description != description {
		set["description"] = *o.Description
	}
	return set
}

func sameText(a, b Text) bool {
	if a.Key != b.Key || len(a.Args) != len(b.Args) {
		return false
	}
	for i := range a.Args {
		if a.Args[i] != b.Args[i] {
			return false
		}
	}
	return true
}

func updateColumns(tx *gorm.DB, model any, id string, set map[string]any) error {
	if len(set) == 0 {
		return nil
	}
	return tx.Model(model).Where("id = ?", id).Updates(set).Error
}

func replaceAttachments(tx *gorm.DB, volume string, now []Attachment) error {
	var before []Attachment
	if err := tx.Where("volume_id = ?", volume).Find(&before).Error; err != nil {
		return err
	}
	known := map[string]Attachment{}
	for _, a := range before {
		known[a.ServerID] = a
	}
	for _, a := range now {
		a.VolumeID = volume
		old, there := known[a.ServerID]
		delete(known, a.ServerID)
		if there && old.ServerName == a.ServerName && old.Device == a.Device {
			continue
		}
		if err := tx.Save(&a).Error; err != nil {
			return err
		}
	}
	for id := range known {
		if err := tx.Where("volume_id = ? AND server_id = ?", volume, id).Delete(&Attachment{}).Error; err != nil {
			return err
		}
	}
	return nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
