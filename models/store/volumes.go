package store

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// EditVolume renames a volume: the row at once, the object by an operation. Errors:
// ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the fields name and
// description, CodeStale when the row is newer than in.Version, those of the database.
func (s Volumes) EditVolume(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActEdit, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		columns, op, err := s.editOperation(actor, in, models.VolumeEdit, row.Name, row.Description, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, columns)
	})
}

// ExtendVolume requests a larger size, in GiB as typed. Errors: ErrNotFound,
// CodeForbidden, CodeConflict, CodeInvalid with the fields size_gib and quota, those of
// the database.
func (s Volumes) ExtendVolume(ctx context.Context, actor models.Actor, id, typed, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActExtend, id, form{formKey, typed}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		size := s.checkSize(models.VolumeInput{Size: typed}, row.SizeGiB+1, fields)
		if row.ProjectID == s.OwnProjectID() { // the quotas of other projects are not known
			models.CheckQuota(models.QuotaForExtension(s.Capabilities(), size-row.SizeGiB), row.VolumeType, true, fields)
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeExtend, Params: models.Params{SizeGiB: size, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Extending))
	})
}

// AttachVolume requests that a volume is attached to a server. Errors: ErrNotFound,
// CodeForbidden, CodeConflict, CodeInvalid with the field server_id, those of the
// database.
func (s Volumes) AttachVolume(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActAttach, id, form{formKey, server}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		fields := models.FieldErrors{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		if row.AttachedTo(server) {
			fields["server_id"] = models.NewText("server.already_attached")
		}
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeAttach, Params: models.Params{ServerID: server, PriorStatus: row.Status}},
			changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Attaching))
	})
}

// DetachVolume requests that a volume is detached from a server; an empty server means
// the only one. force disconnects its clients, also when a detach without force already
// waits for them. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with
// the fields server_id and force (required in the latter case), those of the database.
func (s Volumes) DetachVolume(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDetach, id, form{formKey, []any{server, force}}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		if !row.AttachedTo(server) {
			return nil, models.Invalid("server_id", models.NewText("server.not_attached"))
		}
		op := &models.Operation{Kind: models.VolumeDetach, Params: models.Params{ServerID: server, Force: force, PriorStatus: row.Status}}
		if row.Status == models.Detaching {
			if !force {
				return nil, models.Invalid("force", models.NewText("detach.waits"))
			}
			op.Lane, op.Params.PriorStatus = row.ID+"/cut", models.InUse // a lane of its own: it overtakes the waiting detach
			return op, nil
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Detaching))
	})
}

// DeleteVolume requests the deletion of a volume. Errors: ErrNotFound, CodeForbidden,
// CodeConflict when it is attached, locked or has snapshots, those of the database.
func (s Volumes) DeleteVolume(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActDelete, id, form{formKey, nil}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		return &models.Operation{Kind: models.VolumeDelete, Params: models.Params{PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(s.unlocked(tx).Where("attachment_count = 0 AND snapshot_count = 0"), &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Deleting))
	})
}

// LockVolume keeps a volume from being deleted and reverted over until the end of a day: the row at once,
// the storage's record of it by an operation. Errors: ErrNotFound, CodeForbidden (also to
// shorten), CodeConflict, CodeInvalid with the fields until and reason, CodeStale when the
// row is newer than in.Version, those of the database.
func (s Volumes) LockVolume(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActLock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		columns, op, err := s.lockOperation(actor, in, models.VolumeLock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, columns)
	})
}

// UnlockVolume ends a lock. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid
// with the field reason, CodeStale when the row is newer than in.Version, those of the
// database.
func (s Volumes) UnlockVolume(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActUnlock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		columns, op, err := s.unlockOperation(in, models.VolumeUnlock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Volume{}, row.ID, row.Status, columns)
	})
}

// RepairVolume requests another status for a stuck volume. Its operations that have not
// ended fail. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the
// fields reason and reset_to, those of the database.
func (s Volumes) RepairVolume(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	return s.enqueueVolume(ctx, actor, models.ActRepair, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.VolumeRepair, Lane: repairLane(row.ID), Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.abandonOperations(tx, row.ID)
	})
}

