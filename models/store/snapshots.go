package store

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gorm.io/gorm"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// CreateSnapshot requests a snapshot. The snapshots of one volume queue: a request is
// accepted while another one runs. Errors: CodeForbidden, CodeConflict, CodeInvalid with
// the fields volume_id, name, description, lock_until, acknowledge (required when the volume
// is attached) and quota, those of the database.
func (s Snapshots) CreateSnapshot(ctx context.Context, actor models.Actor, in models.SnapshotInput) (*models.Operation, error) {
	return s.enqueue(ctx, actor, click{models.ActCreateSnapshot, models.SubjectSnapshot, "", form{in.FormKey, in}}, func(tx *gorm.DB) (*models.Operation, error) {
		fields := models.FieldErrors{}
		fields.Add("name", models.ValidateName(in.Name))
		fields.Add("description", models.ValidateDescription(in.Description))
		v, err := s.volumeForUpdate(tx, s.scope(actor.Project), in.VolumeID)
		switch {
		case in.VolumeID == "":
			fields["volume_id"] = models.NewText("volume.required")
		case errors.Is(err, models.ErrNotFound):
			fields["volume_id"] = models.NewText("volume.not_found")
		case err != nil:
			return nil, err
		default:
			if d := s.Rules().Volume(models.ActCreateSnapshot, v); d != nil {
				return nil, models.Refused(d)
			}
			if v.IsAttached() && !in.Acknowledge {
				fields["acknowledge"] = models.NewText("ack.required")
			}
			models.CheckQuota(models.QuotaForSnapshot(s.Capabilities(), v.SizeGiB), v.VolumeType, false, fields)
		}
		lock, invalid := in.Lock(actor, s.Now())
		fields.Add("lock_until", invalid)
		if err := fields.Err(); err != nil {
			return nil, err
		}
		return s.insertSnapshot(tx, actor, in, v, lock)
	})
}

func (s *Store) insertSnapshot(tx *gorm.DB, actor models.Actor, in models.SnapshotInput, v *models.Volume, lock models.Lock) (*models.Operation, error) {
	now := models.Micros(s.Now())
	row := models.Snapshot{
		ID: models.NewID(), ProjectID: s.projectFor(actor), VolumeID: v.ID, VolumeName: v.Name, Name: in.Name, Description: in.Description,
		Status: models.Creating, StatusSince: now, Percent: backend.PercentUnknown, SizeGiB: v.SizeGiB, CreatedBy: actor.Name, Origin: models.ByHand,
		Consistency: consistencyOf(v), TakenFrom: strings.Join(v.ServerNames(), "\n"), CreatedAt: now, Lock: lock, Version: 1,
	}
	return &models.Operation{
		Kind: models.SnapshotCreate, SubjectType: models.SubjectSnapshot, SubjectID: row.ID, SubjectName: row.Name, Lane: v.ID,
		Params: models.Params{VolumeID: v.ID, Name: in.Name, Description: in.Description, SizeGiB: v.SizeGiB,
			Attached: v.IsAttached(), Acknowledged: in.Acknowledge, LockedUntil: lock.LockedUntil},
	}, tx.Create(&row).Error
}

// consistencyOf is the consistency of a snapshot of the volume taken now, until the
// backend says otherwise.
func consistencyOf(v *models.Volume) models.Consistency {
	if v.IsAttached() {
		return models.CrashConsistent
	}
	return models.Clean
}

// EditSnapshot renames a snapshot: the row at once, the object by an operation. Errors:
// ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the fields name and
// description, CodeStale when the row is newer than in.Version, those of the database.
func (s Snapshots) EditSnapshot(ctx context.Context, actor models.Actor, in models.EditInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActEdit, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.editOperation(actor, in, models.SnapshotEdit, row.Name, row.Description, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// DeleteSnapshot requests the deletion of a snapshot. Errors: ErrNotFound,
// CodeForbidden, CodeConflict with the volumes that block it, those of the database.
func (s Snapshots) DeleteSnapshot(ctx context.Context, actor models.Actor, id, formKey string) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActDelete, id, form{formKey, nil}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		switch attach, err := s.unfinished(tx, row.ID, models.SnapshotAttach, ""); {
		case err != nil:
			return nil, err
		case attach != nil:
			return nil, s.awaitedBy(tx, attach)
		}
		return &models.Operation{Kind: models.SnapshotDelete, Params: models.Params{VolumeID: row.VolumeID, PriorStatus: row.Status, BackendID: row.BackendID}},
			changeRow(s.unlocked(tx).Where("attachment_count = 0"), &models.Snapshot{}, row.ID, row.Status, s.statusColumns(models.Deleting))
	})
}

