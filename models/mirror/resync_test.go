package mirror_test

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

func TestResync_ImportsObjects(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		h := workertest.NewOn(t, store, clock)
		long := strings.Repeat("\uac00", 255)
		created := clock.Now().Add(-time.Hour).Truncate(time.Second)
		v := h.Fake.PutVolume(backend.Volume{Name: "its <h>name</h>\x00", SizeGiB: 7, Type: "ssd", Zone: "z1", CreatedAt: created})
		s := h.Fake.PutSnapshot(backend.Snapshot{Name: long, Volume: v.Key, SizeGiB: 7, CreatedAt: created, State: backend.State{Status: "AWAITING\x00-TRANSFER", Percent: -1}})
		copied := h.Fake.PutVolume(backend.Volume{Name: "", SizeGiB: 8, Source: &s.Key})
		h.Fake.AttachOutOfBand(copied.ID, "server-2")
		h.Resync()
		row, err := store.Volumes.Volume(t.Context(), operator, v.ID)
		if err != nil || row.Name != "its <h>name</h>" || row.SizeGiB != 7 || row.Origin != models.Elsewhere || row.VolumeType != "ssd" ||
			row.Zone != "z1" || row.CreatedAt != models.Micros(created) || row.SnapshotCount != 1 || row.ProjectID != models.DefaultProject || row.ID == v.ID {
			t.Fatalf("%+v, %v", row, err)
		}
		snap, err := store.Snapshots.Snapshot(t.Context(), operator, s.ID)
		if err != nil || snap.Name != long || snap.VolumeID != row.ID || snap.VolumeName != row.Name || snap.Status != "AWAITING-TRANSFER" || snap.Consistency != models.ConsistencyUnknown {
			t.Fatalf("%+v, %v", snap, err)
		}
		restored, err := store.Volumes.Volume(t.Context(), operator, copied.ID)
		if err != nil || !workertest.AttachedOnlyTo(restored, "server-2") || restored.Attachments[0].ServerName != "web-2" {
			t.Fatalf("%+v, %v", restored, err)
		}
		ids := []string{row.ID, snap.ID, restored.ID}
		before, err := store.LastChange(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.Resync()
		again, err1 := store.Volumes.Volume(t.Context(), operator, v.ID)
		same, err2 := store.Snapshots.Snapshot(t.Context(), operator, s.ID)
		after, err3 := store.LastChange(t.Context())
		if err := errors.Join(err1, err2, err3); err != nil || again.ID != ids[0] || same.ID != ids[1] || after != before {
			t.Errorf("a second resync: %v, changes %d to %d", err, before, after)
		}
	})
}

// TestResync_SnapshotBeforeVolume lists a snapshot whose volume only the next resync lists.
func TestResync_SnapshotBeforeVolume(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		h := workertest.NewOn(t, store, clock)
		v := h.Fake.PutVolume(backend.Volume{Name: "late"})
		s := h.Fake.PutSnapshot(backend.Snapshot{Name: "early", Volume: v.Key})
		h.Fake.RemoveVolume(v.ID)
		h.Resync()
		h.Fake.PutVolume(v)
		h.Resync()
		snap, err := store.Snapshots.Snapshot(t.Context(), operator, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		row, err := store.Volumes.Volume(t.Context(), operator, v.ID)
		if err != nil || snap.VolumeID != row.ID || snap.VolumeName != "late" || row.SnapshotCount != 1 {
			t.Errorf("%+v %+v %v", snap, row, err)
		}
	})
}

