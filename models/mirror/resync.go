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
	pageSize       = 1000
	maxServers     = 10_000
	startTimeout   = 5 * time.Second // a backend that hangs must not keep the pages waiting
	connectTimeout = 10 * time.Second
)

// Start asks the backend what it can do, and copies what is small, so that the
// first page is right. It does not wait long; Run goes on asking.
// *models.IdentityError: the database belongs to another project of the backend.
func (m *Mirror) Start(ctx context.Context) error {
	asking, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := m.SyncInventory(asking); err != nil {
		if m.Capabilities().Name == "" { // nothing was read, otherwise only the servers or images were not
			err = errors.Join(err, m.recordUnreachable(ctx, err))
		}
		return err
	}
	return m.SyncConnections(ctx) // who was connected to the last process is not to this one
}

// SyncInventory copies capabilities, servers and images.
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

// refreshCapabilities tells the store what the backend can do, and how much of it
// is used up.
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

func (m *Mirror) syncImages(ctx context.Context) error {
	images, err := m.Backend.Images(ctx)
	if err != nil {
		return err
	}
	rows := make([]models.Image, 0, len(images))
	for _, i := range images {
		rows = append(rows, models.Image{ID: i.ID, Name: i.Name, SizeBytes: i.SizeBytes})
	}
	return m.Store.Sync.SyncImages(ctx, rows)
}

func (m *Mirror) syncServers(ctx context.Context) error {
	var rows []models.Server
	for marker := ""; len(rows) < maxServers; {
		page, err := m.Backend.Servers(ctx, marker, pageSize)
		if err != nil {
			return err
		}
		for _, s := range page.Items {
			rows = append(rows, models.Server{ID: s.ID, Name: s.Name, Status: s.Status, Version: 1,
				ProjectID: m.project(s.Project), CreatedAt: models.Micros(s.CreatedAt)})
		}
		if marker = page.Next; marker == "" {
			break
		}
	}
	names := make(map[string]string, len(rows))
	for _, r := range rows {
		names[r.ID] = r.Name
	}
	m.mu.Lock()
	m.servers = names
	m.mu.Unlock()
	return m.Store.Sync.SyncServers(ctx, rows)
}

func (m *Mirror) project(of string) string {
	if of == "" {
		return m.options.Project
	}
	return of
}

// Resync copies the backend's volumes and snapshots into the tables, page by page.
// Volumes come first, so that snapshots find theirs. An error never empties a list:
// rows are only missed after a whole listing.
func (m *Mirror) Resync(ctx context.Context) error {
	if err := m.EnsureCapabilities(ctx); err != nil {
		return errors.Join(m.recordUnreachable(ctx, err), err)
	}
	errVolumes := m.resyncKind(ctx, models.SubjectVolume)
	errSnapshots := m.resyncKind(ctx, models.SubjectSnapshot)
	m.tracker.dropStale(m.Store.Now())
	if errVolumes != nil {
		return errVolumes
	}
	return errSnapshots
}

// recordUnreachable records that nothing could be read.
func (m *Mirror) recordUnreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	now := m.Store.Now()
	return errors.Join(m.Store.Sync.RecordSync(ctx, models.SubjectVolume, now, FailureOf(err)),
		m.Store.Sync.RecordSync(ctx, models.SubjectSnapshot, now, FailureOf(err)))
}

// EnsureCapabilities asks what the backend can do when that is not known yet,
// because it did not answer at the start.
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

