package workertest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
)

// ErrInternal is an error without a code of the port.
var ErrInternal = errors.New("an error without a code")

// Kind is a request of one kind. Prepare creates what it needs, Enqueue is the click, and
// after reports whether the rows and the backend are as requested.
type Kind struct {
	Name    string
	Request string // the method of the port that carries it out
	Prepare func(h *Harness) (id string)
	Enqueue func(h *Harness, id string) (*models.Operation, error)
	after   func(h *Harness, id string, op *models.Operation) bool
}

// KindsNamed are some of the kinds.
func KindsNamed(names ...string) []Kind {
	return slices.DeleteFunc(slices.Clone(Kinds), func(k Kind) bool { return !slices.Contains(names, k.Name) })
}

// EachKind runs a subtest for each kind, with a harness of its own and in parallel with others.
func EachKind(t *testing.T, test func(h *Harness, k Kind)) {
	t.Helper()
	t.Parallel()
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			test(New(t), k)
		})
	}
}

// Check expects that the operation has succeeded as requested, and that the rows and the
// backend are in sync.
func (k Kind) Check(h *Harness, id string, op *models.Operation) {
	h.Helper()
	if op = h.Operation(op.ID); op.State != models.Succeeded || op.Step != op.Steps || op.Percent != backend.PercentUnknown {
		h.Errorf("%s: %s, step %d of %d, %d percent, %+v", op.Kind, op.State, op.Step, op.Steps, op.Percent, op.LastError)
	}
	if !k.after(h, id, op) {
		h.Errorf("%s: not as requested", k.Name)
	}
	h.WantInSync()
}

var operator, admin = storetest.Operator(), storetest.Administrator()

// CreateVolumeAndSnapshot creates a volume with data and a snapshot of it, and returns the
// id of the snapshot.
func (h *Harness) CreateVolumeAndSnapshot() string {
	h.Helper()
	volume := h.CreateVolume("volume-1")
	h.Must(h.Fake.WriteVolume(volume, 0, []byte("bytes of "+h.Name())))
	return h.CreateSnapshot(volume, "snap-1")
}

// CreateErrorDeleting creates a snapshot in ERROR_DELETING, and returns its id.
func (h *Harness) CreateErrorDeleting() string {
	h.Helper()
	id := h.CreateVolumeAndSnapshot()
	h.Fake.FailDelete(id, &backend.Error{Code: backend.CodeConflict, Message: "a lock"})
	op := h.Accepted(h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, ""))
	h.RunQueue()
	h.WantFailed(op, "failure.conflict")
	return id
}

func prepareNothing(*Harness) string         { return "" }
func prepareVolume(h *Harness) string        { return h.CreateVolume("volume-1") }
func prepareSnapshot(h *Harness) string      { return h.CreateVolumeAndSnapshot() }
func prepareErrorDeleting(h *Harness) string { return h.CreateErrorDeleting() }

func prepareAttached(h *Harness) string {
	volume := h.CreateVolume("volume-1")
	h.Succeed(h.Store.Volumes.AttachVolume(h.Context(), operator, volume, "server-1", ""))
	return volume
}

// prepareRead creates a snapshot that two servers read.
func prepareRead(h *Harness) string {
	id := h.CreateVolumeAndSnapshot()
	for _, server := range []string{"server-1", "server-2"} {
		h.Succeed(h.Store.Snapshots.AttachSnapshot(h.Context(), operator, id, server, ""))
	}
	return id
}

// readBy reports whether an AVAILABLE snapshot is attached to the server alone.
func (h *Harness) readBy(id, server string) bool {
	row, err := h.Store.Snapshots.Snapshot(h.Context(), operator, id)
	h.Must(err)
	return row.Status == models.Available && row.Failure.None() && row.AttachmentCount == 1 && row.AttachedTo(server)
}

// lockFor is the form of a lock for a week.
func (h *Harness) lockFor(id string) models.LockInput {
	return models.LockInput{ID: id, Until: h.Store.Now().AddDate(0, 0, 7).Format(time.DateOnly), Reason: "audit"}
}

// isLocked reports whether the row and the object have the lock of the operation.
func (h *Harness) isLocked(row models.Lock, kept backend.Lock, op *models.Operation) bool {
	return row.LockedUntil == op.Params.LockedUntil && row.LockedUntil == models.Micros(kept.Until) &&
		row.LockReason == kept.Reason && row.LockedBy == kept.By && row.LockedAt == models.Micros(kept.At)
}

