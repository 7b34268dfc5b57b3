package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

const (
	pageSize       = 1000
	maxServers     = 10_000
	startTimeout   = 5 * time.Second // a backend that hangs must not keep the pages waiting
	connectTimeout = 10 * time.Second
)

// Start asks the backend what it can do, and copies what is small, so that the
// first page is right. It does not wait long; Run goes on asking.
// *models.IdentityError: the database belongs to another project of the backend.
func (w *Worker) Start(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := w.syncInventory(asking); err != nil {
		if w.capabilities().Name == "" { // nothing was read, otherwise only the servers or images were not
			err = errors.Join(err, w.recordUnreachable(ctx, err))
		}
		return err
	}
	return w.SyncConnections(ctx) // who was connected to the last process is not to this one
}

// Capabilities is what the backend said last.
func (w *Worker) Capabilities() backend.Capabilities { return w.capabilities() }

// syncInventory copies capabilities, servers and images.
func (w *Worker) syncInventory(ctx context.Context) error {
	if err := w.refreshCapabilities(ctx); err != nil {
		return err
	}
	caps := w.capabilities()
	var errs []error
	if caps.Attach && !caps.OwnServers {
		errs = append(errs, w.syncServers(ctx))
	}
	if caps.Images {
		errs = append(errs, w.syncImages(ctx))
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
	if err := w.store.CheckProject(ctx, models.Project(caps.Project)); err != nil {
		return err
	}
	w.mu.Lock()
	w.caps = caps
	w.mu.Unlock()
	w.store.SetCapabilities(facts(caps))
	return nil
}

func (w *Worker) syncImages(ctx context.Context) error {
	images, err := w.backend.Images(ctx)
	if err != nil {
		return err
	}
	rows := make([]models.Image, 0, len(images))
	for _, i := range images {
		rows = append(rows, models.Image{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes})
	}
	return w.store.SyncImages(ctx, rows)
}

func facts(c backend.Capabilities) models.Capabilities {
	quotas := make([]models.Quota, 0, len(c.Quotas))
	for _, q := range c.Quotas {
		quotas = append(quotas, models.Quota(q))
	}
	projects := make([]models.Project, 0, len(c.Projects))
	for _, p := range c.Projects {
		projects = append(projects, models.Project(p))
	}
	return models.Capabilities{
		Abilities: models.Abilities{Attach: c.Attach, MultiAttach: c.MultiAttach, Revert: c.Revert,
			ExtendAttached: c.ExtendAttached, Repair: c.Repair, BusySnapshots: c.BusySnapshots, OwnServers: c.OwnServers},
		Backend: c.Name, CrashSafe: c.CrashSafe, Images: c.Images, Shared: c.Shared,
		MaxSizeGiB: c.MaxSizeGiB, FreeBytes: c.FreeBytes, Types: c.Types, Zones: c.Zones,
		Quotas: quotas, Project: models.Project(c.Project), Projects: projects,
	}
}

func (w *Worker) syncServers(ctx context.Context) error {
	var rows []models.Server
	for marker := ""; len(rows) < maxServers; {
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
	return w.store.SyncServers(ctx, rows)
}

func (w *Worker) project(of string) string {
	if of == "" {
		return w.options.Project
	}
	return of
}

// Resync copies the backend's volumes and snapshots into the tables, page by page.
// Volumes come first, so that snapshots find theirs. An error never empties a list:
// rows are only missed after a whole listing.
func (w *Worker) Resync(ctx context.Context) error {
	if err := w.ensureCapabilities(ctx); err != nil {
		return errors.Join(w.recordUnreachable(ctx, err), err)
	}
	errVolumes := w.resyncKind(ctx, models.SubjectVolume)
	errSnapshots := w.resyncKind(ctx, models.SubjectSnapshot)
	w.mirrored.dropStale(w.store.Now())
	if errVolumes != nil {
		return errVolumes
	}
	return errSnapshots
}

// recordUnreachable records that nothing could be read.
func (w *Worker) recordUnreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	now := w.store.Now()
	return errors.Join(w.store.RecordSync(ctx, models.SubjectVolume, now, failureOf(err)),
		w.store.RecordSync(ctx, models.SubjectSnapshot, now, failureOf(err)))
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
	w.inventory.runBy(w.store.Now())
	return nil
}

func (w *Worker) resyncKind(ctx context.Context, kind models.SubjectType) error {
	began := w.store.Now()
	err := w.resyncPages(ctx, kind, began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if noteErr := w.store.RecordSync(ctx, kind, began, failureOf(err)); err == nil {
		err = noteErr
	}
	return err
}

// listedPage is one page of a listing.
type listedPage struct {
	rows  []store.ObservedObject
	asked time.Time
	err   error
}

// listPages reads one page while the last one is being saved. It ends with an
// error, after the last page, or when ctx is done.
func (w *Worker) listPages(ctx context.Context, kind models.SubjectType) <-chan listedPage {
	read := w.volumePage
	if kind == models.SubjectSnapshot {
		read = w.snapshotPage
	}
	pages := make(chan listedPage)
	go func() {
		defer close(pages)
		for marker, more := "", true; more; {
			page := listedPage{asked: w.store.Now()}
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

func (w *Worker) resyncPages(ctx context.Context, kind models.SubjectType, began time.Time) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := map[string]struct{}{}
	twins := newDuplicateSet()
	for page := range w.listPages(reading, kind) {
		if page.err != nil {
			return page.err
		}
		ids, err := w.apply(ctx, kind, page.rows, page.asked, false)
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
	missing, err := w.store.SyncMissing(ctx, kind, seen, began)
	if missing > 0 {
		w.log.WarnContext(ctx, "objects are no longer in the backend", "kind", kind, "count", missing)
	}
	w.removeDuplicates(ctx, kind, twins)
	return err
}

// apply copies rows that were asked for at that time, and looks again soon at
// those that will change by themselves. Of rows that were looked at alone since,
// a page of a listing knows less.
func (w *Worker) apply(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject, asked time.Time, polled bool) ([]string, error) {
	ids, err := w.applyLocked(ctx, kind, rows, asked, polled)
	if err != nil {
		return ids, err
	}
	return ids, w.explainErrors(ctx, kind, rows)
}

func (w *Worker) applyLocked(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject, asked time.Time, polled bool) ([]string, error) {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	for i := range rows {
		if polled {
			w.mirrored.polledAt[rows[i].BackendID] = asked
		} else if at, ok := w.mirrored.polledAt[rows[i].BackendID]; ok && at.After(asked) {
			rows[i].Outdated = true
		}
	}
	mirror := w.store.UpsertVolumes
	if kind == models.SubjectSnapshot {
		mirror = w.store.UpsertSnapshots
	}
	ids, err := mirror(ctx, rows, asked)
	if err == nil {
		w.track(kind, rows)
	}
	return ids, err
}

func (w *Worker) volumePage(ctx context.Context, marker string) ([]store.ObservedObject, string, error) {
	page, err := w.backend.Volumes(ctx, marker, pageSize)
	var rows []store.ObservedObject
	for _, v := range page.Items {
		rows = append(rows, w.volumeObject(ctx, v))
	}
	return rows, page.Next, err
}

// volumeObject is a volume as its row should have it.
func (w *Worker) volumeObject(ctx context.Context, v backend.Volume) store.ObservedObject {
	m := store.ObservedObject{
		ID: w.ownID(v.Key), BackendID: v.ID, Project: w.project(v.Project), Name: v.Name, Description: v.Description, SizeGiB: v.SizeGiB,
		ImageID: v.Image, Type: v.Type, Zone: v.Zone, CreatedAt: v.CreatedAt, ObservedState: w.observe(ctx, v),
	}
	if v.Source != nil {
		m.Source = eitherID(*v.Source)
	}
	return m
}

func (w *Worker) snapshotPage(ctx context.Context, marker string) ([]store.ObservedObject, string, error) {
	page, err := w.backend.Snapshots(ctx, marker, pageSize)
	var rows []store.ObservedObject
	for _, s := range page.Items {
		rows = append(rows, w.snapshotObject(s))
	}
	return rows, page.Next, err
}

func (w *Worker) snapshotObject(s backend.Snapshot) store.ObservedObject {
	return store.ObservedObject{
		ID: w.ownID(s.Key), BackendID: s.ID, Project: w.project(s.Project), Name: s.Name, Description: s.Description, SizeGiB: s.SizeGiB,
		Source: eitherID(s.Volume), CreatedAt: s.CreatedAt, ObservedState: observedSnapshot(s),
	}
}

func eitherID(key backend.Key) string {
	if key.Ref != "" {
		return key.Ref
	}
	return key.ID
}
