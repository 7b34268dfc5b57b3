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

// keepLock gives the backend the lock that the row has now, to keep with the object. The
// lock is in force already, and stays so when the backend refuses.
func (w *Worker) keepLock(ctx context.Context, op *models.Operation, s *subject) (store.Progress, error) {
	if !w.mirror.Capabilities().Locks {
		return w.succeeded(op, nil), nil
	}
	err := w.backend.SetLock(ctx, op.SubjectType, s.key, backendLock(s.lock()))
	switch {
	case err == nil:
		return w.succeeded(op, nil), nil
	case errors.Is(err, backend.ErrNotFound) && s.snapshot != nil && s.snapshot.Status == models.Creating:
		return w.requeue(op, 0, backend.PercentUnknown, nil), nil // its creation waits in the lane of its volume
	case !mirror.Permanent(err):
		return store.Progress{}, err
	}
	return w.failed(op, mirror.FailureOf(err), nil), nil
}

// backendLock converts the lock of a row.
func backendLock(l models.Lock) backend.Lock {
	if !l.Locked() {
		return backend.Lock{}
	}
	return backend.Lock{Until: time.UnixMicro(l.LockedUntil).UTC(), Reason: l.LockReason, By: l.LockedBy, At: time.UnixMicro(l.LockedAt).UTC()}
}

// lock is the lock in the row; it may have run out.
func (s *subject) lock() models.Lock {
	if s.snapshot != nil {
		return s.snapshot.Lock
	}
	return s.volume.Lock
}

// refuseLocked returns the end of an operation that a lock forbids, although it was set
// after the click; nil without a lock. The backend has not been called yet.
func (w *Worker) refuseLocked(op *models.Operation, s *subject) *store.Progress {
	denial := s.lock().Denial(w.store.Now())
	if denial == nil {
		return nil
	}
	p := w.failed(op, models.Failure{Text: denial.Text}, inStatus(op.Params.PriorStatus, models.Failure{}))
	return &p
}
