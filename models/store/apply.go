package store

import (
	"cmp"
	"errors"
	"slices"

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
	Attachments *[]backend.Attachment // all of them
	OnlyServer  string                // of Attachments and Export, what this server changes: operations for others may be under way
	Hold        *int64                // microseconds: Volume.HoldUS or Snapshot.HeldUS
	TakenAt     *int64                // microseconds of Unix time, of a snapshot; 0: the instant was lost
	TakenFrom   *string               // of a snapshot: Snapshot.TakenFrom
	Export      *models.Export
	Type, Zone  string         // of a volume
	Checks      *models.Checks // of a snapshot
	Gone        bool           // the object no longer exists: the row is deleted

	fromListing bool // listings do not have the reason of a failure
}

// sanitized makes the backend's texts acceptable to both databases.
func (o ObservedState) sanitized() ObservedState {
	o.BackendID, o.Status, o.RequestID = models.Sanitize(o.BackendID), models.Status(models.Sanitize(string(o.Status))), models.Sanitize(o.RequestID)
	o.Failure = o.Failure.Sanitized()
	if o.Checks != nil {
		checks := *o.Checks
		checks.Damage = checks.Damage.Sanitized()
		o.Checks = &checks
	}
	return o
}

// apply writes what differs into the row of a volume or snapshot. A missing row is no
// error.
func (s *Store) apply(tx *gorm.DB, kind models.SubjectType, id string, o ObservedState) error {
	o = o.sanitized()
	if o.Gone {
		return tx.Where("id = ?", id).Delete(modelOf(kind)).Error
	}
	rows, err := s.rowStates(s.forUpdate(tx).Where("id = ?", id), kind)
	if err != nil || len(rows) == 0 {
		return err
	}
	if o.OnlyServer != "" {
		o.keepOthers(&rows[0])
	}
	if o.Attachments != nil {
		if err := attachmentDiff(id, rows[0].attachments, *o.Attachments).apply(tx); err != nil {
			return err
		}
	}
	set := s.changedColumns(o, rows[0])
	if len(set) == 0 {
		return nil
	}
	return tx.Model(modelOf(kind)).Where("id = ?", id).Updates(set).Error
}

// keepOthers leaves out of the state and the row what other servers than OnlyServer have:
// their part of what was observed may be older than the row.
func (o *ObservedState) keepOthers(row *rowState) {
	all := len(row.attachments)
	row.attachments = slices.DeleteFunc(row.attachments, func(a models.Attachment) bool { return a.ServerID != o.OnlyServer })
	now := slices.DeleteFunc(slices.Clone(*o.Attachments), func(a backend.Attachment) bool { return a.ServerID != o.OnlyServer })
	o.Attachments = &now
	if o.Export != nil && o.Export.None() && all > len(row.attachments) {
		o.Export = nil
	}
}

func modelOf(kind models.SubjectType) any {
	if kind == models.SubjectSnapshot {
		return &models.Snapshot{}
	}
	return &models.Volume{}
}

// rowState are the columns of a volume or snapshot that ObservedState may change.
type rowState struct {
	id, backendID     string
	status            models.Status
	percent           int
	failure           models.Failure
	size              int
	name, description string
	consistency       models.Consistency
	holdColumn        string
	hold, takenAt     int64
	takenFrom         string
	export            models.Export
	volumeType, zone  string
	attachments       []models.Attachment
	checks            models.Checks
}

