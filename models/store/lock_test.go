package store_test

import (
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// lockable is a volume or snapshot of a test, with what the store offers for it.
type lockable struct {
	id           string
	lock, unlock func(in models.LockInput) (*models.Operation, error)
	delete       func() error
	row          func() (models.Lock, models.Status, int64)
	found        func() []string // ids of the list «locked»
}

// lockables imports a volume and a snapshot of another volume.
func lockables(t *testing.T, db *store.Store, actor models.Actor) map[string]lockable {
	t.Helper()
	ctx := t.Context()
	source, volume := availableVolume(t, db, "source"), availableVolume(t, db, "data")
	ids, err := db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{{ID: models.NewID(), BackendID: "b-snap", Project: models.DefaultProject, Name: "snap", SizeGiB: 1,
		Source: source, CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: -1}}}, db.Now())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]lockable{
		"volume": {id: volume,
			lock:   func(in models.LockInput) (*models.Operation, error) { return db.Volumes.LockVolume(ctx, actor, in) },
			unlock: func(in models.LockInput) (*models.Operation, error) { return db.Volumes.UnlockVolume(ctx, actor, in) },
			delete: func() error { _, err := db.Volumes.DeleteVolume(ctx, actor, volume, ""); return err },
			row: func() (models.Lock, models.Status, int64) {
				v, err := db.Volumes.VolumeByID(ctx, volume)
				must(t, err)
				return v.Lock, v.Status, v.Version
			},
			found: func() (all []string) {
				page, err := db.Volumes.ListVolumes(ctx, actor, models.ListQuery{Locked: true})
				must(t, err)
				for _, v := range page.Rows {
					all = append(all, v.ID)
				}
				return all
			}},
		"snapshot": {id: ids[0],
			lock: func(in models.LockInput) (*models.Operation, error) { return db.Snapshots.LockSnapshot(ctx, actor, in) },
			unlock: func(in models.LockInput) (*models.Operation, error) {
				return db.Snapshots.UnlockSnapshot(ctx, actor, in)
			},
			delete: func() error { _, err := db.Snapshots.DeleteSnapshot(ctx, actor, ids[0], ""); return err },
			row: func() (models.Lock, models.Status, int64) {
				s, err := db.Snapshots.SnapshotByID(ctx, ids[0])
				must(t, err)
				return s.Lock, s.Status, s.Version
			},
			found: func() (all []string) {
				page, err := db.Snapshots.ListSnapshots(ctx, actor, models.ListQuery{Locked: true})
				must(t, err)
				for _, s := range page.Rows {
					all = append(all, s.ID)
				}
				return all
			}},
	}
}

func dayOf(at time.Time, days int) string { return at.UTC().AddDate(0, 0, days).Format(time.DateOnly) }

func keyOf(err error) string {
	if e := models.AsError(err); e != nil {
		for _, text := range e.Fields {
			return text.Key
		}
		return e.Text.Key
	}
	return ""
}

func TestLock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		db.SetCapabilities(capabilities)
		for kind, o := range lockables(t, db, storetest.Operator()) {
			t.Run(kind, func(t *testing.T) {
				in := models.LockInput{ID: o.id, Until: dayOf(clock.Now(), 2), Reason: "audit", FormKey: "k-" + kind}
				op, err := o.lock(in)
				if err != nil {
					t.Fatal(err)
				}
				if again, err := o.lock(in); err != nil || !again.Replayed || again.ID != op.ID {
					t.Errorf("sent twice: %+v %v", again, err)
				}
				lock, status, version := o.row()
				if lock.LockReason != "audit" || lock.LockedBy != storetest.Operator().Name || status != models.Available || version != 2 || lock.LockedUntil != op.Params.LockedUntil {
					t.Errorf("%+v %s %d", lock, status, version)
				}
				if got := o.found(); !slices.Equal(got, []string{o.id}) {
					t.Errorf("found %v", got)
				}
				if key := keyOf(o.delete()); key != "deny.locked_for" {
					t.Errorf("deleted: %q", key)
				}
				for name, refused := range map[string]models.LockInput{
					"lock.until_past":     {ID: o.id, Until: dayOf(clock.Now(), -1)},
					"lock.until_required": {ID: o.id},
					"lock.shorter":        {ID: o.id, Until: dayOf(clock.Now(), 1), Reason: "why"},
					"conflict.version":    {ID: o.id, Until: dayOf(clock.Now(), 3), Version: 1},
				} {
					if _, err := o.lock(refused); keyOf(err) != name {
						t.Errorf("%s: %v", name, err)
					}
				}
				if _, err := o.unlock(models.LockInput{ID: o.id, Reason: "why"}); models.AsError(err) == nil || models.AsError(err).Code != models.CodeForbidden {
					t.Errorf("unlocked by an operator: %v", err)
				}
				if now, _, v := o.row(); now != lock || v != version {
					t.Errorf("changed by what was refused: %+v", now)
				}
				clock.Add(72 * time.Hour) // the lock has run out
				if got := o.found(); len(got) != 0 {
					t.Errorf("found %v", got)
				}
				if err := o.delete(); err != nil {
					t.Error(err)
				}
				if _, err := o.lock(models.LockInput{ID: o.id, Until: dayOf(clock.Now(), 1)}); keyOf(err) != "deny.deleting" {
					t.Errorf("locked while it is deleted: %v", err)
				}
			})
		}
	})
}

