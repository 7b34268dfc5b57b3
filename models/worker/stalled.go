package worker

import (
	"context"
	"slices"

	"blockconsole/models"
)

// unrepairable are the operations whose object an administrator cannot repair while
// they are stuck. They hold up whatever is asked of it after them.
var unrepairable = []models.Kind{models.VolumeExtend, models.VolumeRevert, models.VolumeEdit, models.SnapshotEdit}

// stalled says that a backend which answers others has not answered this operation for
// models.StuckAfter: something is wrong with its object, and it would never end.
func (w *Worker) stalled(ctx context.Context, op *models.Operation) bool {
	if !slices.Contains(unrepairable, op.Kind) {
		return false
	}
	read, err := w.store.Sync.SyncHealthy(ctx)
	now := w.store.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil || !read {
		delete(w.unansweredSince, op.ID)
		return false
	}
	since, there := w.unansweredSince[op.ID]
	if !there {
		w.unansweredSince[op.ID] = now
		return false
	}
	return now.Sub(since) >= models.StuckAfter
}

// clearStalled forgets what alone knows of an operation.
func (w *Worker) clearStalled(op *models.Operation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unansweredSince, op.ID)
}
