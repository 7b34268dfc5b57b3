package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

const (
	pageSize       = 1000
	smallThings    = 5 * time.Second // servers, images, free space: cheap to ask
	pruneEvery     = 10 * time.Minute
	serversAtMost  = 10_000
	refreshTimeout = 10 * time.Second
)

// Start asks the backend what it can do, and copies what is small, so that the
// first page is right.
func (w *Worker) Start(ctx context.Context) error {
	if err := w.refreshSmall(ctx); err != nil {
		return err
	}
	return w.MirrorConnections(ctx) // who was connected to the last process is not to this one
}

// Capabilities is what the backend said last.
func (w *Worker) Capabilities() backend.Capabilities { return w.capabilities() }

func (w *Worker) sweepUntil(ctx context.Context) {
	small, large, prune := time.NewTicker(smallThings), time.NewTicker(w.options.SweepEvery), time.NewTicker(pruneEvery)
	defer small.Stop()
	defer large.Stop()
	defer prune.Stop()
	w.logged(ctx, "sweep", w.Sweep)
	for {
		select {
		case <-ctx.Done():
			return
		case <-small.C:
			w.logged(ctx, "refresh", w.refreshSmall)
		case <-large.C:
			w.logged(ctx, "sweep", w.Sweep)
		case <-prune.C:
			w.logged(ctx, "prune", w.store.Prune)
		}
	}
}

func (w *Worker) logged(ctx context.Context, what string, fn func(context.Context) error) {
	if err := fn(ctx); err != nil && ctx.Err() == nil {
		w.log.WarnContext(ctx, "cannot "+what, "error", err)
	}
}

// refreshSmall copies capabilities, servers and images.
func (w *Worker) refreshSmall(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	caps, err := w.backend.Capabilities(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.caps = caps
	w.mu.Unlock()
	w.store.SetFacts(facts(caps))
	if caps.Attach && !caps.OwnServers {
		if err := w.mirrorServers(ctx); err != nil {
			return err
		}
	}
	if !caps.Images {
		return nil
	}
	images, err := w.backend.Images(ctx)
	if err != nil {
		return err
	}
	rows := make([]models.Image, 0, len(images))
	for _, i := range images {
		rows = append(rows, models.Image{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes})
	}
	return w.store.MirrorImages(ctx, rows)
}

func facts(c backend.Capabilities) models.Facts {
	return models.Facts{
		Abilities: models.Abilities{Attach: c.Attach, MultiAttach: c.MultiAttach, Revert: c.Revert,
			ExtendAttached: c.ExtendAttached, Repair: c.Repair, BusySnapshots: c.BusySnapshots, OwnServers: c.OwnServers},
		Backend: c.Name, CrashSafe: c.CrashSafe, Images: c.Images, Shared: c.Shared,
		MaxSizeGiB: c.MaxSizeGiB, FreeBytes: c.FreeBytes, Types: c.Types, Zones: c.Zones,
	}
}

func (w *Worker) mirrorServers(ctx context.Context) error {
	var rows []models.Server
	for marker := ""; len(rows) < serversAtMost; {
		page, err := w.backend.Servers(ctx, marker, pageSize)
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			rows = append(rows, models.Server{ID: s.ID, Name: s.Name, Status: s.Status, Version: 1,
				ProjectID: w.project(s.Project), CreatedAt: models.Micros(s.CreatedAt)})
		}
		if marker = page.Next; marker == "" {
			break
		}
	}
	return w.store.MirrorServers(ctx, rows)
}

func (w *Worker) project(of string) string {
	if of == "" {
		return w.options.Project
	}
	return of
}

// Sweep copies the backend's volumes and snapshots into the tables, page by page.
// Volumes come first, so that snapshots find theirs. An error never empties a list:
// rows are only missed after a whole listing.
func (w *Worker) Sweep(ctx context.Context) error {
	if err := w.ensureCapabilities(ctx); err != nil {
		return errors.Join(w.noteUnread(ctx, err), err)
	}
	errVolumes := w.sweepKind(ctx, models.SubjectVolume, w.volumePage, w.store.MirrorVolumes)
	errSnapshots := w.sweepKind(ctx, models.SubjectSnapshot, w.snapshotPage, w.store.MirrorSnapshots)
	if errVolumes != nil {
		return errVolumes
	}
	return errSnapshots
}