// Kinds are all kinds of requests.
var Kinds = []Kind{
	{"volume.create", "CreateVolume", prepareNothing, func(h *Harness, _ string) (*models.Operation, error) {
		return h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Description: "what for", Size: "3"})
	}, func(h *Harness, _ string, op *models.Operation) bool {
		row := h.Volume(op.SubjectID)
		return row.Status == models.Available && row.SizeGiB == 3 && row.Description == "what for"
	}},
	{"volume.create from image", "CreateVolume", prepareNothing, func(h *Harness, _ string) (*models.Operation, error) {
		return h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1", ImageID: "image-1"})
	}, func(h *Harness, _ string, op *models.Operation) bool {
		data, err := h.Fake.ReadVolume(op.SubjectID, 0, 9)
		return err == nil && string(data) == "raw image" && h.Volume(op.SubjectID).ImageID == "image-1"
	}},
	{"volume.create and attach", "AttachVolume", prepareNothing, func(h *Harness, _ string) (*models.Operation, error) {
		return h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1", ServerID: "server-1"})
	}, func(h *Harness, _ string, op *models.Operation) bool {
		return AttachedOnlyTo(h.Volume(op.SubjectID), "server-1")
	}},
	{"snapshot.restore", "CreateVolume", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "restored-1", SnapshotID: id})
	}, func(h *Harness, id string, op *models.Operation) bool {
		row := h.Volume(op.SubjectID)
		return row.Status == models.Available && row.SnapshotID == id && row.SizeGiB == 2 && row.Consistency == models.Clean && h.Fake.EqualBytes(op.SubjectID, id)
	}},
	{"snapshot.restore and attach", "AttachVolume", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "restored-1", SnapshotID: id, Size: "5", ServerID: "server-2"})
	}, func(h *Harness, id string, op *models.Operation) bool {
		row := h.Volume(op.SubjectID)
		return AttachedOnlyTo(row, "server-2") && row.SizeGiB == 5 && h.Fake.EqualBytes(op.SubjectID, id)
	}},
	{"volume.edit", "RenameVolume", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.EditVolume(h.Context(), operator, models.EditInput{ID: id, Name: "renamed-1", Description: "text"})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		v := h.BackendVolume(id)
		return v.Name == "renamed-1" && v.Description == "text" && h.Volume(id).Name == "renamed-1"
	}},
	{"volume.extend", "ExtendVolume", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.ExtendVolume(h.Context(), operator, id, "7", "")
	}, func(h *Harness, id string, _ *models.Operation) bool {
		return h.Volume(id).SizeGiB == 7 && h.Volume(id).Status == models.Available && h.BackendVolume(id).SizeGiB == 7
	}},
	{"volume.attach", "AttachVolume", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.AttachVolume(h.Context(), operator, id, "server-1", "")
	}, func(h *Harness, id string, _ *models.Operation) bool { return AttachedOnlyTo(h.Volume(id), "server-1") }},
	{"volume.detach", "DetachVolume", prepareAttached, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.DetachVolume(h.Context(), operator, id, "", false, "")
	}, func(h *Harness, id string, _ *models.Operation) bool {
		return h.Volume(id).Status == models.Available && h.Volume(id).AttachmentCount == 0
	}},
	{"volume.delete", "DeleteVolume", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.DeleteVolume(h.Context(), operator, id, "")
	}, func(h *Harness, id string, _ *models.Operation) bool {
		_, err := h.Store.Volumes.VolumeByID(h.Context(), id)
		_, gone := h.Fake.Volume(h.Context(), backend.Key{Ref: id})
		return errors.Is(err, models.ErrNotFound) && errors.Is(gone, backend.ErrNotFound)
	}},
	{"volume.revert", "RevertVolume", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		if err := h.Fake.WriteVolume(h.Snapshot(id).VolumeID, 0, []byte("overwritten")); err != nil {
			h.Fatal(err)
		}
		return h.Store.Volumes.RevertVolume(h.Context(), operator, id, "")
	}, func(h *Harness, id string, op *models.Operation) bool {
		return h.Volume(op.SubjectID).Status == models.Available && h.Fake.EqualBytes(op.SubjectID, id)
	}},
	{"volume.repair", "RepairVolume", func(h *Harness) string {
		id := h.CreateVolume("volume-1")
		h.Fake.FailDelete(id, &backend.Error{Code: backend.CodeConflict, Message: "a lock"})
		h.Accepted(h.Store.Volumes.DeleteVolume(h.Context(), operator, id, ""))
		h.RunQueue()
		return id
	}, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.RepairVolume(h.Context(), admin, models.RepairInput{ID: id, Reason: "the lock is gone", ResetTo: models.ErrorStatus})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		return h.Volume(id).Status == models.ErrorStatus
	}},
	{"snapshot.create", "CreateSnapshot", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: id, Name: "snap-1", Description: "before"})
	}, func(h *Harness, id string, op *models.Operation) bool {
		row := h.Snapshot(op.SubjectID)
		return row.Status == models.Available && row.VolumeID == id && row.Consistency == models.Clean && row.SizeGiB == 2 && h.Volume(id).SnapshotCount == 1
	}},
	{"snapshot.create attached", "CreateSnapshot", prepareAttached, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: id, Name: "snap-1", Acknowledge: true})
	}, func(h *Harness, id string, op *models.Operation) bool {
		row := h.Snapshot(op.SubjectID)
		return row.Status == models.Available && row.Consistency == models.CrashConsistent && row.TakenFrom == "web-1"
	}},
	{"snapshot.edit", "RenameSnapshot", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.EditSnapshot(h.Context(), operator, models.EditInput{ID: id, Name: "renamed-1", Description: "text"})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		s, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: id})
		return err == nil && s.Name == "renamed-1" && s.Description == "text" && h.Snapshot(id).Name == "renamed-1"
	}},
	{"volume.lock", "SetLock", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.LockVolume(h.Context(), operator, h.lockFor(id))
	}, func(h *Harness, id string, op *models.Operation) bool {
		return h.isLocked(h.Volume(id).Lock, h.BackendVolume(id).Lock, op)
	}},
	{"volume.unlock", "SetLock", func(h *Harness) string {
		id := prepareVolume(h)
		h.Succeed(h.Store.Volumes.LockVolume(h.Context(), operator, h.lockFor(id)))
		return id
	}, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Volumes.UnlockVolume(h.Context(), admin, models.LockInput{ID: id, Reason: "done"})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		return !h.Volume(id).Locked() && h.BackendVolume(id).Lock == backend.Lock{}
	}},
	{"snapshot.lock", "SetLock", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.LockSnapshot(h.Context(), operator, h.lockFor(id))
	}, func(h *Harness, id string, op *models.Operation) bool {
		s, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: id})
		return err == nil && h.isLocked(h.Snapshot(id).Lock, s.Lock, op)
	}},
	{"snapshot.unlock", "SetLock", func(h *Harness) string {
		id := prepareSnapshot(h)
		h.Succeed(h.Store.Snapshots.LockSnapshot(h.Context(), operator, h.lockFor(id)))
		return id
	}, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.UnlockSnapshot(h.Context(), admin, models.LockInput{ID: id, Reason: "done"})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		s, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: id})
		return err == nil && !h.Snapshot(id).Locked() && s.Lock == backend.Lock{}
	}},
	{"snapshot.create locked", "CreateSnapshot", prepareVolume, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: id, Name: "snap-1", LockUntil: h.lockFor(id).Until})
	}, func(h *Harness, _ string, op *models.Operation) bool {
		s, err := h.Fake.Snapshot(h.Context(), backend.Key{Ref: op.SubjectID})
		return err == nil && h.isLocked(h.Snapshot(op.SubjectID).Lock, s.Lock, op)
	}},
	{"snapshot.delete", "DeleteSnapshot", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.DeleteSnapshot(h.Context(), operator, id, "")
	}, func(h *Harness, id string, _ *models.Operation) bool {
		_, err := h.Store.Snapshots.SnapshotByID(h.Context(), id)
		_, gone := h.Fake.Snapshot(h.Context(), backend.Key{Ref: id})
		return errors.Is(err, models.ErrNotFound) && errors.Is(gone, backend.ErrNotFound)
	}},
	{"snapshot.attach", "AttachSnapshot", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.AttachSnapshot(h.Context(), operator, id, "server-1", "")
	}, func(h *Harness, id string, _ *models.Operation) bool { return h.readBy(id, "server-1") }},
	{"snapshot.detach", "DetachSnapshot", prepareRead, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.DetachSnapshot(h.Context(), operator, id, "server-1", false, "")
	}, func(h *Harness, id string, _ *models.Operation) bool { return h.readBy(id, "server-2") }},
	{"snapshot.repair", "RepairSnapshot", prepareErrorDeleting, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.RepairSnapshot(h.Context(), admin, models.RepairInput{ID: id, Reason: "the lock is gone", ResetTo: models.Available})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		return h.Snapshot(id).Status == models.Available
	}},
	{"snapshot.check", "CheckSnapshot", prepareSnapshot, func(h *Harness, id string) (*models.Operation, error) {
		return h.Store.Snapshots.CheckSnapshot(h.Context(), admin, models.CheckInput{ID: id})
	}, func(h *Harness, id string, _ *models.Operation) bool {
		s := h.Snapshot(id)
		return s.Status == models.Available && s.Checks.ChecksummedAt > 0 && s.Checks.Damage.None()
	}},
}
