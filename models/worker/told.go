package worker

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

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
	reported, request, err := w.lastFailure(ctx, op.SubjectType, key, since)
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

// lastFailure is what the backend says about the newest request for an object that
// failed after it was accepted; none when it says nothing newer than since.
func (w *Worker) lastFailure(ctx context.Context, kind models.SubjectType, key backend.Key, since time.Time) (why models.Failure, request string, err error) {
	err = w.backend.LastFailure(ctx, backend.Subject(kind), key, since)
	if e := backend.AsError(err, backend.CodeReported, backend.CodeBusy); e != nil {
		return w.failureWithDependents(ctx, kind, err), e.RequestID, nil
	}
	if err == nil || permanent(err) {
		return models.Failure{}, "", nil
	}
	return models.Failure{}, "", err
}

// maxExplainsPerMinute is of how many objects in error it is asked in a minute why.
const maxExplainsPerMinute = 10

// explainErrors asks, once each, why objects that came into error elsewhere did.
func (w *Worker) explainErrors(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject) error {
	var ids []string
	for _, row := range rows {
		if row.Failure.Key == models.FailureUnknown && !row.Outdated {
			ids = append(ids, row.BackendID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	unexplained, err := w.store.Unexplained(ctx, kind, ids)
	if err != nil {
		return err
	}
	for _, object := range unexplained {
		if w.mirrored.wasExplained(object) {
			continue
		}
		if !w.mirrored.allowExplain(w.store.Now()) {
			return nil // the next listing comes back to it
		}
		why, request, err := w.lastFailure(ctx, kind, backend.Key{ID: object.BackendID}, time.Time{})
		if err != nil {
			w.log.WarnContext(ctx, "cannot ask why an object is in error", "kind", kind, "id", object.ID, "error", err)
			return nil
		}
		w.mirrored.markExplained(object)
		if why.None() {
			continue
		}
		if err := w.store.Explain(ctx, kind, object, why, request); err != nil {
			return err
		}
	}
	return nil
}
