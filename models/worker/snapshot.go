package worker

import (
	"context"
	"errors"
	"strings"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/mirror"
	"blockconsole/models/store"
)

// errOutsideLane is the error of a snapshot that is to be taken while its operation is
// not in the lane of the volume: an operation that runs there may forbid it.
var errOutsideLane = errors.New("the operation is not in the lane of the volume")

// createSnapshot requests a snapshot in the lane of its volume. When its instant is taken,
// the operation leaves that lane, and the volume's next operation begins while the copy
// goes on. A snapshot whose copy a restart of the backend has lost, and one that had to
// wait for the copy of another, enter the lane again.
func (w *Worker) createSnapshot(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	row := s.snapshot
	volume, err := w.sourceVolume(ctx, row.VolumeID)
	if err != nil {
		return w.failCreate(ctx, op, err)
	}
	var takenFrom *string
	consistency := row.Consistency
	if op.Step < models.StepAccepted && volume.AttachmentCount > 0 && consistency == models.Clean {
		consistency = models.CrashConsistent // attached while the operation was queued
	}
	o, wait, err := w.findOrCreate(ctx, op, s, func(ctx context.Context) (store.ObservedState, error) {
		if op.Lane == models.CopyLane(op.Params.VolumeID) {
			return store.ObservedState{}, errOutsideLane
		}
		servers := strings.Join(volume.ServerNames(), "\n")
		takenFrom = &servers
		created, err := w.backend.CreateSnapshot(ctx, backend.SnapshotSpec{
			Ref: row.ID, Name: row.Name, Description: row.Description, Project: row.ProjectID,
			Volume:   backend.Key{Ref: volume.ID, ID: volume.BackendID},
			Attached: consistency != models.Clean, Acknowledged: op.Params.Acknowledged, Lock: backendLock(row.Lock),
		})
		return w.mirror.ObserveSnapshot(ctx, created), err
	})
	copying := backend.AsError(err, backend.CodeUnavailable)
	switch {
	case errors.Is(err, errOutsideLane):
		return w.enterLane(ctx, op), nil
	case copying != nil && copying.Why == backend.WhyCopying:
		return w.awaitCopy(op, copying), nil
	case err != nil:
		return w.failCreate(ctx, op, err)
	case wait != nil:
		return *wait, nil
	}
	o.TakenFrom = takenFrom
	if o.Consistency == models.ConsistencyUnknown {
		o.Consistency = consistency
	}
	p := w.followCreate(ctx, op, s, o)
	if p.State == models.Running && o.TakenAt != nil {
		p.Lane = models.CopyLane(op.Params.VolumeID)
	}
	return p, nil
}

// sourceVolume finds a volume with its attachments. Errors: ErrNotFound, those of the
// database.
func (w *Worker) sourceVolume(ctx context.Context, id string) (*models.Volume, error) {
	found, err := w.store.Volumes.VolumesByID(ctx, []string{id})
	if err == nil && len(found) == 0 {
		err = models.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// enterLane puts the operation back into the lane of its volume, to take an instant there.
func (w *Worker) enterLane(ctx context.Context, op *models.Operation) store.Progress {
	if op.Step >= models.StepAccepted {
		w.log.WarnContext(ctx, "the copy of a snapshot was lost; it is taken again, at another instant", "operation", op.ID, "subject", op.SubjectID)
	}
	o := store.ObservedState{Status: models.Creating, Percent: backend.PercentUnknown, TakenAt: new(int64)}
	return store.Progress{State: models.Pending, RunAt: w.store.Now(), Percent: backend.PercentUnknown, Lane: op.Params.VolumeID, Subject: &o}
}

// awaitCopy lets the operation wait for the copy of another snapshot, outside the lane of
// the volume: its other operations need not wait. Where another operation makes that copy,
// its end is waited for, else RetryAfter.
func (w *Worker) awaitCopy(op *models.Operation, copying *backend.Error) store.Progress {
	return store.Progress{State: models.Pending, RunAt: w.store.Now().Add(max(copying.RetryAfter, time.Second)), Step: op.Step,
		Percent: backend.PercentUnknown, Failure: mirror.FailureOf(copying), Lane: models.CopyLane(op.Params.VolumeID)}
}
