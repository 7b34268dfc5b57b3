package worker_test

import (
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
)

func (b *bench) shared(shared bool) {
	b.Helper()
	b.fake.SetCapabilities(func(c *backend.Capabilities) { c.Shared = shared })
	b.restart()
}

// only is the one row of a list.
func (b *bench) onlyVolume() *models.Volume {
	b.Helper()
	page, err := b.store.Volumes.ListVolumes(b.Context(), me, models.ListQuery{})
	if err != nil || len(page.Rows) != 1 {
		b.Fatalf("%d volumes, %v", len(page.Rows), err)
	}
	return &page.Rows[0]
}

func TestObjectsMadeElsewhereAreImported(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		b := benchOf(t, store, clock)
		long := strings.Repeat("\uac00", 255)
		created := clock.Now().Add(-time.Hour).Truncate(time.Second)
		v := b.fake.PutVolume(backend.Volume{Name: "its <b>name</b>\x00", SizeGiB: 7, Type: "ssd", Zone: "z1", CreatedAt: created})
		s := b.fake.PutSnapshot(backend.Snapshot{Name: long, Volume: v.Key, SizeGiB: 7, CreatedAt: created, State: backend.State{Status: "AWAITING\x00-TRANSFER", Percent: -1}})
		copied := b.fake.PutVolume(backend.Volume{Name: "", SizeGiB: 8, Source: &s.Key})
		b.fake.AttachOutOfBand(copied.ID, "server-2")
		b.sweep()
		row, err := store.Volumes.Volume(t.Context(), me, v.ID)
		if err != nil || row.Name != "its <b>name</b>" || row.SizeGiB != 7 || row.Origin != models.Elsewhere || row.VolumeType != "ssd" ||
			row.Zone != "z1" || row.CreatedAt != models.Micros(created) || row.SnapshotCount != 1 || row.ProjectID != models.DefaultProject || row.ID == v.ID {
			t.Fatalf("%+v, %v", row, err)
		}
		snap, err := store.Snapshots.Snapshot(t.Context(), me, s.ID)
		if err != nil || snap.Name != long || snap.VolumeID != row.ID || snap.VolumeName != row.Name || snap.Status != "AWAITING-TRANSFER" || snap.Consistency != models.ConsistencyUnknown {
			t.Fatalf("%+v, %v", snap, err)
		}
		restored, err := store.Volumes.Volume(t.Context(), me, copied.ID)
		if err != nil || !attachedTo(restored, "server-2") || restored.Attachments[0].ServerName != "web-2" {
			t.Fatalf("%+v, %v", restored, err)
		}
		ids := []string{row.ID, snap.ID, restored.ID}
		before, err := store.LastChange(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.sweep()
		again, err1 := store.Volumes.Volume(t.Context(), me, v.ID)
		same, err2 := store.Snapshots.Snapshot(t.Context(), me, s.ID)
		after, err3 := store.LastChange(t.Context())
		if err := errors.Join(err1, err2, err3); err != nil || again.ID != ids[0] || same.ID != ids[1] || after != before {
			t.Errorf("a second sweep: %v, changes %d to %d", err, before, after)
		}
	})
}

// TestASnapshotListedBeforeItsVolume: the volume was made between the two listings.
func TestASnapshotListedBeforeItsVolume(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		b := benchOf(t, store, clock)
		v := b.fake.PutVolume(backend.Volume{Name: "late"})
		s := b.fake.PutSnapshot(backend.Snapshot{Name: "early", Volume: v.Key})
		b.fake.RemoveVolume(v.ID)
		b.sweep()
		b.fake.PutVolume(v)
		b.sweep()
		snap, err := store.Snapshots.Snapshot(t.Context(), me, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		row, err := store.Volumes.Volume(t.Context(), me, v.ID)
		if err != nil || snap.VolumeID != row.ID || snap.VolumeName != "late" || row.SnapshotCount != 1 {
			t.Errorf("%+v %+v %v", snap, row, err)
		}
	})
}

