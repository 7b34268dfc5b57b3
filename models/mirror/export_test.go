package mirror

import (
	"context"

	"blockconsole/models"
	"blockconsole/models/store"
)

// SyncObject copies one object by the backend's id, and polls it while it is in
// transition.
func (m *Mirror) SyncObject(ctx context.Context, kind models.SubjectType, id string) error {
	requestedAt := m.Store.Now()
	object, err := m.fetch(ctx, kind, id)
	if err != nil {
		return err
	}
	_, err = m.apply(ctx, kind, []store.ObservedObject{object}, requestedAt, true)
	return err
}

// PollObject polls one object by the backend's id.
func (m *Mirror) PollObject(ctx context.Context, id string) error { return m.pollObject(ctx, id) }
