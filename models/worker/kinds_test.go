package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
)

// kind is a click of one kind: prepare makes what it needs, ask clicks, and after
// says whether everything is as wanted once it has succeeded.
type kind struct {
	name    string
	request string // the method of the port that asks for it
	prepare func(b *bench) (id string)
	ask     func(b *bench, id string) (*models.Operation, error)
	after   func(b *bench, id string, op *models.Operation) bool
}

var me, admin = storetest.Operator(), storetest.Administrator()

func aVolume(b *bench) string { return b.newVolume("volume-1") }

func aSnapshot(b *bench) string {
	volume := b.newVolume("volume-1")
	if err := b.fake.WriteVolume(volume, 0, []byte("bytes of "+b.Name())); err != nil {
		b.Fatal(err)
	}
	return b.newSnapshot(volume, "snap-1")
}

func anAttached(b *bench) string {
	volume := b.newVolume("volume-1")
	b.done(b.store.Volumes.AttachVolume(b.Context(), me, volume, "server-1", ""))
	return volume
}

func nothing(*bench) string { return "" }

var kinds = []kind{
	{"volume.create", "CreateVolume", nothing, func(b *bench, _ string) (*models.Operation, error) {
		return b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Description: "what for", Size: "3"})
	}, func(b *bench, _ string, op *models.Operation) bool {
		row := b.volume(op.SubjectID)
		return row.Status == models.Available && row.SizeGiB == 3 && row.Description == "what for"
	}},
	{"volume.create of an image", "CreateVolume", nothing, func(b *bench, _ string) (*models.Operation, error) {
		return b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1", ImageID: "image-1"})
	}, func(b *bench, _ string, op *models.Operation) bool {
		data, err := b.fake.ReadVolume(op.SubjectID, 0, 9)
		return err == nil && string(data) == "raw image" && b.volume(op.SubjectID).ImageID == "image-1"
	}},
	{"volume.create and attach", "AttachVolume", nothing, func(b *bench, _ string) (*models.Operation, error) {
		return b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1", ServerID: "server-1"})
	}, func(b *bench, _ string, op *models.Operation) bool {
		return attachedTo(b.volume(op.SubjectID), "server-1")
	}},
	{"snapshot.restore", "CreateVolume", aSnapshot, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "restored-1", SnapshotID: id})
	}, func(b *bench, id string, op *models.Operation) bool {
		row := b.volume(op.SubjectID)
		return row.Status == models.Available && row.SnapshotID == id && row.SizeGiB == 2 && row.Consistency == models.Clean && b.fake.EqualBytes(op.SubjectID, id)
	}},
	{"snapshot.restore and attach", "AttachVolume", aSnapshot, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "restored-1", SnapshotID: id, Size: "5", ServerID: "server-2"})
	}, func(b *bench, id string, op *models.Operation) bool {
		row := b.volume(op.SubjectID)
		return attachedTo(row, "server-2") && row.SizeGiB == 5 && b.fake.EqualBytes(op.SubjectID, id)
	}},
	{"volume.edit", "RenameVolume", aVolume, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.EditVolume(b.Context(), me, models.EditInput{ID: id, Name: "renamed-1", Description: "text"})
	}, func(b *bench, id string, _ *models.Operation) bool {
		v := b.inBackend(id)
		return v.Name == "renamed-1" && v.Description == "text" && b.volume(id).Name == "renamed-1"
	}},
	{"volume.extend", "ExtendVolume", aVolume, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.ExtendVolume(b.Context(), me, id, "7", "")
	}, func(b *bench, id string, _ *models.Operation) bool {
		return b.volume(id).SizeGiB == 7 && b.volume(id).Status == models.Available && b.inBackend(id).SizeGiB == 7
	}},
	{"volume.attach", "AttachVolume", aVolume, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.AttachVolume(b.Context(), me, id, "server-1", "")
	}, func(b *bench, id string, _ *models.Operation) bool { return attachedTo(b.volume(id), "server-1") }},
	{"volume.detach", "DetachVolume", anAttached, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.DetachVolume(b.Context(), me, id, "", false, "")
	}, func(b *bench, id string, _ *models.Operation) bool {
		return b.volume(id).Status == models.Available && b.volume(id).AttachmentCount == 0
	}},
	{"volume.delete", "DeleteVolume", aVolume, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.DeleteVolume(b.Context(), me, id, "")
	}, func(b *bench, id string, _ *models.Operation) bool {
		_, err := b.store.Volumes.VolumeByID(b.Context(), id)
		_, gone := b.fake.Volume(b.Context(), backend.Key{Ref: id})
		return err == error(models.ErrNotFound) && gone == backend.ErrNotFound
	}},
	{"volume.revert", "RevertVolume", aSnapshot, func(b *bench, id string) (*models.Operation, error) {
		if err := b.fake.WriteVolume(b.snapshot(id).VolumeID, 0, []byte("overwritten")); err != nil {
			b.Fatal(err)
		}
		return b.store.Volumes.RevertVolume(b.Context(), me, id, "")
	}, func(b *bench, id string, op *models.Operation) bool {
		return b.volume(op.SubjectID).Status == models.Available && b.fake.EqualBytes(op.SubjectID, id)
	}},
	{"volume.repair", "RepairVolume", func(b *bench) string {
		id := b.newVolume("volume-1")
		b.fake.FailDelete(id, &backend.Error{Code: backend.CodeConflict, Message: "a lock"})
		b.asked(b.store.Volumes.DeleteVolume(b.Context(), me, id, ""))
		b.work()
		return id
	}, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Volumes.RepairVolume(b.Context(), admin, models.RepairInput{ID: id, Reason: "the lock is gone", ResetTo: models.ErrorStatus})
	}, func(b *bench, id string, _ *models.Operation) bool { return b.volume(id).Status == models.ErrorStatus }},
	{"snapshot.create", "CreateSnapshot", aVolume, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: id, Name: "snap-1", Description: "before"})
	}, func(b *bench, id string, op *models.Operation) bool {
		row := b.snapshot(op.SubjectID)
		return row.Status == models.Available && row.VolumeID == id && row.Consistency == models.Clean && row.SizeGiB == 2 && b.volume(id).SnapshotCount == 1
	}},
	{"snapshot.create of an attached volume", "CreateSnapshot", anAttached, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Snapshots.CreateSnapshot(b.Context(), me, models.SnapshotInput{VolumeID: id, Name: "snap-1", Acknowledge: true})
	}, func(b *bench, id string, op *models.Operation) bool {
		row := b.snapshot(op.SubjectID)
		return row.Status == models.Available && row.Consistency == models.CrashConsistent && row.TakenFrom == "web-1"
	}},
	{"snapshot.edit", "RenameSnapshot", aSnapshot, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Snapshots.EditSnapshot(b.Context(), me, models.EditInput{ID: id, Name: "renamed-1", Description: "text"})
	}, func(b *bench, id string, _ *models.Operation) bool {
		s, err := b.fake.Snapshot(b.Context(), backend.Key{Ref: id})
		return err == nil && s.Name == "renamed-1" && s.Description == "text" && b.snapshot(id).Name == "renamed-1"
	}},
	{"snapshot.delete", "DeleteSnapshot", aSnapshot, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, "")
	}, func(b *bench, id string, _ *models.Operation) bool {
		_, err := b.store.Snapshots.SnapshotByID(b.Context(), id)
		_, gone := b.fake.Snapshot(b.Context(), backend.Key{Ref: id})
		return err == error(models.ErrNotFound) && gone == backend.ErrNotFound
	}},
	{"snapshot.repair", "RepairSnapshot", brokenSnapshot, func(b *bench, id string) (*models.Operation, error) {
		return b.store.Snapshots.RepairSnapshot(b.Context(), admin, models.RepairInput{ID: id, Reason: "the lock is gone", ResetTo: models.Available})
	}, func(b *bench, id string, _ *models.Operation) bool { return b.snapshot(id).Status == models.Available }},
}

