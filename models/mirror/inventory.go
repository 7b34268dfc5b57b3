package mirror

import (
	"cmp"
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
)

const (
	inventoryInterval = 5 * time.Second // where the backend has no interval of its own
	maxServers        = 10_000
	startTimeout      = 5 * time.Second // pages must not wait for a backend that hangs
)

// Start reads the inventory and the connections, so that the first page is right. It
// waits five seconds at most; Run tries again. Errors: *models.IdentityError when the
// database belongs to another project of the backend, those of the port, those of the
// database.
func (m *Mirror) Start(ctx context.Context) error {
	starting, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := m.SyncInventory(starting); err != nil {
		if m.Capabilities().Name == "" { // nothing was read; otherwise only servers or images failed
			err = errors.Join(err, m.recordUnreachable(ctx, err))
		}
		return err
	}
	return m.SyncConnections(ctx) // clients of the previous process are disconnected
}

// SyncInventory copies the capabilities, servers and images. Errors:
// *models.IdentityError, those of the port, those of the database.
func (m *Mirror) SyncInventory(ctx context.Context) error {
	if err := m.refreshCapabilities(ctx); err != nil {
		return err
	}
	caps := m.Capabilities()
	var errs []error
	if caps.Attach && !caps.OwnServers {
		errs = append(errs, m.syncServers(ctx))
	}
	if caps.Images {
		errs = append(errs, m.syncImages(ctx))
	}
	return errors.Join(errs...)
}

// refreshCapabilities reads the capabilities, and with them the quotas.
func (m *Mirror) refreshCapabilities(ctx context.Context) error {
	caps, err := m.Backend.Capabilities(ctx)
	if err != nil {
		return err
	}
	if err := m.Store.CheckProject(ctx, caps.Project); err != nil {
		return err
	}
	m.mu.Lock()
	m.caps = caps
	m.mu.Unlock()
	m.Store.SetCapabilities(caps)
	return nil
}

// EnsureCapabilities reads the capabilities if the backend has not answered yet. Errors:
// *models.IdentityError, CodeUnavailable, those of the database.
func (m *Mirror) EnsureCapabilities(ctx context.Context) error {
	if m.Capabilities().Name != "" {
		return nil
	}
	if err := m.refreshCapabilities(ctx); err != nil {
		return err
	}
	m.inventory.runBy(m.Store.Now())
	return nil
}

func (m *Mirror) syncImages(ctx context.Context) error {
	images, err := m.Backend.Images(ctx)
	if err != nil {
		return err
	}
	rows := make([]models.Image, 0, len(images))
	for _, i := range images {
		rows = append(rows, models.Image{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes, Format: i.Format, Unusable: i.Unusable})
	}
	return m.Store.Sync.SyncImages(ctx, rows)
}

func (m *Mirror) syncServers(ctx context.Context) error {
	var rows []models.Server
	names := map[string]string{}
	for marker, more := "", true; more && len(rows) < maxServers; {
		page, err := m.Backend.Servers(ctx, marker, pageSize)
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			rows = append(rows, models.Server{ID: s.ID, Name: s.Name, Status: s.Status, Version: 1,
				ProjectID: m.project(s.Project), CreatedAt: models.Micros(s.CreatedAt)})
			names[s.ID] = s.Name
		}
		marker, more = page.Next, page.Next != ""
	}
	m.mu.Lock()
	m.servers = names
	m.mu.Unlock()
	return m.Store.Sync.SyncServers(ctx, rows)
}

func (m *Mirror) refreshInventory(ctx context.Context) (time.Duration, error) {
	err := m.SyncInventory(ctx)
	if m.Capabilities().Name == "" && err != nil {
		err = errors.Join(err, m.recordUnreachable(ctx, err))
	}
	return cmp.Or(m.Capabilities().Pace.Small, inventoryInterval), err
}

// refreshQuotas runs once after each call of OperationRan.
func (m *Mirror) refreshQuotas(ctx context.Context) (time.Duration, error) {
	return never.Sub(m.Store.Now()) / 2, m.refreshCapabilities(ctx)
}

// OperationRan schedules a refresh of the quotas after progress of an operation that
// uses them.
func (m *Mirror) OperationRan(op *models.Operation, p store.Progress) {
	if len(m.Capabilities().Quotas) == 0 || p.State == models.Running && p.Step == op.Step {
		return
	}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore, models.VolumeExtend, models.VolumeDelete, models.SnapshotCreate, models.SnapshotDelete:
		m.quotas.runBy(m.Store.Now().Add(2 * soon))
	}
}
