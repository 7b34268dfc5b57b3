package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// connectionsInterval is how often it is asked who uses attached volumes.
const connectionsInterval = 2 * time.Second

// holdResolution is how exactly a predicted hold is kept: it changes with every write.
const holdResolution = 10 * time.Millisecond

// pollConnections copies who uses attached volumes, where the backend serves
// them itself.
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
			m.logFailure(ctx, "see who uses the volumes", m.SyncConnections)
		}
	}
}

// SyncConnections copies who uses attached volumes now, and what those volumes
// are: a failing disk shows while they are used.
func (m *Mirror) SyncConnections(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if m.exporter == nil {
		return m.Store.Sync.SyncConnections(ctx, nil) // of another backend, before
	}
	now, err := m.exporter.Connections(ctx)
	if errors.Is(err, backend.ErrUnsupported) {
		now, err = nil, nil
	}
	if err != nil {
		return err
	}
	used := map[backend.Key]bool{}
	for _, c := range now {
		used[c.Volume] = true
	}
	if err := m.Store.Sync.SyncConnections(ctx, now); err != nil {
		return err
	}
	return m.syncConnectedVolumes(ctx, used)
}

func (m *Mirror) syncConnectedVolumes(ctx context.Context, used map[backend.Key]bool) error {
	asked := m.Store.Now()
	var rows []store.ObservedObject
	for key := range used {
		v, err := m.Backend.Volume(ctx, key)
		if errors.Is(err, backend.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rows = append(rows, m.volumeObject(ctx, v))
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := m.Store.Sync.UpsertVolumes(ctx, rows, asked)
	return err
}

// Observe is what the backend says about a volume, with where its servers find it.
func (m *Mirror) Observe(ctx context.Context, v backend.Volume) store.ObservedState {
	o := observedVolume(v)
	m.fillServerNames(*o.Attachments)
	if m.exporter == nil {
		return o
	}
	hold := v.Hold.Round(holdResolution).Microseconds()
	o.Hold, o.Export = &hold, &backend.Export{}
	if len(v.Attachments) == 0 {
		return o
	}
	switch e, err := m.exporter.Export(ctx, v.Key); {
	case err == nil:
		o.Export = &e
	case !Permanent(err):
		o.Export = nil // the row keeps what it has
	}
	return o
}

// fillServerNames fills in the names of servers where the volume does not tell them.
func (m *Mirror) fillServerNames(attachments []backend.Attachment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, a := range attachments {
		if a.ServerName != "" || a.ServerID == "" {
			continue
		}
		name, known := m.servers[a.ServerID]
		attachments[i].ServerName = name
		if !known && m.servers != nil { // a new one
			m.inventory.runBy(m.Store.Now().Add(soon))
		}
	}
}
