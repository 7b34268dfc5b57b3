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

// CreateVolume requests a volume; with a snapshot this is a restore. Errors:
// CodeForbidden, CodeConflict, CodeInvalid with the fields name, description, size_gib,
// snapshot_id, image, server_id, volume_type, availability_zone and quota, those of the
// database.
func (s Volumes) CreateVolume(ctx context.Context, actor models.Actor, in models.VolumeInput) (*models.Operation, error) {
	return s.enqueue(ctx, actor, models.ActCreateVolume, in.FormKey, func(tx *gorm.DB) (*models.Operation, error) {
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
	case limit > 0 && size > limit:
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
		Params: models.Params{Name: in.Name, Description: in.Description, SizeGiB: size, ImageID: in.ImageID, ServerID: in.ServerID}}
	if source != nil {
		row.SnapshotID, row.Consistency = source.ID, source.Consistency
		op.Kind, op.Params.SnapshotID = models.SnapshotRestore, source.ID
	}
	return op, tx.Create(&row).Error
}
