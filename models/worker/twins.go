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
// can have used is deleted: made while the operation was under way, like the one in
// the list and not listed itself, made for this console, attached to nothing, without
// snapshots, and seen before the time in which an operation may still choose it.
// Others are no twins and get rows of their own: restoring a backup copies the
// metadata of a volume, too.
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

// estrange notes that an object is no twin although it carries the id of another one;
// new: it was not known.
func (m *mirrored) estrange(id string) (new bool) {
	m.Lock()
	defer m.Unlock()
	new = !m.strangers[id]
	m.strangers[id] = true
	return new
}

// ownID is the console's id that an object may claim: empty for one that carries
// another's.
func (w *Worker) ownID(key backend.Key) string {
	w.mirrored.Lock()
	defer w.mirrored.Unlock()
	if w.mirrored.strangers[key.ID] {
		return ""
	}
	return key.Ref
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
	if kept == nil { // its row is about to leave, and then the oldest of the others has the id
		return nil
	}
	used, err := w.store.TwinIsUsed(ctx, kind, extra.id)
	if err != nil {
		return err
	}
	last := kept.created.Add(row.Made + max(w.capabilities().Settle, leastSettle))
	alike := row.Ours && extra.created.After(kept.created) && !extra.created.After(last) && extra.size == kept.size && extra.source == kept.source
	unused := false
	if alike && !used {
		if unused, used, err = w.unusedTwin(ctx, kind, row, extra.id); err != nil {
			return err
		}
	}
	if !alike || used {
		if w.mirrored.estrange(extra.id) {
			w.log.WarnContext(ctx, "two objects carry the id of one; the second is left alone", "kind", kind, "id", row.ID, "copy", extra.id)
		}
		return nil
	}
	if !unused {
		return nil
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
// other one at rest and attached to nothing. used says that somebody has attached it.
func (w *Worker) unusedTwin(ctx context.Context, kind models.SubjectType, row *models.TwinRow, extra string) (unused, used bool, err error) {
	look := func(id string) (backend.Status, string, int, error) {
		if kind == models.SubjectSnapshot {
			s, err := w.backend.Snapshot(ctx, backend.Key{ID: id})
			return s.Status, s.Ref, 0, err
		}
		v, err := w.backend.Volume(ctx, backend.Key{ID: id})
		return v.Status, v.Ref, len(v.Attachments), err
	}
	status, ref, _, err := look(row.BackendID)
	if err != nil || ref != row.ID || status == backend.Deleting || status == backend.ErrorStatus {
		return false, false, ignoreNotFound(err)
	}
	status, ref, attachments, err := look(extra)
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
