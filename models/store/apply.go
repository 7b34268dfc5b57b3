package store

import (
	"cmp"
	"errors"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// ObservedState is the state of a volume or snapshot in the backend. Empty and nil
// fields change nothing in the row.
type ObservedState struct {
	BackendID   string
	Status      models.Status
	Percent     int
	Failure     models.Failure
	RequestID   string
	SizeGiB     int
	Name        *string
	Description *string
	Consistency models.Consistency
	Attachments *[]backend.Attachment // of a volume; all of them
	Hold        *int64                // microseconds: Volume.HoldUS or Snapshot.HeldUS
	Export      *models.Export        // of a volume
	Type, Zone  string                // of a volume
	Gone        bool                  // the object no longer exists: the row is deleted

	fromListing bool // listings do not have the reason of a failure
}

// sanitized makes the backend's texts acceptable to both databases.
func (o ObservedState) sanitized() ObservedState {
	o.BackendID, o.Status, o.RequestID = models.Sanitize(o.BackendID), models.Status(models.Sanitize(string(o.Status))), models.Sanitize(o.RequestID)
	o.Failure = o.Failure.Sanitized()
	return o
}

// applyVolume writes what differs into the row of a volume. A missing row is no error.
func (s *Store) applyVolume(tx *gorm.DB, id string, o ObservedState) error {
	o = o.sanitized()
	if o.Gone {
		return tx.Where("id = ?", id).Delete(&models.Volume{}).Error
	}
	var v models.Volume
	if err := takeOne(s.forUpdate(tx).Where("id = ?", id), &v); err != nil {
		return ignoreNotFound(err)
	}
	if o.Attachments != nil {
		if err := replaceAttachments(tx, id, *o.Attachments); err != nil {
			return err
		}
	}
	return updateColumns(tx, &models.Volume{}, id, s.changedColumns(o, volumeState(&v), v.Consistency))
}

// applySnapshot is applyVolume for snapshots.
func (s *Store) applySnapshot(tx *gorm.DB, id string, o ObservedState) error {
	o = o.sanitized()
	if o.Gone {
		return tx.Where("id = ?", id).Delete(&models.Snapshot{}).Error
	}
	var v models.Snapshot
	if err := takeOne(s.forUpdate(tx).Where("id = ?", id), &v); err != nil {
		return ignoreNotFound(err)
	}
	return updateColumns(tx, &models.Snapshot{}, id, s.changedColumns(o, snapshotState(&v), v.Consistency))
}

// rowState are the columns of a volume or snapshot that ObservedState may change.
type rowState struct {
	status            models.Status
	percent           int
	failure           models.Failure
	backendID         string
	size              int
	name, description string
	holdColumn        string
	hold              int64
	export            models.Export
	volumeType, zone  string
}

func volumeState(v *models.Volume) rowState {
	return rowState{v.Status, v.Percent, v.Failure, v.BackendID, v.SizeGiB, v.Name, v.Description, "hold_us", v.HoldUS, v.Export, v.VolumeType, v.Zone}
}

func snapshotState(s *models.Snapshot) rowState {
	return rowState{s.Status, s.Percent, s.Failure, s.BackendID, s.SizeGiB, s.Name, s.Description, "held_us", s.HeldUS, models.Export{}, "", ""}
}

// changedColumns returns the columns that differ: a reconciliation without news writes
// nothing, and wakes no page.
func (s *Store) changedColumns(o ObservedState, row rowState, consistency models.Consistency) map[string]any {
	set := map[string]any{}
	if o.Status != "" && o.Status != row.status {
		set["status"] = o.Status
		set["status_since"] = models.Micros(s.Now())
	}
	if o.Status != "" && o.Percent != row.percent {
		set["percent"] = o.Percent
	}
	if o.Status != "" && !o.Failure.Equal(row.failure) && !o.lacksDetail(row) {
		set["failure"] = o.Failure
		set["request_id"] = o.RequestID
	}
	if o.BackendID != "" && o.BackendID != row.backendID {
		set["backend_id"] = o.BackendID
	}
	if o.SizeGiB > 0 && o.SizeGiB != row.size {
		set["size_gib"] = o.SizeGiB
	}
	if o.Name != nil && *o.Name != row.name {
		set["name"] = *o.Name
	}
	if o.Description != nil && *o.Description != row.description {
		set["description"] = *o.Description
	}
	if o.Consistency != models.ConsistencyUnknown && o.Consistency != consistency {
		set["consistency"] = o.Consistency
	}
	if o.Hold != nil && *o.Hold != row.hold {
		set[row.holdColumn] = *o.Hold
	}
	if o.Type != "" && o.Type != row.volumeType || o.Zone != "" && o.Zone != row.zone {
		set["volume_type"], set["zone"] = cmp.Or(o.Type, row.volumeType), cmp.Or(o.Zone, row.zone)
		set["version"] = gorm.Expr("version + 1")
	}
	if o.Export != nil && *o.Export != row.export {
		set["export"] = *o.Export
	}
	return set
}

// lacksDetail reports whether the row must keep its failure, because a listing has the
// same status without a reason: the row's reason came from another call, or from a
// refused request.
func (o ObservedState) lacksDetail(row rowState) bool {
	if row.failure.IsDisk() {
		return false // listings have these, and the end of them
	}
	return o.fromListing && o.Status == row.status && row.failure.Key != failureMissing && (o.Failure.None() || o.Failure.Key == models.FailureUnknown)
}

// attachmentDiff returns the rows to save and to remove so that a volume has the
// attachments of the backend. A name that the backend leaves out is kept, and so is the
// last use.
func attachmentDiff(volume string, before []models.Attachment, now []backend.Attachment) difference[models.Attachment] {
	old := map[string]models.Attachment{}
	for _, a := range before {
		old[a.ServerID] = a
	}
	var rows []models.Attachment
	for _, attachment := range now {
		a := models.Attachment{VolumeID: volume, Attachment: attachment}
		a.ServerID, a.ServerName, a.Device = models.Sanitize(a.ServerID), models.Sanitize(a.ServerName), models.Sanitize(a.Device)
		a.ServerName = cmp.Or(a.ServerName, old[a.ServerID].ServerName)
		a.UsedAt = max(a.UsedAt, old[a.ServerID].UsedAt)
		rows = append(rows, a)
	}
	return diff(before, rows, func(a models.Attachment) string { return a.ServerID }, func(a, b models.Attachment) bool {
		return a.ServerName == b.ServerName && a.Device == b.Device && a.UsedAt == b.UsedAt
	})
}

func replaceAttachments(tx *gorm.DB, volume string, now []backend.Attachment) error {
	var before []models.Attachment
	if err := tx.Where("volume_id = ?", volume).Find(&before).Error; err != nil {
		return err
	}
	return attachmentDiff(volume, before, now).apply(tx)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}