// RevertVolume requests that a volume gets the bytes of its latest snapshot back.
// Errors: ErrNotFound, CodeForbidden, CodeConflict, those of the database.
func (s Volumes) RevertVolume(ctx context.Context, actor models.Actor, snapshotID, formKey string) (*models.Operation, error) {
	snapshot, err := s.Snapshots.Snapshot(ctx, actor, snapshotID)
	if err != nil {
		return nil, err
	}
	return s.enqueueVolume(ctx, actor, models.ActRevert, snapshot.VolumeID, form{formKey, snapshotID}, func(tx *gorm.DB, row *models.Volume) (*models.Operation, error) {
		source, err := s.snapshotForUpdate(tx, s.scope(actor.Project), snapshot.ID)
		if err != nil {
			return nil, err
		}
		if d, err := s.revertDenial(tx, source, row); d != nil || err != nil {
			return nil, denialError(d, err)
		}
		return &models.Operation{Kind: models.VolumeRevert, Params: models.Params{SnapshotID: source.ID, PriorStatus: row.Status}},
			changeRow(s.unlocked(tx), &models.Volume{}, row.ID, row.Status, s.statusColumns(models.Restoring))
	})
}

// revertDenial returns why a volume cannot be reverted to a snapshot, beyond the
// volume's own status: the snapshot must be AVAILABLE, the latest, and of equal size.
func (s *Store) revertDenial(tx *gorm.DB, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error) {
	if d := s.Rules().Snapshot(models.ActRevert, snapshot); d != nil {
		return d, nil
	}
	if snapshot.SizeGiB != v.SizeGiB {
		return models.NewDenial("deny.size_differs"), nil
	}
	var creating []models.Link
	err := tx.Model(&models.Snapshot{}).Select("id", "name").Where("volume_id = ? AND "+s.unindexed("status")+" = ?", v.ID, models.Creating).
		Order("id").Limit(maxBlockers).Find(&creating).Error
	if err != nil {
		return nil, err
	}
	if len(creating) > 0 {
		return &models.Denial{Text: models.NewText("deny.snapshot_creating"), Snaps: creating}, nil
	}
	var newest models.Snapshot
	// Where no instant is known, a cloud counts from the request.
	err = takeOne(tx.Where("volume_id = ?", v.ID).Order("CASE WHEN taken_at = 0 THEN created_at ELSE taken_at END DESC, id DESC"), &newest)
	if err == nil && newest.ID != snapshot.ID {
		return &models.Denial{Text: models.NewText("deny.not_latest"), Snaps: []models.Link{newest.Link()}}, nil
	}
	return nil, ignoreNotFound(err)
}

// snapshotLinks returns the newest snapshots that block the deletion of a volume.
func (s *Store) snapshotLinks(tx *gorm.DB, volume string) ([]models.Link, error) {
	var links []models.Link
	return links, tx.Model(&models.Snapshot{}).Select("id", "name").Where("volume_id = ?", volume).
		Order("created_at DESC, id DESC").Limit(maxBlockers).Find(&links).Error
}

// CreateVolume requests a volume; with a snapshot this is a restore. Errors:
// CodeForbidden, CodeConflict, CodeInvalid with the fields name, description, size_gib,
// snapshot_id, image, server_id, volume_type, availability_zone and quota, those of the
// database.
func (s Volumes) CreateVolume(ctx context.Context, actor models.Actor, in models.VolumeInput) (*models.Operation, error) {
	return s.enqueue(ctx, actor, click{models.ActCreateVolume, models.SubjectVolume, "", form{in.FormKey, in}}, func(tx *gorm.DB) (*models.Operation, error) {
		if !s.ownProjectKnown() {
			return nil, models.Refused(models.NewDenial("deny.not_ready"))
		}
		fields := models.FieldErrors{}
		fields.Add("name", models.ValidateName(in.Name))
		fields.Add("description", models.ValidateDescription(in.Description))
		s.checkPlacement(in, fields)
		source, minGiB, err := s.checkSource(tx, actor, in, fields)
		if err != nil {
			return nil, err
		}
		size := s.checkSize(in, minGiB, fields)
		if in.ServerID != "" {
			if err := s.checkServer(tx, s.projectFor(actor), in.ServerID, fields); err != nil {
				return nil, err
			}
		}
		models.CheckQuota(models.QuotaForVolume(s.Capabilities(), size), in.Type, true, fields)
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertVolume(tx, actor, in, source, size)
	})
}

