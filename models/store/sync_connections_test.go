package store_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

func TestSyncConnections(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.Store, clock *storetest.Clock) {
		ctx, me := t.Context(), storetest.Operator()
		ownServers(db)
		row := register(t, db, "web-1", "10.0.0.5")
		v := availableVolume(t, db, "data-1")
		attach(t, db, v, row.ID)
		must(t, exportVolume(db, v))
		use := func() models.ConnectionUse {
			t.Helper()
			now, err := db.Volumes.Volume(ctx, me, v)
			must(t, err)
			return now.Use(row.ID)
		}
		if use() != models.NeverUsed {
			t.Errorf("attached: %q", use())
		}
		c := connection(db, "c1", "", row.ID)
		c.Object.ID = "b-data-1" // by the backend's id
		if kinds := changedBy(t, db, func() error {
			return db.Sync.SyncConnections(ctx, []backend.Connection{c, connection(db, "c2", "unknown", row.ID)})
		}); !slices.Contains(kinds, models.SubjectVolume) || use() != models.Connected {
			t.Errorf("connected: %v, %q", kinds, use())
		}
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, []backend.Connection{c}) }); len(kinds) > 0 {
			t.Errorf("nothing new wrote %v", kinds)
		}
		c.BytesRead, c.BytesWritten, c.ActiveAt = 1<<40, 7, models.Micros(clock.Now())
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, []backend.Connection{c}) }); !slices.Equal(kinds, []models.SubjectType{models.SubjectConnection}) {
			t.Errorf("figures wrote %v", kinds)
		}
		now, err := db.Volumes.Volume(ctx, me, v)
		if err != nil || len(now.Connections) != 1 || now.Connections[0].BytesRead != 1<<40 || now.Clients()[0] != c.Address {
			t.Errorf("%+v %v", now.Connections, err)
		}
		clock.Add(time.Minute)
		if kinds := changedBy(t, db, func() error { return db.Sync.SyncConnections(ctx, nil) }); !slices.Contains(kinds, models.SubjectVolume) || use() != models.UsedBefore {
			t.Errorf("gone: %v, %q", kinds, use())
		}
		// A new attachment to the same server is unused.
		must(t, observeVolume(db, v, store.ObservedState{Status: models.Available, Percent: -1, Attachments: &[]backend.Attachment{}}))
		attach(t, db, v, row.ID)
		if use() != models.NeverUsed {
			t.Errorf("attached again: %q", use())
		}
	})
}

func connection(db *store.Store, id, volume, server string) backend.Connection {
	now := models.Micros(db.Now())
	return backend.Connection{ID: id, Kind: models.SubjectVolume, Object: backend.Key{Ref: volume}, ServerID: server, Address: "10.0.0.5:43210", Since: now, ActiveAt: now}
}

// changedBy are the kinds of the changes that fn inserts.
func changedBy(t *testing.T, db *store.Store, fn func() error) []models.SubjectType {
	t.Helper()
	last, err := db.LastChange(t.Context())
	must(t, err, fn())
	changes, err := db.ChangesAfter(t.Context(), last, 100)
	must(t, err)
	var kinds []models.SubjectType
	for _, c := range changes {
		kinds = append(kinds, c.Kind)
	}
	return kinds
}

// observeVolume updates the row of a volume as the mirror does.
func observeVolume(db *store.Store, id string, o store.ObservedState) error {
	row, err := db.Volumes.VolumeByID(context.Background(), id)
	if err != nil {
		return err
	}
	_, err = db.Sync.UpsertVolumes(context.Background(), []store.ObservedObject{{ID: row.ID, BackendID: row.BackendID, Name: row.Name, SizeGiB: row.SizeGiB, ObservedState: o}}, db.Now())
	return err
}

func exportVolume(db *store.Store, id string) error {
	return observeVolume(db, id, store.ObservedState{Export: &models.Export{Protocol: "nbd", Address: "127.0.0.1:10809", Name: id}})
}