// noteUnread records that nothing could be read.
func (w *Worker) noteUnread(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	now := w.store.Now()
	return errors.Join(w.store.NoteMirror(ctx, models.SubjectVolume, now, failureOf(err)),
		w.store.NoteMirror(ctx, models.SubjectSnapshot, now, failureOf(err)))
}

// ensureCapabilities asks what the backend can do when that is not known yet,
// because it did not answer at the start.
func (w *Worker) ensureCapabilities(ctx context.Context) error {
	if w.capabilities().Name != "" {
		return nil
	}
	return w.refreshSmall(ctx)
}

func (w *Worker) sweepKind(ctx context.Context, kind models.SubjectType,
	read func(ctx context.Context, marker string) ([]models.Mirrored, string, error),
	save func(ctx context.Context, page []models.Mirrored, asked time.Time) ([]string, error)) error {
	began := w.store.Now()
	err := w.sweepPages(ctx, kind, began, read, save)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if noteErr := w.store.NoteMirror(ctx, kind, began, failureOf(err)); err == nil {
		err = noteErr
	}
	return err
}

func (w *Worker) sweepPages(ctx context.Context, kind models.SubjectType, began time.Time,
	read func(ctx context.Context, marker string) ([]models.Mirrored, string, error),
	save func(ctx context.Context, page []models.Mirrored, asked time.Time) ([]string, error)) error {
	seen := map[string]struct{}{}
	for marker := ""; ; {
		asked := w.store.Now()
		page, next, err := read(ctx, marker)
		if err != nil {
			return err
		}
		ids, err := save(ctx, page, asked)
		if err != nil {
			return err
		}
		for _, id := range ids {
			seen[id] = struct{}{}
		}
		if next == "" {
			break
		}
		marker = next
	}
	missing, err := w.store.MirrorMissing(ctx, kind, seen, began)
	if missing > 0 {
		w.log.WarnContext(ctx, "objects are no longer in the backend", "kind", kind, "count", missing)
	}
	return err
}

func (w *Worker) volumePage(ctx context.Context, marker string) ([]models.Mirrored, string, error) {
	page, err := w.backend.Volumes(ctx, marker, pageSize)
	var rows []models.Mirrored
	for _, v := range page.Items {
		rows = append(rows, w.mirrored(ctx, v))
	}
	return rows, page.Next, err
}

// mirrored is a volume as its row should have it.
func (w *Worker) mirrored(ctx context.Context, v backend.Volume) models.Mirrored {
	m := models.Mirrored{
		ID: v.Ref, BackendID: v.ID, Project: w.project(v.Project), Name: v.Name, Description: v.Description, SizeGiB: v.SizeGiB,
		ImageID: v.Image, Type: v.Type, Zone: v.Zone, CreatedAt: v.CreatedAt, Observed: w.seen(ctx, v),
	}
	if v.Source != nil {
		m.Source = anyID(*v.Source)
	}
	return m
}

func (w *Worker) snapshotPage(ctx context.Context, marker string) ([]models.Mirrored, string, error) {
	page, err := w.backend.Snapshots(ctx, marker, pageSize)
	var rows []models.Mirrored
	for _, s := range page.Items {
		rows = append(rows, models.Mirrored{
			ID: s.Ref, BackendID: s.ID, Project: w.project(s.Project), Name: s.Name, Description: s.Description, SizeGiB: s.SizeGiB,
			Source: anyID(s.Volume), CreatedAt: s.CreatedAt, Observed: observedSnapshot(s),
		})
	}
	return rows, page.Next, err
}

func anyID(key backend.Key) string {
	if key.Ref != "" {
		return key.Ref
	}
	return key.ID
}
