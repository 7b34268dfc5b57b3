package models

import (
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
	return s.ask(ctx, actor, in.FormKey, func(tx *gorm.DB) (*Operation, error) {
		if !s.homeKnown() {
			return nil, Refused(deny("deny.not_ready"))
		}
		fields := invalidFields{}
		fields.add("name", ValidateName(in.Name))
		fields.add("description", ValidateDescription(in.Description))
		s.checkPlace(in, fields)
		source, least, err := s.source(tx, actor, in, fields)
		if err != nil {
			return nil, err
		}
		size := s.sizeOf(in, least, fields)
		if in.ServerID != "" {
			if err := s.checkServer(tx, s.newIn(actor), in.ServerID, fields); err != nil {
				return nil, err
			}
		}
		checkQuota(s.Facts().NeedsOfVolume(size), in.Type, true, fields)
		if err := fields.err(); err != nil {
			return nil, err
		}
		return s.insertVolume(tx, actor, in, source, size)
	})
}

func (s *Store) checkPlace(in VolumeInput, fields invalidFields) {
	facts := s.Facts()
	if in.Type != "" && !slices.Contains(facts.Types, in.Type) {
		fields["volume_type"] = Say("choice.unknown")
	}
	if in.Zone != "" && !slices.Contains(facts.Zones, in.Zone) {
		fields["availability_zone"] = Say("choice.unknown")
	}
	if in.SnapshotID != "" && in.ImageID != "" {
		fields["image"] = Say("source.only_one")
	}
}

// source finds what the volume is made of, and the least size it needs in GiB.
func (s *Store) source(tx *gorm.DB, actor Actor, in VolumeInput, fields invalidFields) (*Snapshot, int, error) {
	if in.SnapshotID != "" {
		snapshot, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.SnapshotID)
		if errors.Is(err, ErrNotFound) {
			fields["snapshot_id"] = Say("source.not_found")
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
	err := first(tx.Where("id = ?", lookup(in.ImageID)), &image)
	if errors.Is(err, ErrNotFound) {
		fields["image"] = Say("image.not_found")
		return nil, 1, nil
	}
	return nil, image.LeastGiB(), err
}

func (s *Store) sizeOf(in VolumeInput, least int, fields invalidFields) int {
	if in.Size == "" && in.SnapshotID != "" {
		return least
	}
	size, wrong := ParseSize(in.Size)
	limit := s.Facts().MaxSizeGiB
	switch {
	case wrong != nil:
		fields["size_gib"] = *wrong
	case size < least:
		fields["size_gib"] = Say("size.too_small", strconv.Itoa(least))
	case limit > 0 && size > limit:
		fields["size_gib"] = Say("size.too_large", strconv.Itoa(limit))
	}
	return size
}

// checkServer says whether a volume of the project can be attached to the server: a
// cloud lets no server use what is another project's.
func (s *Store) checkServer(tx *gorm.DB, project, id string, fields invalidFields) error {
	if !s.Facts().Attach {
		fields["server_id"] = Say("deny.unsupported")
		return nil
	}
	var server Server
	q := tx
	if s.Facts().OwnServers { // nobody removes it meanwhile
		q = s.forUpdate(tx)
	}
	err := first(within(q, project).Where("id = ? AND origin = ?", lookup(id), s.serverOrigin()), &server)
	if errors.Is(err, ErrNotFound) {
		fields["server_id"] = Say("server.not_found")
		return nil
	}
	return err
}

func (s *Store) insertVolume(tx *gorm.DB, actor Actor, in VolumeInput, source *Snapshot, size int) (*Operation, error) {
	now := Micros(s.Now())
	row := Volume{
		ID: NewID(), ProjectID: s.newIn(actor), Name: in.Name, Description: in.Description,
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
	return s.askVolume(ctx, actor, ActEdit, in.ID, in.FormKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if err := in.validate(row.Name); err != nil {
			return nil, err
		}
		in := in.kept(row.Name)
		if in.Version > 0 && in.Version != row.Version {
			return nil, &Error{Code: CodeStale, Text: Say("conflict.version")}
		}
		return &Operation{
			Kind: VolumeEdit, SubjectName: in.Name,
			Params: Params{Name: in.Name, Description: in.Description, OldName: row.Name, OldDescription: row.Description},
		}, changeRow(tx, &Volume{}, row.ID, row.Status, s.edited(actor, in))
	})
}

// ExtendVolume asks for a larger size, in GiB as typed. Invalid field: size_gib.
func (s *Store) ExtendVolume(ctx context.Context, actor Actor, id, typed, formKey string) (*Operation, error) {
	return s.askVolume(ctx, actor, ActExtend, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		fields := invalidFields{}
		size := s.sizeOf(VolumeInput{Size: typed}, row.SizeGiB+1, fields)
		if row.ProjectID == s.Home() { // another project's limits are not known
			checkQuota(s.Facts().NeedsOfExtension(size-row.SizeGiB), row.VolumeType, true, fields)
		}
		if err := fields.err(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeExtend, Params: Params{SizeGiB: size, Was: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.status(Extending))
	})
}

// AttachVolume asks that the server sees the volume. Invalid field: server_id.
func (s *Store) AttachVolume(ctx context.Context, actor Actor, id, server, formKey string) (*Operation, error) {
	return s.askVolume(ctx, actor, ActAttach, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		fields := invalidFields{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		for _, a := range row.Attachments {
			if a.ServerID == server {
				fields["server_id"] = Say("server.already_attached")
			}
		}
		if err := fields.err(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeAttach, Params: Params{ServerID: server, Was: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.status(Attaching))
	})
}

// DetachVolume asks that the server no longer sees the volume; an empty server
// means the only one. force cuts it off although it uses the volume, also when a
// detaching already waits for it. Invalid fields: server_id, force (needed there).
func (s *Store) DetachVolume(ctx context.Context, actor Actor, id, server string, force bool, formKey string) (*Operation, error) {
	return s.askVolume(ctx, actor, ActDetach, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		known := false
		for _, a := range row.Attachments {
			known = known || a.ServerID == server
		}
		if !known {
			return nil, Invalid("server_id", Say("server.not_attached"))
		}
		op := &Operation{Kind: VolumeDetach, Params: Params{ServerID: server, Force: force, Was: row.Status}}
		if row.Status == Detaching {
			if !force {
				return nil, Invalid("force", Say("detach.waits"))
			}
			op.Lane, op.Params.Was = row.ID+"/cut", InUse // it overtakes the one that waits
			return op, nil
		}
		return op, changeRow(tx, &Volume{}, row.ID, row.Status, s.status(Detaching))
	})
}

// DeleteVolume asks for the deletion of a volume that is detached and has no
// snapshots.
func (s *Store) DeleteVolume(ctx context.Context, actor Actor, id, formKey string) (*Operation, error) {
	return s.askVolume(ctx, actor, ActDelete, id, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		return &Operation{Kind: VolumeDelete, Params: Params{Was: row.Status, BackendID: row.BackendID}},
			changeRow(tx.Where("attachment_count = 0 AND snapshot_count = 0"), &Volume{}, row.ID, row.Status, s.status(Deleting))
	})
}