// AttachSnapshot requests that one more server may read a snapshot. Errors: ErrNotFound,
// CodeForbidden, CodeConflict, CodeInvalid with the field server_id, those of the
// database.
func (s Snapshots) AttachSnapshot(ctx context.Context, actor models.Actor, id, server, formKey string) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActAttach, id, form{formKey, server}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		fields := models.FieldErrors{}
		if err := s.checkServer(tx, row.ProjectID, server, fields); err != nil {
			return nil, err
		}
		earlier, err := s.unfinished(tx, row.ID, models.SnapshotAttach, server)
		if err != nil {
			return nil, err
		}
		if row.AttachedTo(server) || earlier != nil {
			fields["server_id"] = models.NewText("server.already_attached")
		}
		return &models.Operation{Kind: models.SnapshotAttach, Params: models.Params{ServerID: server, PriorStatus: row.Status}}, fields.Err()
	})
}

// DetachSnapshot requests that a server no longer reads a snapshot; an empty server means
// the only one. force disconnects its clients, also when a detach without force already
// waits for them. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the
// fields server_id and force (required in the latter case), those of the database.
func (s Snapshots) DetachSnapshot(ctx context.Context, actor models.Actor, id, server string, force bool, formKey string) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActDetach, id, form{formKey, []any{server, force}}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		if server == "" && len(row.Attachments) == 1 {
			server = row.Attachments[0].ServerID
		}
		if !row.AttachedTo(server) {
			return nil, models.Invalid("server_id", models.NewText("server.not_attached"))
		}
		earlier, err := s.unfinished(tx, row.ID, models.SnapshotDetach, server)
		if err != nil {
			return nil, err
		}
		// Lanes of their own: while a detach waits for clients, the snapshot is used, and a second one overtakes it.
		op := &models.Operation{Kind: models.SnapshotDetach, Lane: row.ID + "/" + server, Params: models.Params{ServerID: server, Force: force, PriorStatus: row.Status}}
		if earlier != nil || row.Leaving(server) {
			if !force {
				return nil, models.Invalid("force", models.NewText("detach.waits"))
			}
			op.Lane += "/cut"
		}
		return op, nil
	})
}

// unfinished returns an operation of the kind for the server that has not ended; nil when
// there is none. An empty server means any.
func (s *Store) unfinished(tx *gorm.DB, subject string, kind models.Kind, server string) (*models.Operation, error) {
	var ops []models.Operation
	err := tx.Where("subject_id = ? AND kind = ? AND finished_at = 0", subject, kind).Order("num").Find(&ops).Error
	for i := range ops {
		if server == "" || ops[i].Params.ServerID == server {
			return &ops[i], err
		}
	}
	return nil, err
}

// awaitedBy is the error of an object that will soon be attached.
func (s *Store) awaitedBy(tx *gorm.DB, attach *models.Operation) error {
	var server models.Server
	if err := takeOne(tx.Where("id = ?", attach.Params.ServerID), &server); err != nil {
		return err
	}
	return models.Refused(&models.Denial{Text: models.NewText("deny.attaching"), Servers: []string{server.Name}, Guidance: models.NewText("guide.wait")})
}

// dependents returns the volumes that block the deletion of a snapshot: those being
// created from it, and where the backend requires it every volume created from it.
func (s *Store) dependents(tx *gorm.DB, row *models.Snapshot) ([]models.Link, error) {
	q := tx.Model(&models.Volume{}).Select("id", "name").Where("snapshot_id = ? AND snapshot_id <> ''", row.ID).Order("id").Limit(maxBlockers)
	if !s.Capabilities().BusySnapshots {
		q = q.Where("status = ?", models.Creating)
	}
	var links []models.Link
	return links, q.Find(&links).Error
}

// checkLane is the lane of all checks: they run one after the other, and nothing else
// waits for them.
const checkLane = "checks"

// CheckSnapshot requests that a snapshot's bytes are compared with its checksums. Errors:
// ErrNotFound, CodeForbidden, CodeConflict, those of the database.
func (s Snapshots) CheckSnapshot(ctx context.Context, actor models.Actor, in models.CheckInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActCheck, in.ID, form{in.FormKey, in}, func(*gorm.DB, *models.Snapshot) (*models.Operation, error) {
		return &models.Operation{Kind: models.SnapshotCheck, Lane: checkLane, Params: models.Params{Renew: in.Renew}}, nil
	})
}

