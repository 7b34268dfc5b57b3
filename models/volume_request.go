package models

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"

	"gorm.io/gorm"
)

// VolumeInput is the form «Volume 생성»: empty, from a snapshot, or from an image.
type VolumeInput struct {
	Name, Description string
	Size              string // GiB as typed; empty with a snapshot: the snapshot's
	SnapshotID        string
	ImageID           string
	ServerID          string // to attach to when it is made
	Type, Zone        string
	FormKey           string
}

// CreateVolume asks for a volume; with a snapshot this is the restore. Invalid
// fields: name, description, size_gib, snapshot_id, image, server_id, volume_type,
// availability_zone,
// quota (the project's limit, with the figures).
func (s *Store) CreateVolume(ctx context.Context, actor Actor, in VolumeInput) (*Operation, error) {
	if d := CanRole(ActCreateVolume, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, in.FormKey, func(tx *gorm.DB) (*Operation, error) {
		if !s.ownProjectKnown() {
			return nil, Refused(NewDenial("deny.not_ready"))
		}
		fields := FieldErrors{}
		fields.Add("name", ValidateName(in.Name))
		fields.Add("description", ValidateDescription(in.Description))
		s.checkPlacement(in, fields)
		source, least, err := s.checkSource(tx, actor, in, fields)
		if err != nil {
			return nil, err
		}
		size := s.checkSize(in, least, fields)
		if in.ServerID != "" {
			if err := s.checkServer(tx, s.projectFor(actor), in.ServerID, fields); err != nil {
				return nil, err
			}
		}
		CheckQuota(s.Capabilities().QuotaForVolume(size), in.Type, true, fields)
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertVolume(tx, actor, in, source, size)
	})
}

func (s *Store) checkPlacement(in VolumeInput, fields FieldErrors) {
	facts := s.Capabilities()
	if in.Type != "" && !slices.Contains(facts.Types, in.Type) {
		fields["volume_type"] = NewText("choice.unknown")
	}
	if in.Zone != "" && !slices.Contains(facts.Zones, in.Zone) {
		fields["availability_zone"] = NewText("choice.unknown")
	}
	if in.SnapshotID != "" && in.ImageID != "" {
		fields["image"] = NewText("source.only_one")
	}
}

// checkSource finds what the volume is made of, and the least size it needs in GiB.
func (s *Store) checkSource(tx *gorm.DB, actor Actor, in VolumeInput, fields FieldErrors) (*Snapshot, int, error) {
	if in.SnapshotID != "" {
		snapshot, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.SnapshotID)
		if errors.Is(err, ErrNotFound) {
			fields["snapshot_id"] = NewText("source.not_found")
			return nil, 1, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if d := s.Rules().Snapshot(ActRestore, snapshot); d != nil {
			return nil, 0, Refused(d)
		}
		return snapshot, snapshot.SizeGiB, nil
	}
	if in.ImageID == "" {
		return nil, 1, nil
	}
	var image Image
	err := takeOne(tx.Where("id = ?", searchable(in.ImageID)), &image)
	if errors.Is(err, ErrNotFound) {
		fields["image"] = NewText("image.not_found")
		return nil, 1, nil
	}
	return nil, image.MinGiB(), err
}

func (s *Store) checkSize(in VolumeInput, least int, fields FieldErrors) int {
	if in.Size == "" && in.SnapshotID != "" {
		return least
	}
	size, wrong := ParseSize(in.Size)
	limit := s.Capabilities().MaxSizeGiB
	switch {
	case wrong != nil:
		fields["size_gib"] = *wrong
	case size < least:
		fields["size_gib"] = NewText("size.too_small", strconv.Itoa(least))
	case limit > 0 && size > limit:
		fields["size_gib"] = NewText("size.too_large", strconv.Itoa(limit))
	}
	return size
}

// checkServer says whether a volume of the project can be attached to the server: a
// cloud lets no server use what is another project's.
func (s *Store) checkServer(tx *gorm.DB, project, id string, fields FieldErrors) error {
	if !s.Capabilities().Attach {
		fields["server_id"] = NewText("deny.unsupported")
		return nil
	}
	var server Server
	q := tx
	if s.Capabilities().OwnServers { // nobody removes it meanwhile
		q = s.forUpdate(tx)
	}
	err := takeOne(inProject(q, project).Where("id = ? AND origin = ?", searchable(id), s.serverOrigin()), &server)
	if errors.Is(err, ErrNotFound) {
		fields["server_id"] = NewText("server.not_found")
		return nil
	}
	return err
}

