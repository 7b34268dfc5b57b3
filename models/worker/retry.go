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

// maxAttempts is how often a fault that nobody can name is tried again. A backend
// that does not answer is asked for ever; its silence leaves maxAttempts - countedUnanswered
// tries for other faults, and see alone.
const (
	maxAttempts       = 8
	countedUnanswered = 6
)

// retryLater turns an error that says nothing final into another try later. One that
// no backend should give is given up after maxAttempts.
func (w *Worker) retryLater(ctx context.Context, op *models.Operation, err error) store.Progress {
	w.log.WarnContext(ctx, "operation met an error", "operation", op.ID, "kind", op.Kind, "subject", op.SubjectID,
		"attempt", op.Attempts+1, "error", err)
	failure := mirror.FailureOf(err)
	var other *models.IdentityError
	unavailable := backend.AsError(err, backend.CodeUnavailable)
	unanswered := unavailable != nil || errors.As(err, &other)
	if !unanswered && op.Attempts+1 >= maxAttempts || unanswered && w.stalled(ctx, op) {
		w.clearStalled(op)
		return w.failed(op, failure, w.subjectAfterFailure(ctx, op, failure))
	}
	wait := mirror.Backoff(op.Attempts)
	if unavailable != nil && unavailable.RetryAfter > wait {
		wait = unavailable.RetryAfter
	}
	return store.Progress{State: models.Running, RunAt: w.store.Now().Add(wait), Step: op.Step, Percent: op.Percent,
		Failure: failure, CountAttempt: !unanswered || op.Attempts < countedUnanswered}
}

// requeue is a Progress that looks again when the backend may have news.
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

// pollDelay is the backend's own pace: the longer an operation lasts, the longer
// between looks.
func (w *Worker) pollDelay(op *models.Operation) time.Duration {
	steps := w.mirror.Capabilities().Poll
	if len(steps) == 0 {
		return time.Second
	}
	lasted := w.store.Now().Sub(time.UnixMicro(op.StartedAt))
	for _, step := range steps {
		if lasted < step {
			return step
		}
		lasted -= step
	}
	return steps[len(steps)-1]
}

// withStatus returns o with another status and reason: what the row says when the
// backend's word is not the whole story.
func withStatus(o store.ObservedState, status models.Status, why models.Failure) *store.ObservedState {
	o.Status, o.Failure, o.Percent = status, why, backend.PercentUnknown
	return &o
}
