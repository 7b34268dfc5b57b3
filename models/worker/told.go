package worker

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
)

// toldTries is how often a backend that does not answer is asked why an operation
// came to nothing, before the operation ends without knowing.
const toldTries = 3

// cameToNothing ends an operation that the backend had accepted, with step steps
// done, and then did not carry out: the object is as o says. Where o does not say
// why, the backend is asked whether it has told.
func (w *Worker) cameToNothing(ctx context.Context, op *models.Operation, step int, key backend.Key, o models.Observed, why models.Failure) models.Progress {
	if !o.Failure.None() && o.Failure.Key != models.FailureUntold {
		return w.failed(op, why, with(o, o.Status, why))
	}
	if key.ID == "" {
		key.ID = o.BackendID
	}
	// To the second: that is how exactly clouds write times.
	since := time.UnixMicro(op.StartedAt).Truncate(time.Second)
	told, request, err := w.told(ctx, op.SubjectType, key, since)
	if err != nil && op.Attempts < toldTries {
		later := w.trouble(ctx, op, err)
		later.Step = max(later.Step, step)
		return later
	}
	if !told.None() {
		why = told
	}
	if request != "" {
		o.RequestID = request
	}
	return w.failed(op, why, with(o, o.Status, why))
}

// told is what the backend says about the newest request for an object that
// failed after it was accepted; none when it says nothing newer than since.
func (w *Worker) told(ctx context.Context, kind models.SubjectType, key backend.Key, since time.Time) (why models.Failure, request string, err error) {
	err = w.backend.LastFailure(ctx, backend.Subject(kind), key, since)
	if e := backend.AsError(err, backend.CodeReported, backend.CodeBusy); e != nil {
		return w.why(ctx, kind, err), e.RequestID, nil
	}
	if err == nil || final(err) {
		return models.Failure{}, "", nil
	}
	return models.Failure{}, "", err
}

// explainAtMost is of how many objects in error it is asked in a minute why.
const explainAtMost = 10

// explainErrors asks, once each, why objects that came into error elsewhere did.
func (w *Worker) explainErrors(ctx context.Context, kind models.SubjectType, rows []models.Mirrored) error {
	var ids []string
	for _, row := range rows {
		if row.Failure.Key == models.FailureUntold && !row.Outdated {
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
		if w.mirrored.wasAsked(object) {
			continue
		}
		if !w.mirrored.mayAsk(w.store.Now()) {
			return nil // the next listing comes back to it
		}
		why, request, err := w.told(ctx, kind, backend.Key{ID: object.BackendID}, time.Time{})
		if err != nil {
			w.log.WarnContext(ctx, "cannot ask why an object is in error", "kind", kind, "id", object.ID, "error", err)
			return nil
		}
		w.mirrored.nowAsked(object)
		if why.None() {
			continue
		}
		if err := w.store.Explain(ctx, kind, object, why, request); err != nil {
			return err
		}
	}
	return nil
}
