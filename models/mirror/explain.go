package mirror

import (
	"context"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/store"
)

// LastFailure is what the backend says about the newest request for an object that
// failed after it was accepted; none when it says nothing newer than since.
func (m *Mirror) LastFailure(ctx context.Context, kind models.SubjectType, key backend.Key, since time.Time) (why models.Failure, request string, err error) {
	err = m.Backend.LastFailure(ctx, kind, key, since)
	if e := backend.AsError(err, backend.CodeReported, backend.CodeBusy); e != nil {
		return m.FailureWithDependents(ctx, kind, err), e.RequestID, nil
	}
	if err == nil || Permanent(err) {
		return models.Failure{}, "", nil
	}
	return models.Failure{}, "", err
}

// maxExplainsPerMinute is of how many objects in error it is asked in a minute why.
const maxExplainsPerMinute = 10

// explainErrors asks, once each, why objects that came into error elsewhere did.
func (m *Mirror) explainErrors(ctx context.Context, kind models.SubjectType, rows []store.ObservedObject) error {
	var ids []string
	for _, row := range rows {
		if row.Failure.Key == models.FailureUnknown && !row.Outdated {
			ids = append(ids, row.BackendID)
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
			return nil // the next listing comes back to it
		}
		why, request, err := m.LastFailure(ctx, kind, backend.Key{ID: object.BackendID}, time.Time{})
		if err != nil {
			m.log.WarnContext(ctx, "cannot ask why an object is in error", "kind", kind, "id", object.ID, "error", err)
			return nil
		}
		m.tracker.markExplained(object)
		if why.None() {
			continue
		}
		if err := m.Store.Sync.Explain(ctx, kind, object, why, request); err != nil {
			return err
		}
	}
	return nil
}
