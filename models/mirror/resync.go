package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/store"
)

// pageSize is the number of objects to request per page of a listing.
const pageSize = 1000

// Resync copies all of the backend's volumes and snapshots, page by page: volumes first,
// so that snapshots find theirs. Rows are missing only after a complete listing: an error
// never empties a list. Errors: those of the port's listings, those of the database.
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

// recordUnreachable records that neither volumes nor snapshots could be listed.
func (m *Mirror) recordUnreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	now := m.Store.Now()
	return errors.Join(m.Store.Sync.RecordSync(ctx, models.SubjectVolume, now, FailureOf(err)),
		m.Store.Sync.RecordSync(ctx, models.SubjectSnapshot, now, FailureOf(err)))
}

func (m *Mirror) resyncKind(ctx context.Context, kind models.SubjectType) error {
	startedAt := m.Store.Now()
	err := m.resyncPages(ctx, kind, startedAt)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if recordErr := m.Store.Sync.RecordSync(ctx, kind, startedAt, FailureOf(err)); err == nil {
		err = recordErr
	}
	return err
}

// listedPage is one page of a listing.
type listedPage struct {
	objects     []store.ObservedObject
	requestedAt time.Time
	err         error
}

// listPages requests a page while the previous one is saved. The channel ends after an
// error, after the last page, or when ctx is done.
func (m *Mirror) listPages(ctx context.Context, kind models.SubjectType) <-chan listedPage {
	pages := make(chan listedPage)
	go func() {
		defer close(pages)
		for marker, more := "", true; more; {
			page := listedPage{requestedAt: m.Store.Now()}
			page.objects, marker, page.err = m.listPage(ctx, kind, marker)
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

func (m *Mirror) listPage(ctx context.Context, kind models.SubjectType, marker string) (objects []store.ObservedObject, next string, err error) {
	if kind == models.SubjectSnapshot {
		page, err := m.Backend.Snapshots(ctx, marker, pageSize)
		for _, s := range page.Items {
			objects = append(objects, m.snapshotObject(ctx, s))
		}
		return objects, page.Next, err
	}
	page, err := m.Backend.Volumes(ctx, marker, pageSize)
	return m.volumeObjects(ctx, page.Items), page.Next, err
}

func (m *Mirror) resyncPages(ctx context.Context, kind models.SubjectType, startedAt time.Time) error {
	listing, cancel := context.WithCancel(ctx)
	defer cancel()
	listed := map[string]struct{}{}
	duplicates := newDuplicateSet()
	for page := range m.listPages(listing, kind) {
		if page.err != nil {
			return page.err
		}
		ids, err := m.apply(ctx, kind, page.objects, page.requestedAt, false)
		if err != nil {
			return err
		}
		for _, id := range ids {
			listed[id] = struct{}{}
		}
		if m.Capabilities().Shared {
			duplicates.add(page.objects)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	missing, err := m.Store.Sync.SyncMissing(ctx, kind, listed, startedAt)
	if missing > 0 {
		m.log.WarnContext(ctx, "objects are no longer in the backend", "kind", kind, "count", missing)
	}
	m.removeDuplicates(ctx, kind, duplicates)
	return err
}

// apply copies objects whose state was requested at that time, and polls those in
// transition. polled says that they were fetched one by one: a page of a listing that was
// requested before is older.
func (m *Mirror) apply(ctx context.Context, kind models.SubjectType, objects []store.ObservedObject, requestedAt time.Time, polled bool) ([]string, error) {
	ids, err := m.upsert(ctx, kind, objects, requestedAt, polled)
	if err != nil {
		return ids, err
	}
	return ids, m.explainErrors(ctx, kind, objects)
}

func (m *Mirror) upsert(ctx context.Context, kind models.SubjectType, objects []store.ObservedObject, requestedAt time.Time, polled bool) ([]string, error) {
	m.tracker.mu.Lock()
	defer m.tracker.mu.Unlock()
	for i := range objects {
		if polled {
			m.tracker.polledAt[objects[i].BackendID] = requestedAt
		} else if at, ok := m.tracker.polledAt[objects[i].BackendID]; ok && at.After(requestedAt) {
			objects[i].Outdated = true
		}
	}
	upsert := m.Store.Sync.UpsertVolumes
	if kind == models.SubjectSnapshot {
		upsert = m.Store.Sync.UpsertSnapshots
	}
	ids, err := upsert(ctx, objects, requestedAt)
	if err == nil {
		m.track(kind, objects)
	}
	return ids, err
}