func TestResync_ObjectsGone(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			h := workertest.New(t)
			h.SetShared(shared)
			id := h.CreateVolumeAndSnapshot()
			volume := h.Snapshot(id).VolumeID
			h.Fake.RemoveSnapshot(id)
			h.Fake.RemoveVolume(volume)
			h.Resync()
			_, gone := h.Store.Snapshots.SnapshotByID(h.Context(), id)
			_, goneVolume := h.Store.Volumes.VolumeByID(h.Context(), volume)
			if shared {
				if !errors.Is(gone, models.ErrNotFound) || !errors.Is(goneVolume, models.ErrNotFound) {
					h.Errorf("%v, %v", gone, goneVolume)
				}
				return
			}
			row := h.Snapshot(id)
			if row.Status != models.ErrorStatus || row.Failure.Key != "failure.missing" || h.Volume(volume).Status != models.ErrorStatus {
				h.Fatalf("%+v", row)
			}
			h.Resync()
			h.Fake.PutVolume(backend.Volume{Key: backend.Key{Ref: volume}, Name: "volume-1", SizeGiB: 2})
			h.Fake.PutSnapshot(backend.Snapshot{Key: backend.Key{Ref: id}, Name: "snap-1", SizeGiB: 2, Volume: backend.Key{Ref: volume}})
			h.Resync()
			if row = h.Snapshot(id); row.Status != models.Available || !row.Failure.None() || h.Volume(volume).Status != models.Available {
				h.Errorf("created again: %+v", row)
			}
			h.WantInSync()
		})
	}
}

// TestResync_KeepsFailedCreation expects that a row without an object is not missing and keeps
// its failure.
func TestResync_KeepsFailedCreation(t *testing.T) {
	t.Parallel()
	for _, shared := range []bool{true, false} {
		h := workertest.New(t)
		h.SetShared(shared)
		h.Fake.SetQuota("volumes", 0)
		op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "too-much", Size: "1"}))
		h.RunQueue()
		h.Resync()
		if row := h.Volume(op.SubjectID); row.Status != models.ErrorStatus || row.Failure.Key != "failure.quota" {
			h.Errorf("%+v", row)
		}
	}
}

// TestResync_LeavesBusyRows expects that resyncs leave a row alone from the click to the end of
// its operation.
func TestResync_LeavesBusyRows(t *testing.T) {
	workertest.EachKind(t, func(h *workertest.Harness, k workertest.Kind) {
		h.SetShared(true)
		id := k.Prepare(h)
		h.Fake.Hold()
		op := h.Accepted(k.Enqueue(h, id))
		var states []string
		note := func() {
			row, err := h.Store.Volumes.VolumeByID(h.Context(), op.SubjectID)
			state := "gone"
			if op.SubjectType == models.SubjectSnapshot {
				var snap *models.Snapshot
				if snap, err = h.Store.Snapshots.SnapshotByID(h.Context(), op.SubjectID); err == nil {
					state = string(snap.Status) + " " + snap.Name
				}
			} else if err == nil {
				state = string(row.Status) + " " + row.Name
			}
			if err != nil && !errors.Is(err, models.ErrNotFound) {
				h.Fatal(err)
			}
			states = append(states, state)
		}
		note()
		for range 3 {
			h.Resync()
			note()
			if h.AdvanceToDue(); !h.Operation(op.ID).Finished() {
				h.Reconcile(1)
			}
			note()
		}
		h.Fake.Auto()
		h.RunQueue()
		note()
		h.Resync()
		note()
		// The row never returns to an earlier state.
		for i, state := range states {
			if i > 0 && state != states[i-1] {
				for _, later := range states[i:] {
					if later == states[i-1] {
						h.Fatalf("it returned to an earlier state: %q", states)
					}
				}
			}
		}
		k.Check(h, id, op)
	})
}

