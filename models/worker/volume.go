package worker

import (
	"context"
	"errors"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// reconcileVolume takes the next step of an operation on a volume. An error that it
// returns is not final: the operation is tried again.
func (w *Worker) reconcileVolume(ctx context.Context, op *models.Operation) (store.Progress, error) {
	row, err := w.store.Volumes.VolumeByID(ctx, op.SubjectID)
	if errors.Is(err, models.ErrNotFound) {
		// Somebody removed the record; there is nothing left to follow.
		return w.failed(op, models.NewFailure("failure.not_found"), nil), nil
	}
	if err != nil {
		return store.Progress{}, err
	}
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step < stepCreated {
			return w.createVolume(ctx, op, row, key)
		}
		return w.attachVolume(ctx, op, key, stepCreated)
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
	return w.failed(op, models.NewFailure("failure.unsupported"), nil), nil
}

// attachVolume asks for the attachment, when step steps are done, and follows it.
// When it fails the volume stays and says so.
func (w *Worker) attachVolume(ctx context.Context, op *models.Operation, key backend.Key, step int) (store.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.failRefused(ctx, op, err, backend.Volume{})
	}
	o := w.mirror.Observe(ctx, now)
	for _, a := range now.Attachments {
		if a.ServerID == op.Params.ServerID && o.Status == models.InUse {
			return w.succeeded(op, &o), nil
		}
	}
	switch {
	case o.Status == models.Attaching:
		return w.requeue(op, step+1, backend.PercentUnknown, &o), nil
	case op.Step > step && !o.Status.Settled(): // such as reserved, on the way
		return w.requeue(op, step+1, backend.PercentUnknown, &o), nil
	case op.Step > step: // it was accepted, and is not attached
		p := w.failAccepted(ctx, op, step+1, key, o, models.NewFailure("failure.attach_refused"))
		if p.State == models.Failed && op.Kind != models.VolumeAttach { // the volume was made, though
			p.Subject = withStatus(*p.Subject, o.Status, models.NewFailure("failure.attach"))
		}
		return p, nil
	}
	if err := w.backend.AttachVolume(ctx, key, op.Params.ServerID); err != nil {
		progress, err := w.failRefused(ctx, op, err, now)
		if err == nil && step == stepCreated {
			progress.Subject = withStatus(o, o.Status, models.NewFailure("failure.attach")) // the volume was made, though
		}
		return progress, err
	}
	o.Status = models.Attaching
	return w.requeue(op, step+1, backend.PercentUnknown, &o), nil
}

// failRefused ends an operation whose request the backend refused: the row is as the
// backend has it, and says why.
func (w *Worker) failRefused(ctx context.Context, op *models.Operation, err error, now backend.Volume) (store.Progress, error) {
	if !mirror.Permanent(err) {
		return store.Progress{}, err
	}
	why := w.mirror.FailureWithDependents(ctx, op.SubjectType, err)
	if now.Status == "" {
		return w.failed(op, why, &store.ObservedState{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: why}), nil
	}
	return w.failed(op, why, withStatus(w.mirror.Observe(ctx, now), now.Status, why)), nil
}

func (w *Worker) detachVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.failRefused(ctx, op, err, backend.Volume{})
	}
	o := w.mirror.Observe(ctx, now)
	attached := false
	for _, a := range now.Attachments {
		attached = attached || a.ServerID == op.Params.ServerID
	}
	switch {
	case !attached && o.Status != models.Detaching:
		return w.succeeded(op, &o), nil
	case op.Step > 0 && !o.Status.Settled(): // on the way
		return w.requeue(op, 1, backend.PercentUnknown, &o), nil
	case op.Step == 0:
		if err := w.backend.DetachVolume(ctx, key, op.Params.ServerID, op.Params.Force); err != nil {
			return w.failRefused(ctx, op, err, now)
		}
	default:
		return w.failAccepted(ctx, op, 1, key, o, models.NewFailure("failure.detach_refused")), nil
	}
	o.Status = models.Detaching
	return w.requeue(op, 1, backend.PercentUnknown, &o), nil
}

func (w *Worker) extendVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.failRefused(ctx, op, err, backend.Volume{})
	}
	if op.Step == 0 {
		if err := w.backend.ExtendVolume(ctx, key, op.Params.SizeGiB); err != nil {
			return w.failRefused(ctx, op, err, now)
		}
		if now, err = w.backend.Volume(ctx, key); err != nil {
			return store.Progress{}, err
		}
	}
	o := w.mirror.Observe(ctx, now)
	switch {
	case o.Status == models.Extending, op.Step > 0 && !o.Status.Settled():
		return w.requeue(op, 1, o.Percent, &o), nil
	case o.SizeGiB >= op.Params.SizeGiB && o.Status != models.ErrorStatus:
		return w.succeeded(op, &o), nil
	}
	why := o.Failure
	if why.None() {
		why = models.NewFailure("failure.extend_refused")
	}
	return w.failAccepted(ctx, op, 1, key, o, why), nil
}

func (w *Worker) deleteVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	var refused error
	if op.Step == 0 {
		refused = w.backend.DeleteVolume(ctx, key)
	}
	now, err := w.backend.Volume(ctx, key)
	if refused != nil && (err != nil || now.Status != backend.ErrorDeleting) {
		return w.failDelete(ctx, op, refused)
	}
	return w.followDelete(ctx, op, key, w.mirror.Observe(ctx, now), err)
}

func (w *Worker) repairVolume(ctx context.Context, op *models.Operation, key backend.Key) (store.Progress, error) {
	if err := w.backend.RepairVolume(ctx, key, op.Params.ResetTo); err != nil {
		return w.failRepair(op, err)
	}
	now, err := w.backend.Volume(ctx, key)
	if err != nil {
		return w.failRepair(op, err)
	}
	o := w.mirror.Observe(ctx, now)
	return w.succeeded(op, &o), nil
}

// subjectAfterFailure is what the row says when an operation is given up although
// nobody knows why it failed: a status from which the user can go on.
func (w *Worker) subjectAfterFailure(ctx context.Context, op *models.Operation, why models.Failure) *store.ObservedState {
	o := &store.ObservedState{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: why}
	switch op.Kind {
	case models.VolumeDelete, models.SnapshotDelete:
		o.Status = models.ErrorDeleting
	case models.VolumeEdit, models.SnapshotEdit:
		return w.restoredName(ctx, op)
	case models.VolumeRepair, models.SnapshotRepair, models.VolumeExtend, models.VolumeAttach, models.VolumeDetach:
		o.Status = op.Params.PriorStatus
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step >= stepCreated {
			o.Status, o.Failure = models.Available, models.NewFailure("failure.attach")
		}
	}
	return o
}