// checkPlacement checks the volume type and zone, and that there is one source at most.
func (s *Store) checkPlacement(in models.VolumeInput, fields models.FieldErrors) {
	caps := s.Capabilities()
	if in.Type != "" && !slices.Contains(caps.Types, in.Type) {
		fields["volume_type"] = models.NewText("choice.unknown")
	}
	if in.Zone != "" && !slices.Contains(caps.Zones, in.Zone) {
		fields["availability_zone"] = models.NewText("choice.unknown")
	}
	if in.SnapshotID != "" && in.ImageID != "" {
		fields["image"] = models.NewText("source.only_one")
	}
}

// checkSource loads the snapshot that the volume is created from, or nil, and returns
// the size in GiB that the source requires at least.
func (s *Store) checkSource(tx *gorm.DB, actor models.Actor, in models.VolumeInput, fields models.FieldErrors) (*models.Snapshot, int, error) {
	if in.SnapshotID != "" {
		snapshot, err := s.snapshotForUpdate(tx, s.scope(actor.Project), in.SnapshotID)
		if errors.Is(err, models.ErrNotFound) {
			fields["snapshot_id"] = models.NewText("source.not_found")
			return nil, 1, nil
		}
		if err != nil {
			return nil, 0, err
		}
		if d := s.Rules().Snapshot(models.ActRestore, snapshot); d != nil {
			return nil, 0, models.Refused(d)
		}
		return snapshot, snapshot.SizeGiB, nil
	}
	if in.ImageID == "" {
		return nil, 1, nil
	}
	var image models.Image
	err := takeOne(tx.Where("id = ?", searchable(in.ImageID)), &image)
	if errors.Is(err, models.ErrNotFound) {
		fields["image"] = models.NewText("image.not_found")
		return nil, 1, nil
	}
	fields.Add("image", image.Denial(in.Raw))
	return nil, image.MinGiB(), err
}

// checkSize parses the size and returns it in GiB.
func (s *Store) checkSize(in models.VolumeInput, minGiB int, fields models.FieldErrors) int {
	if in.Size == "" && in.SnapshotID != "" {
		return minGiB
	}
	size, invalid := models.ParseSize(in.Size)
	limit := s.Capabilities().MaxSizeGiB
	switch {
	case invalid != nil:
		fields["size_gib"] = *invalid
	case size < minGiB:
		fields["size_gib"] = models.NewText("size.too_small", strconv.Itoa(minGiB))
	case limit >= 0 && size > limit:
		fields["size_gib"] = models.NewText("size.too_large", strconv.Itoa(limit))
	}
	return size
}

// checkServer checks that the server exists in the volume's project: a cloud attaches
// no volume to another project's server.
func (s *Store) checkServer(tx *gorm.DB, project, id string, fields models.FieldErrors) error {
	if !s.Capabilities().Attach {
		fields["server_id"] = models.NewText("deny.unsupported")
		return nil
	}
	var server models.Server
	q := tx
	if s.Capabilities().OwnServers { // RemoveServer waits
		q = s.forUpdate(tx)
	}
	err := takeOne(inProject(q, project).Where("id = ? AND origin = ?", searchable(id), s.serverOrigin()), &server)
	if errors.Is(err, models.ErrNotFound) {
		fields["server_id"] = models.NewText("server.not_found")
		return nil
	}
	return err
}