func TestResync_StalePage(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.SetShared(true)
	volume := h.CreateVolume("volume-1")
	snap := h.CreateSnapshot(volume, "snap-1")
	deleted := h.CreateSnapshot(volume, "snap-2")
	ctx := h.Context()
	volumes, err := h.Fake.Volumes(ctx, "", 10)
	if err != nil {
		h.Fatal(err)
	}
	snapshots, err := h.Fake.Snapshots(ctx, "", 10)
	if err != nil {
		h.Fatal(err)
	}
	h.Clock.Add(time.Second)
	slow := staleMirror(h, &stale{Backend: h.Fake, volumes: volumes, duringVolumes: func() {
		h.Succeed(h.Store.Volumes.ExtendVolume(ctx, operator, volume, "9", ""))
	}, snapshots: snapshots, duringSnapshots: func() {
		h.Succeed(h.Store.Snapshots.EditSnapshot(ctx, operator, models.EditInput{ID: snap, Name: "renamed"}))
		h.Succeed(h.Store.Snapshots.DeleteSnapshot(ctx, operator, deleted, ""))
		h.CreateSnapshot(volume, "snap-3")
	}})
	if err := slow.Resync(ctx); err != nil {
		h.Fatal(err)
	}
	if row := h.Snapshot(snap); row.Name != "renamed" {
		h.Errorf("%+v", row)
	}
	if _, err := h.Store.Snapshots.SnapshotByID(ctx, deleted); !errors.Is(err, models.ErrNotFound) {
		h.Error("a deleted snapshot came back")
	}
	if row := h.Volume(volume); row.SizeGiB != 9 || row.SnapshotCount != 2 {
		h.Errorf("%+v", row)
	}
	h.Restart()
	h.WantInSync()
}