func TestWhatVanishedElsewhere(t *testing.T) {
	for _, shared := range []bool{true, false} {
		t.Run(fmt.Sprintf("shared %t", shared), func(t *testing.T) {
			b := newBench(t)
			b.shared(shared)
			id := aSnapshot(b)
			volume := b.snapshot(id).VolumeID
			b.fake.RemoveSnapshot(id)
			b.fake.RemoveVolume(volume)
			b.sweep()
			_, gone := b.store.Snapshots.SnapshotByID(b.Context(), id)
			_, goneVolume := b.store.Volumes.VolumeByID(b.Context(), volume)
			if shared {
				if !errors.Is(gone, models.ErrNotFound) || !errors.Is(goneVolume, models.ErrNotFound) {
					b.Errorf("%v, %v", gone, goneVolume)
				}
				return
			}
			row := b.snapshot(id)
			if row.Status != models.ErrorStatus || row.Failure.Key != "failure.vanished" || b.volume(volume).Status != models.ErrorStatus {
				b.Fatalf("%+v", row)
			}
			b.sweep()
			b.fake.PutVolume(backend.Volume{Key: backend.Key{Ref: volume}, Name: "volume-1", SizeGiB: 2})
			b.fake.PutSnapshot(backend.Snapshot{Key: backend.Key{Ref: id}, Name: "snap-1", SizeGiB: 2, Volume: backend.Key{Ref: volume}})
			b.sweep()
			if row = b.snapshot(id); row.Status != models.Available || !row.Failure.None() || b.volume(volume).Status != models.Available {
				b.Errorf("it is back: %+v", row)
			}
			b.same()
		})
	}
}

// TestAFailedCreationStays: its object was never there, so it is not missed, and the
// reason stays to be read.
func TestAFailedCreationStays(t *testing.T) {
	for _, shared := range []bool{true, false} {
		b := newBench(t)
		b.shared(shared)
		b.fake.SetQuota("volumes", 0)
		op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "too-much", Size: "1"}))
		b.work()
		b.sweep()
		if row := b.volume(op.SubjectID); row.Status != models.ErrorStatus || row.Failure.Key != "failure.quota" {
			b.Errorf("%+v", row)
		}
	}
}

// TestNothingFlickersUnderOperation: while an operation changes an object, listings
// leave its row alone; the moment it is asked for until it is over.
func TestNothingFlickersUnderOperation(t *testing.T) {
	eachKind(t, func(b *bench, k kind) {
		b.shared(true)
		id := k.prepare(b)
		b.fake.Hold()
		op := b.asked(k.ask(b, id))
		var states []string
		note := func() {
			row, err := b.store.Volumes.VolumeByID(b.Context(), op.SubjectID)
			state := "gone"
			if op.SubjectType == models.SubjectSnapshot {
				var snap *models.Snapshot
				if snap, err = b.store.Snapshots.SnapshotByID(b.Context(), op.SubjectID); err == nil {
					state = string(snap.Status) + " " + snap.Name
				}
			} else if err == nil {
				state = string(row.Status) + " " + row.Name
			}
			if err != nil && !errors.Is(err, models.ErrNotFound) {
				b.Fatal(err)
			}
			states = append(states, state)
		}
		note()
		for range 3 {
			b.sweep()
			note()
			if b.pass(); !b.operation(op.ID).Finished() {
				b.look(1)
			}
			note()
		}
		b.fake.Auto()
		b.work()
		note()
		b.sweep()
		note()
		// The row goes from the click's state to the last one, and never back.
		for i, state := range states {
			if i > 0 && state != states[i-1] {
				for _, later := range states[i:] {
					if later == states[i-1] {
						b.Fatalf("it flickers: %q", states)
					}
				}
			}
		}
		k.check(b, id, op)
	})
}

func TestAStalePageChangesNothing(t *testing.T) {
	b := newBench(t)
	b.shared(true)
	volume := b.newVolume("volume-1")
	snap := b.newSnapshot(volume, "snap-1")
	deleted := b.newSnapshot(volume, "snap-2")
	ctx := b.Context()
	volumes, err := b.fake.Volumes(ctx, "", 10)
	if err != nil {
		b.Fatal(err)
	}
	snapshots, err := b.fake.Snapshots(ctx, "", 10)
	if err != nil {
		b.Fatal(err)
	}
	b.clock.Add(time.Second)
	slow := staleMirror(b, &stale{Backend: b.fake, volumes: volumes, duringVolumes: func() {
		b.done(b.store.Volumes.ExtendVolume(ctx, me, volume, "9", ""))
	}, snapshots: snapshots, duringSnapshots: func() {
		b.done(b.store.Snapshots.EditSnapshot(ctx, me, models.EditInput{ID: snap, Name: "renamed"}))
		b.done(b.store.Snapshots.DeleteSnapshot(ctx, me, deleted, ""))
		b.newSnapshot(volume, "snap-3")
	}})
	if err := slow.Resync(ctx); err != nil {
		b.Fatal(err)
	}
	if row := b.snapshot(snap); row.Name != "renamed" {
		b.Errorf("%+v", row)
	}
	if _, err := b.store.Snapshots.SnapshotByID(ctx, deleted); !errors.Is(err, models.ErrNotFound) {
		b.Error("a deleted snapshot came back")
	}
	if row := b.volume(volume); row.SizeGiB != 9 || row.SnapshotCount != 2 {
		b.Errorf("%+v", row)
	}
	b.restart()
	b.same()
}

