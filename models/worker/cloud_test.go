package worker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

const settle = 90 * time.Second

// newCloudBench is a bench whose backend is shared with others, and where an
// object whose answer was lost shows only after a while.
func newCloudBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.fake.SetCapabilities(func(c *backend.Capabilities) {
		c.Shared, c.Settle = true, settle
		c.Poll = []time.Duration{2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second}
		c.Pace = backend.Pace{Small: time.Minute, Changed: 10 * time.Second, Whole: 2 * time.Minute}
	})
	b.fake.EnableChangedVolumes()
	b.fake.SetLag(settle * 2 / 3)
	b.restart()
	return b
}

// changing are the kinds of which a second time would show.
func changing() []kind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k kind) bool {
		return slices.Contains([]string{"volume.edit", "snapshot.edit", "volume.repair", "snapshot.repair", "volume.create of an image"}, k.name)
	})
}

// TestACrashInACloud: at every look of what changes objects a worker dies after it
// has asked and before it has saved. There is one object at the end.
func TestACrashInACloud(t *testing.T) {
	for _, k := range changing() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			b := newCloudBench(t)
			id := k.prepare(b)
			b.asked(k.ask(b, id))
			looks := looksOf(b)
			for at := range looks {
				b := newCloudBench(t)
				id := k.prepare(b)
				op := b.asked(k.ask(b, id))
				b.look(at)
				b.die()
				b.work()
				k.check(b, id, op)
				if t.Failed() {
					t.Fatalf("died at look %d of %d", at+1, looks)
				}
			}
		})
	}
}

// TestAFaultInACloud loses the request or its answer at every call that changes
// something.
func TestAFaultInACloud(t *testing.T) {
	for _, k := range changing() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			for _, fault := range []backendtest.Fault{{}, {After: true}} {
				for _, method := range []string{k.request, "Volume", "Snapshot"} {
					for n := 1; n <= 3; n++ {
						b := newCloudBench(t)
						id := k.prepare(b)
						b.faulty.Inject(method, n, fault)
						op := b.asked(k.ask(b, id))
						b.work()
						k.check(b, id, op)
						if t.Failed() {
							t.Fatalf("%s %d %+v", method, n, fault)
						}
						if b.faulty.Calls(method) < n {
							break
						}
					}
				}
			}
		})
	}
}

// aReverted is a volume that was overwritten after its snapshot, and the click.
func aReverted(b *bench) (snapshot, volume string, op *models.Operation) {
	b.Helper()
	snapshot = aSnapshot(b)
	volume = b.snapshot(snapshot).VolumeID
	b.clock.Add(time.Minute)
	if err := b.fake.WriteVolume(volume, 0, []byte("overwritten")); err != nil {
		b.Fatal(err)
	}
	return snapshot, volume, b.asked(b.store.Volumes.RevertVolume(b.Context(), me, snapshot, ""))
}

// TestARevertWhoseAnswerIsLost is not repeated when it happened, nor when somebody
// else has changed the volume since.
func TestARevertWhoseAnswerIsLost(t *testing.T) {
	t.Run("it happened", func(t *testing.T) {
		b := newCloudBench(t)
		snapshot, volume, op := aReverted(b)
		b.faulty.Inject("RevertVolume", 1, backendtest.Fault{After: true})
		b.look(1)
		b.clock.Add(time.Second)
		b.fake.Settle()
		b.work()
		if op = b.operation(op.ID); op.State != models.Succeeded || b.faulty.Calls("RevertVolume") != 1 || !b.fake.EqualBytes(volume, snapshot) {
			t.Errorf("%d calls, %+v", b.faulty.Calls("RevertVolume"), op)
		}
	})
	t.Run("it did not arrive", func(t *testing.T) {
		b := newCloudBench(t)
		snapshot, volume, op := aReverted(b)
		b.faulty.Inject("RevertVolume", 1, backendtest.Fault{})
		began := b.clock.Now()
		b.look(1)
		for b.faulty.Calls("RevertVolume") == 1 && b.pass() {
			b.look(1)
		}
		if waited := b.clock.Now().Sub(began); waited < settle {
			t.Errorf("asked again after %v", waited)
		}
		b.work()
		if op = b.operation(op.ID); op.State != models.Succeeded || b.faulty.Calls("RevertVolume") != 2 || !b.fake.EqualBytes(volume, snapshot) {
			t.Errorf("%d calls, %+v", b.faulty.Calls("RevertVolume"), op)
		}
	})
	t.Run("somebody wrote since", func(t *testing.T) {
		b := newCloudBench(t)
		snapshot, volume, op := aReverted(b)
		b.faulty.Inject("RevertVolume", 1, backendtest.Fault{})
		b.look(1)
		b.clock.Add(time.Second)
		b.fake.AttachOutOfBand(volume, "server-1")
		if err := b.fake.WriteVolume(volume, 0, []byte("of great value")); err != nil {
			t.Fatal(err)
		}
		b.fake.DetachOutOfBand(volume, "server-1")
		b.work()
		b.failed(op, "failure.revert_unknown")
		if b.faulty.Calls("RevertVolume") != 1 || b.fake.EqualBytes(volume, snapshot) || b.volume(volume).Status != models.Available {
			t.Errorf("%d calls, %+v", b.faulty.Calls("RevertVolume"), b.volume(volume))
		}
	})
}

