package models

import (
	"context"
	"errors"
	"strings"

	"gorm.io/gorm"
)

// SnapshotInput is the form «Block Snapshot 생성».
type SnapshotInput struct {
	VolumeID, Name, Description string
	Acknowledge                 bool
	FormKey                     string
}

// CreateSnapshot asks for a snapshot. Snapshots of one volume queue: a second
// request is accepted while the first is under way. Invalid fields: volume_id,
// name, description, acknowledge (the volume is attached and the tick is
// findMissing), quota (the project's limit, with the figures).
func (s *Store) CreateSnapshot(ctx context.Context, actor Actor, in SnapshotInput) (*Operation, error) {
	if d := CanRole(ActCreateSnapshot, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*Operation, error) {
		fields := FieldErrors{}
		fields.Add("name", ValidateName(in.Name))
		fields.Add("description", ValidateDescription(in.Description))
		v, err := s.volumeForUpdate(tx, s.scope(actor.Project), in.VolumeID)
		switch {
		case in.VolumeID == "":
			fields["volume_id"] = NewText("volume.required")
		case errors.Is(err, ErrNotFound):
			fields["volume_id"] = NewText("volume.not_found")
		case err != nil:
			return nil, err
		default:
			if d := s.Rules().Volume(ActCreateSnapshot, v); d != nil {
				return nil, Refused(d)
			}
			if v.IsAttached() && !in.Acknowledge {
				fields["acknowledge"] = NewText("ack.required")
			}
			CheckQuota(s.Capabilities().QuotaForSnapshot(v.SizeGiB), v.VolumeType, false, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertSnapshot(tx, actor, in, v)
	})
}

func (s *Store) insertSnapshot(tx *gorm.DB, actor Actor, in SnapshotInput, v *Volume) (*Operation, error) {
	now := Micros(s.Now())
	row := Snapshot{
		ID: NewID(), ProjectID: s.projectFor(actor), VolumeID: v.ID, VolumeName: v.Name, Name: in.Name, Description: in.Description,
		Status: Creating, StatusSince: now, Percent: -1, SizeGiB: v.SizeGiB, CreatedBy: actor.Name, Origin: ByHand,
		Consistency: s.consistencyOf(v), TakenFrom: strings.Join(v.ServerNames(), "\n"), CreatedAt: now, Version: 1,
	}
	if err := tx.Create(&row).Error; err != nil {
		return nil, err
	}
	return &Operation{
		Kind: SnapshotCreate, SubjectType: SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, Lane: v.ID,
		Params: Params{VolumeID: v.ID, Name: in.Name, Description: in.Description, SizeGiB: v.SizeGiB,
			Attached: v.IsAttached(), Acknowledged: in.Acknowledge},
	}, nil
}

func (s *Store) consistencyOf(v *Volume) Consistency {
	switch {
	case !v.IsAttached():
		return Clean
	case s.Capabilities().CrashSafe:
		return CrashConsistent
	}
	return Inconsistent
}

func (v *Volume) IsAttached() bool {
	return v.Status == InUse || v.AttachmentCount > 0 || len(v.Attachments) > 0
}

// EditInput is a form «… 수정». Version 0 does not ask whether somebody else was
// faster.
type EditInput struct {
	ID, Name, Description string
	Version               int64
	FormKey               string
}

func (in EditInput) Validate(oldName string) error {
	fields := FieldErrors{}
	if in.Name != withoutLineBreaks(oldName) { // a name that came from a cloud may stay as it is
		fields.Add("name", ValidateName(in.Name))
	}
	fields.Add("description", ValidateDescription(in.Description))
	return fields.Err()
}

// withoutLineBreaks is a name as a browser sends it back: its fields have one line.
func withoutLineBreaks(name string) string {
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

// KeepingName is the name to save: the old one where it was not changed.
func (in EditInput) KeepingName(oldName string) EditInput {
	if in.Name == withoutLineBreaks(oldName) {
		in.Name = oldName
	}
	return in
}

// EditSnapshot renames a snapshot: the row changes at once, the backend follows.
// CodeStale: somebody else changed it since Version.
func (s *Store) EditSnapshot(ctx context.Context, actor Actor, in EditInput) (*Operation, error) {
	if d := CanRole(ActEdit, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*Operation, error) {
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.ID)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(ActEdit, row); d != nil {
			return nil, Refused(d)
		}
		if err := in.Validate(row.Name); err != nil {
			return nil, err
		}
		in := in.KeepingName(row.Name)
		if in.Version > 0 && in.Version != row.Version {
			return nil, &Error{Code: CodeStale, Text: NewText("conflict.version")}
		}
		if err := changeRow(tx, &Snapshot{}, row.ID, row.Status, s.editColumns(actor, in)); err != nil {
			return nil, err
		}
		return &Operation{
			Kind: SnapshotEdit, SubjectType: SubjectSnapshot, SubjectID: row.ID, SubjectName: in.Name, ProjectID: row.ProjectID,
			Params: Params{Name: in.Name, Description: in.Description, OldName: row.Name, OldDescription: row.Description},
		}, nil
	})
}

func (s *Store) editColumns(actor Actor, in EditInput) map[string]any {
	return map[string]any{
		"name": in.Name, "description": in.Description, "version": gorm.Expr("version + 1"),
		"edited_by": actor.Name, "edited_at": Micros(s.Now()),
	}
}

