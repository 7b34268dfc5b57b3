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

// Steps of a creation. A volume that is to be attached has two more: asked for,
// and attached.
const (
	stepAccepted = 1 // the backend has the object, and makes it
	stepCreated  = 2
)

// createCalls is what creating a volume and a snapshot differ in.
type createCalls[T any] struct {
	find   func(ctx context.Context) (T, error)
	status func(T) backend.Status
	remove func(ctx context.Context) error
	create func(ctx context.Context) (T, error)
}

// errVanished says that an object which the backend had accepted is gone, because
// somebody else has deleted it. Where there is nobody else, a crash cut its making
// off, and it is asked for again.
var errVanished = errors.New("the object vanished while it was made")

// findOrCreate gives the object of a creation, asking for it where it certainly is
// not there yet. wait is not nil when there is nothing to say about it before that
// time.
func findOrCreate[T any](ctx context.Context, w *Worker, op *models.Operation, c createCalls[T]) (object T, wait *store.Progress, err error) {
	if !op.First || op.Params.Retried {
		object, err = c.find(ctx)
		switch {
		case err == nil && op.First && c.status(object) == backend.ErrorStatus:
			// What the failed try left holds nothing; a second one of the same Ref cannot be made beside it.
			again := w.requeue(op, op.Step, backend.PercentUnknown, nil)
			return object, &again, c.remove(ctx)
		case err == nil || !errors.Is(err, backend.ErrNotFound):
			return object, nil, err
		case op.Step >= stepAccepted && w.mirror.Capabilities().Shared:
			return object, nil, errVanished
		}
		if unsettled := w.awaitSettle(op); unsettled != nil {
			return object, unsettled, nil
		}
	}
	before := op.CalledAt
	if w.mirror.Capabilities().Settle > 0 {
		if err := w.store.Queue.RecordCall(ctx, op); err != nil {
			return object, nil, err
		}
	}
	object, err = c.create(ctx)
	return object, nil, w.forgetUnsentCall(ctx, op, before, err)
}

// forgetUnsentCall makes a call whose request never left no reason to wait.
func (w *Worker) forgetUnsentCall(ctx context.Context, op *models.Operation, before int64, err error) error {
	if e := backend.AsError(err); e == nil || !e.Unsent {
		return err
	}
	if forgotten := w.store.Queue.ForgetCall(ctx, op, before); forgotten != nil {
		return forgotten
	}
	return err
}

// awaitSettle waits as long as an earlier call, whose answer was lost, may still
// become visible.
func (w *Worker) awaitSettle(op *models.Operation) *store.Progress {
	settled := time.UnixMicro(op.CalledAt).Add(w.mirror.Capabilities().Settle)
	if op.CalledAt == 0 || !w.store.Now().Before(settled) {
		return nil
	}
	return &store.Progress{State: models.Running, RunAt: settled, Step: op.Step, Percent: backend.PercentUnknown, Failure: op.LastError}
}

func (w *Worker) createVolume(ctx context.Context, op *models.Operation, row *models.Volume, key backend.Key) (store.Progress, error) {
	now, wait, err := findOrCreate(ctx, w, op, createCalls[backend.Volume]{
		find:   func(ctx context.Context) (backend.Volume, error) { return w.backend.Volume(ctx, key) },
		status: func(v backend.Volume) backend.Status { return v.Status },
		remove: func(ctx context.Context) error { return w.backend.DeleteVolume(ctx, key) },
		create: func(ctx context.Context) (backend.Volume, error) {
			spec, err := w.volumeSpec(ctx, row)
			if err != nil {
				return backend.Volume{}, err
			}
			return w.backend.CreateVolume(ctx, spec)
		},
	})
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	if wait != nil {
		return *wait, nil
	}
	o := w.mirror.Observe(ctx, now)
	if made := o.Status == models.Available || o.Status == models.InUse; made && op.Params.ServerID != "" {
		o.Status = models.Attaching
		next := w.requeue(op, stepCreated, backend.PercentUnknown, &o)
		next.RunAt = w.store.Now()
		return next, nil
	}
	return w.followCreate(ctx, op, key, &o), nil
}