// TestResync_DeletedMeanwhile receives a page that was requested before a deletion. The object
// was created elsewhere, so that only the backend's id identifies it.
func TestResync_DeletedMeanwhile(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		h := workertest.NewOn(t, store, clock)
		h.SetShared(true)
		v := h.Fake.PutVolume(backend.Volume{Name: "elsewhere"})
		kept := h.Fake.PutVolume(backend.Volume{Name: "kept"})
		s := h.Fake.PutSnapshot(backend.Snapshot{Name: "elsewhere", Volume: kept.Key})
		h.Resync()
		old := &stale{Backend: h.Fake}
		var err1, err2 error
		old.volumes, err1 = h.Fake.Volumes(t.Context(), "", 10)
		old.snapshots, err2 = h.Fake.Snapshots(t.Context(), "", 10)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		old.duringVolumes = func() { h.Succeed(store.Volumes.DeleteVolume(t.Context(), operator, v.ID, "")) }
		old.duringSnapshots = func() { h.Succeed(store.Snapshots.DeleteSnapshot(t.Context(), operator, s.ID, "")) }
		if err := staleMirror(h, old).Resync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if row := h.OnlyVolume(); row.BackendID != kept.ID {
			t.Errorf("%+v", row)
		}
		if _, err := store.Snapshots.Snapshot(t.Context(), operator, s.ID); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the snapshot is back: %v", err)
		}
		clock.Add(time.Second)
		h.Fake.PutVolume(v) // created again elsewhere
		h.Resync()
		if _, err := store.Volumes.Volume(t.Context(), operator, v.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestResync_ErrorRemovesNothing(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.SetShared(true)
	for i := range 1005 { // more than a page
		h.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%04d", i)})
	}
	h.Resync()
	total := func() int64 {
		n, err := h.Store.Total(h.Context(), operator, models.SubjectVolume)
		if err != nil {
			h.Fatal(err)
		}
		return n
	}
	if total() != 1005 {
		h.Fatalf("%d volumes", total())
	}
	good, err := h.Store.Sync.SyncState(h.Context(), models.SubjectVolume)
	if err != nil || good.SeenAt == 0 || good.FailedSince != 0 {
		h.Fatalf("%+v, %v", good, err)
	}
	h.Clock.Add(time.Minute)
	h.Faulty.Inject("Volumes", 2, backendtest.Fault{})
	if err := h.Mirror.Resync(h.Context()); err == nil {
		h.Error("no error")
	}
	first, err := h.Store.Sync.SyncState(h.Context(), models.SubjectVolume)
	if err != nil || first.SeenAt != good.SeenAt || first.FailedSince == 0 || first.Failure.Key != "failure.unavailable" || total() != 1005 {
		h.Errorf("%+v, %d volumes, %v", first, total(), err)
	}
	if other, err := h.Store.Sync.SyncState(h.Context(), models.SubjectSnapshot); err != nil || other.SeenAt <= good.SeenAt || other.FailedSince != 0 {
		h.Errorf("the snapshots were read: %+v, %v", other, err)
	}
	h.Clock.Add(time.Minute)
	h.Faulty.Inject("Volumes", 1, backendtest.Fault{Err: workertest.ErrInternal})
	if err := h.Mirror.Resync(h.Context()); err == nil {
		h.Error("no error")
	}
	if second, err := h.Store.Sync.SyncState(h.Context(), models.SubjectVolume); err != nil || second.FailedSince != first.FailedSince || second.Failure.Key != "failure.internal" {
		h.Errorf("%+v, %v", second, err)
	}
	h.Resync()
	if now, err := h.Store.Sync.SyncState(h.Context(), models.SubjectVolume); err != nil || now.FailedSince != 0 || !now.Failure.None() || now.SeenAt <= good.SeenAt {
		h.Errorf("%+v, %v", now, err)
	}
}

func TestResync_ChangesElsewhere(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	volume := h.CreateVolume("volume-1")
	h.Fake.AttachOutOfBand(volume, "server-1")
	h.Resync()
	if !workertest.AttachedOnlyTo(h.Volume(volume), "server-1") {
		h.Errorf("%+v", h.Volume(volume))
	}
	h.Fake.DetachOutOfBand(volume, "server-1")
	h.Fake.AttachOutOfBand(volume, "server-2")
	h.Resync()
	if !workertest.AttachedOnlyTo(h.Volume(volume), "server-2") {
		h.Errorf("%+v", h.Volume(volume))
	}
	v := h.BackendVolume(volume)
	v.Name, v.Description, v.SizeGiB, v.Attachments = "elsewhere", "text", 12, nil
	v.Type, v.Zone = "fast", "zone-2"
	v.State = backend.State{Status: backend.ErrorStatus, Percent: -1, Failure: &backend.Error{Code: backend.CodeNoSpace, Need: 2, Free: 1}}
	h.Fake.PutVolume(v)
	h.Resync()
	row := h.OnlyVolume()
	if row.VolumeType != "fast" || row.Zone != "zone-2" {
		h.Errorf("%q in %q", row.VolumeType, row.Zone)
	}
	if row.Name != "elsewhere" || row.SizeGiB != 12 || row.Status != models.ErrorStatus || row.Failure.Key != "failure.no_space" || row.AttachmentCount != 0 {
		h.Errorf("%+v", row)
	}
}

// TestResync_TwoConsoles expects that two consoles on one database import objects once, and
// that none of them is missing to the other.
func TestResync_TwoConsoles(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		h := workertest.NewOn(t, store, clock)
		h.SetShared(true)
		other := workertest.Share(t, storetest.Second(t, store, clock.Now), clock, h.Fake)
		for i := range 150 {
			v := h.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%04d", i)})
			h.Fake.PutSnapshot(backend.Snapshot{Name: fmt.Sprintf("snap-%04d", i), Volume: v.Key})
		}
		for range 2 {
			errs := make(chan error, 2)
			for _, w := range []*workertest.Harness{h, other} {
				go func() { errs <- w.Mirror.Resync(t.Context()) }()
			}
			if err := errors.Join(<-errs, <-errs); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
				if n, err := store.Total(t.Context(), operator, kind); n != 150 || err != nil {
					t.Errorf("%d of kind %s, %v", n, kind, err)
				}
			}
			clock.Add(time.Second)
		}
	})
}

// TestResync_UnavailableCauses expects another failure for each cause.
func TestResync_UnavailableCauses(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	for _, cause := range []backend.Cause{"", backend.Credentials, backend.Token, backend.TooMany, backend.Certificate, backend.Clock} {
		h.Faulty.Inject("Volumes", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, Cause: cause}})
		if err := h.Mirror.Resync(t.Context()); err == nil {
			t.Error("no error")
		}
		want := "failure." + cmp.Or(string(cause), "unavailable")
		if m, err := h.Store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != want {
			t.Errorf("%q: %+v, %v", cause, m.Failure, err)
		}
	}
}