func (s *Store) insertVolume(tx *gorm.DB, actor models.Actor, in models.VolumeInput, source *models.Snapshot, size int) (*models.Operation, error) {
	now := models.Micros(s.Now())
	row := models.Volume{
		ID: models.NewID(), ProjectID: s.projectFor(actor), Name: in.Name, Description: in.Description,
		Status: models.Creating, StatusSince: now, Percent: backend.PercentUnknown, SizeGiB: size, ImageID: in.ImageID,
		VolumeType: in.Type, Zone: in.Zone, CreatedBy: actor.Name, Origin: models.ByHand, CreatedAt: now, Version: 1,
	}
	op := &models.Operation{Kind: models.VolumeCreate, SubjectType: models.SubjectVolume, SubjectID: row.ID, SubjectName: in.Name,
		Params: models.Params{Name: in.Name, Description: in.Description, SizeGiB: size, ImageID: in.ImageID, Raw: in.Raw && in.ImageID != "", ServerID: in.ServerID}}
	if source != nil {
		row.SnapshotID, row.Consistency = source.ID, source.Consistency
		op.Kind, op.Params.SnapshotID = models.SnapshotRestore, source.ID
	}
	return op, tx.Create(&row).Error
}

// Volume finds a volume by the console's id or the backend's, with its attachments and
// connections. Errors: ErrNotFound (*models.GoneError when a user has deleted it), those of the database.
func (s Volumes) Volume(ctx context.Context, actor models.Actor, id string) (*models.Volume, error) {
	rows := make([]models.Volume, 1)
	scope := s.scope(actor.Project)
	if err := takeOne(byID(s.read(ctx), scope, id), &rows[0]); err != nil {
		return nil, s.deletion(s.read(ctx), scope, models.VolumeDelete, id, err)
	}
	return &rows[0], loadAttached(s.read(ctx), rows, volumeAttached)
}

// VolumeByID finds a volume of any project by the console's id, without its
// attachments. Errors: ErrNotFound, those of the database.
func (s Volumes) VolumeByID(ctx context.Context, id string) (*models.Volume, error) {
	var row models.Volume
	return &row, takeOne(s.read(ctx).Where("id = ?", id), &row)
}

// VolumesByID returns those volumes of any project that exist, as lists have them.
// Errors: those of the database.
func (s Volumes) VolumesByID(ctx context.Context, ids []string) ([]models.Volume, error) {
	var rows []models.Volume
	if err := s.read(ctx).Where("id IN ?", ids).Find(&rows).Error; err != nil {
		return nil, err
	}
	return rows, s.loadAttachments(ctx, rows)
}

// VolumesFrom returns the volumes created from a snapshot, newest first, at most limit
// rows. Errors: those of the database.
func (s Volumes) VolumesFrom(ctx context.Context, actor models.Actor, snapshot string, limit int) ([]models.Volume, error) {
	var rows []models.Volume
	q := s.read(ctx).Where("snapshot_id = ? AND snapshot_id <> ''", searchable(snapshot))
	if scope := s.scope(actor.Project); scope != everyProject {
		q = q.Where(s.unindexed("project_id")+" = ?", scope)
	}
	return rows, q.Order("id DESC").Limit(limit).Find(&rows).Error
}

// VolumeBlockers returns the newest snapshots that block the deletion of a volume.
// Errors: those of the database.
func (s Volumes) VolumeBlockers(ctx context.Context, row *models.Volume) ([]models.Link, error) {
	if row.SnapshotCount == 0 {
		return nil, nil
	}
	return s.snapshotLinks(s.read(ctx), row.ID)
}

// RevertDenial returns why a volume cannot be reverted to the snapshot; nil when it can.
// Errors: those of the database.
func (s Volumes) RevertDenial(ctx context.Context, snapshot *models.Snapshot, v *models.Volume) (*models.Denial, error) {
	if d := s.Rules().Volume(models.ActRevert, v); d != nil {
		return d, nil
	}
	return s.revertDenial(s.read(ctx), snapshot, v)
}

// loadAttachments fills in what lists show of attachments and connections.
func (s *Store) loadAttachments(ctx context.Context, rows []models.Volume) error {
	return loadListed(s.read(ctx), rows, volumeAttached, func(v *models.Volume) bool { return v.Status == models.Detaching })
}
