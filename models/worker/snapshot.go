package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// lookSnapshot takes the next step of an operation on a snapshot. An error that it
// returns is not final: the operation is tried again.
func (w *Worker) lookSnapshot(ctx context.Context, op *models.Operation) (models.Progress, error) {
	row, err := w.store.SnapshotRow(ctx, op.SubjectID)
	if errors.Is(err, models.ErrNotFound) {
		// Somebody removed the record; there is nothing left to follow.
		return w.failed(op, models.Failure{Text: models.Say("failure.not_found")}, nil), nil
	}
	if err != nil {
		return models.Progress{}, err
	}
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	switch op.Kind {
	case models.SnapshotCreate:
		return w.createSnapshot(ctx, op, row, key)
	case models.SnapshotEdit:
		return w.renameSnapshot(ctx, op, row, key)
	case models.SnapshotDelete:
		return w.deleteSnapshot(ctx, op, key)
	case models.SnapshotRepair:
		return w.repairSnapshot(ctx, op, key)
	}
	return w.failed(op, models.Failure{Text: models.Say("failure.unsupported")}, nil), nil
}

func (w *Worker) createSnapshot(ctx context.Context, op *models.Operation, row *models.Snapshot, key backend.Key) (models.Progress, error) {
	consistency := row.Consistency
	now, err := w.backend.Snapshot(ctx, key)
	if op.First || errors.Is(err, backend.ErrNotFound) {
		var volume *models.Volume
		if volume, err = w.store.VolumeRow(ctx, row.VolumeID); err != nil {
			return w.createFailed(op, err)
		}
		if volume.AttachmentCount > 0 && consistency == models.Clean {
			consistency = w.consistencyAttached() // attached while the request was in the queue
		}
		now, err = w.backend.CreateSnapshot(ctx, backend.SnapshotSpec{
			Ref: row.ID, Name: row.Name, Description: row.Description, Project: row.ProjectID,
			Volume:   backend.Key{Ref: volume.ID, ID: volume.BackendID},
			Attached: consistency != models.Clean, Acknowledged: op.Params.Acknowledged,
		})
	}
	if err != nil {
		return w.createFailed(op, err)
	}
	o := observedSnapshot(now)
	o.Consistency = consistency
	switch {
	case o.Status == models.Available:
		return w.succeeded(op, &o), nil
	case o.Status == models.ErrorStatus:
		return w.failed(op, o.Failure, &o), nil
	}
	return w.again(op, 0, o.Percent, &o), nil
}

func (w *Worker) consistencyAttached() models.Consistency {
	if w.capabilities().CrashSafe {
		return models.CrashConsistent
	}
	return models.Smeared
}

// createFailed ends a creation that the backend refuses, with the row in ERROR.
func (w *Worker) createFailed(op *models.Operation, err error) (models.Progress, error) {
	if errors.Is(err, models.ErrNotFound) {
		err = backend.ErrNotFound
	}
	if !final(err) {
		return models.Progress{}, err
	}
	why := failureOf(err)
	if errors.Is(err, backend.ErrNotFound) {
		why = models.Failure{Text: models.Say("failure.source_not_found")}
	}
	return w.failed(op, why, &models.Observed{Status: models.ErrorStatus, Percent: -1, Failure: why}), nil
}

func (w *Worker) renameSnapshot(ctx context.Context, op *models.Operation, row *models.Snapshot, key backend.Key) (models.Progress, error) {
	err := w.backend.RenameSnapshot(ctx, key, op.Params.Name, op.Params.Description)
	return w.renamed(op, row.Name, row.Description, err)
}

// renamed ends a rename. One that the backend refuses takes the row's name back,
// unless somebody has changed it again.
func (w *Worker) renamed(op *models.Operation, name, description string, err error) (models.Progress, error) {
	switch {
	case err == nil:
		return w.succeeded(op, nil), nil
	case !final(err):
		return models.Progress{}, err
	}
	o := &models.Observed{}
	if name == op.Params.Name && description == op.Params.Description {
		o.Name, o.Description = &op.Params.OldName, &op.Params.OldDescription
	}
	return w.failed(op, failureOf(err), o), nil
}

func (w *Worker) deleteSnapshot(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	var refused error
	if op.Step == 0 {
		refused = w.backend.DeleteSnapshot(ctx, key)
	}
	now, err := w.backend.Snapshot(ctx, key)
	if refused != nil && now.Status != backend.ErrorDeleting {
		return w.refusedDelete(op, refused)
	}
	return w.deleting(op, observedSnapshot(now), err)
}

// refusedDelete puts the row back as it was when the backend will not delete it.
func (w *Worker) refusedDelete(op *models.Operation, err error) (models.Progress, error) {
	if !final(err) {
		return models.Progress{}, err
	}
	why := failureOf(err)
	return w.failed(op, why, &models.Observed{Status: op.Params.Was, Percent: -1, Failure: why}), nil
}

// deleting follows a deletion that the backend accepted: it is over when the
// object is not found. One that is AVAILABLE again was refused after all.
func (w *Worker) deleting(op *models.Operation, o models.Observed, err error) (models.Progress, error) {
	if errors.Is(err, backend.ErrNotFound) {
		return w.succeeded(op, &models.Observed{Gone: true}), nil
	}
	if err != nil {
		return models.Progress{}, err
	}
	switch o.Status {
	case models.Deleting:
		return w.again(op, 1, o.Percent, &o), nil
	case models.ErrorDeleting:
		return w.failed(op, o.Failure, &o), nil
	}
	why := models.Failure{Text: models.Say("failure.delete_refused")}
	return w.failed(op, why, with(o, o.Status, why)), nil
}

func (w *Worker) repairSnapshot(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	if err := w.backend.RepairSnapshot(ctx, key, backend.Status(op.Params.ResetTo)); err != nil {
		return w.repairFailed(op, err)
	}
	now, err := w.backend.Snapshot(ctx, key)
	if err != nil {
		return w.repairFailed(op, err)
	}
	o := observedSnapshot(now)
	return w.succeeded(op, &o), nil
}

// repairFailed: what the backend no longer has is ERROR and can be deleted; what
// it refuses stays as it was, and says why.
func (w *Worker) repairFailed(op *models.Operation, err error) (models.Progress, error) {
	if !final(err) {
		return models.Progress{}, err
	}
	why := failureOf(err)
	if errors.Is(err, backend.ErrNotFound) {
		gone := models.Failure{Text: models.Say("failure.vanished")}
		return w.succeeded(op, &models.Observed{Status: models.ErrorStatus, Percent: -1, Failure: gone}), nil
	}
	return w.failed(op, why, &models.Observed{Status: op.Params.Was, Percent: -1, Failure: why}), nil
}
