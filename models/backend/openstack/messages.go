package openstack

import (
	"context"
	"time"

	"blockconsole/models/backend"
)

// busyDetail is the detail of the message «Snapshot is busy».
const busyDetail = "015"

// resources are Cinder's names for kinds of objects in messages.
var resources = map[backend.Subject]string{backend.SubjectVolume: "VOLUME", backend.SubjectSnapshot: "VOLUME_SNAPSHOT"}

// LastFailure asks for Cinder's newest message about an object. A volume that could not be
// deleted because others were cloned from it leaves no message: those are looked for.
func (b *Backend) LastFailure(ctx context.Context, subject backend.Subject, key backend.Key, since time.Time) error {
	const needs = 5
	s, id, err := b.subjectID(ctx, subject, key)
	if err != nil {
		return err
	}
	var newest []message
	if s.minor >= needs {
		if newest, err = messages(ctx, s.volume, resources[subject], id); err != nil {
			return b.explain(ctx, err)
		}
	}
	from := b.theirs(since).Add(-overlap)
	if len(newest) > 0 && newest[0].CreatedAt.After(from) {
		m := newest[0]
		reported := &backend.Error{Code: backend.CodeReported, EventID: m.EventID, Message: m.Text, RequestID: m.RequestID}
		if m.detail() != busyDetail {
			return reported
		}
		return b.busy(ctx, s, func(v volume) bool { return v.SnapshotID == id }, reported)
	}
	if subject == backend.SubjectVolume && b.recent.get(id).deletes {
		return b.busy(ctx, s, func(v volume) bool { return v.SourceID == id }, backend.ErrNotFound)
	}
	return backend.ErrNotFound
}

func (b *Backend) subjectID(ctx context.Context, subject backend.Subject, key backend.Key) (*session, string, error) {
	if subject == backend.SubjectVolume {
		return b.volumeID(ctx, key)
	}
	return b.snapshotID(ctx, key)
}

// busy is a CodeBusy with the volumes that depend, or otherwise when there are
// none: Cinder has no filter for them, so all are looked at.
func (b *Backend) busy(ctx context.Context, s *session, depends func(volume) bool, otherwise error) error {
	var dependents []backend.Key
	err := b.volumes(s, nil).each(ctx, func(v volume) {
		if depends(v) {
			dependents = append(dependents, backend.Key{Ref: s.refOf(v.Project, v.Metadata), ID: v.ID})
		}
	})
	if err != nil {
		return b.explain(ctx, err)
	}
	if len(dependents) == 0 {
		return otherwise
	}
	return &backend.Error{Code: backend.CodeBusy, Dependents: dependents}
}
