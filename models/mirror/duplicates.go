package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// minSettle is the shortest time for which a duplicate is listed before it is deleted.
const minSettle = 90 * time.Second

// duplicateSet collects the objects of one listing that carry the same Ref: a create
// call whose response was lost and that was repeated may have left two.
type duplicateSet struct {
	first map[string]duplicate   // by Ref
	more  map[string][]duplicate // by Ref, all of those that have several
}

type duplicate struct {
	id        string // the backend's
	createdAt time.Time
	sizeGiB   int
	source    string
}

func newDuplicateSet() *duplicateSet {
	return &duplicateSet{map[string]duplicate{}, map[string][]duplicate{}}
}

func (s *duplicateSet) add(objects []store.ObservedObject) {
	for _, o := range objects {
		if o.ID == "" {
			continue
		}
		d := duplicate{o.BackendID, o.CreatedAt, o.SizeGiB, o.Source}
		first, ok := s.first[o.ID]
		switch {
		case !ok:
			s.first[o.ID] = d
		case first.id == d.id: // listed twice
		case len(s.more[o.ID]) == 0:
			s.more[o.ID] = []duplicate{first, d}
		default:
			s.more[o.ID] = append(s.more[o.ID], d)
		}
	}
}

// removeDuplicates deletes the duplicates that nobody can have used: created by this
// console during the operation of the row's object and like it, without a row or
// snapshots of their own, not attached, and listed for so long that no operation can
// still find them. Other objects with the same Ref are no duplicates and get rows of
// their own: restoring a backup copies the metadata of a volume, too.
func (m *Mirror) removeDuplicates(ctx context.Context, kind models.SubjectType, duplicates *duplicateSet) {
	listed := map[string]bool{}
	for ref, group := range duplicates.more {
		row, err := m.Store.Sync.DuplicateOf(ctx, kind, ref)
		if err != nil {
			m.log.WarnContext(ctx, "cannot compare objects of one id", "kind", kind, "id", ref, "error", err)
			continue
		}
		for _, d := range group {
			listed[d.id] = true
			if row == nil || row.Busy || d.id == row.BackendID || m.tracker.duplicateAge(d.id, m.Store.Now()) < m.settle() {
				continue
			}
			if err := m.removeDuplicate(ctx, kind, row, group, d); err != nil {
				m.log.WarnContext(ctx, "cannot delete the duplicate of an object", "kind", kind, "id", ref, "duplicate", d.id, "error", err)
			}
		}
	}
	m.tracker.dropDuplicates(listed, m.Store.Now())
}

// settle is the time after which a lost create call can have no further effect.
func (m *Mirror) settle() time.Duration { return max(m.Capabilities().Settle, minSettle) }

func (m *Mirror) removeDuplicate(ctx context.Context, kind models.SubjectType, row *store.DuplicateRow, group []duplicate, d duplicate) error {
	var kept *duplicate
	for i := range group {
		if group[i].id == row.BackendID {
			kept = &group[i]
		}
	}
	if kept == nil { // the row is about to be deleted, and then the oldest of the others gets the id
		return nil
	}
	used, err := m.Store.Sync.DuplicateIsUsed(ctx, kind, d.id)
	if err != nil {
		return err
	}
	latest := kept.createdAt.Add(row.CreateDuration + m.settle())
	sameOrigin := row.CreatedHere && d.createdAt.After(kept.createdAt) && !d.createdAt.After(latest) && d.sizeGiB == kept.sizeGiB && d.source == kept.source
	unused := false
	if sameOrigin && !used {
		if unused, used, err = m.unusedDuplicate(ctx, kind, row, d.id); err != nil {
			return err
		}
	}
	if !sameOrigin || used {
		if m.tracker.markForeign(d.id) {
			m.log.WarnContext(ctx, "two objects carry the id of one; both are kept", "kind", kind, "id", row.ID, "other", d.id)
		}
		return nil
	}
	if !unused {
		return nil
	}
	if kind == models.SubjectSnapshot {
		err = m.Backend.DeleteSnapshot(ctx, backend.Key{ID: d.id})
	} else {
		err = m.Backend.DeleteVolume(ctx, backend.Key{ID: d.id})
	}
	if err != nil {
		return err
	}
	m.log.WarnContext(ctx, "deleted the duplicate of an object: a response was lost when it was created",
		"kind", kind, "id", row.ID, "kept", row.BackendID, "deleted", d.id)
	return m.Store.Sync.RecordDuplicate(ctx, kind, row, d.id)
}

// unusedDuplicate fetches both objects again: unused means that the row's object is well
// and the duplicate settled and not attached; used that the duplicate is attached.
func (m *Mirror) unusedDuplicate(ctx context.Context, kind models.SubjectType, row *store.DuplicateRow, id string) (unused, used bool, err error) {
	get := func(id string) (backend.Status, string, int, error) {
		if kind == models.SubjectSnapshot {
			s, err := m.Backend.Snapshot(ctx, backend.Key{ID: id})
			return s.Status, s.Ref, 0, err
		}
		v, err := m.Backend.Volume(ctx, backend.Key{ID: id})
		return v.Status, v.Ref, len(v.Attachments), err
	}
	status, ref, _, err := get(row.BackendID)
	if err != nil || ref != row.ID || status == backend.Deleting || status == backend.ErrorStatus {
		return false, false, ignoreNotFound(err)
	}
	status, ref, attachments, err := get(id)
	if err != nil || ref != row.ID {
		return false, false, ignoreNotFound(err)
	}
	settled := status == backend.Available || status == backend.ErrorStatus
	return settled && attachments == 0, attachments > 0, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	return err
}