func TestAnErrorRemovesNothing(t *testing.T) {
	b := newBench(t)
	b.shared(true)
	for i := range 1005 { // a page and a bit
		b.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%04d", i)})
	}
	b.sweep()
	total := func() int64 {
		n, err := b.store.Total(b.Context(), me, models.SubjectVolume)
		if err != nil {
			b.Fatal(err)
		}
		return n
	}
	if total() != 1005 {
		b.Fatalf("%d volumes", total())
	}
	good, err := b.store.Sync.SyncState(b.Context(), models.SubjectVolume)
	if err != nil || good.SeenAt == 0 || good.FailedSince != 0 {
		b.Fatalf("%+v, %v", good, err)
	}
	b.clock.Add(time.Minute)
	b.faulty.Inject("Volumes", 2, backendtest.Fault{})
	if err := b.mirror.Resync(b.Context()); err == nil {
		b.Error("no error")
	}
	first, err := b.store.Sync.SyncState(b.Context(), models.SubjectVolume)
	if err != nil || first.SeenAt != good.SeenAt || first.FailedSince == 0 || first.Failure.Key != "failure.unavailable" || total() != 1005 {
		b.Errorf("%+v, %d volumes, %v", first, total(), err)
	}
	if other, err := b.store.Sync.SyncState(b.Context(), models.SubjectSnapshot); err != nil || other.SeenAt <= good.SeenAt || other.FailedSince != 0 {
		b.Errorf("the snapshots were read: %+v, %v", other, err)
	}
	b.clock.Add(time.Minute)
	b.faulty.Inject("Volumes", 1, backendtest.Fault{Err: errStrange})
	if err := b.mirror.Resync(b.Context()); err == nil {
		b.Error("no error")
	}
	if second, err := b.store.Sync.SyncState(b.Context(), models.SubjectVolume); err != nil || second.FailedSince != first.FailedSince || second.Failure.Key != "failure.internal" {
		b.Errorf("%+v, %v", second, err)
	}
	b.sweep()
	if now, err := b.store.Sync.SyncState(b.Context(), models.SubjectVolume); err != nil || now.FailedSince != 0 || !now.Failure.None() || now.SeenAt <= good.SeenAt {
		b.Errorf("%+v, %v", now, err)
	}
}

func TestChangesElsewhereAreCopied(t *testing.T) {
	b := newBench(t)
	volume := b.newVolume("volume-1")
	b.fake.AttachOutOfBand(volume, "server-1")
	b.sweep()
	if !attachedTo(b.volume(volume), "server-1") {
		b.Errorf("%+v", b.volume(volume))
	}
	b.fake.DetachOutOfBand(volume, "server-1")
	b.fake.AttachOutOfBand(volume, "server-2")
	b.sweep()
	if !attachedTo(b.volume(volume), "server-2") {
		b.Errorf("%+v", b.volume(volume))
	}
	v := b.inBackend(volume)
	v.Name, v.Description, v.SizeGiB, v.Attachments = "elsewhere", "text", 12, nil
	v.Type, v.Zone = "fast", "zone-2"
	v.State = backend.State{Status: backend.ErrorStatus, Percent: -1, Failure: &backend.Error{Code: backend.CodeNoSpace, Need: 2, Free: 1}}
	b.fake.PutVolume(v)
	b.sweep()
	row := b.onlyVolume()
	if row.VolumeType != "fast" || row.Zone != "zone-2" {
		b.Errorf("%q in %q", row.VolumeType, row.Zone)
	}
	if row.Name != "elsewhere" || row.SizeGiB != 12 || row.Status != models.ErrorStatus || row.Failure.Key != "failure.no_space" || row.AttachmentCount != 0 {
		b.Errorf("%+v", row)
	}
}

