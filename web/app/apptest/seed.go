package apptest

import (
	"context"
	"strconv"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store/storetest"
)

// Volume is a volume as the records have it now.
func (c *Console) Volume(id string) *models.Volume {
	c.t.Helper()
	v, err := c.Store.Volumes.Volume(c.t.Context(), storetest.Operator(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return v
}

// Snapshot is a snapshot as the records have it now.
func (c *Console) Snapshot(id string) *models.Snapshot {
	c.t.Helper()
	s, err := c.Store.Snapshots.Snapshot(c.t.Context(), storetest.Operator(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

// NewVolume makes an AVAILABLE volume.
func (c *Console) NewVolume(name string, gib int) *models.Volume {
	c.t.Helper()
	op, err := c.Store.Volumes.CreateVolume(c.t.Context(), storetest.Operator(), models.VolumeInput{Name: name, Size: strconv.Itoa(gib)})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Work()
	return c.Volume(op.SubjectID)
}

// NewSnapshot makes an AVAILABLE snapshot.
func (c *Console) NewSnapshot(v *models.Volume, name string) *models.Snapshot {
	c.t.Helper()
	op, err := c.Store.Snapshots.CreateSnapshot(c.t.Context(), storetest.Operator(), models.SnapshotInput{VolumeID: v.ID, Name: name, Acknowledge: true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.Work()
	return c.Snapshot(op.SubjectID)
}

// Attach attaches the volume to web-1.
func (c *Console) Attach(v *models.Volume) *models.Volume {
	c.t.Helper()
	if _, err := c.Store.Volumes.AttachVolume(c.t.Context(), storetest.Operator(), v.ID, "server-1", ""); err != nil {
		c.t.Fatal(err)
	}
	c.Work()
	return c.Volume(v.ID)
}

// NewErrorDeleting makes a snapshot whose deletion went wrong.
func (c *Console) NewErrorDeleting(v *models.Volume, name string) *models.Snapshot {
	c.t.Helper()
	s := c.NewSnapshot(v, name)
	c.Fake.FailDelete(s.ID, &backend.Error{Code: backend.CodeConflict, Message: "test"})
	if _, err := c.Store.Snapshots.DeleteSnapshot(c.t.Context(), storetest.Operator(), s.ID, ""); err != nil {
		c.t.Fatal(err)
	}
	c.Work()
	if s = c.Snapshot(s.ID); s.Status != models.ErrorDeleting {
		c.t.Fatalf("the snapshot is %s", s.Status)
	}
	return s
}

// PutVolume puts a volume into the storage past the console, which learns of it by a
// resync.
func (c *Console) PutVolume(v backend.Volume) *models.Volume {
	c.t.Helper()
	id := c.Fake.PutVolume(v).ID
	c.Resync()
	return c.Volume(id)
}

// ServeExports lets the storage serve volumes itself, to registered servers instead of
// its own.
func (c *Console) ServeExports(protocol, address string) {
	c.t.Helper()
	c.Fake.Serve(protocol, address, func(ctx context.Context) ([]backend.RegisteredServer, error) {
		rows, err := c.Store.Servers.RegisteredServers(ctx)
		var all []backend.RegisteredServer
		for _, r := range rows {
			all = append(all, backend.RegisteredServer{ID: r.ID, Name: r.Name, Addresses: r.Addresses()})
		}
		return all, err
	})
	c.Refresh()
}
