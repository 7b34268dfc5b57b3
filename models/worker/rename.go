package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

func (w *Worker) renameVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	return w.finishRename(ctx, op, w.backend.RenameVolume(ctx, key, op.Params.Name, op.Params.Description))
}

func (w *Worker) renameSnapshot(ctx context.Context, op *models.Operation, row *models.Snapshot, key backend.Key) (store.Progress, error) {
	err := w.backend.RenameSnapshot(ctx, key, op.Params.Name, op.Params.Description)
	if errors.Is(err, backend.ErrNotFound) && row.Status == models.Creating {
		return w.requeue(op, 0, backend.PercentUnknown, nil), nil // it waits in the queue of its volume
	}
	return w.finishRename(ctx, op, err)
}

// finishRename ends a rename. One that the backend refuses takes the row's name back.
func (w *Worker) finishRename(ctx context.Context, op *models.Operation, err error) (store.Progress, error) {
	switch {
	case err == nil:
		return w.succeeded(op, nil), nil
	case !mirror.Permanent(err):
		return store.Progress{}, err
	}
	return w.failed(op, w.mirror.FailureWithDependents(ctx, op.SubjectType, err), w.restoredName(ctx, op)), nil
}

// restoredName gives a row the name that its object has, unless somebody has changed
// it again. Where the backend does not tell, that is the one before the edit.
func (w *Worker) restoredName(ctx context.Context, op *models.Operation) *store.ObservedState {
	var rowName, rowText string
	var name, text string
	if op.SubjectType == models.SubjectSnapshot {
		row, err := w.store.Snapshots.SnapshotByID(ctx, op.SubjectID)
		if err != nil {
			return nil
		}
		now, err := w.backend.Snapshot(ctx, backend.Key{Ref: row.ID, ID: row.BackendID})
		if err != nil {
			now.Name, now.Description = op.Params.OldName, op.Params.OldDescription
		}
		rowName, rowText, name, text = row.Name, row.Description, now.Name, now.Description
	} else {
		row, err := w.store.Volumes.VolumeByID(ctx, op.SubjectID)
		if err != nil {
			return nil
		}
		now, err := w.backend.Volume(ctx, backend.Key{Ref: row.ID, ID: row.BackendID})
		if err != nil {
			now.Name, now.Description = op.Params.OldName, op.Params.OldDescription
		}
		rowName, rowText, name, text = row.Name, row.Description, now.Name, now.Description
	}
	if rowName != op.Params.Name || rowText != op.Params.Description {
		return nil
	}
	return &store.ObservedState{Name: &name, Description: &text}
}