// UncheckedSnapshots are the ids of the project's AVAILABLE snapshots for which no check
// waits or runs, oldest first. Errors: those of the database.
func (s Snapshots) UncheckedSnapshots(ctx context.Context, actor models.Actor) ([]string, error) {
	var ids []string
	waiting := s.read(ctx).Model(&models.Operation{}).Select("subject_id").Where("kind = ? AND finished_at = 0", models.SnapshotCheck)
	q := inProject(s.read(ctx).Model(&models.Snapshot{}), s.scope(actor.Project)).Where("status = ? AND id NOT IN (?)", models.Available, waiting)
	return ids, q.Order("created_at, id").Pluck("id", &ids).Error
}

// LockSnapshot keeps a snapshot from being deleted until the end of a day: the row at once,
// the storage's record of it by an operation. Errors: ErrNotFound, CodeForbidden (also to
// shorten), CodeConflict, CodeInvalid with the fields until and reason, CodeStale when the
// row is newer than in.Version, those of the database.
func (s Snapshots) LockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActLock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.lockOperation(actor, in, models.SnapshotLock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// UnlockSnapshot ends a lock. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid
// with the field reason, CodeStale when the row is newer than in.Version, those of the
// database.
func (s Snapshots) UnlockSnapshot(ctx context.Context, actor models.Actor, in models.LockInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActUnlock, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		columns, op, err := s.unlockOperation(in, models.SnapshotUnlock, row.Lock, row.Version)
		if err != nil {
			return nil, err
		}
		return op, changeRow(tx, &models.Snapshot{}, row.ID, row.Status, columns)
	})
}

// RepairSnapshot requests another status for a stuck snapshot. Its operations that have
// not ended fail. Errors: ErrNotFound, CodeForbidden, CodeConflict, CodeInvalid with the
// fields reason and reset_to, those of the database.
func (s Snapshots) RepairSnapshot(ctx context.Context, actor models.Actor, in models.RepairInput) (*models.Operation, error) {
	return s.enqueueSnapshot(ctx, actor, models.ActRepair, in.ID, form{in.FormKey, in}, func(tx *gorm.DB, row *models.Snapshot) (*models.Operation, error) {
		if err := in.Validate(); err != nil {
			return nil, err
		}
		return &models.Operation{Kind: models.SnapshotRepair, Lane: repairLane(row.ID), Params: models.Params{ResetTo: in.ResetTo, Reason: in.Reason, PriorStatus: row.Status}},
			s.abandonOperations(tx, row.ID)
	})
}

// Snapshot finds a snapshot by the console's id or the backend's, with its attachments
// and connections. Errors: ErrNotFound, those of the database.
func (s Snapshots) Snapshot(ctx context.Context, actor models.Actor, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	scope := s.scope(actor.Project)
	if err := takeOne(byID(s.read(ctx), scope, id), &row); err != nil {
		return nil, s.deletion(s.read(ctx), scope, models.SnapshotDelete, id, err)
	}
	var v models.Volume
	err := takeOne(s.read(ctx).Select("id", "name").Where("id = ?", row.VolumeID), &v)
	if err == nil {
		row.VolumeName = v.Name
	}
	row.VolumeGone = err != nil
	if err := ignoreNotFound(err); err != nil {
		return nil, err
	}
	rows := []models.Snapshot{row}
	return &rows[0], loadAttached(s.read(ctx), rows, snapshotAttached)
}

// loadReaders fills in what lists show of attachments and connections: the clients where
// a detach waits for some.
func (s *Store) loadReaders(ctx context.Context, rows []models.Snapshot) error {
	return loadListed(s.read(ctx), rows, snapshotAttached, func(row *models.Snapshot) bool {
		return slices.ContainsFunc(row.Attachments, func(a models.Attachment) bool { return a.DetachingAt > 0 })
	})
}

// SnapshotByID finds a snapshot of any project by the console's id, without its
// attachments. Errors: ErrNotFound, those of the database.
func (s Snapshots) SnapshotByID(ctx context.Context, id string) (*models.Snapshot, error) {
	var row models.Snapshot
	return &row, takeOne(s.read(ctx).Where("id = ?", id), &row)
}

// SnapshotsByID returns those snapshots of any project that exist, as lists have them.
// Errors: those of the database.
func (s Snapshots) SnapshotsByID(ctx context.Context, ids []string) ([]models.Snapshot, error) {
	var rows []models.Snapshot
	if err := s.read(ctx).Raw(snapshotTable.from+" WHERE t.id IN ?", ids).Scan(&rows).Error; err != nil {
		return nil, err
	}
	return rows, s.loadReaders(ctx, rows)
}

// SnapshotBlockers returns the volumes that block the deletion of a snapshot. Errors:
// those of the database.
func (s Snapshots) SnapshotBlockers(ctx context.Context, row *models.Snapshot) ([]models.Link, error) {
	return s.dependents(s.read(ctx), row)
}
