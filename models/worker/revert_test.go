package worker_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/worker/workertest"
)

// TestRevert_ResponseLost expects that the call is not repeated when it had an effect, nor when
// the volume was written since.
func TestRevert_ResponseLost(t *testing.T) {
	t.Parallel()
	t.Run("reverted", func(t *testing.T) {
		h := workertest.NewCloud(t)
		snapshot, volume, op := enqueueRevert(h)
		h.Faulty.Inject("RevertVolume", 1, backendtest.Fault{After: true})
		h.Reconcile(1)
		h.Clock.Add(time.Second)
		h.Fake.Settle()
		h.RunQueue()
		if op = h.Operation(op.ID); op.State != models.Succeeded || h.Faulty.Calls("RevertVolume") != 1 || !h.Fake.EqualBytes(volume, snapshot) {
			t.Errorf("%d calls, %+v", h.Faulty.Calls("RevertVolume"), op)
		}
	})
	t.Run("request lost", func(t *testing.T) {
		h := workertest.NewCloud(t)
		snapshot, volume, op := enqueueRevert(h)
		h.Faulty.Inject("RevertVolume", 1, backendtest.Fault{})
		began := h.Clock.Now()
		h.Reconcile(1)
		for h.Faulty.Calls("RevertVolume") == 1 && h.AdvanceToDue() {
			h.Reconcile(1)
		}
		if waited := h.Clock.Now().Sub(began); waited < workertest.Settle {
			t.Errorf("called again after %v", waited)
		}
		h.RunQueue()
		if op = h.Operation(op.ID); op.State != models.Succeeded || h.Faulty.Calls("RevertVolume") != 2 || !h.Fake.EqualBytes(volume, snapshot) {
			t.Errorf("%d calls, %+v", h.Faulty.Calls("RevertVolume"), op)
		}
	})
	t.Run("written since", func(t *testing.T) {
		h := workertest.NewCloud(t)
		snapshot, volume, op := enqueueRevert(h)
		h.Faulty.Inject("RevertVolume", 1, backendtest.Fault{})
		h.Reconcile(1)
		h.Clock.Add(time.Second)
		h.Fake.AttachOutOfBand(volume, "server-1")
		if err := h.Fake.WriteVolume(volume, 0, []byte("of great value")); err != nil {
			t.Fatal(err)
		}
		h.Fake.DetachOutOfBand(volume, "server-1")
		h.RunQueue()
		h.WantFailed(op, "failure.revert_unknown")
		if h.Faulty.Calls("RevertVolume") != 1 || h.Fake.EqualBytes(volume, snapshot) || h.Volume(volume).Status != models.Available {
			t.Errorf("%d calls, %+v", h.Faulty.Calls("RevertVolume"), h.Volume(volume))
		}
	})
}

// TestRevert_WaitsForTimestampResolution reverts a volume that has just changed, and may change
// again without another timestamp.
func TestRevert_WaitsForTimestampResolution(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	snapshot := h.CreateVolumeAndSnapshot()
	v := h.BackendVolume(h.Snapshot(snapshot).VolumeID)
	h.Fake.PutVolume(v)
	h.Accepted(h.Store.Volumes.RevertVolume(h.Context(), operator, snapshot, ""))
	h.Reconcile(1)
	if h.Faulty.Calls("RevertVolume") != 0 {
		t.Error("called within the resolution of the last change")
	}
	h.RunQueue()
	if h.Faulty.Calls("RevertVolume") != 1 || h.Volume(v.Ref).Status != models.Available {
		t.Errorf("%d calls", h.Faulty.Calls("RevertVolume"))
	}
}

// enqueueRevert creates a volume that was overwritten after its snapshot, and enqueues a revert.
func enqueueRevert(h *workertest.Harness) (snapshot, volume string, op *models.Operation) {
	h.Helper()
	snapshot = h.CreateVolumeAndSnapshot()
	volume = h.Snapshot(snapshot).VolumeID
	h.Clock.Add(time.Minute)
	if err := h.Fake.WriteVolume(volume, 0, []byte("overwritten")); err != nil {
		h.Fatal(err)
	}
	return snapshot, volume, h.Accepted(h.Store.Volumes.RevertVolume(h.Context(), operator, snapshot, ""))
}