func (s *Store) insertVolume(tx *gorm.DB, actor Actor, in VolumeInput, source *Snapshot, size int) (*Operation, error) {
	now := Micros(s.Now())
	row := Volume{
		ID: NewID(), ProjectID: s.projectFor(actor), Name: in.Name, Description: in.Description,
		Status: Creating, StatusSince: now, Percent: -1, SizeGiB: size, ImageID: in.ImageID,
		VolumeType: in.Type, Zone: in.Zone, CreatedBy: actor.Name, Origin: ByHand, CreatedAt: now, Version: 1,
	}
	op := &Operation{Kind: VolumeCreate, SubjectType: SubjectVolume, SubjectID: row.ID, SubjectName: in.Name,
		Params: Params{Name: in.Name, Description: in.Description, SizeGiB: size, ImageID: in.ImageID, ServerID: in.ServerID}}
	if source != nil {
		row.SnapshotID, row.Consistency = source.ID, source.Consistency
		op.Kind, op.Params.SnapshotID = SnapshotRestore, source.ID
	}
	return op, tx.Create(&row).Error
}

// EditVolume renames a volume: the row changes at once, the backend follows.
// CodeStale: somebody else changed it since Version.
func (s *Store) EditVolume(ctx context.Context, actor Actor, in EditInput) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActEdit, in.ID, in.FormKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if err := in.Validate(row.Name); err != nil {
			return nil, err
		}
		in := in.KeepingName(row.Name)
		if in.Version > 0 && in.Version != row.Version {
			return nil, &Error{Code: CodeStale, Text: NewText("conflict.version")}
		}
		return &Operation{
			Kind: VolumeEdit, SubjectName: in.Name,
			Params: Params{Name: in.Name, Description: in.Description, OldName: row.Name, OldDescription: row.Description},
		}, changeRow(tx, &Volume{}, row.ID, row.Status, s.editColumns(actor, in))
	})
}

// ExtendVolume asks for a larger size, in GiB as typed. Invalid field: size_gib.
func (s *Store) ExtendVolume(ctx context.Context, actor Actor, id, typed, formKey string) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActExtend, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		fields := FieldErrors{}
		size := s.checkSize(VolumeInput{Size: typed}, row.SizeGiB+1, fields)
		if row.ProjectID == s.OwnProjectID() { // another project's limits are not known
			CheckQuota(s.Capabilities().QuotaForExtension(size-row.SizeGiB), row.VolumeType, true, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeExtend, Params: Params{SizeGiB: size, PriorStatus: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.statusColumns(Extending))
	})
}

// AttachVolume asks that the server sees the volume. Invalid field: server_id.
func (s *Store) AttachVolume(ctx context.Context, actor Actor, id, server, formKey string) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActAttach, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		fields := FieldErrors{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		for _, a := range row.Attachments {
			if a.ServerID == server {
				fields["server_id"] = NewText("server.already_attached")
			}
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeAttach, Params: Params{ServerID: server, PriorStatus: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.statusColumns(Attaching))
	})
}

// DetachVolume asks that the server no longer sees the volume; an empty server
// means the only one. force cuts it off although it uses the volume, also when a
// detaching already waits for it. Invalid fields: server_id, force (needed there).
func (s *Store) DetachVolume(ctx context.Context, actor Actor, id, server string, force bool, formKey string) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActDetach, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		known := false
		for _, a := range row.Attachments {
			known = known || a.ServerID == server
		}
		if !known {
			return nil, Invalid("server_id", NewText("server.not_attached"))
		}
		op := &Operation{Kind: VolumeDetach, Params: Params{ServerID: server, Force: force, PriorStatus: row.Status}}
		if row.Status == Detaching {
			if !force {
				return nil, Invalid("force", NewText("detach.waits"))
			}
			op.Lane, op.Params.PriorStatus = row.ID+"/cut", InUse // it overtakes the one that waits
			return op, nil
		}
		return op, changeRow(tx, &Volume{}, row.ID, row.Status, s.statusColumns(Detaching))
	})
}