// rowStates loads the rows that a query selects.
func (s *Store) rowStates(q *gorm.DB, kind models.SubjectType) (states []rowState, err error) {
	if kind == models.SubjectSnapshot {
		var rows []models.Snapshot
		if err := q.Find(&rows).Error; err != nil {
			return nil, err
		}
		err = attachmentsOf(q.Session(&gorm.Session{NewDB: true}), rows, snapshotAttached)
		for _, r := range rows {
			states = append(states, rowState{
				id: r.ID, backendID: r.BackendID, status: r.Status, percent: r.Percent, failure: r.Failure, size: r.SizeGiB,
				name: r.Name, description: r.Description, consistency: r.Consistency, holdColumn: "held_us", hold: r.HeldUS,
				takenAt: r.TakenAt, takenFrom: r.TakenFrom, export: r.Export, attachments: r.Attachments, checks: r.Checks,
			})
		}
		return states, err
	}
	var rows []models.Volume
	if err := q.Find(&rows).Error; err != nil {
		return nil, err
	}
	err = attachmentsOf(q.Session(&gorm.Session{NewDB: true}), rows, volumeAttached)
	for _, r := range rows {
		states = append(states, rowState{
			id: r.ID, backendID: r.BackendID, status: r.Status, percent: r.Percent, failure: r.Failure, size: r.SizeGiB,
			name: r.Name, description: r.Description, consistency: r.Consistency, holdColumn: "hold_us", hold: r.HoldUS,
			export: r.Export, volumeType: r.VolumeType, zone: r.Zone, attachments: r.Attachments,
		})
	}
	return states, err
}

// changedColumns returns the columns that differ: a reconciliation without news writes
// nothing, and wakes no page.
func (s *Store) changedColumns(o ObservedState, row rowState) map[string]any {
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
	if o.Consistency != models.ConsistencyUnknown && o.Consistency != row.consistency {
		set["consistency"] = o.Consistency
	}
	if o.Hold != nil && *o.Hold != row.hold {
		set[row.holdColumn] = *o.Hold
	}
	if o.TakenAt != nil && *o.TakenAt != row.takenAt {
		set["taken_at"] = *o.TakenAt
	}
	if o.TakenFrom != nil && *o.TakenFrom != row.takenFrom {
		set["taken_from"] = *o.TakenFrom
	}
	if o.Type != "" && o.Type != row.volumeType || o.Zone != "" && o.Zone != row.zone {
		set["volume_type"], set["zone"] = cmp.Or(o.Type, row.volumeType), cmp.Or(o.Zone, row.zone)
		set["version"] = gorm.Expr("version + 1")
	}
	if o.Checks != nil && !o.Checks.Equal(row.checks) {
		set["checksummed_at"], set["checked_at"], set["damage"] = o.Checks.ChecksummedAt, o.Checks.CheckedAt, o.Checks.Damage
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
	if row.failure.IsDisk() || row.failure.IsDamage() {
		return false // listings have these, and the end of them
	}
	return o.fromListing && o.Status == row.status && row.failure.Key != failureMissing && (o.Failure.None() || o.Failure.Key == models.FailureUnknown)
}

// attachmentDiff returns the rows to save and to remove so that an object has the
// attachments of the backend. A name that the backend leaves out is kept, and so is the
// last use.
func attachmentDiff(subject string, before []models.Attachment, now []backend.Attachment) difference[models.Attachment] {
	old := map[string]models.Attachment{}
	for _, a := range before {
		old[a.ServerID] = a
	}
	var rows []models.Attachment
	for _, attachment := range now {
		a := models.Attachment{SubjectID: subject, Attachment: attachment}
		a.ServerID, a.ServerName, a.Device = models.Sanitize(a.ServerID), models.Sanitize(a.ServerName), models.Sanitize(a.Device)
		a.ServerName = cmp.Or(a.ServerName, old[a.ServerID].ServerName)
		a.UsedAt = max(a.UsedAt, old[a.ServerID].UsedAt)
		rows = append(rows, a)
	}
	return diff(before, rows, func(a models.Attachment) string { return a.ServerID }, func(a, b models.Attachment) bool {
		return a.ServerName == b.ServerName && a.Device == b.Device && a.UsedAt == b.UsedAt && a.DetachingAt == b.DetachingAt
	})
}

func ignoreNotFound(err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	return err
}
