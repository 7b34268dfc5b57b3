package openstack

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"blockconsole/models/backend"
)

// snapshotBusy is the detail of «Snapshot is busy».
const snapshotBusy = "015"

// resources are the resource types of messages.
var resources = map[backend.SubjectType]string{backend.SubjectVolume: "VOLUME", backend.SubjectSnapshot: "VOLUME_SNAPSHOT"}

// message is a user message of Cinder
// (https://docs.openstack.org/cinder/latest/contributor/user_messages.html).
type message struct {
	EventID   string    `json:"event_id"`
	Text      string    `json:"user_message"`
	Level     string    `json:"message_level"`
	RequestID string    `json:"request_id"`
	CreatedAt timestamp `json:"created_at"`
}

// detail is the last part of EventID, such as 015.
func (m message) detail() string { return m.EventID[strings.LastIndex(m.EventID, "_")+1:] }

// listMessages lists the messages about an object, the newest first. It needs
// microversion 3.5.
func listMessages(ctx context.Context, client *gophercloud.ServiceClient, resource, id string) ([]message, error) {
	query := url.Values{"resource_type": {resource}, "resource_uuid": {id}, "sort": {"created_at:desc,id:desc"}, "limit": {"10"}}
	list, _, err := getPage[message](ctx, client, "messages", "messages", query)
	return list, err
}

// LastFailure is Cinder's newest message about an object. A volume that was not deleted
// because others were cloned from it has no message; its clones are searched.
func (b *Backend) LastFailure(ctx context.Context, subject backend.SubjectType, key backend.Key, since time.Time) error {
	const needs = 5
	s, id, err := b.subjectID(ctx, subject, key)
	if err != nil {
		return err
	}
	var newest []message
	if s.minor >= needs {
		if newest, err = listMessages(ctx, s.volume, resources[subject], id); err != nil {
			return b.translate(ctx, err)
		}
	}
	from := b.cloudTime(since).Add(-overlap)
	if len(newest) > 0 && newest[0].CreatedAt.After(from) {
		m := newest[0]
		reported := &backend.Error{Code: backend.CodeReported, EventID: m.EventID, Message: m.Text, RequestID: m.RequestID}
		if m.detail() != snapshotBusy {
			return reported
		}
		return b.busyError(ctx, s, func(v volume) bool { return v.SnapshotID == id }, reported)
	}
	if subject == backend.SubjectVolume && b.lastRequests.get(id).deletes {
		return b.busyError(ctx, s, func(v volume) bool { return v.SourceID == id }, backend.ErrNotFound)
	}
	return backend.ErrNotFound
}

func (b *Backend) subjectID(ctx context.Context, subject backend.SubjectType, key backend.Key) (*session, string, error) {
	if subject == backend.SubjectVolume {
		return b.volumeID(ctx, key)
	}
	return b.snapshotID(ctx, key)
}

// busyError is CodeBusy with the dependent volumes, or otherwise when there are none.
// It reads all volumes: Cinder has no filter for the source.
func (b *Backend) busyError(ctx context.Context, s *session, depends func(volume) bool, otherwise error) error {
	var dependents []backend.Key
	err := b.volumes(s, nil).forEach(ctx, func(v volume) {
		if depends(v) {
			dependents = append(dependents, backend.Key{Ref: s.refOf(v.Project, v.Metadata), ID: v.ID})
		}
	})
	if err != nil {
		return b.translate(ctx, err)
	}
	if len(dependents) == 0 {
		return otherwise
	}
	return &backend.Error{Code: backend.CodeBusy, Dependents: dependents}
}
