package mirror_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

// TestDuplicates_Volume expects that a second object with one Ref is deleted after the settle
// time if it is younger, alike and unused.
func TestDuplicates_Volume(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(h *workertest.Harness, kept backend.Volume, duplicate *backend.Volume)
		kept   bool
	}{
		"unused": {func(*workertest.Harness, backend.Volume, *backend.Volume) {}, false},
		"in error": {func(_ *workertest.Harness, _ backend.Volume, duplicate *backend.Volume) {
			duplicate.Status = backend.ErrorStatus
		}, false},
		"attached": {func(_ *workertest.Harness, _ backend.Volume, duplicate *backend.Volume) {
			duplicate.Status, duplicate.Attachments = backend.InUse, []backend.Attachment{{ServerID: "server-1"}}
		}, true},
		"older": {func(_ *workertest.Harness, kept backend.Volume, duplicate *backend.Volume) {
			duplicate.CreatedAt = kept.CreatedAt.Add(-time.Hour)
		}, true},
		"another size": {func(_ *workertest.Harness, _ backend.Volume, duplicate *backend.Volume) { duplicate.SizeGiB++ }, true},
		"restored backup": {func(h *workertest.Harness, _ backend.Volume, duplicate *backend.Volume) {
			duplicate.CreatedAt = h.Clock.Now() // Cinder copies the metadata
		}, true},
		"kept volume deleted": {func(h *workertest.Harness, kept backend.Volume, _ *backend.Volume) {
			kept.State.Status = backend.Deleting
			h.Fake.PutVolume(kept)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := workertest.NewCloud(t)
			id := h.CreateVolume("volume-1")
			h.Clock.Add(time.Hour)
			kept := h.BackendVolume(id)
			duplicate := h.Fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
			duplicate.Ref, duplicate.CreatedAt = id, kept.CreatedAt.Add(time.Minute)
			tt.change(h, kept, &duplicate)
			h.Fake.PutVolume(duplicate)
			h.Resync()
			h.Resync()
			if h.Faulty.Calls("DeleteVolume") != 0 {
				t.Fatal("deleted within the settle time")
			}
			h.Clock.Add(workertest.Settle)
			h.Resync()
			if _, err := h.Store.Volumes.Volume(t.Context(), operator, id); err != nil {
				t.Error(err)
			}
			want := 1
			if tt.kept {
				want = 0
			}
			if got := h.Faulty.Calls("DeleteVolume"); got != want {
				t.Errorf("%d deletions, want %d", got, want)
			}
			audit, err := h.Store.SearchAudit(t.Context(), admin, models.AuditQuery{Limit: 10})
			if err != nil || slices.ContainsFunc(audit.Entries, func(e models.AuditEntry) bool { return e.Action == "twin.delete" && e.Detail == duplicate.ID }) == tt.kept {
				t.Errorf("%v, %+v", err, audit.Entries)
			}
		})
	}
}

func TestDuplicates_VolumeWithSnapshots(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	id := h.CreateVolume("volume-1")
	h.Clock.Add(time.Hour)
	kept := h.BackendVolume(id)
	duplicate := h.Fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
	h.Fake.PutSnapshot(backend.Snapshot{Name: "of-the-duplicate", Volume: backend.Key{ID: duplicate.ID}})
	duplicate.Ref, duplicate.CreatedAt = id, kept.CreatedAt.Add(time.Minute)
	h.Fake.PutVolume(duplicate)
	h.Resync()
	h.Clock.Add(2 * workertest.Settle)
	h.Resync()
	if n := h.Faulty.Calls("DeleteVolume"); n != 0 {
		t.Errorf("%d deletions", n)
	}
}