// TestARevertWaitsForTheClock: what changed within this second may change once more
// without showing it.
func TestARevertWaitsForTheClock(t *testing.T) {
	b := newCloudBench(t)
	snapshot := aSnapshot(b)
	v := b.inBackend(b.snapshot(snapshot).VolumeID)
	b.fake.PutVolume(v)
	b.asked(b.store.Volumes.RevertVolume(b.Context(), me, snapshot, ""))
	b.look(1)
	if b.faulty.Calls("RevertVolume") != 0 {
		t.Error("asked for within the second of the last change")
	}
	b.work()
	if b.faulty.Calls("RevertVolume") != 1 || b.volume(v.Ref).Status != models.Available {
		t.Errorf("%d calls", b.faulty.Calls("RevertVolume"))
	}
}

// TestATwinIsRemoved: a second object of one id, younger and unused, is deleted
// after the settle window; any other is left alone.
func TestATwinIsRemoved(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(b *bench, kept backend.Volume, twin *backend.Volume)
		stays  bool
	}{
		"unused":   {func(*bench, backend.Volume, *backend.Volume) {}, false},
		"in error": {func(_ *bench, _ backend.Volume, twin *backend.Volume) { twin.Status = backend.ErrorStatus }, false},
		"attached": {func(_ *bench, _ backend.Volume, twin *backend.Volume) {
			twin.Status, twin.Attachments = backend.InUse, []backend.Attachment{{ServerID: "server-1"}}
		}, true},
		"older": {func(_ *bench, kept backend.Volume, twin *backend.Volume) {
			twin.CreatedAt = kept.CreatedAt.Add(-time.Hour)
		}, true},
		"of its own": {func(_ *bench, _ backend.Volume, twin *backend.Volume) { twin.SizeGiB++ }, true},
		"a restored backup": {func(b *bench, _ backend.Volume, twin *backend.Volume) {
			twin.CreatedAt = b.clock.Now() // Cinder copies the metadata
		}, true},
		"the kept one is gone": {func(b *bench, kept backend.Volume, _ *backend.Volume) {
			kept.State.Status = backend.Deleting
			b.fake.PutVolume(kept)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newCloudBench(t)
			id := b.newVolume("volume-1")
			b.clock.Add(time.Hour)
			kept := b.inBackend(id)
			twin := b.fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
			twin.Ref, twin.CreatedAt = id, kept.CreatedAt.Add(time.Minute)
			tt.change(b, kept, &twin)
			b.fake.PutVolume(twin)
			b.sweep()
			b.sweep()
			if b.faulty.Calls("DeleteVolume") != 0 {
				t.Fatal("deleted within the settle window")
			}
			b.clock.Add(settle)
			b.sweep()
			if _, err := b.store.Volumes.Volume(t.Context(), me, id); err != nil {
				t.Error(err)
			}
			want := 1
			if tt.stays {
				want = 0
			}
			if got := b.faulty.Calls("DeleteVolume"); got != want {
				t.Errorf("%d deletions, want %d", got, want)
			}
			audit, err := b.store.ListAudit(t.Context(), admin, 0, 0, 10)
			if err != nil || slices.ContainsFunc(audit.Entries, func(e models.AuditEntry) bool { return e.Action == "twin.delete" && e.Detail == twin.ID }) == tt.stays {
				t.Errorf("%v, %+v", err, audit.Entries)
			}
		})
	}
}