func (w *Worker) volumeSpec(ctx context.Context, row *models.Volume) (backend.VolumeSpec, error) {
	spec := backend.VolumeSpec{
		Ref: row.ID, Name: row.Name, Description: row.Description, SizeGiB: row.SizeGiB, Image: row.ImageID,
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

func (w *Worker) createSnapshot(ctx context.Context, op *models.Operation, row *models.Snapshot, key backend.Key) (store.Progress, error) {
	volume, err := w.store.Volumes.VolumeByID(ctx, row.VolumeID)
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	consistency := row.Consistency
	if op.Step < stepAccepted && volume.AttachmentCount > 0 && consistency == models.Clean {
		consistency = w.consistencyAttached() // attached while the request was in the queue
	}
	now, wait, err := findOrCreate(ctx, w, op, createCalls[backend.Snapshot]{
		find:   func(ctx context.Context) (backend.Snapshot, error) { return w.backend.Snapshot(ctx, key) },
		status: func(s backend.Snapshot) backend.Status { return s.Status },
		remove: func(ctx context.Context) error { return w.backend.DeleteSnapshot(ctx, key) },
		create: func(ctx context.Context) (backend.Snapshot, error) {
			return w.backend.CreateSnapshot(ctx, backend.SnapshotSpec{
				Ref: row.ID, Name: row.Name, Description: row.Description, Project: row.ProjectID,
				Volume:   backend.Key{Ref: volume.ID, ID: volume.BackendID},
				Attached: consistency != models.Clean, Acknowledged: op.Params.Acknowledged,
			})
		},
	})
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	if wait != nil {
		return *wait, nil
	}
	o := mirror.ObserveSnapshot(now)
	o.Consistency = consistency
	return w.followCreate(ctx, op, key, &o), nil
}

func (w *Worker) consistencyAttached() models.Consistency {
	if w.mirror.Capabilities().CrashSafe {
		return models.CrashConsistent
	}
	return models.Inconsistent
}

// followCreate follows an object that the backend has accepted.
func (w *Worker) followCreate(ctx context.Context, op *models.Operation, key backend.Key, o *store.ObservedState) store.Progress {
	switch o.Status {
	case models.Available, models.InUse:
		return w.succeeded(op, o)
	case models.ErrorStatus, models.ErrorDeleting:
		return w.failAccepted(ctx, op, stepAccepted, key, *o, o.Failure)
	case models.Deleting:
		if op.Params.Retried && op.Step < stepAccepted { // what the failed try left is on its way out
			o.Status = models.Creating
			return w.requeue(op, op.Step, backend.PercentUnknown, o)
		}
	}
	return w.requeue(op, stepAccepted, o.Percent, o)
}

// failCreate ends a creation that the backend refuses, with the row in ERROR.
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
	return w.failed(op, why, &store.ObservedState{Status: models.ErrorStatus, Percent: backend.PercentUnknown, Failure: why}), nil
}

// maxExplainAttempts is how often a backend that does not answer is asked why an operation
// came to nothing, before the operation ends without knowing.
const maxExplainAttempts = 3

// failAccepted ends an operation that the backend had accepted, with step steps
// done, and then did not carry out: the object is as o says. Where o does not say
// why, the backend is asked whether it has told.
func (w *Worker) failAccepted(ctx context.Context, op *models.Operation, step int, key backend.Key, o store.ObservedState, why models.Failure) store.Progress {
	if !o.Failure.None() && o.Failure.Key != models.FailureUnknown {
		return w.failed(op, why, withStatus(o, o.Status, why))
	}
	if key.ID == "" {
		key.ID = o.BackendID
	}
	// To the second: that is how exactly clouds write times.
	since := time.UnixMicro(op.StartedAt).Truncate(time.Second)
	reported, request, err := w.mirror.LastFailure(ctx, op.SubjectType, key, since)
	if err != nil && op.Attempts < maxExplainAttempts {
		later := w.retryLater(ctx, op, err)
		later.Step = max(later.Step, step)
		return later
	}
	if !reported.None() {
		why = reported
	}
	if request != "" {
		o.RequestID = request
	}
	return w.failed(op, why, withStatus(o, o.Status, why))
}
