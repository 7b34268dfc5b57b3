package store

import (
	"cmp"
	"errors"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// ObservedState is what the backend said about a volume or snapshot. Empty fields say
// nothing and change nothing.
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
	Attachments *[]backend.Attachment // of a volume; the whole set
	Hold        *int64                // microseconds: of a volume how long a snapshot would hold its writes, of a snapshot how long it did
	Export      *models.Export        // of a volume
	Type, Zone  string                // of a volume, where it may change elsewhere
	Gone        bool                  // it does not exist any more: the row leaves

	fromListing bool // it comes from a listing, which does not tell why something went wrong
}

// Sanitized makes the backend's words fit for both databases.
func (o ObservedState) sanitized() ObservedState {
	o.BackendID, o.Status, o.RequestID = models.Sanitize(o.BackendID), models.Status(models.Sanitize(string(o.Status))), models.Sanitize(o.RequestID)
	o.Failure = o.Failure.Sanitized()
	return o
}

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

// rowState is what a row says of its object at present.
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
	kind, zone        string
}

func volumeState(v *models.Volume) rowState {
	return rowState{v.Status, v.Percent, v.Failure, v.BackendID, v.SizeGiB, v.Name, v.Description, "hold_us", v.HoldUS, v.Export, v.VolumeType, v.Zone}
}

func snapshotState(s *models.Snapshot) rowState {
	return rowState{s.Status, s.Percent, s.Failure, s.BackendID, s.SizeGiB, s.Name, s.Description, "held_us", s.HeldUS, models.Export{}, "", ""}
}

// changedColumns are the columns that differ: a look that finds nothing new
// writes nothing, and so wakes nobody.
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
	if moved := o.Type != "" && o.Type != row.kind || o.Zone != "" && o.Zone != row.zone; moved {
		set["volume_type"], set["zone"] = cmp.Or(o.Type, row.kind), cmp.Or(o.Zone, row.zone)
		set["version"] = gorm.Expr("version + 1")
	}
	if o.Export != nil && *o.Export != row.export {
		set["export"] = *o.Export
	}
	return set
}

// lacksDetail says that a listing, finding the same status, has no reason to give
// while the row has one: of a backend that does not tell, or of a request that it
// refused.
func (o ObservedState) lacksDetail(row rowState) bool {
	if row.failure.IsDisk() {
		return false // the backend tells these, and when they are over
	}
	return o.fromListing && o.Status == row.status && row.failure.Key != failureMissing && (o.Failure.None() || o.Failure.Key == models.FailureUnknown)
}

func sameAttachments(before []models.Attachment, now []backend.Attachment) bool {
	if len(before) != len(now) {
		return false
	}
	known := map[string]models.Attachment{}
	for _, a := range before {
		known[a.ServerID] = a
	}
	for _, a := range now {
		old, there := known[models.Sanitize(a.ServerID)]
		name := cmp.Or(models.Sanitize(a.ServerName), old.ServerName)
		if !there || old.ServerName != name || old.Device != models.Sanitize(a.Device) || a.UsedAt > old.UsedAt {
			return false
		}
	}
	return true
}

func replaceAttachments(tx *gorm.DB, volume string, now []backend.Attachment) error {
	var before []models.Attachment
	if err := tx.Where("volume_id = ?", volume).Find(&before).Error; err != nil {
		return err
	}
	known := map[string]models.Attachment{}
	for _, a := range before {
		known[a.ServerID] = a
	}
	for _, port := range now {
		a := models.Attachment{VolumeID: volume, Attachment: port}
		a.ServerID, a.ServerName, a.Device = models.Sanitize(a.ServerID), models.Sanitize(a.ServerName), models.Sanitize(a.Device)
		old, there := known[a.ServerID]
		delete(known, a.ServerID)
		a.ServerName = cmp.Or(a.ServerName, old.ServerName)
		a.UsedAt = max(a.UsedAt, old.UsedAt)
		if there && old.ServerName == a.ServerName && old.Device == a.Device && a.UsedAt == old.UsedAt {
			continue
		}
		if err := tx.Save(&a).Error; err != nil {
			return err
		}
	}
	for id := range known {
		if err := tx.Where("volume_id = ? AND server_id = ?", volume, id).Delete(&models.Attachment{}).Error; err != nil {
			return err
		}
	}
	return nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}
