package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

const (
	connectionsInterval = time.Second // with what pages take, a failure is there within two
	connectionsTimeout  = 10 * time.Second
)

// pollConnections copies connections until ctx ends, where the backend serves volumes
// itself.
func (m *Mirror) pollConnections(ctx context.Context) {
	if m.exporter == nil {
		return
	}
	ticker := time.NewTicker(connectionsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			m.logFailure(ctx, "sync the connections", m.SyncConnections)
		}
	}
}

// SyncConnections copies the connections to what is attached, and the state of these
// objects and of those in fault: a disk may fail while they are used. Errors: those
// of the port, those of the database.
func (m *Mirror) SyncConnections(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectionsTimeout)
	defer cancel()
	if m.exporter == nil {
		return m.Store.Sync.SyncConnections(ctx, nil) // the database may have been used with another backend
	}
	connections, err := m.exporter.Connections(ctx)
	if err != nil && !errors.Is(err, backend.ErrUnsupported) {
		return err
	}
	if err := m.Store.Sync.SyncConnections(ctx, connections); err != nil {
		return err
	}
	faults, err := m.exporter.Faults(ctx)
	if err != nil {
		return err
	}
	used := map[models.SubjectType]map[string]bool{
		models.SubjectVolume:   m.tracker.replaceFaults(models.SubjectVolume, faults.Volumes),
		models.SubjectSnapshot: m.tracker.replaceFaults(models.SubjectSnapshot, faults.Snapshots),
	}
	for _, c := range connections {
		used[c.Kind][c.Object.ID] = true
	}
	if err := m.syncObjects(ctx, models.SubjectVolume, used[models.SubjectVolume]); err != nil {
		return err
	}
	return m.syncObjects(ctx, models.SubjectSnapshot, used[models.SubjectSnapshot])
}

// syncObjects copies the state of the objects with these ids of the backend.
func (m *Mirror) syncObjects(ctx context.Context, kind models.SubjectType, ids map[string]bool) error {
	requestedAt := m.Store.Now()
	var objects []store.ObservedObject
	for id := range ids {
		object, err := m.fetch(ctx, kind, id)
		if errors.Is(err, backend.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		objects = append(objects, object)
	}
	if len(objects) == 0 {
		return nil
	}
	_, err := m.upsert(ctx, kind, objects, requestedAt, true)
	return err
}

// Observe converts the state of a volume, and adds its export and the names of its
// servers.
func (m *Mirror) Observe(ctx context.Context, v backend.Volume) store.ObservedState {
	o := observedState(v.Key, v.State)
	o.SizeGiB = v.SizeGiB
	m.observeAttached(ctx, &o, v.Key, v.Attachments)
	if m.exporter != nil {
		hold := v.Hold.Round(holdResolution).Microseconds()
		o.Hold = &hold
	}
	return o
}

// observeAttached adds the attachments of an object with the names of the servers, and
// where it is served.
func (m *Mirror) observeAttached(ctx context.Context, o *store.ObservedState, key backend.Key, now []backend.Attachment) {
	attachments := append([]backend.Attachment{}, now...) // not nil: no attachments are a state, too
	m.fillServerNames(attachments)
	o.Attachments = &attachments
	if m.exporter == nil {
		return
	}
	o.Export = &models.Export{}
	if len(now) == 0 {
		return
	}
	switch export, err := m.exporter.Export(ctx, key); {
	case err == nil:
		o.Export = &export
	case !Permanent(err):
		o.Export = nil // the row keeps its export
	}
}

// holdResolution rounds the predicted hold, which changes with every write.
const holdResolution = 10 * time.Millisecond

// fillServerNames sets the names of servers where the attachments have only ids.
func (m *Mirror) fillServerNames(attachments []backend.Attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range attachments {
		if a.ServerName != "" || a.ServerID == "" {
			continue
		}
		name, ok := m.servers[a.ServerID]
		attachments[i].ServerName = name
		if !ok && m.servers != nil { // a new server
			m.inventory.runBy(m.Store.Now().Add(soon))
		}
	}
}