func TestDuplicates_Snapshot(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	id := h.CreateVolumeAndSnapshot()
	h.Clock.Add(time.Hour)
	kept, err := h.Fake.Snapshot(t.Context(), backend.Key{Ref: id})
	if err != nil {
		t.Fatal(err)
	}
	duplicate := h.Fake.PutSnapshot(backend.Snapshot{Name: "snap-1", SizeGiB: kept.SizeGiB, Volume: kept.Volume, CreatedAt: kept.CreatedAt.Add(workertest.Settle)})
	duplicate.Ref = id
	h.Fake.PutSnapshot(duplicate)
	h.Resync()
	h.Clock.Add(2 * workertest.Settle)
	h.Resync()
	h.Fake.Settle()
	if there, err := h.Fake.Snapshots(t.Context(), "", 10); err != nil || len(there.Items) != 1 || there.Items[0].ID != kept.ID {
		t.Errorf("%+v, %v", there, err)
	}
	h.WantInSync()
}

// TestDuplicates_RestoredBackup expects a row for a restored backup, which carries the Ref of
// the volume that was backed up. It is never deleted, also not after a restart.
func TestDuplicates_RestoredBackup(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	id := h.CreateVolume("volume-1")
	h.Clock.Add(time.Hour)
	kept := h.BackendVolume(id)
	backup := h.Fake.PutVolume(backend.Volume{Name: "volume-1", SizeGiB: kept.SizeGiB})
	backup.Ref = id
	h.Fake.PutVolume(backup)
	h.Resync()
	h.Clock.Add(2 * workertest.Settle)
	h.Resync()
	h.Resync()
	row, err := h.Store.Volumes.Volume(t.Context(), operator, backup.ID)
	if err != nil || row.ID == id || row.BackendID != backup.ID || row.Origin != models.Elsewhere {
		t.Fatalf("%+v, %v", row, err)
	}
	if own := h.Volume(id); own.BackendID != kept.ID {
		t.Errorf("%+v", own)
	}
	h.Restart()
	for range 3 {
		h.Resync()
		h.Clock.Add(2 * workertest.Settle)
	}
	if again, err := h.Store.Volumes.Volume(t.Context(), operator, backup.ID); err != nil || again.ID != row.ID || h.Faulty.Calls("DeleteVolume") != 0 {
		t.Errorf("%+v, %v, %d deletions", again, err, h.Faulty.Calls("DeleteVolume"))
	}
	h.Fake.RemoveVolume(kept.ID)
	h.Resync()
	if _, err := h.Store.Volumes.VolumeByID(t.Context(), id); !errors.Is(err, models.ErrNotFound) {
		t.Errorf("the row of the volume that is gone: %v", err)
	}
	if again, err := h.Store.Volumes.Volume(t.Context(), operator, backup.ID); err != nil || again.ID != row.ID {
		t.Errorf("%+v, %v", again, err)
	}
}

// TestDuplicates_OldestOfPageGetsRow lists three objects with one Ref without a row.
func TestDuplicates_OldestOfPageGetsRow(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	ref := models.NewID()
	var ids []string
	for i := range 3 {
		v := h.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("copy-%d", i), CreatedAt: h.Clock.Now().Add(-time.Duration(i) * time.Hour)})
		v.Ref = ref
		h.Fake.PutVolume(v)
		ids = append(ids, v.ID)
	}
	h.Fake.SetLag(0)
	h.Resync()
	if row := h.OnlyVolume(); row.BackendID != ids[2] {
		t.Errorf("%+v, of %v", row, ids)
	}
}

// TestDuplicates_NotListed expects one row for two objects with one Ref.
func TestDuplicates_NotListed(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.SetShared(true)
	id := h.CreateVolume("volume-1")
	first := h.BackendVolume(id)
	duplicate := h.Fake.PutVolume(backend.Volume{Name: "duplicate", SizeGiB: 5})
	duplicate.Ref = id
	h.Fake.PutVolume(duplicate)
	for range 2 {
		h.Resync()
		if row := h.OnlyVolume(); row.BackendID != first.ID || row.Name != "volume-1" || row.SizeGiB != 2 {
			h.Errorf("%+v", row)
		}
	}
}
