package mirror_test

import (
	"errors"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

// TestPoller_Intervals expects polls at the backend's intervals, then at growing ones, for an
// hour; none of objects in an unknown status or with an operation.
func TestPoller_Intervals(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	own := h.CreateVolume("own-1")
	h.Fake.Hold()
	h.Accepted(h.Store.Volumes.ExtendVolume(h.Context(), operator, own, "9", ""))
	h.Reconcile(1)
	h.Fake.PutVolume(backend.Volume{Name: "odd", State: backend.State{Status: "AWAITING-TRANSFER", Percent: -1}})
	slow := h.Fake.PutVolume(backend.Volume{Name: "slow", State: backend.State{Status: backend.Creating, Percent: -1}})
	snap := h.Fake.PutSnapshot(backend.Snapshot{Name: "slow", Volume: slow.Key, State: backend.State{Status: backend.Deleting, Percent: -1}})
	volumes, snapshots := h.Faulty.Calls("Volume"), h.Faulty.Calls("Snapshot")
	h.RunMirror(21 * time.Second)
	if n := h.Faulty.Calls("Volume") - volumes; n < 3 || n > 5 {
		t.Errorf("%d polls of volumes in 21 s", n)
	}
	if n := h.Faulty.Calls("Snapshot") - snapshots; n < 3 || n > 5 {
		t.Errorf("%d polls of snapshots in 21 s", n)
	}
	h.RunMirror(time.Hour)
	if n := h.Faulty.Calls("Volume") - volumes; n > 90 {
		t.Errorf("%d polls in an hour", n)
	}
	volumes = h.Faulty.Calls("Volume")
	h.RunMirror(time.Hour)
	if n := h.Faulty.Calls("Volume") - volumes; n > 0 {
		t.Errorf("%d polls in the second hour", n)
	}
	// The row of the snapshot, which was being deleted, is deleted; that of the volume only a resync deletes.
	h.Fake.RemoveSnapshot(snap.ID)
	h.RunMirror(3 * time.Minute)
	if _, err := h.Store.Snapshots.Snapshot(h.Context(), operator, snap.ID); !errors.Is(err, models.ErrNotFound) {
		t.Error(err)
	}
}

// TestPoller_ObjectVanishes expects a resync soon, which deletes the row.
func TestPoller_ObjectVanishes(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	v := h.Fake.PutVolume(backend.Volume{Name: "short", State: backend.State{Status: backend.Creating, Percent: -1}})
	h.RunMirror(time.Second)
	whole := h.Faulty.Calls("Volumes")
	h.Fake.RemoveVolume(v.ID)
	h.RunMirror(10 * time.Second)
	if h.StatusOf(v.ID) != "gone" || h.Faulty.Calls("Volumes") != whole+1 {
		t.Errorf("%s after %d listings", h.StatusOf(v.ID), h.Faulty.Calls("Volumes")-whole)
	}
}

// TestPoller_NewerThanPage polls an object while an older page is on its way.
func TestPoller_NewerThanPage(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	v := h.Fake.PutVolume(backend.Volume{Name: "old", State: backend.State{Status: backend.Creating, Percent: -1}})
	h.RunMirror(time.Second)
	old, err := h.Fake.Volumes(h.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	slow := &stale{Backend: h.Fake, volumes: old, duringSnapshots: func() {}}
	w := staleMirror(h, slow)
	if err := w.SyncObject(h.Context(), models.SubjectVolume, v.ID); err != nil {
		t.Fatal(err)
	}
	slow.duringVolumes = func() {
		h.Clock.Add(time.Second)
		v.Name = "new"
		h.SetStatus(v, backend.Available)
		if err := w.PollObject(h.Context(), v.ID); err != nil {
			t.Error(err)
		}
	}
	if err := w.Resync(h.Context()); err != nil {
		t.Fatal(err)
	}
	if row := h.FindVolume(v.ID); row == nil || row.Name != "new" || row.Status != models.Available {
		t.Errorf("%+v", row)
	}
}
