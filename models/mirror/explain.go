package mirror

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// maxExplainsPerMinute limits the calls of LastFailure by explainErrors.
const maxExplainsPerMinute = 10

// LastFailure returns why the newest request for an object failed after the backend had
// accepted it, and the backend's id of that request; none when the backend reports
// nothing since then. Errors: CodeUnavailable, CodeFault.
func (m *Mirror) LastFailure(ctx context.Context, kind models.SubjectType, key backend.Key, since time.Time) (why models.Failure, requestID string, err error) {
	err = m.Backend.LastFailure(ctx, kind, key, since)
	if e := backend.AsError(err, backend.CodeReported, backend.CodeBusy); e != nil {
		return m.FailureWithDependents(ctx, kind, err), e.RequestID, nil
	}
	if err == nil || Permanent(err) {
		return models.Failure{}, "", nil
	}
	return models.Failure{}, "", err
}

// explainErrors calls LastFailure once for each object in error without a reason and
// without an operation.
func (m *Mirror) explainErrors(ctx context.Context, kind models.SubjectType, objects []store.ObservedObject) error {
	var ids []string
	for _, o := range objects {
		if o.Failure.Key == models.FailureUnknown && !o.Outdated {
			ids = append(ids, o.BackendID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	unexplained, err := m.Store.Sync.Unexplained(ctx, kind, ids)
	if err != nil {
		return err
	}
	for _, object := range unexplained {
		if m.tracker.wasExplained(object) {
			continue
		}
		if !m.tracker.allowExplain(m.Store.Now()) {
			return nil // the next listing has it again
		}
		why, requestID, err := m.LastFailure(ctx, kind, backend.Key{ID: object.BackendID}, time.Time{})
		if err != nil {
			m.log.WarnContext(ctx, "cannot find out why an object is in error", "kind", kind, "id", object.ID, "error", err)
			return nil
		}
		m.tracker.markExplained(object)
		if why.None() {
			continue
		}
		if err := m.Store.Sync.Explain(ctx, kind, object, why, requestID); err != nil {
			return err
		}
	}
	return nil
}
