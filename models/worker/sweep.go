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
	serversAtMost  = 10_000
	startTimeout   = 5 * time.Second // a backend that hangs must not keep the pages waiting
	connectTimeout = 10 * time.Second
)

// Start asks the backend what it can do, and copies what is small, so that the
// first page is right. It does not wait long; Run goes on asking.
// *models.IdentityError: the database belongs to another project of the backend.
func (w *Worker) Start(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := w.refreshSmall(asking); err != nil {
		if w.capabilities().Name == "" { // nothing was read, otherwise only the servers or images were not
			err = errors.Join(err, w.noteUnread(ctx, err))
		}
		return err
	}
	return w.MirrorConnections(ctx) // who was connected to the last process is not to this one
}

// Capabilities is what the backend said last.
func (w *Worker) Capabilities() backend.Capabilities { return w.capabilities() }

// refreshSmall copies capabilities, servers and images.
func (w *Worker) refreshSmall(ctx context.Context) error {
	if err := w.refreshCapabilities(ctx); err != nil {
		return err
	}
	caps := w.capabilities()
	var errs []error
	if caps.Attach && !caps.OwnServers {
		errs = append(errs, w.mirrorServers(ctx))
	}
	if caps.Images {
		errs = append(errs, w.mirrorImages(ctx))
	}
	return errors.Join(errs...)
}

// refreshCapabilities tells the store what the backend can do, and how much of it
// is used up.
func (w *Worker) refreshCapabilities(ctx context.Context) error {
	caps, err := w.backend.Capabilities(ctx)
	if err != nil {
		return err
	}
	if err := w.store.OwnProject(ctx, models.Project(caps.Project)); err != nil {
		return err
	}
	w.mu.Lock()
	w.caps = caps
	w.mu.Unlock()
	w.store.SetFacts(facts(caps))
	return nil
}

