package worker_test

import (
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// TestCreate_ResponseLost expects that a create call is repeated only after the settle time,
// unless the first one was not sent.
func TestCreate_ResponseLost(t *testing.T) {
	t.Parallel()
	const (
		settle = workertest.Settle
		unsent = "not sent"
	)
	for _, k := range workertest.KindsNamed("volume.create", "snapshot.restore", "snapshot.create") {
		for name, lose := range map[string]func(h *workertest.Harness){
			"response lost": func(h *workertest.Harness) {
				h.Faulty.Inject(k.Request, 1, backendtest.Fault{After: true})
				h.Reconcile(1)
			},
			"request lost": func(h *workertest.Harness) {
				h.Faulty.Inject(k.Request, 1, backendtest.Fault{})
				h.Reconcile(1)
			},
			unsent: func(h *workertest.Harness) {
				h.Faulty.Inject(k.Request, 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, Unsent: true, Err: workertest.ErrInternal}})
				h.Reconcile(1)
			},
			"worker dies": func(h *workertest.Harness) {
				h.Faulty.Inject(k.Request, 1, backendtest.Fault{})
				crash(h)
			},
		} {
			t.Run(k.Name+", "+name, func(t *testing.T) {
				t.Parallel()
				h := workertest.New(t)
				h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Settle = settle })
				h.Restart()
				id := k.Prepare(h)
				op := h.Accepted(k.Enqueue(h, id))
				began, called := h.Clock.Now(), h.Faulty.Calls(k.Request)
				lose(h)
				for h.Faulty.Calls(k.Request) == called+1 && h.AdvanceToDue() {
					h.Reconcile(1)
				}
				again, waited := h.Faulty.Calls(k.Request) > called+1, h.Clock.Now().Sub(began)
				if again && (waited < settle) != (name == unsent) {
					h.Errorf("called again after %v", waited)
				}
				h.RunQueue()
				k.Check(h, id, op)
			})
		}
	}
}

func TestCreate_SourceGone(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	volume := h.Snapshot(id).VolumeID
	restore := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "restored-1", SnapshotID: id}))
	snap := h.Accepted(h.Store.Snapshots.CreateSnapshot(h.Context(), operator, models.SnapshotInput{VolumeID: volume, Name: "snap-2"}))
	h.Fake.RemoveSnapshot(id)
	h.Fake.RemoveVolume(volume)
	h.RunQueue()
	h.WantFailed(restore, "source.not_found")
	h.WantFailed(snap, "source.not_found")
	if v, s := h.Volume(restore.SubjectID), h.Snapshot(snap.SubjectID); v.Status != models.ErrorStatus || s.Status != models.ErrorStatus || v.Failure.None() {
		h.Errorf("%+v %+v", v, s)
	}
	h.Succeed(h.Store.Volumes.DeleteVolume(h.Context(), operator, restore.SubjectID, ""))
}

// TestCreate_ObjectVanishes expects that the operation fails in a shared backend, where somebody
// else deleted the object, and that it is created again in others.
func TestCreate_ObjectVanishes(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		h := workertest.New(t)
		h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Shared = shared })
		h.Restart()
		h.Fake.Hold()
		op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
		h.Reconcile(2)
		h.Fake.RemoveVolume(op.SubjectID)
		h.Fake.Auto()
		if !shared {
			h.Succeed(op, nil)
			h.WantInSync()
			continue
		}
		h.RunQueue()
		h.WantFailed(op, "failure.vanished")
		if h.Fake.Calls("CreateVolume") != 1 || h.Volume(op.SubjectID).Status != models.ErrorStatus {
			h.Errorf("%d creates, %+v", h.Fake.Calls("CreateVolume"), h.Volume(op.SubjectID))
		}
	}
}

func TestRestore_AttachFails(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	id := h.CreateVolumeAndSnapshot()
	h.Fake.FailNext("AttachVolume", &backend.Error{Code: backend.CodeConflict, Message: "the server is busy"})
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "restored-1", SnapshotID: id, ServerID: "server-1"}))
	h.RunQueue()
	h.WantFailed(op, "failure.attach_refused")
	if op = h.Operation(op.ID); op.Step != 3 {
		h.Errorf("%+v", op)
	}
	for range 2 {
		if row := h.Volume(op.SubjectID); row.Status != models.Available || row.Failure.Key != "failure.attach" || !h.Fake.EqualBytes(row.ID, id) {
			h.Errorf("%+v", row)
		}
		h.WantInSync()
	}
	created := h.Fake.Calls("CreateVolume")
	h.Accepted(h.Store.Queue.RetryOperation(h.Context(), operator, op.ID))
	if row := h.Volume(op.SubjectID); row.Status != models.Attaching || !row.Failure.None() {
		h.Errorf("%+v", row)
	}
	h.Succeed(op, nil)
	if !workertest.AttachedOnlyTo(h.Volume(op.SubjectID), "server-1") || h.Fake.Calls("CreateVolume") != created {
		h.Errorf("%+v, %d creates", h.Volume(op.SubjectID), h.Fake.Calls("CreateVolume")-created)
	}
	h.WantInSync()
}
