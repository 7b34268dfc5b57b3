package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// lookVolume takes the next step of an operation on a volume. An error that it
// returns is not final: the operation is tried again.
func (w *Worker) lookVolume(ctx context.Context, op *models.Operation) (models.Progress, error) {
	row, err := w.store.VolumeRow(ctx, op.SubjectID)
	if errors.Is(err, models.ErrNotFound) {
		// Somebody removed the record; there is nothing left to follow.
		return w.failed(op, models.Failure{Text: models.Say("failure.not_found")}, nil), nil
	}
	if err != nil {
		return models.Progress{}, err
	}
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step == 0 {
			return w.createVolume(ctx, op, row, key)
		}
		return w.attachVolume(ctx, op, key, 1)
	case models.VolumeEdit:
		return w.renamed(op, row.Name, row.Description, w.backend.RenameVolume(ctx, key, op.Params.Name, op.Params.Description))
	case models.VolumeExtend:
		return w.extendVolume(ctx, op, key)
	case models.VolumeAttach:
		return w.attachVolume(ctx, op, key, 0)
	case models.VolumeDetach:
		return w.detachVolume(ctx, op, key)
	case models.VolumeRevert:
		return w.revertVolume(ctx, op, key)
	case models.VolumeDelete:
		return w.deleteVolume(ctx, op, key)
	case models.VolumeRepair:
		return w.repairVolume(ctx, op, key)
	}
	return w.failed(op, models.Failure{Text: models.Say("failure.unsupported")}, nil), nil
}

func (w *Worker) createVolume(ctx context.Context, op *models.Operation, row *models.Volume, key backend.Key) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if op.First || errors.Is(err, backend.ErrNotFound) {
		var spec backend.VolumeSpec
		if spec, err = w.volumeSpec(ctx, row); err == nil {
			now, err = w.backend.CreateVolume(ctx, spec)
		}
	}
	if err != nil {
		return w.createFailed(op, err)
	}
	o := observedVolume(now)
	switch {
	case o.Status == models.Available && op.Params.ServerID != "":
		o.Status = models.Attaching
		next := w.again(op, 1, -1, &o)
		next.Again = w.store.Now()
		return next, nil
	case o.Status == models.Available:
		return w.succeeded(op, &o), nil
	case o.Status == models.ErrorStatus:
		return w.failed(op, o.Failure, &o), nil
	}
	return w.again(op, 0, o.Percent, &o), nil
}

func (w *Worker) volumeSpec(ctx context.Context, row *models.Volume) (backend.VolumeSpec, error) {
	spec := backend.VolumeSpec{
		Ref: row.ID, Name: row.Name, Description: row.Description, SizeGiB: row.SizeGiB, Image: row.ImageID,
		Project: row.ProjectID, Type: row.VolumeType, Zone: row.Zone,
	}
	if row.SnapshotID == "" {
		return spec, nil
	}
	source, err := w.store.SnapshotRow(ctx, row.SnapshotID)
	if err != nil {
		return spec, err
	}
	spec.Snapshot = &backend.Key{Ref: source.ID, ID: source.BackendID}
	return spec, nil
}

// attachVolume asks for the attachment in step and follows it. When it fails the
// volume stays and says so.
func (w *Worker) attachVolume(ctx context.Context, op *models.Operation, key backend.Key, step int) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(op, err, backend.Volume{})
	}
	o := observedVolume(now)
	for _, a := range now.Attachments {
		if a.ServerID == op.Params.ServerID && o.Status == models.InUse {
			return w.succeeded(op, &o), nil
		}
	}
	accepted := op.Step > step
	if o.Status == models.Attaching {
		return w.again(op, max(op.Step, step), -1, &o), nil
	}
	if accepted {
		why := models.Failure{Text: models.Say("failure.attach_refused")}
		return w.failed(op, why, with(o, o.Status, why)), nil
	}
	if err := w.backend.AttachVolume(ctx, key, op.Params.ServerID); err != nil {
		return w.asked(op, err, now)
	}
	o.Status = models.Attaching
	next := step + 1
	if op.Kind != models.VolumeAttach {
		next = step // the visible steps of a restore are «create» and «attach»
	}
	return w.again(op, next, -1, &o), nil
}