// brokenSnapshot is one in ERROR_DELETING.
func brokenSnapshot(b *bench) string {
	id := aSnapshot(b)
	b.fake.FailDelete(id, &backend.Error{Code: backend.CodeConflict, Message: "a lock"})
	op := b.asked(b.store.Snapshots.DeleteSnapshot(b.Context(), me, id, ""))
	b.work()
	b.failed(op, "failure.conflict")
	return id
}

func attachedTo(v *models.Volume, server string) bool {
	return v.Status == models.InUse && len(v.Attachments) == 1 && v.Attachments[0].ServerID == server
}

func eachKind(t *testing.T, test func(b *bench, k kind)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // they wait for the disk
			test(newBench(t), k)
		})
	}
}

func (k kind) check(b *bench, id string, op *models.Operation) {
	b.Helper()
	if op = b.operation(op.ID); op.State != models.Succeeded || op.Step != op.Steps || op.Percent != -1 {
		b.Errorf("%s: %s, step %d of %d, %d percent, %+v", op.Kind, op.State, op.Step, op.Steps, op.Percent, op.LastError)
	}
	if !k.after(b, id, op) {
		b.Errorf("%s: not as wanted", k.name)
	}
	b.same()
}

func TestEveryKindSucceeds(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		id := k.prepare(b)
		op := b.done(k.ask(b, id))
		k.check(b, id, op)
		if len(op.StepNames()) != op.Steps || op.StartedAt == 0 || op.FinishedAt < op.StartedAt || op.RequestID == "" && op.Steps > 1 && op.Kind != models.VolumeDelete && op.Kind != models.SnapshotDelete {
			b.Errorf("%+v", op)
		}
	})
}

func TestEveryKindOnPostgres(t *testing.T) {
	clock := storetest.NewClock()
	store := storetest.OpenPostgres(t, clock.Now)
	b := benchOf(t, store, clock)
	for _, k := range kinds {
		id := k.prepare(b)
		op := b.done(k.ask(b, id))
		k.check(b, id, op)
	}
}
