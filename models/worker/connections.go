package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// connectionsEvery is how often it is asked who uses attached volumes.
const connectionsEvery = 2 * time.Second

// holdStep is how exactly a predicted hold is kept: it changes with every write.
const holdStep = 10 * time.Millisecond

// followConnections copies who uses attached volumes, where the backend serves
// them itself.
func (w *Worker) followConnections(ctx context.Context) {
	if w.exporter == nil {
		return
	}
	ticker := time.NewTicker(connectionsEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			w.logged(ctx, "see who uses the volumes", w.MirrorConnections)
		}
	}
}

// MirrorConnections copies who uses attached volumes now, and what those volumes
// are: a failing disk shows while they are used.
func (w *Worker) MirrorConnections(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if w.exporter == nil {
		return w.store.MirrorConnections(ctx, nil) // of another backend, before
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
	if err := w.store.MirrorConnections(ctx, rows); err != nil {
		return err
	}
	return w.mirrorUsed(ctx, used)
}

func (w *Worker) mirrorUsed(ctx context.Context, used map[backend.Key]bool) error {
	asked := w.store.Now()
	var rows []models.Mirrored
	for key := range used {
		v, err := w.backend.Volume(ctx, key)
		if errors.Is(err, backend.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		rows = append(rows, w.mirroredVolume(ctx, v))
	}
	if len(rows) == 0 {
		return nil
	}
	_, err := w.store.MirrorVolumes(ctx, rows, asked)
	return err
}

// seen is what the backend says about a volume, with where its servers find it.
func (w *Worker) seen(ctx context.Context, v backend.Volume) models.Observed {
	o := observedVolume(v)
	w.nameServers(*o.Attachments)
	if w.exporter == nil {
		return o
	}
	hold := v.Hold.Round(holdStep).Microseconds()
	o.Hold, o.Export = &hold, &models.Export{}
	if len(v.Attachments) == 0 {
		return o
	}
	switch e, err := w.exporter.Export(ctx, v.Key); {
	case err == nil:
		o.Export = &models.Export{Protocol: e.Protocol, Address: e.Address, Name: e.Name}
	case !final(err):
		o.Export = nil // the row keeps what it has
	}
	return o
}

// nameServers fills in the names of servers where the volume does not tell them.
func (w *Worker) nameServers(attachments []models.Attachment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, a := range attachments {
		if a.ServerName != "" || a.ServerID == "" {
			continue
		}
		name, known := w.servers[a.ServerID]
		attachments[i].ServerName = name
		if !known && w.servers != nil { // a new one
			w.small.hurry(w.store.Now().Add(soon))
		}
	}
}