func (w *Worker) mirrorImages(ctx context.Context) error {
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
	quotas := make([]models.Quota, 0, len(c.Quotas))
	for _, q := range c.Quotas {
		quotas = append(quotas, models.Quota(q))
	}
	projects := make([]models.Project, 0, len(c.Projects))
	for _, p := range c.Projects {
		projects = append(projects, models.Project(p))
	}
	return models.Facts{
		Abilities: models.Abilities{Attach: c.Attach, MultiAttach: c.MultiAttach, Revert: c.Revert,
			ExtendAttached: c.ExtendAttached, Repair: c.Repair, BusySnapshots: c.BusySnapshots, OwnServers: c.OwnServers},
		Backend: c.Name, CrashSafe: c.CrashSafe, Images: c.Images, Shared: c.Shared,
		MaxSizeGiB: c.MaxSizeGiB, FreeBytes: c.FreeBytes, Types: c.Types, Zones: c.Zones,
		Quotas: quotas, Project: models.Project(c.Project), Projects: projects,
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
	names := make(map[string]string, len(rows))
	for _, r := range rows {
		names[r.ID] = r.Name
	}
	w.mu.Lock()
	w.servers = names
	w.mu.Unlock()
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
	errVolumes := w.sweepKind(ctx, models.SubjectVolume)
	errSnapshots := w.sweepKind(ctx, models.SubjectSnapshot)
	w.mirrored.forget(w.store.Now())
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
	if err := w.refreshCapabilities(ctx); err != nil {
		return err
	}
	w.small.hurry(w.store.Now())
	return nil
}

func (w *Worker) sweepKind(ctx context.Context, kind models.SubjectType) error {
	began := w.store.Now()
	err := w.sweepPages(ctx, kind, began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if noteErr := w.store.NoteMirror(ctx, kind, began, failureOf(err)); err == nil {
		err = noteErr
	}
	return err
}

// listed is one page of a listing.
type listed struct {
	rows  []models.Mirrored
	asked time.Time
	err   error
}

// listPages reads one page while the last one is being saved. It ends with an
// error, after the last page, or when ctx is done.
func (w *Worker) listPages(ctx context.Context, kind models.SubjectType) <-chan listed {
	read := w.volumePage
	if kind == models.SubjectSnapshot {
		read = w.snapshotPage
	}
	pages := make(chan listed)
	go func() {
		defer close(pages)
		for marker, more := "", true; more; {
			page := listed{asked: w.store.Now()}
			page.rows, marker, page.err = read(ctx, marker)
			more = marker != "" && page.err == nil
			select {
			case pages <- page:
			case <-ctx.Done():
				return
			}
		}
	}()
	return pages
}

func (w *Worker) sweepPages(ctx context.Context, kind models.SubjectType, began time.Time) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := map[string]struct{}{}
	twins := newTwins()
	for page := range w.listPages(reading, kind) {
		if page.err != nil {
			return page.err
		}
		ids, err := w.save(ctx, kind, page.rows, page.asked, false)
		if err != nil {
			return err
		}
		for _, id := range ids {
			seen[id] = struct{}{}
		}
		if w.capabilities().Shared {
			twins.add(page.rows)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	missing, err := w.store.MirrorMissing(ctx, kind, seen, began)
	if missing > 0 {
		w.log.WarnContext(ctx, "objects are no longer in the backend", "kind", kind, "count", missing)
	}
	w.removeTwins(ctx, kind, twins)
	return err
}

// save copies rows that were asked for at that time, and looks again soon at
// those that will change by themselves. Of rows that were looked at alone since,
// a page of a listing knows less.
func (w *Worker) save(ctx context.Context, kind models.SubjectType, rows []models.Mirrored, asked time.Time, alone bool) ([]string, error) {
	ids, err := w.saveLocked(ctx, kind, rows, asked, alone)
	if err != nil {
		return ids, err
	}
	return ids, w.explainErrors(ctx, kind, rows)
}

func (w *Worker) saveLocked(ctx context.Context, kind models.SubjectType, rows []models.Mirrored, asked time.Time, alone bool) ([]string, error) {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	for i := range rows {
		if alone {
			w.mirrored.looked[rows[i].BackendID] = asked
		} else if at, ok := w.mirrored.looked[rows[i].BackendID]; ok && at.After(asked) {
			rows[i].Outdated = true
		}
	}
	mirror := w.store.MirrorVolumes
	if kind == models.SubjectSnapshot {
		mirror = w.store.MirrorSnapshots
	}
	ids, err := mirror(ctx, rows, asked)
	if err == nil {
		w.follow(kind, rows)
	}
	return ids, err
}

func (w *Worker) volumePage(ctx context.Context, marker string) ([]models.Mirrored, string, error) {
	page, err := w.backend.Volumes(ctx, marker, pageSize)
	var rows []models.Mirrored
	for _, v := range page.Items {
		rows = append(rows, w.mirroredVolume(ctx, v))
	}
	return rows, page.Next, err
}

// mirroredVolume is a volume as its row should have it.
func (w *Worker) mirroredVolume(ctx context.Context, v backend.Volume) models.Mirrored {
	m := models.Mirrored{
		ID: w.ownID(v.Key), BackendID: v.ID, Project: w.project(v.Project), Name: v.Name, Description: v.Description, SizeGiB: v.SizeGiB,
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
		rows = append(rows, w.mirroredSnapshot(s))
	}
	return rows, page.Next, err
}

func (w *Worker) mirroredSnapshot(s backend.Snapshot) models.Mirrored {
	return models.Mirrored{
		ID: w.ownID(s.Key), BackendID: s.ID, Project: w.project(s.Project), Name: s.Name, Description: s.Description, SizeGiB: s.SizeGiB,
		Source: anyID(s.Volume), CreatedAt: s.CreatedAt, Observed: observedSnapshot(s),
	}
}

func anyID(key backend.Key) string {
	if key.Ref != "" {
		return key.Ref
	}
	return key.ID
}
