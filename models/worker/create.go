package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// errVanished is the error of an object that is gone although the backend had accepted
// to create it: somebody else deleted it. In a backend that is not shared a crash has
// interrupted the creation, and it is requested again.
var errVanished = errors.New("the object vanished while it was created")

// findOrCreate observes the object of a creation, or calls create if it certainly does
// not exist yet. A progress that is not nil is to be saved instead.
func (w *Worker) findOrCreate(ctx context.Context, op *models.Operation, s *subject,
	create func(ctx context.Context) (store.ObservedState, error)) (o store.ObservedState, wait *store.Progress, err error) {
	if !op.First || op.Params.Retried {
		o, err = s.observe(ctx)
		switch {
		case err == nil && op.First && o.Status == models.ErrorStatus:
			// The failed attempt left it without data; a second object of the same Ref cannot be created beside it.
			again := w.requeue(op, op.Step, backend.PercentUnknown, nil)
			return o, &again, s.delete(ctx)
		case err == nil || !errors.Is(err, backend.ErrNotFound):
			return o, nil, err
		case op.Step >= models.StepAccepted && w.mirror.Capabilities().Shared:
			return o, nil, errVanished
		}
		if wait := w.awaitSettle(op); wait != nil {
			return o, wait, nil
		}
	}
	previousCall := op.CalledAt
	if w.mirror.Capabilities().Settle > 0 {
		if err := w.store.Queue.RecordCall(ctx, op); err != nil {
			return o, nil, err
		}
	}
	o, err = create(ctx)
	if e := backend.AsError(err); e != nil && e.Unsent { // the call had no effect, so the next one need not wait
		if err := w.store.Queue.ForgetCall(ctx, op, previousCall); err != nil {
			return o, nil, err
		}
	}
	return o, nil, err
}

// awaitSettle returns the progress to save while the result of an earlier call, whose
// response was lost, may still become visible; nil after that.
func (w *Worker) awaitSettle(op *models.Operation) *store.Progress {
	settledAt := time.UnixMicro(op.CalledAt).Add(w.mirror.Capabilities().Settle)
	if op.CalledAt == 0 || !w.store.Now().Before(settledAt) {
		return nil
	}
	return &store.Progress{State: models.Running, RunAt: settledAt, Step: op.Step, Percent: backend.PercentUnknown, Failure: op.LastError}
}

func (w *Worker) createVolume(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	o, wait, err := w.findOrCreate(ctx, op, s, func(ctx context.Context) (store.ObservedState, error) {
		spec, err := w.volumeSpec(ctx, op, s.volume)
		if err != nil {
			return store.ObservedState{}, err
		}
		v, err := w.backend.CreateVolume(ctx, spec)
		if err != nil {
			return store.ObservedState{}, err
		}
		return w.mirror.Observe(ctx, v), nil
	})
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	if wait != nil {
		return *wait, nil
	}
	if created := o.Status == models.Available || o.Status == models.InUse; created && op.Params.ServerID != "" {
		o.Status = models.Attaching
		next := w.requeue(op, models.StepCreated, backend.PercentUnknown, &o)
		next.RunAt = w.store.Now()
		return next, nil
	}
	return w.followCreate(ctx, op, s, o), nil
}

func (w *Worker) volumeSpec(ctx context.Context, op *models.Operation, row *models.Volume) (backend.VolumeSpec, error) {
	spec := backend.VolumeSpec{
		Ref: row.ID, Name: row.Name, Description: row.Description, SizeGiB: row.SizeGiB, Image: row.ImageID, Raw: op.Params.Raw,
		Project: row.ProjectID, Type: row.VolumeType, Zone: row.Zone,
	}
	if row.SnapshotID == "" {
		return spec, nil
	}
	source, err := w.store.Snapshots.SnapshotByID(ctx, row.SnapshotID)
	if err != nil {
		return spec, err
	}
	spec.Snapshot = &backend.Key{Ref: source.ID, ID: source.BackendID}
	return spec, nil
}

func (w *Worker) createSnapshot(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	row := s.snapshot
	volume, err := w.store.Volumes.VolumeByID(ctx, row.VolumeID)
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	consistency := row.Consistency
	if op.Step < models.StepAccepted && volume.AttachmentCount > 0 && consistency == models.Clean {
		consistency = w.attachedConsistency() // attached while the operation was queued
	}
	o, wait, err := w.findOrCreate(ctx, op, s, func(ctx context.Context) (store.ObservedState, error) {
		created, err := w.backend.CreateSnapshot(ctx, backend.SnapshotSpec{
			Ref: row.ID, Name: row.Name, Description: row.Description, Project: row.ProjectID,
			Volume:   backend.Key{Ref: volume.ID, ID: volume.BackendID},
			Attached: consistency != models.Clean, Acknowledged: op.Params.Acknowledged, Lock: backendLock(row.Lock),
		})
		return mirror.ObserveSnapshot(created), err
	})
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	if wait != nil {
		return *wait, nil
	}
	o.Consistency = consistency
	return w.followCreate(ctx, op, s, o), nil
}

func (w *Worker) attachedConsistency() models.Consistency {
	if w.mirror.Capabilities().CrashSafe {
		return models.CrashConsistent
	}
	return models.Inconsistent
}

// followCreate is the progress of a creation that the backend has accepted.
func (w *Worker) followCreate(ctx context.Context, op *models.Operation, s *subject, o store.ObservedState) store.Progress {
	switch o.Status {
	case models.Available, models.InUse:
		return w.succeeded(op, &o)
	case models.ErrorStatus, models.ErrorDeleting:
		return w.failAccepted(ctx, op, models.StepAccepted, s.key, o, o.Failure)
	case models.Deleting:
		if op.Params.Retried && op.Step < models.StepAccepted { // the object of the failed attempt
			o.Status = models.Creating
			return w.requeue(op, op.Step, backend.PercentUnknown, &o)
		}
	}
	return w.requeue(op, models.StepAccepted, o.Percent, &o)
}

// failCreate ends a creation that the backend refuses; its row gets the status ERROR.
func (w *Worker) failCreate(ctx context.Context, op *models.Operation, err error) (store.Progress, error) {
	if errors.Is(err, models.ErrNotFound) {
		err = backend.ErrNotFound
	}
	why := w.mirror.FailureWithDependents(ctx, op.SubjectType, err)
	switch {
	case errors.Is(err, errVanished):
		why = models.NewFailure("failure.vanished")
	case errors.Is(err, backend.ErrNotFound):
		why = models.NewFailure("source.not_found")
	case !mirror.Permanent(err):
		return store.Progress{}, err
	}
	return w.failed(op, why, inStatus(models.ErrorStatus, why)), nil
}