func TestATwinWithSnapshotsStays(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	id := b.newVolume("volume-1")
	b.clock.Add(time.Hour)
	kept := b.inBackend(id)
	twin := b.fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
	b.fake.PutSnapshot(backend.Snapshot{Name: "of-the-twin", Volume: backend.Key{ID: twin.ID}})
	twin.Ref, twin.CreatedAt = id, kept.CreatedAt.Add(time.Minute)
	b.fake.PutVolume(twin)
	b.sweep()
	b.clock.Add(2 * settle)
	b.sweep()
	if n := b.faulty.Calls("DeleteVolume"); n != 0 {
		t.Errorf("%d deletions", n)
	}
}

// TestARestoredBackupIsListed: it carries the id of the volume that was backed up,
// and is never taken for a twin that nobody has used, not even after a
// restart.
func TestARestoredBackupIsListed(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	id := b.newVolume("volume-1")
	b.clock.Add(time.Hour)
	kept := b.inBackend(id)
	backup := b.fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
	backup.Ref = id
	b.fake.PutVolume(backup)
	b.sweep()
	b.clock.Add(2 * settle)
	b.sweep()
	b.sweep()
	row, err := b.store.Volumes.Volume(t.Context(), me, backup.ID)
	if err != nil || row.ID == id || row.BackendID != backup.ID || row.Origin != models.Elsewhere {
		t.Fatalf("%+v, %v", row, err)
	}
	if own := b.volume(id); own.BackendID != kept.ID {
		t.Errorf("%+v", own)
	}
	b.restart()
	for range 3 {
		b.sweep()
		b.clock.Add(2 * settle)
	}
	if again, err := b.store.Volumes.Volume(t.Context(), me, backup.ID); err != nil || again.ID != row.ID || b.faulty.Calls("DeleteVolume") != 0 {
		t.Errorf("%+v, %v, %d deletions", again, err, b.faulty.Calls("DeleteVolume"))
	}
	b.fake.RemoveVolume(kept.ID)
	b.sweep()
	if _, err := b.store.Volumes.VolumeByID(t.Context(), id); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("the row of the volume that is gone: %v", err)
	}
	if again, err := b.store.Volumes.Volume(t.Context(), me, backup.ID); err != nil || again.ID != row.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestASnapshotsTwinIsRemoved(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	id := aSnapshot(b)
	b.clock.Add(time.Hour)
	kept, err := b.fake.Snapshot(t.Context(), backend.Key{Ref: id})
	if err != nil {
		t.Fatal(err)
	}
	twin := b.fake.PutSnapshot(backend.Snapshot{Name: "snap-1", SizeGiB: kept.SizeGiB, Volume: kept.Volume, CreatedAt: kept.CreatedAt.Add(settle)})
	twin.Ref = id
	b.fake.PutSnapshot(twin)
	b.sweep()
	b.clock.Add(2 * settle)
	b.sweep()
	b.fake.Settle()
	if there, err := b.fake.Snapshots(t.Context(), "", 10); err != nil || len(there.Items) != 1 || there.Items[0].ID != kept.ID {
		t.Errorf("%+v, %v", there, err)
	}
	b.same()
}

// TestTheOldestOfOnePage is taken for the row of an operation that has lost it.
func TestTheOldestOfOnePage(t *testing.T) {
	b := newCloudBench(t)
	ref := models.NewID()
	var ids []string
	for i := range 3 {
		v := b.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("copy-%d", i), CreatedAt: b.clock.Now().Add(-time.Duration(i) * time.Hour)})
		v.Ref = ref
		b.fake.PutVolume(v)
		ids = append(ids, v.ID)
	}
	b.fake.SetLag(0)
	b.sweep()
	if row := b.onlyVolume(); row.BackendID != ids[2] {
		t.Errorf("%+v, of %v", row, ids)
	}
}

// TestTheEndDoesNotWaitForACloudThatHangs: what was asked is followed by the next
// worker.
func TestTheEndDoesNotWaitForACloudThatHangs(t *testing.T) {
	b := newCloudBench(t)
	entered := make(chan struct{})
	b.faulty.Inject("CreateVolume", 1, backendtest.Fault{Hang: true, After: true, Entered: entered})
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	ctx, cancel := contextWithCancel(t)
	over := make(chan struct{})
	go func() { b.worker.Run(ctx); close(over) }()
	<-entered
	cancel()
	b.worker.CutOff()
	<-over
	if now := b.operation(op.ID); now.State != models.Running || now.Attempts != 0 || !now.LastError.None() {
		t.Errorf("%+v", now)
	}
	b.restart()
	b.clock.Add(lease + time.Second)
	b.done(op, nil)
	b.same()
}
