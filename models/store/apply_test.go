package store_test

import (
	"slices"
	"testing"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestUpsertVolumes_Attachments(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, _ *storetest.Clock) {
		id := availableVolume(t, db, "data-1")
		for _, step := range []struct {
			observed, want []backend.Attachment
			changed        bool
		}{
			{[]backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, true},
			{[]backend.Attachment{{ServerID: "s1", Device: "/dev/vdb", UsedAt: 3}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdb", UsedAt: 5}}, false},
			{[]backend.Attachment{{ServerID: "s1", Device: "/dev/vdc"}}, []backend.Attachment{{ServerID: "s1", ServerName: "web-1", Device: "/dev/vdc", UsedAt: 5}}, true},
			{[]backend.Attachment{{ServerID: "s2", ServerName: "web-2"}}, []backend.Attachment{{ServerID: "s2", ServerName: "web-2"}}, true},
			{[]backend.Attachment{}, nil, true},
		} {
			status := models.InUse
			if len(step.observed) == 0 {
				status = models.Available
			}
			kinds := changedBy(t, db, func() error {
				return observeVolume(db, id, store.ObservedState{Status: status, Percent: backend.PercentUnknown, Attachments: &step.observed})
			})
			row, err := db.Volumes.Volume(t.Context(), storetest.Operator(), id)
			must(t, err)
			var got []backend.Attachment
			for _, a := range row.Attachments {
				got = append(got, a.Attachment)
			}
			if !slices.Equal(got, step.want) || (len(kinds) > 0) != step.changed {
				t.Errorf("observed %+v: got %+v, changes %v", step.observed, got, kinds)
			}
		}
	})
}

// TestUpsertSnapshots_Checks: what becomes known of a snapshot's bytes is written and wakes
// pages, also while a check of it waits; the same again does not.
func TestUpsertSnapshots_Checks(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		can := capabilities
		can.Checksums = true
		db.SetCapabilities(can)
		admin := models.Actor{UserID: "admin", Name: "admin", Role: models.Administrator, Project: models.DefaultProject}
		object := store.ObservedObject{ID: models.NewID(), BackendID: "s-1", Project: models.DefaultProject, Name: "snap-1", SizeGiB: 1,
			CreatedAt: db.Now(), ObservedState: store.ObservedState{Status: models.Available, Percent: backend.PercentUnknown, Checks: &models.Checks{ChecksummedAt: 5}}}
		_, err := db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{object}, db.Now())
		must(t, err)
		op, err := db.Snapshots.CheckSnapshot(t.Context(), admin, models.CheckInput{ID: object.ID})
		must(t, err)
		if op.Lane == object.ID || op.Kind != models.SnapshotCheck {
			t.Errorf("other work waits for the check: %+v", op)
		}
		damaged := models.Checks{ChecksummedAt: 5, CheckedAt: 7, Damage: models.NewFailure("failure.blocks", "/srv/x", "1", "75", "0", "1")}
		for _, step := range []struct {
			now     models.Checks
			changed bool
		}{
			{models.Checks{ChecksummedAt: 5}, false},
			{models.Checks{ChecksummedAt: 5, CheckedAt: 6}, true},
			{damaged, true},
			{damaged, false},
			{models.Checks{ChecksummedAt: 8}, true},
		} {
			object.Checks = &step.now
			kinds := changedBy(t, db, func() error {
				_, err := db.Sync.UpsertSnapshots(t.Context(), []store.ObservedObject{object}, db.Now())
				return err
			})
			row, err := db.Snapshots.SnapshotByID(t.Context(), object.ID)
			must(t, err)
			if !row.Checks.Equal(step.now) || slices.Contains(kinds, models.SubjectSnapshot) != step.changed {
				t.Errorf("%+v, want %+v; changes %v", row.Checks, step.now, kinds)
			}
		}
		clock.Add(1)
		if _, err := db.Snapshots.CheckSnapshot(t.Context(), storetest.Operator(), models.CheckInput{ID: object.ID}); models.AsError(err) == nil || models.AsError(err).Code != models.CodeForbidden {
			t.Errorf("by an operator: %v", err)
		}
	})
}
