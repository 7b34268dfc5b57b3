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
		if op.Step < stepMade {
			return w.createVolume(ctx, op, row, key)
		}
		return w.attachVolume(ctx, op, key, stepMade)
	case models.VolumeEdit:
		return w.renameVolume(ctx, op, key)
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

// attachVolume asks for the attachment, when step steps are done, and follows it.
// When it fails the volume stays and says so.
func (w *Worker) attachVolume(ctx context.Context, op *models.Operation, key backend.Key, step int) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(ctx, op, err, backend.Volume{})
	}
	o := w.seen(ctx, now)
	for _, a := range now.Attachments {
		if a.ServerID == op.Params.ServerID && o.Status == models.InUse {
			return w.succeeded(op, &o), nil
		}
	}
	switch {
	case o.Status == models.Attaching:
		return w.again(op, step+1, backend.PercentUnknown, &o), nil
	case op.Step > step && !o.Status.Settled(): // such as reserved, on the way
		return w.again(op, step+1, backend.PercentUnknown, &o), nil
	case op.Step > step: // it was accepted, and is not attached
		p := w.cameToNothing(ctx, op, step+1, key, o, models.Failure{Text: models.Say("failure.attach_refused")})
		if p.State == models.Failed && op.Kind != models.VolumeAttach { // the volume was made, though
			p.Subject = with(*p.Subject, o.Status, models.Failure{Text: models.Say("failure.attach")})
		}
		return p, nil
	}
	if err := w.backend.AttachVolume(ctx, key, op.Params.ServerID); err != nil {
		progress, err := w.asked(ctx, op, err, now)
		if err == nil && step == stepMade {
			progress.Subject = with(o, o.Status, models.Failure{Text: models.Say("failure.attach")}) // the volume was made, though
		}
		return progress, err
	}
	o.Status = models.Attaching
	return w.again(op, step+1, backend.PercentUnknown, &o), nil
}

// asked ends an operation whose request the backend refused: the row is as the
// backend has it, and says why.
func (w *Worker) asked(ctx context.Context, op *models.Operation, err error, now backend.Volume) (models.Progress, error) {
	if !final(err) {
		return models.Progress{}, err
	}
	why := w.why(ctx, op.SubjectType, err)
	if now.Status == "" {
		return w.failed(op, why, &models.Observed{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: why}), nil
	}
	return w.failed(op, why, with(w.seen(ctx, now), models.Status(now.Status), why)), nil
}

func (w *Worker) detachVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(ctx, op, err, backend.Volume{})
	}
	o := w.seen(ctx, now)
	attached := false
	for _, a := range now.Attachments {
		attached = attached || a.ServerID == op.Params.ServerID
	}
	switch {
	case !attached && o.Status != models.Detaching:
		return w.succeeded(op, &o), nil
	case op.Step > 0 && !o.Status.Settled(): // on the way
		return w.again(op, 1, backend.PercentUnknown, &o), nil
	case op.Step == 0:
		if err := w.backend.DetachVolume(ctx, key, op.Params.ServerID, op.Params.Force); err != nil {
			return w.asked(ctx, op, err, now)
		}
	default:
		return w.cameToNothing(ctx, op, 1, key, o, models.Failure{Text: models.Say("failure.detach_refused")}), nil
	}
	o.Status = models.Detaching
	return w.again(op, 1, backend.PercentUnknown, &o), nil
}

func (w *Worker) extendVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.asked(ctx, op, err, backend.Volume{})
	}
	if op.Step == 0 {
		if err := w.backend.ExtendVolume(ctx, key, op.Params.SizeGiB); err != nil {
			return w.asked(ctx, op, err, now)
		}
		if now, err = w.backend.Volume(ctx, key); err != nil {
			return models.Progress{}, err
		}
	}
	o := w.seen(ctx, now)
	switch {
	case o.Status == models.Extending, op.Step > 0 && !o.Status.Settled():
		return w.again(op, 1, o.Percent, &o), nil
	case o.SizeGiB >= op.Params.SizeGiB && o.Status != models.ErrorStatus:
		return w.succeeded(op, &o), nil
	}
	why := o.Failure
	if why.None() {
		why = models.Failure{Text: models.Say("failure.extend_refused")}
	}
	return w.cameToNothing(ctx, op, 1, key, o, why), nil
}

func (w *Worker) deleteVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	var refused error
	if op.Step == 0 {
		refused = w.backend.DeleteVolume(ctx, key)
	}
	now, err := w.backend.Volume(ctx, key)
	if refused != nil && (err != nil || now.Status != backend.ErrorDeleting) {
		return w.refusedDelete(ctx, op, refused)
	}
	return w.deleting(ctx, op, key, w.seen(ctx, now), err)
}

func (w *Worker) repairVolume(ctx context.Context, op *models.Operation, key backend.Key) (models.Progress, error) {
	if err := w.backend.RepairVolume(ctx, key, backend.Status(op.Params.ResetTo)); err != nil {
		return w.repairFailed(op, err)
	}
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.repairFailed(op, err)
	}
	o := w.seen(ctx, now)
	return w.succeeded(op, &o), nil
}

// subjectAfterGivingUp is what the row says when an operation is given up although
// nobody knows why it failed: a status from which the user can go on.
func (w *Worker) subjectAfterGivingUp(ctx context.Context, op *models.Operation, why models.Failure) *models.Observed {
	o := &models.Observed{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: why}
	switch op.Kind {
	case models.VolumeDelete, models.SnapshotDelete:
		o.Status = models.ErrorDeleting
	case models.VolumeEdit, models.SnapshotEdit:
		return w.nameBefore(ctx, op)
	case models.VolumeRepair, models.SnapshotRepair, models.VolumeExtend, models.VolumeAttach, models.VolumeDetach:
		o.Status = op.Params.Was
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step >= stepMade {
			o.Status, o.Failure = models.Available, models.Failure{Text: models.Say("failure.attach")}
		}
	}
	return o
}
