package openstack

import (
	"context"
	"errors"
	"net/http"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"

	"blockconsole/models/backend"
)

// AttachSnapshot is not offered: Nova attaches volumes only. Errors: CodeUnsupported.
func (b *Backend) AttachSnapshot(context.Context, backend.Key, string) error {
	return backend.ErrUnsupported
}

// DetachSnapshot is not offered. Errors: CodeUnsupported.
func (b *Backend) DetachSnapshot(context.Context, backend.Key, string, bool) error {
	return backend.ErrUnsupported
}

func (v volume) attachedTo(serverID string) (attachment, bool) {
	for _, a := range v.Attachments {
		if a.ServerID == serverID {
			return a, true
		}
	}
	return attachment{}, false
}

// AttachVolume requests the attachment from Nova.
func (b *Backend) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	s, v, err := lookUp(ctx, b, key, findVolume)
	if err != nil {
		return err
	}
	if s.compute == nil {
		return backend.ErrUnsupported
	}
	if !isUUID(serverID) {
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Why: backend.WhyNoServer, Message: "there is no such server"}
	}
	if _, ok := v.attachedTo(serverID); ok {
		return nil
	}
	nova, err := s.novaClient(ctx)
	if err != nil {
		return b.translate(ctx, err)
	}
	ctx, response := captureRequestID(ctx)
	r := volumeattach.Create(ctx, nova, serverID, volumeattach.CreateOpts{VolumeID: v.ID})
	if r.Err == nil {
		b.lastRequests.add(v.ID, request{id: response.requestID})
		return nil
	}
	p := asAPIError(r.Err)
	switch {
	case p.notFound() && p.contains("nstance"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: p.text}
	case p.conflict() && volumeattach.Get(ctx, nova, serverID, v.ID).Err == nil:
		return nil // by an earlier call
	case p != nil && p.status == http.StatusNotFound && !p.notFound():
		return &backend.Error{Code: backend.CodeUnavailable, Err: p}
	}
	return b.translate(ctx, r.Err)
}

// DetachVolume requests the detachment from Nova, which has no force: force removes an
// attachment that Cinder has and Nova does not know.
func (b *Backend) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	s, v, err := lookUp(ctx, b, key, findVolume)
	if err != nil {
		return err
	}
	if s.compute == nil {
		return backend.ErrUnsupported
	}
	_, attached := v.attachedTo(serverID)
	if !isUUID(serverID) || !attached && statusOf(v.Status) != backend.Attaching {
		return b.detachHost(ctx, s, v, serverID, force)
	}
	if attached && statusOf(v.Status) == backend.Detaching && !force {
		return nil
	}
	nova, err := s.novaClient(ctx)
	if err != nil {
		return b.translate(ctx, err)
	}
	ctx, response := captureRequestID(ctx)
	err = volumeattach.Delete(ctx, nova, serverID, v.ID).ExtractErr()
	p := asAPIError(err)
	switch {
	case err == nil:
		b.lastRequests.add(v.ID, request{id: response.requestID})
		return nil
	case p.notFound():
		return b.detachStale(ctx, s, v, serverID, force)
	case p.conflict():
		return b.detachRefused(ctx, s, v.ID, serverID, p)
	}
	return b.translate(ctx, err)
}

// detachHost detaches a volume from a host of the cloud (no serverID), which Nova does
// not know. A volume that is not attached is success.
func (b *Backend) detachHost(ctx context.Context, s *session, v volume, serverID string, force bool) error {
	if serverID != "" {
		return nil
	}
	if _, ok := v.attachedTo(""); ok {
		return b.detachStale(ctx, s, v, "", force)
	}
	return nil
}

// detachStale removes an attachment that Nova does not know; Cinder allows only that.
func (b *Backend) detachStale(ctx context.Context, s *session, v volume, serverID string, force bool) error {
	const needs = 27
	held, _ := v.attachedTo(serverID)
	ids := []string{held.ID}
	if held.ID == "" && s.minor >= needs { // an attachment that was only reserved is not in the volume
		page, err := attachments.List(s.volume, attachments.ListOpts{VolumeID: v.ID, InstanceID: serverID}).AllPages(ctx)
		if err != nil {
			return b.translate(ctx, err)
		}
		list, err := attachments.ExtractAttachments(page)
		if err != nil {
			return b.translate(ctx, err)
		}
		ids = nil
		for _, a := range list {
			ids = append(ids, a.ID)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	if !force || s.minor < needs {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyNoAttachmentRecord, Message: "the compute service knows nothing of this attachment; detach by force to remove its record"}
	}
	for _, id := range ids {
		err := b.translate(ctx, attachments.Delete(ctx, s.volume, id).ExtractErr())
		if err != nil && !errors.Is(err, backend.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (b *Backend) detachRefused(ctx context.Context, s *session, id, serverID string, p *apiError) error {
	v, err := findVolume(ctx, s, backend.Key{ID: id})
	if err != nil {
		return b.translate(ctx, err)
	}
	if _, attached := v.attachedTo(serverID); !attached || statusOf(v.Status) == backend.Detaching {
		return nil
	}
	return b.translate(ctx, p)
}