// RepairVolume puts a volume that is stuck into a status from which one can go
// on. What was under way for it ends as failed.
func (s *Store) RepairVolume(ctx context.Context, actor Actor, in RepairInput) (*Operation, error) {
	return s.askVolume(ctx, actor, ActRepair, in.ID, in.FormKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		if err := in.validate(); err != nil {
			return nil, err
		}
		return &Operation{Kind: VolumeRepair, Lane: repairLane(row.ID), Params: Params{ResetTo: in.ResetTo, Reason: in.Reason, Was: row.Status}},
			s.abandon(tx, row.ID)
	})
}

// RevertVolume asks that the volume gets the bytes of its latest snapshot back.
func (s *Store) RevertVolume(ctx context.Context, actor Actor, snapshotID, formKey string) (*Operation, error) {
	snapshot, err := s.Snapshot(ctx, actor, snapshotID)
	if err != nil {
		return nil, err
	}
	return s.askVolume(ctx, actor, ActRevert, snapshot.VolumeID, formKey, func(tx *gorm.DB, row *Volume) (*Operation, error) {
		source, err := s.snapshotForUpdate(tx, s.scope(actor.Project), snapshot.ID)
		if err != nil {
			return nil, err
		}
		if d, err := s.canRevert(tx, source, row); d != nil || err != nil {
			return nil, refusedOr(d, err)
		}
		return &Operation{Kind: VolumeRevert, Params: Params{SnapshotID: source.ID, Was: row.Status}},
			changeRow(tx, &Volume{}, row.ID, row.Status, s.status(Restoring))
	})
}

func refusedOr(d *Denial, err error) error {
	if err != nil {
		return err
	}
	return Refused(d)
}

// canRevert: both AVAILABLE, the latest snapshot, of equal size.
func (s *Store) canRevert(tx *gorm.DB, snapshot *Snapshot, v *Volume) (*Denial, error) {
	if d := s.Rules().Snapshot(ActRevert, snapshot); d != nil {
		return d, nil
	}
	if snapshot.SizeGiB != v.SizeGiB {
		return deny("deny.size_differs"), nil
	}
	var newest Snapshot
	err := first(tx.Where("volume_id = ?", v.ID).Order("created_at DESC, id DESC"), &newest)
	if err == nil && newest.ID != snapshot.ID {
		return &Denial{Text: Say("deny.not_latest"), Snaps: []Link{newest.Link()}}, nil
	}
	return nil, ignoreNotFound(err)
}

// askVolume is ask for an action on one volume: role and rules first, then fn,
// which checks the form and changes the row.
func (s *Store) askVolume(ctx context.Context, actor Actor, action Action, id, formKey string,
	fn func(tx *gorm.DB, row *Volume) (*Operation, error)) (*Operation, error) {
	if d := CanRole(action, actor.Role); d != nil {
		return nil, Refused(d)
	}
	return s.ask(ctx, actor, formKey, func(tx *gorm.DB) (*Operation, error) {
		if action == ActRepair {
			if err := s.lockWork(tx, s.scope(actor.Project), SubjectVolume, id); err != nil {
				return nil, err
			}
		}
		row, err := s.volumeForUpdate(tx, s.scope(actor.Project), id)
		if err != nil {
			return nil, err
		}
		if d := s.Rules().Volume(action, row); d != nil {
			if action == ActDelete && row.SnapshotCount > 0 {
				d.Snaps, err = s.someSnapshots(tx, row.ID)
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
		op.SubjectName = firstNonEmpty(op.SubjectName, row.Name)
		return op, nil
	})
}

// someSnapshots names the first snapshots that keep a volume from being deleted.
func (s *Store) someSnapshots(tx *gorm.DB, volume string) ([]Link, error) {
	var links []Link
	return links, tx.Model(&Snapshot{}).Select("id", "name").Where("volume_id = ?", volume).
		Order("created_at DESC, id DESC").Limit(20).Find(&links).Error
}
