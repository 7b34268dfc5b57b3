package openstack

import (
	"context"
	"errors"
	"net/http"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"

	"blockconsole/models/backend"
)

type server struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Status    string `json:"status"`
	Project   string `json:"tenant_id"`
	CreatedAt stamp  `json:"created"`
}

// Servers lists Nova's servers in the order of their creation.
func (b *Backend) Servers(ctx context.Context, after string, limit int) (backend.Page[backend.Server], error) {
	s, err := b.session(ctx)
	if err != nil || s.compute == nil {
		return backend.Page[backend.Server]{}, err
	}
	nova, err := s.nova(ctx)
	if err != nil {
		return backend.Page[backend.Server]{}, b.explain(ctx, err)
	}
	list := func(*session) listing[server] {
		return listing[server]{
			page: func(ctx context.Context, after string, limit int) ([]server, bool, error) {
				q := b.query(after, limit)
				q["sort_key"], q["sort_dir"] = []string{"created_at", "uuid"}, []string{"asc", "asc"}
				return getPage[server](ctx, nova, "servers/detail", "servers", q)
			},
			place: func(sv server) marker { return marker{sv.CreatedAt.Time, sv.ID} },
			lost:  func(p *problem) bool { return p.status == http.StatusBadRequest && p.says("marker") },
		}
	}
	show := func(_ *session, sv server) backend.Server {
		return backend.Server{ID: sv.ID, Name: sv.Name, Status: sv.Status, Project: sv.Project, CreatedAt: sv.CreatedAt.Time}
	}
	return pageOf(ctx, b, list, show, after, limit)
}

func (v volume) attachedTo(serverID string) (attachment, bool) {
	for _, a := range v.Attachments {
		if a.ServerID == serverID {
			return a, true
		}
	}
	return attachment{}, false
}

// AttachVolume asks Nova for the attachment.
func (b *Backend) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	s, v, err := b.lookVolume(ctx, key)
	if err != nil {
		return err
	}
	if s.compute == nil {
		return backend.ErrUnsupported
	}
	if !isUUID(serverID) {
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: "there is no such server"}
	}
	if _, ok := v.attachedTo(serverID); ok {
		return nil
	}
	nova, err := s.nova(ctx)
	if err != nil {
		return b.explain(ctx, err)
	}
	ctx, seen := watch(ctx)
	r := volumeattach.Create(ctx, nova, serverID, volumeattach.CreateOpts{VolumeID: v.ID})
	if r.Err == nil {
		b.recent.note(v.ID, request{id: seen.requestID})
		return nil
	}
	p := problemOf(r.Err)
	switch {
	case p.gone() && p.says("nstance"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: p.text}
	case p.refused() && volumeattach.Get(ctx, nova, serverID, v.ID).Err == nil:
		return nil // an earlier call has done it already
	case p != nil && p.status == http.StatusNotFound && !p.gone():
		return &backend.Error{Code: backend.CodeUnavailable, Err: p}
	}
	return b.explain(ctx, r.Err)
}

// DetachVolume asks Nova to let go. Nova cuts nothing off by force; force removes
// what Cinder still records although Nova no longer knows of it.
func (b *Backend) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	s, v, err := b.lookVolume(ctx, key)
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
	nova, err := s.nova(ctx)
	if err != nil {
		return b.explain(ctx, err)
	}
	ctx, seen := watch(ctx)
	err = volumeattach.Delete(ctx, nova, serverID, v.ID).ExtractErr()
	p := problemOf(err)
	switch {
	case err == nil:
		b.recent.note(v.ID, request{id: seen.requestID})
		return nil
	case p.gone():
		return b.detachStale(ctx, s, v, serverID, force)
	case p.refused():
		return b.whyNotDetached(ctx, s, v.ID, serverID, p)
	}
	return b.explain(ctx, err)
}

// detachHost lets go of what no server has: a volume that is not attached there is
// done; one that a host of the cloud holds is none of Nova's.
func (b *Backend) detachHost(ctx context.Context, s *session, v volume, serverID string, force bool) error {
	if serverID != "" {
		return nil
	}
	if _, ok := v.attachedTo(""); ok {
		return b.detachStale(ctx, s, v, "", force)
	}
	return nil
}

// detachStale removes an attachment that Nova does not know: Cinder allows it then.
func (b *Backend) detachStale(ctx context.Context, s *session, v volume, serverID string, force bool) error {
	const needs = 27
	held, _ := v.attachedTo(serverID)
	ids := []string{held.ID}
	if held.ID == "" && s.minor >= needs { // one that was reserved and never used is in a list of its own
		page, err := attachments.List(s.volume, attachments.ListOpts{VolumeID: v.ID, InstanceID: serverID}).AllPages(ctx)
		if err != nil {
			return b.explain(ctx, err)
		}
		list, err := attachments.ExtractAttachments(page)
		if err != nil {
			return b.explain(ctx, err)
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
		return &backend.Error{Code: backend.CodeConflict, Message: "the compute service knows nothing of this attachment; detach by force to remove its record"}
	}
	for _, id := range ids {
		err := b.explain(ctx, attachments.Delete(ctx, s.volume, id).ExtractErr())
		if err != nil && !errors.Is(err, backend.ErrNotFound) {
			return err
		}
	}
	return nil
}

func (b *Backend) whyNotDetached(ctx context.Context, s *session, id, serverID string, p *problem) error {
	v, err := findVolume(ctx, s, backend.Key{ID: id})
	if err != nil {
		return b.explain(ctx, err)
	}
	if _, attached := v.attachedTo(serverID); !attached || statusOf(v.Status) == backend.Detaching {
		return nil
	}
	return b.explain(ctx, p)
}