// asked ends an operation whose request the backend refused: the row is as the
// backend has it, and says why.
func (w *Worker) asked(op *models.Operation, err error, now backend.Volume) (models.Progress, error) {
	if !final(err) {
		return models.Progress{}, err
	}
	why := failureOf(err)
	if now.Status == "" {
		return w.failed(op, why, &models.Observed{Status: models.ErrorStatus, Percent: -1, Failure: why}), nil
	}
	return w.failed(op, why, with(observedVolume(now), models.Status(now.Status), why)), nil
}

func (w *Worker) detachVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(op, err, backend.Volume{})
	}
	o := observedVolume(now)
	attached := false
	for _, a := range now.Attachments {
		attached = attached || a.ServerID == op.Params.ServerID
	}
	switch {
	case !attached && o.Status != models.Detaching:
		return w.succeeded(op, &o), nil
	case op.Step == 0:
		if err := w.backend.DetachVolume(ctx, key, op.Params.ServerID, op.Params.Force); err != nil {
			return w.asked(op, err, now)
		}
	case o.Status != models.Detaching:
		why := models.Failure{Text: models.Say("failure.detach_refused")}
		return w.failed(op, why, with(o, o.Status, why)), nil
	}
	o.Status = models.Detaching
	return w.again(op, 1, -1, &o), nil
}

func (w *Worker) extendVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(op, err, backend.Volume{})
	}
	if op.Step == 0 {
		if err := w.backend.ExtendVolume(ctx, key, op.Params.SizeGiB); err != nil {
			return w.asked(op, err, now)
		}
		if now, err = w.backend.Volume(ctx, key); err != nil {
			return models.Progress{}, err
		}
	}
	o := observedVolume(now)
	switch {
	case o.Status == models.Extending:
		return w.again(op, 1, o.Percent, &o), nil
	case o.SizeGiB >= op.Params.SizeGiB && o.Status != models.ErrorStatus:
		return w.succeeded(op, &o), nil
	}
	why := o.Failure
	if why.None() {
		why = models.Failure{Text: models.Say("failure.extend_refused")}
	}
	return w.failed(op, why, with(o, o.Status, why)), nil
}

func (w *Worker) revertVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	if op.Step == 0 {
		source, err := w.store.SnapshotRow(ctx, op.Params.SnapshotID)
		if err != nil {
			return models.Progress{}, err
		}
		if err := w.backend.RevertVolume(ctx, key, backend.Key{Ref: source.ID, ID: source.BackendID}); err != nil {
			now, _ := w.backend.Volume(ctx, key)
			return w.asked(op, err, now)
		}
	}
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return models.Progress{}, err
	}
	o := observedVolume(now)
	switch o.Status {
	case models.Available:
		return w.succeeded(op, &o), nil
	case models.ErrorStatus:
		return w.failed(op, o.Failure, &o), nil
	}
	o.Status = models.Restoring
	return w.again(op, 1, o.Percent, &o), nil
}

func (w *Worker) deleteVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	var refused error
	if op.Step == 0 {
		refused = w.backend.DeleteVolume(ctx, key)
	}
	now, err := w.backend.Volume(ctx, key)
	if refused != nil && now.Status != backend.ErrorDeleting {
		return w.refusedDelete(op, refused)
	}
	return w.deleting(op, observedVolume(now), err)
}

func (w *Worker) repairVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	if err := w.backend.RepairVolume(ctx, key, backend.Status(op.Params.ResetTo)); err != nil {
		return w.repairFailed(op, err)
	}
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.repairFailed(op, err)
	}
	o := observedVolume(now)
	return w.succeeded(op, &o), nil
}

// subjectAfterGivingUp is what the row says when an operation is given up although
// nobody knows why it failed: a status from which the user can go on.
func (w *Worker) subjectAfterGivingUp(op *models.Operation, why models.Failure) *models.Observed {
	o := &models.Observed{Status: models.ErrorStatus, Percent: -1, Failure: why}
	switch op.Kind {
	case models.VolumeDelete, models.SnapshotDelete:
		o.Status = models.ErrorDeleting
	case models.VolumeEdit, models.SnapshotEdit:
		o.Status = ""
	case models.VolumeRepair, models.SnapshotRepair, models.VolumeExtend, models.VolumeAttach, models.VolumeDetach:
		o.Status = op.Params.Was
	}
	return o
}