func TestUnlock(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		db.SetCapabilities(capabilities)
		for kind, o := range lockables(t, db, storetest.Administrator()) {
			if _, err := o.unlock(models.LockInput{ID: o.id, Reason: "why"}); keyOf(err) != "deny.not_locked" {
				t.Errorf("%s without a lock: %v", kind, err)
			}
			if _, err := o.lock(models.LockInput{ID: o.id, Until: dayOf(clock.Now(), 3)}); err != nil {
				t.Fatal(err)
			}
			if _, err := o.lock(models.LockInput{ID: o.id, Until: dayOf(clock.Now(), 1)}); keyOf(err) != "reason.required" {
				t.Errorf("%s shortened without a reason: %v", kind, err)
			}
			if _, err := o.lock(models.LockInput{ID: o.id, Until: dayOf(clock.Now(), 1), Reason: "shorter"}); err != nil {
				t.Error(err)
			}
			if _, err := o.unlock(models.LockInput{ID: o.id}); keyOf(err) != "reason.required" {
				t.Errorf("%s unlocked without a reason: %v", kind, err)
			}
			_, _, version := o.row()
			if _, err := o.unlock(models.LockInput{ID: o.id, Reason: "done", Version: version - 1}); keyOf(err) != "conflict.version" {
				t.Errorf("%s unlocked by an old form: %v", kind, err)
			}
			op, err := o.unlock(models.LockInput{ID: o.id, Reason: "done", Version: version})
			if err != nil || op.Params.Reason != "done" || op.Params.LockedUntil == 0 || op.Cancellable() {
				t.Errorf("%s: %+v %v", kind, op, err)
			}
			if lock, _, _ := o.row(); lock != (models.Lock{}) {
				t.Errorf("%s: %+v", kind, lock)
			}
			if err := o.delete(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A lock and a deletion that come at once: one of them is refused.
func TestLock_AgainstDelete(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		db.SetCapabilities(capabilities)
		for i := range 10 {
			id := availableVolume(t, db, "v"+string(rune('a'+i)))
			_, errs := concurrently(4, func(n int) (*models.Operation, error) {
				if n%2 == 0 {
					return db.Volumes.LockVolume(t.Context(), storetest.Operator(), models.LockInput{ID: id, Until: dayOf(clock.Now(), 1)})
				}
				return db.Volumes.DeleteVolume(t.Context(), storetest.Operator(), id, "")
			})
			must(t, errs...)
			row, err := db.Volumes.VolumeByID(t.Context(), id)
			must(t, err)
			if deleting := row.Status == models.Deleting; deleting == row.Locked() || (errs[0] == nil) == deleting || (errs[1] == nil || errs[3] == nil) != deleting {
				t.Fatalf("%s, locked until %d: %v", row.Status, row.LockedUntil, errs)
			}
		}
	})
}

func TestRevertVolume_Locked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		db.SetCapabilities(capabilities)
		ctx, me := t.Context(), storetest.Operator()
		all := lockables(t, db, me)
		snapshot, err := db.Snapshots.SnapshotByID(ctx, all["snapshot"].id)
		must(t, err)
		if _, err := db.Volumes.LockVolume(ctx, me, models.LockInput{ID: snapshot.VolumeID, Until: dayOf(clock.Now(), 0)}); err != nil {
			t.Fatal(err)
		}
		if _, err := db.Volumes.RevertVolume(ctx, me, snapshot.ID, ""); keyOf(err) != "deny.locked" {
			t.Errorf("%v", err)
		}
		// Everything else goes on, and the lock does not cover the snapshot.
		_, err1 := db.Volumes.EditVolume(ctx, me, models.EditInput{ID: snapshot.VolumeID, Name: "renamed"})
		_, err2 := db.Snapshots.CreateSnapshot(ctx, me, models.SnapshotInput{VolumeID: snapshot.VolumeID, Name: "another"})
		_, err3 := db.Volumes.CreateVolume(ctx, me, models.VolumeInput{Name: "restored", SnapshotID: snapshot.ID})
		_, err4 := db.Volumes.ExtendVolume(ctx, me, snapshot.VolumeID, "2", "")
		failAll(t, db, clock) // else the snapshot has a dependent
		_, err5 := db.Snapshots.DeleteSnapshot(ctx, me, snapshot.ID, "")
		for i, err := range []error{err1, err2, err3, err4, err5} {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

func TestCreateSnapshot_Locked(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		db.SetCapabilities(capabilities)
		volume := availableVolume(t, db, "source")
		create := func(until string) (*models.Operation, error) {
			return db.Snapshots.CreateSnapshot(t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: volume, Name: "snap", LockUntil: until})
		}
		if _, err := create(dayOf(clock.Now(), -1)); fieldKeys(err)["lock_until"] != "lock.until_past" {
			t.Errorf("%v", err)
		}
		op, err := create(dayOf(clock.Now(), 30))
		if err != nil {
			t.Fatal(err)
		}
		row, err := db.Snapshots.SnapshotByID(t.Context(), op.SubjectID)
		if err != nil || !row.At(clock.Now().AddDate(0, 0, 29)).Locked() || row.LockedBy != storetest.Operator().Name || op.Params.LockedUntil != row.LockedUntil {
			t.Errorf("%+v %v", row, err)
		}
	})
}