func (m *Mirror) resyncKind(ctx context.Context, kind models.SubjectType) error {
	began := m.Store.Now()
	err := m.resyncPages(ctx, kind, began)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if noteErr := m.Store.Sync.RecordSync(ctx, kind, began, FailureOf(err)); err == nil {
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
func (m *Mirror) listPages(ctx context.Context, kind models.SubjectType) <-chan listedPage {
	read := m.volumePage
	if kind == models.SubjectSnapshot {
		read = m.snapshotPage
	}
	pages := make(chan listedPage)
	go func() {
		defer close(pages)
		for marker, more := "", true; more; {
			page := listedPage{asked: m.Store.Now()}
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

func (m *Mirror) resyncPages(ctx context.Context, kind models.SubjectType, began time.Time) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := map[string]struct{}{}
	twins := newDuplicateSet()
	for page := range m.listPages(reading, kind) {
		if page.err != nil {
			return page.err
		}
		ids, err := m.apply(ctx, kind, page.rows, page.asked, false)
		if err != nil {
			return err
		}
		for _, id := range ids {
			seen[id] = struct{}{}
		}
		if m.Capabilities().Shared {
			twins.add(page.rows)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	missing, err := m.Store.Sync.SyncMissing(ctx, kind, seen, began)
	if missing > 0 {
		m.log.WarnContext(ctx, "objects are no longer in the backend", "kind", kind, "count", missing)
	}
	m.removeDuplicates(ctx, kind, twins)
	return err
}

// apply copies rows that were asked for at that time, and looks again soon at
// those that will change by themselves. Of rows that were looked at alone since,
// a page of a listing knows less.
func (m *Mirror) apply(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject, asked time.Time, polled bool) ([]string, error) {
	ids, err := m.applyLocked(ctx, kind, rows, asked, polled)
	if err != nil {
		return ids, err
	}
	return ids, m.explainErrors(ctx, kind, rows)
}

func (m *Mirror) applyLocked(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject, asked time.Time, polled bool) ([]string, error) {
	m.tracker.Lock()
	defer m.tracker.Unlock()
	for i := range rows {
		if polled {
			m.tracker.polledAt[rows[i].BackendID] = asked
		} else if at, ok := m.tracker.polledAt[rows[i].BackendID]; ok && at.After(asked) {
			rows[i].Outdated = true
		}
	}
	mirror := m.Store.Sync.UpsertVolumes
	if kind == models.SubjectSnapshot {
		mirror = m.Store.Sync.UpsertSnapshots
	}
	ids, err := mirror(ctx, rows, asked)
	if err == nil {
		m.track(kind, rows)
	}
	return ids, err
}

func (m *Mirror) volumePage(ctx context.Context, marker string) ([]store.ObservedObject, string, error) {
	page, err := m.Backend.Volumes(ctx, marker, pageSize)
	var rows []store.ObservedObject
	for _, v := range page.Items {
		rows = append(rows, m.volumeObject(ctx, v))
	}
	return rows, page.Next, err
}

// volumeObject is a volume as its row should have it.
func (m *Mirror) volumeObject(ctx context.Context, v backend.Volume) store.ObservedObject {
	object := store.ObservedObject{
		ID: m.ownID(v.Key), BackendID: v.ID, Project: m.project(v.Project), Name: v.Name, Description: v.Description, SizeGiB: v.SizeGiB,
		ImageID: v.Image, Type: v.Type, Zone: v.Zone, CreatedAt: v.CreatedAt, ObservedState: m.Observe(ctx, v),
	}
	if v.Source != nil {
		object.Source = eitherID(*v.Source)
	}
	return object
}

func (m *Mirror) snapshotPage(ctx context.Context, marker string) ([]store.ObservedObject, string, error) {
	page, err := m.Backend.Snapshots(ctx, marker, pageSize)
	var rows []store.ObservedObject
	for _, s := range page.Items {
		rows = append(rows, m.snapshotObject(s))
	}
	return rows, page.Next, err
}

func (m *Mirror) snapshotObject(s backend.Snapshot) store.ObservedObject {
	return store.ObservedObject{
		ID: m.ownID(s.Key), BackendID: s.ID, Project: m.project(s.Project), Name: s.Name, Description: s.Description, SizeGiB: s.SizeGiB,
		Source: eitherID(s.Volume), CreatedAt: s.CreatedAt, ObservedState: ObserveSnapshot(s),
	}
}

func eitherID(key backend.Key) string {
	if key.Ref != "" {
		return key.Ref
	}
	return key.ID
}
