package worker

import (
	"context"
	"errors"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// reconcile compares the backend's state with what the operation wants, and takes the
// next step.
func (w *Worker) reconcile(ctx context.Context, op *models.Operation) store.Progress {
	if err := w.mirror.EnsureCapabilities(ctx); err != nil {
		return w.retryLater(ctx, op, err)
	}
	progress, err := w.nextStep(ctx, op)
	if err != nil {
		return w.retryLater(ctx, op, err)
	}
	w.clearStalled(op)
	return progress
}

// nextStep takes the next step of an operation. Its error is not final: the operation is
// tried again.
func (w *Worker) nextStep(ctx context.Context, op *models.Operation) (store.Progress, error) {
	s, err := w.loadSubject(ctx, op)
	if errors.Is(err, models.ErrNotFound) { // the row was deleted
		return w.failed(op, models.NewFailure("failure.not_found"), nil), nil
	}
	if err != nil {
		return store.Progress{}, err
	}
	switch op.Kind {
	case models.VolumeCreate, models.SnapshotRestore:
		if op.Step < models.StepCreated {
			return w.createVolume(ctx, op, s)
		}
		return w.attachVolume(ctx, op, s, models.StepCreated)
	case models.SnapshotCreate:
		return w.createSnapshot(ctx, op, s)
	case models.VolumeEdit, models.SnapshotEdit:
		return w.rename(ctx, op, s)
	case models.VolumeExtend:
		return w.extendVolume(ctx, op, s)
	case models.VolumeAttach:
		return w.attachVolume(ctx, op, s, 0)
	case models.VolumeDetach:
		return w.detachVolume(ctx, op, s)
	case models.SnapshotAttach:
		return w.attachSnapshot(ctx, op, s)
	case models.SnapshotDetach:
		return w.detachSnapshot(ctx, op, s)
	case models.VolumeRevert:
		return w.revertVolume(ctx, op, s)
	case models.VolumeDelete, models.SnapshotDelete:
		return w.deleteSubject(ctx, op, s)
	case models.VolumeRepair, models.SnapshotRepair:
		return w.repair(ctx, op, s)
	case models.SnapshotCheck:
		return w.checkSnapshot(ctx, op, s)
	case models.VolumeLock, models.VolumeUnlock, models.SnapshotLock, models.SnapshotUnlock:
		return w.keepLock(ctx, op, s)
	}
	return w.failed(op, models.NewFailure("failure.unsupported"), nil), nil
}

// subject is the volume or snapshot of an operation, with the calls of the port that
// both kinds have.
type subject struct {
	volume   *models.Volume   // the row; nil of a snapshot
	snapshot *models.Snapshot // the row; nil of a volume
	key      backend.Key

	observe func(ctx context.Context) (store.ObservedState, error)
	getName func(ctx context.Context) (name, description string, err error)
	rename  func(ctx context.Context, name, description string) error
	delete  func(ctx context.Context) error
	repair  func(ctx context.Context, resetTo models.Status) error
}

func (w *Worker) loadSubject(ctx context.Context, op *models.Operation) (*subject, error) {
	if op.SubjectType == models.SubjectSnapshot {
		row, err := w.store.Snapshots.SnapshotByID(ctx, op.SubjectID)
		return w.snapshotSubject(row), err
	}
	row, err := w.store.Volumes.VolumeByID(ctx, op.SubjectID)
	return w.volumeSubject(row), err
}

func (w *Worker) volumeSubject(row *models.Volume) *subject {
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	return &subject{
		volume: row, key: key,
		observe: func(ctx context.Context) (store.ObservedState, error) {
			v, err := w.backend.Volume(ctx, key)
			if err != nil {
				return store.ObservedState{}, err
			}
			return w.mirror.Observe(ctx, v), nil
		},
		getName: func(ctx context.Context) (string, string, error) {
			v, err := w.backend.Volume(ctx, key)
			return v.Name, v.Description, err
		},
		rename: func(ctx context.Context, name, description string) error {
			return w.backend.RenameVolume(ctx, key, name, description)
		},
		delete: func(ctx context.Context) error { return w.backend.DeleteVolume(ctx, key) },
		repair: func(ctx context.Context, resetTo models.Status) error {
			return w.backend.RepairVolume(ctx, key, resetTo)
		},
	}
}

func (w *Worker) snapshotSubject(row *models.Snapshot) *subject {
	key := backend.Key{Ref: row.ID, ID: row.BackendID}
	return &subject{
		snapshot: row, key: key,
		observe: func(ctx context.Context) (store.ObservedState, error) {
			s, err := w.backend.Snapshot(ctx, key)
			if err != nil {
				return store.ObservedState{}, err
			}
			return w.mirror.ObserveSnapshot(ctx, s), nil
		},
		getName: func(ctx context.Context) (string, string, error) {
			s, err := w.backend.Snapshot(ctx, key)
			return s.Name, s.Description, err
		},
		rename: func(ctx context.Context, name, description string) error {
			return w.backend.RenameSnapshot(ctx, key, name, description)
		},
		delete: func(ctx context.Context) error { return w.backend.DeleteSnapshot(ctx, key) },
		repair: func(ctx context.Context, resetTo models.Status) error {
			return w.backend.RepairSnapshot(ctx, key, resetTo)
		},
	}
}

// requeue is the progress of an operation that goes on when the backend may have news.
func (w *Worker) requeue(op *models.Operation, step, percent int, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Running, RunAt: w.store.Now().Add(w.pollDelay(op)), Step: step, Percent: percent}, o)
}

func (w *Worker) succeeded(op *models.Operation, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Succeeded, Step: op.Steps, Percent: backend.PercentUnknown}, o)
}

func (w *Worker) failed(op *models.Operation, why models.Failure, o *store.ObservedState) store.Progress {
	return progress(store.Progress{State: models.Failed, Step: op.Step, Percent: backend.PercentUnknown, Failure: why}, o)
}

func progress(p store.Progress, o *store.ObservedState) store.Progress {
	if o != nil {
		p.Subject, p.RequestID = o, o.RequestID
	}
	return p
}

// pollDelay is the time until the next reconciliation, by the backend's intervals: it
// grows while the operation runs.
func (w *Worker) pollDelay(op *models.Operation) time.Duration {
	steps := w.mirror.Capabilities().Poll
	if len(steps) == 0 {
		return time.Second
	}
	elapsed := w.store.Now().Sub(time.UnixMicro(op.StartedAt))
	for _, step := range steps {
		if elapsed < step {
			return step
		}
		elapsed -= step
	}
	return steps[len(steps)-1]
}
