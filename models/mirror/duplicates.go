package mirror

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// duplicateSince collects, of one whole listing, the objects that carry one Ref: a lost
// answer may have left a second one.
type duplicateSet struct {
	first map[string]duplicate   // by Ref
	more  map[string][]duplicate // all of a Ref that has several
}

type duplicate struct {
	id      string
	created time.Time
	size    int
	source  string
}

func newDuplicateSet() *duplicateSet {
	return &duplicateSet{map[string]duplicate{}, map[string][]duplicate{}}
}

func (t *duplicateSet) add(rows []store.ObservedObject) {
	for _, row := range rows {
		if row.ID == "" {
			continue
		}
		this := duplicate{row.BackendID, row.CreatedAt, row.SizeGiB, row.Source}
		first, there := t.first[row.ID]
		switch {
		case !there:
			t.first[row.ID] = this
		case first.id == this.id: // listed twice
		case len(t.more[row.ID]) == 0:
			t.more[row.ID] = []duplicate{first, this}
		default:
			t.more[row.ID] = append(t.more[row.ID], this)
		}
	}
}

// minSettle is how long a twin is left alone at least.
const minSettle = 90 * time.Second

// removeDuplicates deletes second copies that a lost answer has left. Only what nobody
// can have used is deleted: made while the operation was under way, like the one in
// the list and not listed itself, made for this console, attached to nothing, without
// snapshots, and seen before the time in which an operation may still choose it.
// Others are no twins and get rows of their own: restoring a backup copies the
// metadata of a volume, too.
func (m *Mirror) removeDuplicates(ctx context.Context, kind models.SubjectType, t *duplicateSet) {
	there := map[string]bool{}
	for ref, group := range t.more {
		row, err := m.Store.Sync.DuplicateOf(ctx, kind, ref)
		if err != nil {
			m.log.WarnContext(ctx, "cannot compare objects of one id", "kind", kind, "id", ref, "error", err)
			continue
		}
		for _, extra := range group {
			there[extra.id] = true
			if row == nil || row.Busy || extra.id == row.BackendID || !m.settledDuplicate(extra.id) {
				continue
			}
			if err := m.removeDuplicate(ctx, kind, row, group, extra); err != nil {
				m.log.WarnContext(ctx, "cannot delete the second copy of an object", "kind", kind, "id", ref, "copy", extra.id, "error", err)
			}
		}
	}
	m.tracker.Lock()
	defer m.tracker.Unlock()
	for id := range m.tracker.duplicateSince {
		if !there[id] && m.Store.Now().Sub(m.tracker.duplicateSince[id]) > 24*time.Hour {
			delete(m.tracker.duplicateSince, id)
		}
	}
}

// markForeign notes that an object is no twin although it carries the id of another one;
// new: it was not known.
func (m *tracker) markForeign(id string) (new bool) {
	m.Lock()
	defer m.Unlock()
	new = !m.foreignRef[id]
	m.foreignRef[id] = true
	return new
}

// ownID is the console's id that an object may claim: empty for one that carries
// another's.
func (m *Mirror) ownID(key backend.Key) string {
	m.tracker.Lock()
	defer m.tracker.Unlock()
	if m.tracker.foreignRef[key.ID] {
		return ""
	}
	return key.Ref
}

// settledDuplicate says that it was seen long enough ago.
func (m *Mirror) settledDuplicate(id string) bool {
	m.tracker.Lock()
	defer m.tracker.Unlock()
	now := m.Store.Now()
	seen, there := m.tracker.duplicateSince[id]
	if !there {
		m.tracker.duplicateSince[id] = now
		return false
	}
	return now.Sub(seen) >= max(m.Capabilities().Settle, minSettle)
}

func (m *Mirror) removeDuplicate(ctx context.Context, kind models.SubjectType, row *store.DuplicateRow, group []duplicate, extra duplicate) error {
	var kept *duplicate
	for i := range group {
		if group[i].id == row.BackendID {
			kept = &group[i]
		}
	}
	if kept == nil { // its row is about to leave, and then the oldest of the others has the id
		return nil
	}
	used, err := m.Store.Sync.DuplicateIsUsed(ctx, kind, extra.id)
	if err != nil {
		return err
	}
	last := kept.created.Add(row.CreateDuration + max(m.Capabilities().Settle, minSettle))
	sameOrigin := row.CreatedHere && extra.created.After(kept.created) && !extra.created.After(last) && extra.size == kept.size && extra.source == kept.source
	unused := false
	if sameOrigin && !used {
		if unused, used, err = m.unusedDuplicate(ctx, kind, row, extra.id); err != nil {
			return err
		}
	}
	if !sameOrigin || used {
		if m.tracker.markForeign(extra.id) {
			m.log.WarnContext(ctx, "two objects carry the id of one; the second is left alone", "kind", kind, "id", row.ID, "copy", extra.id)
		}
		return nil
	}
	if !unused {
		return nil
	}
	if kind == models.SubjectSnapshot {
		err = m.Backend.DeleteSnapshot(ctx, backend.Key{ID: extra.id})
	} else {
		err = m.Backend.DeleteVolume(ctx, backend.Key{ID: extra.id})
	}
	if err != nil {
		return err
	}
	m.log.WarnContext(ctx, "the second copy of an object is deleted: an answer was lost when it was made",
		"kind", kind, "id", row.ID, "kept", row.BackendID, "deleted", extra.id)
	return m.Store.Sync.RecordDuplicate(ctx, kind, row, extra.id)
}

// unusedDuplicate looks at both once more: the one in the list must be there, and the
// other one at rest and attached to nothing. used says that somebody has attached it.
func (m *Mirror) unusedDuplicate(ctx context.Context, kind models.SubjectType, row *store.DuplicateRow, extra string) (unused, used bool, err error) {
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
	status, ref, attachments, err := get(extra)
	if err != nil || ref != row.ID {
		return false, false, ignoreNotFound(err)
	}
	atRest := status == backend.Available || status == backend.ErrorStatus
	return atRest && attachments == 0, attachments > 0, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	return err
}