// DeleteSnapshot asks for the deletion of a snapshot.
func (s *Store) DeleteSnapshot(ctx context.Context, actor Actor, id, formKey string) (*Operation, error) {
	if d := CanRole(ActDelete, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, formKey, func(tx *gorm.DB) (*Operation, error) {
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		dependents, err := s.dependents(tx, row)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(ActDelete, row, dependents...); d != nil {
			return nil, Refused(d)
		}
		if err := changeRow(tx, &Snapshot{}, row.ID, row.Status, s.statusColumns(Deleting)); err != nil {
			return nil, err
		}
		return &Operation{
			Kind: SnapshotDelete, SubjectType: SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, ProjectID: row.ProjectID,
			Params: Params{VolumeID: row.VolumeID, PriorStatus: row.Status, BackendID: row.BackendID},
		}, nil
	})
}

// dependents are the volumes that stand in the way of deleting a snapshot: those
// being made from it now, and where the backend says so all that were.
func (s *Store) dependents(tx *gorm.DB, row *Snapshot) ([]Link, error) {
	q := tx.Model(&Volume{}).Select("id", "name").Where("snapshot_id = ? AND snapshot_id <> ''", row.ID).Order("id").Limit(20)
	if !s.Capabilities().BusySnapshots {
		q = q.Where("status = ?", Creating)
	}
	var links []Link
	return links, q.Find(&links).Error
}

// RepairInput is the administrator's form «복구».
type RepairInput struct {
	ID, Reason string
	ResetTo    Status // ErrorStatus or Available
	FormKey    string
}

func (in RepairInput) Validate() error {
	fields := FieldErrors{}
	if strings.TrimSpace(in.Reason) == "" {
		fields["reason"] = NewText("reason.required")
	}
	fields.Add("reason", ValidateDescription(in.Reason))
	if in.ResetTo != ErrorStatus && in.ResetTo != Available {
		fields["reset_to"] = NewText("repair.reset_to_invalid")
	}
	return fields.Err()
}

// RepairSnapshot puts a snapshot that is stuck into a status from which one can go
// on. What was under way for it ends as failed.
func (s *Store) RepairSnapshot(ctx context.Context, actor Actor, in RepairInput) (*Operation, error) {
	if d := CanRole(ActRepair, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*Operation, error) {
		if err := s.lockSubject(tx, s.scope(actor.Project), SubjectSnapshot, in.ID); err != nil {
			return nil, err
		}
		row, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.ID)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Snapshot(ActRepair, row); d != nil {
			return nil, Refused(d)
		}
		if err := in.Validate(); err != nil {
			return nil, err
		}
		if err := s.cancelQueued(tx, row.ID); err != nil {
			return nil, err
		}
		return &Operation{
			Kind: SnapshotRepair, SubjectType: SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, ProjectID: row.ProjectID, Lane: repairLane(row.ID),
			Params: Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status},
		}, nil
	})
}

// repairLane lets a repair overtake what is stuck before it.
func repairLane(subject string) string { return subject + "/repair" }

// lockSubject locks the operations under way on a subject before its row is locked: a
// worker that saves does it in that order too.
func (s *Store) lockSubject(tx *gorm.DB, scope string, kind SubjectType, id string) error {
	if !s.postgres {
		return nil
	}
	var subjects []string
	if err := byID(tx.Table(string(kind)+"s"), scope, id).Pluck("id", &subjects).Error; err != nil {
		return err
	}
	var locked []int64
	return s.forUpdate(tx).Model(&Operation{}).Where("subject_id IN ? AND finished_at = 0", subjects).Order("num").Pluck("num", &locked).Error
}

// cancelQueued ends what is under way on a subject, because an administrator repairs
// it.
func (s *Store) cancelQueued(tx *gorm.DB, subject string) error {
	now := Micros(s.Now())
	return tx.Model(&Operation{}).Where("subject_id = ? AND finished_at = 0", subject).Updates(map[string]any{
		"state": Failed, "finished_at": now, "lease_owner": "", "lease_until": 0, "last_error": Failure{Text: NewText("failure.abandoned")},
	}).Error
}

// changeRow updates a row as long as it still has the status that the rules were
// asked about.
func changeRow(tx *gorm.DB, model any, id string, was Status, set map[string]any) error {
	result := tx.Model(model).Where("id = ? AND status = ?", id, was).Updates(set)
	if result.Error != nil {
		return result.Error
	}
	if result.RowsAffected != 1 {
		return &Error{Code: CodeConflict, Text: NewText("conflict.state")}
	}
	return nil
}

// statusColumns is the change of a row to a status the user asked for.
func (s *Store) statusColumns(to Status) map[string]any {
	return map[string]any{"status": to, "status_since": Micros(s.Now()), "percent": -1, "failure": Failure{}, "request_id": ""}
}

func (s *Store) snapshotForUpdate(tx *gorm.DB, scope, id string) (*Snapshot, error) {
	var row Snapshot
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, err
	}
	return &row, nil
}

func (s *Store) volumeForUpdate(tx *gorm.DB, scope, id string) (*Volume, error) {
	var row Volume
	if err := takeOne(s.forUpdate(byID(tx, scope, id)), &row); err != nil {
		return nil, err
	}
	if err := tx.Where("volume_id = ?", row.ID).Order("server_name, server_id").Find(&row.Attachments).Error; err != nil {
		return nil, err
	}
	return &row, nil
}

// byID finds an object of a scope by the console's id or by the backend's.
func byID(q *gorm.DB, scope, id string) *gorm.DB {
	id = searchable(id)
	return inProject(q.Where("(id = ? OR (backend_id = ? AND backend_id <> ''))", id, id), scope)
}