// DeleteVolume asks for the deletion of a volume that is detached and has no
// snapshots.
func (s *Store) DeleteVolume(ctx context.Context, actor Actor, id, formKey string) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActDelete, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		return &Operation{Kind: VolumeDelete, Params: Params{PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(tx.Where("attachment_count = 0 AND snapshot_count = 0"), &Volume{}, row.ID, row.Status, s.statusColumns(Deleting))
	})
}

// RepairVolume puts a volume that is stuck into a status from which one can go
// on. What was under way for it ends as failed.
func (s *Store) RepairVolume(ctx context.Context, actor Actor, in RepairInput) (*Operation, error) {
	return s.enqueueVolume(ctx, actor, ActRepair, in.ID, in.FormKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeRepair, Lane: repairLane(row.ID), Params: Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.cancelQueued(tx, row.ID)
	})
}

// RevertVolume asks that the volume gets the bytes of its latest snapshot back.
func (s *Store) RevertVolume(ctx context.Context, actor Actor, snapshotID, formKey string) (*Operation, error) {
	snapshot, err := s.Snapshot(ctx, actor, snapshotID)
	if err != nil {
		return nil, err
	}
	return s.enqueueVolume(ctx, actor, ActRevert, snapshot.VolumeID, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		source, err := s.snapshotForUpdate(tx, s.scope(actor.Project), snapshot.ID)
		if err != nil {
			return nil, err
		}
		if d, err := s.revertDenial(tx, source, row); d != nil || err != nil {
			return nil, denialError(d, err)
		}
		return &Operation{Kind: VolumeRevert, Params: Params{SnapshotID: source.ID, PriorStatus: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.statusColumns(Restoring))
	})
}

func denialError(d *Denial, err error) error {
	if err != nil {
		return err
	}
	return Refused(d)
}

// revertDenial: both AVAILABLE, the latest snapshot, of equal size.
func (s *Store) revertDenial(tx *gorm.DB, snapshot *Snapshot, v *Volume) (*Denial, error) {
	if d := s.Rules().Snapshot(ActRevert, snapshot); d != nil {
		return d, nil
	}
	if snapshot.SizeGiB != v.SizeGiB {
		return NewDenial("deny.size_differs"), nil
	}
	var newest Snapshot
	err := takeOne(tx.Where("volume_id = ?", v.ID).Order("created_at DESC, id DESC"), &newest)
	if err == nil && newest.ID != snapshot.ID {
		return &Denial{Text: NewText("deny.not_latest"), Snaps: []Link{newest.Link()}}, nil
	}
	return nil, ignoreNotFound(err)
}

// enqueueVolume is ask for an action on one volume: role and rules first, then fn,
// which checks the form and changes the row.
func (s *Store) enqueueVolume(ctx context.Context, actor Actor, action Action, id, formKey string,
	fn func(tx *gorm.DB, row *Volume) (*Operation, error)) (*Operation, error) {
	if d := CanRole(action, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.enqueue(ctx, actor, formKey, func(tx *gorm.DB) (*Operation, error) {
		if action == ActRepair {
			if err := s.lockSubject(tx, s.scope(actor.Project), SubjectVolume, id); err != nil {
				return nil, err
			}
		}
		row, err := s.volumeForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Volume(action, row); d != nil {
			if action == ActDelete && row.SnapshotCount > 0 {
				d.Snaps, err = s.snapshotLinks(tx, row.ID)
			}
			if err != nil {
				return nil, err
			}
			return nil, Refused(d)
		}
		op, err := fn(tx, row)
		if err != nil {
			return nil, err
		}
		op.SubjectType, op.SubjectID, op.ProjectID = SubjectVolume, row.ID, row.ProjectID
		op.SubjectName = cmp.Or(op.SubjectName, row.Name)
		return op, nil
	})
}

// snapshotLinks names the first snapshots that keep a volume from being deleted.
func (s *Store) snapshotLinks(tx *gorm.DB, volume string) ([]Link, error) {
	var links []Link
	return links, tx.Model(&Snapshot{}).Select("id", "name").Where("volume_id = ?", volume).
		Order("created_at DESC, id DESC").Limit(20).Find(&links).Error
}