// TestATwinIsNotListedTwice: two objects carry one Ref, the second one from a lost
// answer.
func TestATwinIsNotListedTwice(t *testing.T) {
	b := newBench(t)
	b.shared(true)
	id := b.newVolume("volume-1")
	first := b.inBackend(id)
	twin := b.fake.PutVolume(backend.Volume{Name: "twin", SizeGiB: 5})
	twin.Ref = id
	b.fake.PutVolume(twin)
	for range 2 {
		b.sweep()
		if row := b.onlyVolume(); row.BackendID != first.ID || row.Name != "volume-1" || row.SizeGiB != 2 {
			b.Errorf("%+v", row)
		}
	}
}

// TestTwoConsolesSweepTogether on one database: objects are imported once, and what
// one has just imported is not missed by the other.
func TestTwoConsolesSweepTogether(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		b := benchOf(t, store, clock)
		b.shared(true)
		other := &bench{T: t, store: storetest.Second(t, store, clock.Now), clock: clock, fake: b.fake, faulty: b.faulty}
		other.restart()
		for i := range 150 {
			v := b.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%04d", i)})
			b.fake.PutSnapshot(backend.Snapshot{Name: fmt.Sprintf("snap-%04d", i), Volume: v.Key})
		}
		for range 2 {
			errs := make(chan error, 2)
			for _, w := range []*bench{b, other} {
				go func() { errs <- w.mirror.Resync(t.Context()) }()
			}
			if err := errors.Join(<-errs, <-errs); err != nil {
				t.Fatal(err)
			}
			for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
				if n, err := store.Total(t.Context(), me, kind); n != 150 || err != nil {
					t.Errorf("%d of kind %s, %v", n, kind, err)
				}
			}
			clock.Add(time.Second)
		}
	})
}

func TestSmallThingsAreCopied(t *testing.T) {
	b := newBench(t)
	servers := func() string {
		rows, err := b.store.Servers.ListServers(b.Context(), me, 10)
		if err != nil {
			b.Fatal(err)
		}
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		return strings.Join(names, " ")
	}
	if got := servers(); got != "web-1 web-2" {
		b.Errorf("%q", got)
	}
	b.fake.RemoveServer("server-1")
	b.fake.AddServer("server-3", "db\x00-1")
	if err := b.mirror.SyncInventory(b.Context()); err != nil {
		b.Fatal(err)
	}
	if got := servers(); got != "db-1 web-2" {
		b.Errorf("%q", got)
	}
	if images, err := b.store.Servers.ListImages(b.Context()); err != nil || len(images) != 1 || images[0].ID != "image-1" || images[0].MinGiB() != 1 {
		b.Errorf("%+v, %v", images, err)
	}
	if f := b.store.Capabilities(); f.Name != "fake" || !f.Attach || f.MaxSizeGiB != 16384 || !f.CrashSafe {
		b.Errorf("%+v", f)
	}
}

// TestWhatWasDeletedDoesNotComeBack: a page that was asked for before the deletion
// arrives after it. The object was made elsewhere, so nothing but the cloud's id tells
// that it is the same.
func TestWhatWasDeletedDoesNotComeBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		b := benchOf(t, store, clock)
		b.shared(true)
		v := b.fake.PutVolume(backend.Volume{Name: "elsewhere"})
		kept := b.fake.PutVolume(backend.Volume{Name: "kept"})
		s := b.fake.PutSnapshot(backend.Snapshot{Name: "elsewhere", Volume: kept.Key})
		b.sweep()
		old := &stale{Backend: b.fake}
		var err1, err2 error
		old.volumes, err1 = b.fake.Volumes(t.Context(), "", 10)
		old.snapshots, err2 = b.fake.Snapshots(t.Context(), "", 10)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		old.duringVolumes = func() { b.done(store.Volumes.DeleteVolume(t.Context(), me, v.ID, "")) }
		old.duringSnapshots = func() { b.done(store.Snapshots.DeleteSnapshot(t.Context(), me, s.ID, "")) }
		if err := staleMirror(b, old).Resync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if row := b.onlyVolume(); row.BackendID != kept.ID {
			t.Errorf("%+v", row)
		}
		if _, err := store.Snapshots.Snapshot(t.Context(), me, s.ID); !errors.Is(err, models.ErrNotFound) {
			t.Errorf("the snapshot is back: %v", err)
		}
		clock.Add(time.Second)
		b.fake.PutVolume(v) // whoever puts it back is believed
		b.sweep()
		if _, err := store.Volumes.Volume(t.Context(), me, v.ID); err != nil {
			t.Error(err)
		}
	})
}
