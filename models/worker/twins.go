package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// twins collects, of one whole listing, the objects that carry one Ref: a lost
// answer may have left a second one.
type twins struct {
	first map[string]twin   // by Ref
	more  map[string][]twin // all of a Ref that has several
}

type twin struct {
	id      string
	created time.Time
	size    int
	source  string
}

func newTwins() *twins { return &twins{map[string]twin{}, map[string][]twin{}} }

func (t *twins) add(rows []models.Mirrored) {
	for _, row := range rows {
		if row.ID == "" {
			continue
		}
		this := twin{row.BackendID, row.CreatedAt, row.SizeGiB, row.Source}
		first, there := t.first[row.ID]
		switch {
		case !there:
			t.first[row.ID] = this
		case first.id == this.id: // listed twice
		case len(t.more[row.ID]) == 0:
			t.more[row.ID] = []twin{first, this}
		default:
			t.more[row.ID] = append(t.more[row.ID], this)
		}
	}
}

// leastSettle is how long a twin is left alone at least.
const leastSettle = 90 * time.Second

// removeTwins deletes second copies that a lost answer has left. Only what nobody
// can have used is deleted: younger than the one in the list and like it, made for
// this console, attached to nothing, without snapshots, and seen before the time in
// which an operation may still choose it.
func (w *Worker) removeTwins(ctx context.Context, kind models.SubjectType, t *twins) {
	there := map[string]bool{}
	for ref, group := range t.more {
		row, err := w.store.TwinOf(ctx, kind, ref)
		if err != nil {
			w.log.WarnContext(ctx, "cannot compare objects of one id", "kind", kind, "id", ref, "error", err)
			continue
		}
		for _, extra := range group {
			there[extra.id] = true
			if row == nil || row.Busy || extra.id == row.BackendID || !w.settledTwin(extra.id) {
				continue
			}
			if err := w.removeTwin(ctx, kind, row, group, extra); err != nil {
				w.log.WarnContext(ctx, "cannot delete the second copy of an object", "kind", kind, "id", ref, "copy", extra.id, "error", err)
			}
		}
	}
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	for id := range w.mirrored.twins {
		if !there[id] && w.store.Now().Sub(w.mirrored.twins[id]) > 24*time.Hour {
			delete(w.mirrored.twins, id)
		}
	}
}

// toldOf says whether the log has mentioned this copy, and notes that it has now.
func (m *mirrored) toldOf(id string) bool {
	m.Lock()
	defer m.Unlock()
	told := m.mentioned[id]
	m.mentioned[id] = true
	return told
}

// settledTwin says that it was seen long enough ago.
func (w *Worker) settledTwin(id string) bool {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	now := w.store.Now()
	seen, there := w.mirrored.twins[id]
	if !there {
		w.mirrored.twins[id] = now
		return false
	}
	return now.Sub(seen) >= max(w.capabilities().Settle, leastSettle)
}

func (w *Worker) removeTwin(ctx context.Context, kind models.SubjectType, row *models.TwinRow, group []twin, extra twin) error {
	var kept *twin
	for i := range group {
		if group[i].id == row.BackendID {
			kept = &group[i]
		}
	}
	alike := kept != nil && extra.created.After(kept.created) && extra.size == kept.size && extra.source == kept.source
	parent, err := w.store.HasSnapshots(ctx, extra.id)
	if err != nil {
		return err
	}
	if !alike || parent {
		if w.mirrored.toldOf(extra.id) {
			return nil
		}
		w.log.WarnContext(ctx, "two objects carry the id of one; the second is left alone", "kind", kind, "id", row.ID, "copy", extra.id)
		return nil
	}
	unused, err := w.unusedTwin(ctx, kind, row, extra.id)
	if err != nil || !unused {
		return err
	}
	if kind == models.SubjectSnapshot {
		err = w.backend.DeleteSnapshot(ctx, backend.Key{ID: extra.id})
	} else {
		err = w.backend.DeleteVolume(ctx, backend.Key{ID: extra.id})
	}
	if err != nil {
		return err
	}
	w.log.WarnContext(ctx, "the second copy of an object is deleted: an answer was lost when it was made",
		"kind", kind, "id", row.ID, "kept", row.BackendID, "deleted", extra.id)
	return w.store.RecordTwin(ctx, kind, row, extra.id)
}

// unusedTwin looks at both once more: the one in the list must be there, and the
// other one at rest and attached to nothing.
func (w *Worker) unusedTwin(ctx context.Context, kind models.SubjectType, row *models.TwinRow, extra string) (bool, error) {
	look := func(id string) (backend.Status, string, int, error) {
		if kind == models.SubjectSnapshot {
			s, err := w.backend.Snapshot(ctx, backend.Key{ID: id})
			return s.Status, s.Ref, 0, err
		}
		v, err := w.backend.Volume(ctx, backend.Key{ID: id})
		return v.Status, v.Ref, len(v.Attachments), err
	}
	status, ref, _, err := look(row.BackendID)
	if err != nil || ref != row.ID || status == backend.Deleting || status == backend.Error {
		return false, ignoreNotFound(err)
	}
	status, ref, attachments, err := look(extra)
	atRest := status == backend.Available || status == backend.Error
	return err == nil && ref == row.ID && atRest && attachments == 0, ignoreNotFound(err)
}

func ignoreNotFound(err error) error {
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	return err
}