// A database that is rebuilt from the storage has the locks that the storage kept; one
// that exists has its own.
func TestUpsert_Locks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		kept := models.Lock{LockedUntil: models.Micros(clock.Now().AddDate(0, 0, 1)), LockReason: "audit", LockedBy: "kim", LockedAt: 1}
		object := store.ObservedObject{ID: models.NewID(), BackendID: "b", Project: models.DefaultProject, Name: "data", SizeGiB: 1, Lock: kept,
			CreatedAt: clock.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: backend.PercentUnknown}}
		upsert := func() models.Lock {
			t.Helper()
			if _, err := db.Sync.UpsertVolumes(t.Context(), []store.ObservedObject{object}, clock.Now()); err != nil {
				t.Fatal(err)
			}
			row, err := db.Volumes.VolumeByID(t.Context(), object.ID)
			must(t, err)
			return row.Lock
		}
		if got := upsert(); got != kept {
			t.Errorf("%+v", got)
		}
		object.Lock = models.Lock{}
		if got := upsert(); got != kept {
			t.Errorf("%+v", got)
		}
		snapshot := object
		snapshot.ID, snapshot.BackendID, snapshot.Source, snapshot.Lock = models.NewID(), "s", object.ID, kept
		if _, err := db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{snapshot}, clock.Now()); err != nil {
			t.Fatal(err)
		}
		if row, err := db.Snapshots.SnapshotByID(t.Context(), snapshot.ID); err != nil || row.Lock != kept {
			t.Errorf("%+v %v", row, err)
		}
	})
}

// TestLock_Read locks a snapshot that a server reads: it is not deleted for the one reason, then
// for the other.
func TestLock_Read(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		servesSnapshots(db)
		web, other := register(t, db, "web-1", "10.0.0.5"), register(t, db, "web-2", "10.0.0.6")
		id := importSnapshot(t, db, availableVolume(t, db, "data"), "read", web.ID)
		if _, err := db.Snapshots.LockSnapshot(ctx, me, models.LockInput{ID: id, Until: db.Now().AddDate(0, 0, 7).Format(time.DateOnly), Reason: "audit"}); err != nil {
			t.Fatal(err)
		}
		wantDenied := func(key string) {
			t.Helper()
			if _, err := db.Snapshots.DeleteSnapshot(ctx, me, id, ""); models.AsError(err) == nil || models.AsError(err).Text.Key != key {
				t.Errorf("%v, want %s", err, key)
			}
		}
		wantDenied("deny.attached")
		attach, err := db.Snapshots.AttachSnapshot(ctx, me, id, other.ID, "")
		must(t, err)
		_, err = db.Queue.CancelOperation(ctx, me, attach.ID)
		must(t, err)
		_, err = db.Snapshots.DetachSnapshot(ctx, me, id, web.ID, false, "")
		must(t, err)
		failAll(t, db, clock) // the server was detached by hand
		clock.Add(time.Second)
		row := snapshot(t, db, id)
		_, err = db.Sync.UpsertSnapshots(ctx, []store.ObservedObject{{ID: id, BackendID: row.BackendID, Project: row.ProjectID, Name: row.Name, SizeGiB: row.SizeGiB, Source: row.VolumeID,
			CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: -1, Attachments: &[]backend.Attachment{}}}}, db.Now())
		must(t, err)
		wantDenied("deny.locked_for")
		if row := snapshot(t, db, id); row.AttachmentCount != 0 || !row.Locked() {
			t.Errorf("%+v", row)
		}
	})
}
