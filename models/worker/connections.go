package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// connectionsInterval is how often it is asked who uses attached volumes.
const connectionsInterval = 2 * time.Second

// holdResolution is how exactly a predicted hold is kept: it changes with every write.
const holdResolution = 10 * time.Millisecond

// pollConnections copies who uses attached volumes, where the backend serves
// them itself.
func (w *Worker) pollConnections(ctx context.Context) {
	if w.exporter == nil {
		return
	}
	ticker := time.NewTicker(connectionsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.logFailure(ctx, "see who uses the volumes", w.SyncConnections)
		}
	}
}

// SyncConnections copies who uses attached volumes now, and what those volumes
// are: a failing disk shows while they are used.
func (w *Worker) SyncConnections(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if w.exporter == nil {
		return w.store.SyncConnections(ctx, nil) // of another backend, before
	}
	now, err := w.exporter.Connections(ctx)
	if errors.Is(err, backend.ErrUnsupported) {
		now, err = nil, nil
	}
	if err != nil {
		return err
	}
	rows := make([]models.Connection, 0, len(now))
	used := map[backend.Key]bool{}
	for _, c := range now {
		rows = append(rows, models.Connection{
			ID: c.ID, VolumeID: c.Volume.Ref, BackendID: c.Volume.ID, ServerID: c.ServerID, Address: c.Address, Identity: c.Identity,
			Since: models.Micros(c.Since), ActiveAt: models.Micros(c.LastActivity), BytesRead: c.BytesRead, BytesWritten: c.BytesWritten,
		})
		used[c.Volume] = true
	}
	if err := w.store.SyncConnections(ctx, rows); err != nil {
		return err
	}
	return w.syncConnectedVolumes(ctx, used)
}

func (w *Worker) syncConnectedVolumes(ctx context.Context, used map[backend.Key]bool) error {
	asked := w.store.Now()
	var rows []store.ObservedObject
	for key := range used {
		v, err := w.backend.Volume(ctx, key)
		if errors.Is(err, backend.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rows = append(rows, w.volumeObject(ctx, v))
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := w.store.UpsertVolumes(ctx, rows, asked)
	return err
}

// observe is what the backend says about a volume, with where its servers find it.
func (w *Worker) observe(ctx context.Context, v backend.Volume) store.ObservedState {
	o := observedVolume(v)
	w.fillServerNames(*o.Attachments)
	if w.exporter == nil {
		return o
	}
	hold := v.Hold.Round(holdResolution).Microseconds()
	o.Hold, o.Export = &hold, &models.Export{}
	if len(v.Attachments) == 0 {
		return o
	}
	switch e, err := w.exporter.Export(ctx, v.Key); {
	case err == nil:
		o.Export = &models.Export{Protocol: e.Protocol, Address: e.Address, Name: e.Name}
	case !permanent(err):
		o.Export = nil // the row keeps what it has
	}
	return o
}

// fillServerNames fills in the names of servers where the volume does not tell them.
func (w *Worker) fillServerNames(attachments []models.Attachment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range attachments {
		if a.ServerName != "" || a.ServerID == "" {
			continue
		}
		name, known := w.servers[a.ServerID]
		attachments[i].ServerName = name
		if !known && w.servers != nil { // a new one
			w.inventory.runBy(w.store.Now().Add(soon))
		}
	}
}
