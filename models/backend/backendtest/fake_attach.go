package backendtest

import (
	"context"
	"fmt"
	"slices"

	"blockconsole/models/backend"
)

// AttachVolume starts attaching; the volume is IN-USE when it is over.
func (f *Fake) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	v, err := enterObject(ctx, f, "AttachVolume", f.volumes, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	s := f.server(serverID)
	switch {
	case !f.caps.Attach:
		return backend.ErrUnsupported
	case v.Status == backend.Attaching && v.server == serverID, v.Status == backend.InUse && v.attachment(serverID) >= 0:
		return nil
	case s == nil:
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: "no such server"}
	case v.Status == backend.InUse && !f.caps.MultiAttach:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to another server"}
	case v.Status != backend.Available && v.Status != backend.InUse:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	server := *s
	v.server = serverID
	f.run(v.handle(), "AttachVolume", backend.Attaching, v.Status, func() { f.attach(v, server) })
	return nil
}

// DetachVolume starts detaching.
func (f *Fake) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	v, err := enterObject(ctx, f, "DetachVolume", f.volumes, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	switch {
	case !f.caps.Attach:
		return backend.ErrUnsupported
	case v.Status == backend.Detaching && v.server == serverID:
		if force {
			f.disconnect(v.Key, serverID, "")
		}
		return nil
	case v.Status != backend.Attaching && v.attachment(serverID) < 0:
		return nil
	case v.Status != backend.InUse:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	v.server = serverID
	if force {
		f.disconnect(v.Key, serverID, "")
	}
	f.run(v.handle(), "DetachVolume", backend.Detaching, v.Status, func() { f.detach(v, serverID) })
	v.task.held = v.task.held || f.inUseBy(v.Key, serverID) // until the clients are gone
	return nil
}

func (v *fakeVolume) attachment(serverID string) int { return attachmentTo(v.Attachments, serverID) }

func (f *Fake) attach(v *fakeVolume, s backend.Server) {
	if v.attachment(s.ID) < 0 {
		v.Attachments = append(v.Attachments, backend.Attachment{
			ServerID: s.ID, ServerName: s.Name, Device: fmt.Sprintf("/dev/vd%c", 'b'+len(v.Attachments)), AttachedAt: backend.Micros(f.now()),
		})
	}
	v.State, v.task = f.state(backend.InUse, nil), nil
}

func (f *Fake) detach(v *fakeVolume, serverID string) {
	v.Attachments = slices.DeleteFunc(slices.Clone(v.Attachments), func(a backend.Attachment) bool { return a.ServerID == serverID })
	v.State, v.task = f.state(backend.Available, nil), nil
	if len(v.Attachments) > 0 {
		v.State = f.state(backend.InUse, nil)
	}
}

func (f *Fake) server(id string) *backend.Server {
	for i := range f.servers {
		if f.servers[i].ID == id {
			return &f.servers[i]
		}
	}
	return f.registeredServer(id)
}

// AttachSnapshot attaches at once.
func (f *Fake) AttachSnapshot(ctx context.Context, key backend.Key, serverID string) error {
	s, err := enterObject(ctx, f, "AttachSnapshot", f.snapshots, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	server := f.server(serverID)
	i := s.attachment(serverID)
	switch {
	case !f.caps.AttachSnapshots:
		return backend.ErrUnsupported
	case i >= 0 && s.Attachments[i].DetachingAt > 0:
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being detached"}
	case i >= 0:
		return nil
	case server == nil:
		return &backend.Error{Code: backend.CodeInvalid, Field: "server", Message: "no such server"}
	case s.Status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is " + string(s.Status)}
	}
	s.Attachments = append(s.Attachments, backend.Attachment{ServerID: server.ID, ServerName: server.Name, AttachedAt: backend.Micros(f.now())})
	return nil
}

// DetachSnapshot detaches at once, or when the server's clients are gone.
func (f *Fake) DetachSnapshot(ctx context.Context, key backend.Key, serverID string, force bool) error {
	s, err := enterObject(ctx, f, "DetachSnapshot", f.snapshots, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	i := s.attachment(serverID)
	switch {
	case !f.caps.AttachSnapshots:
		return backend.ErrUnsupported
	case i < 0:
		return nil
	}
	s.Attachments[i].DetachingAt = backend.Micros(f.now())
	if force {
		f.disconnect(s.Key, serverID, "")
	}
	f.endDetachments(s)
	return nil
}

func (s *fakeSnapshot) attachment(serverID string) int { return attachmentTo(s.Attachments, serverID) }

// endDetachments removes the servers that leave and have no client any more.
func (f *Fake) endDetachments(s *fakeSnapshot) {
	s.Attachments = slices.DeleteFunc(s.Attachments, func(a backend.Attachment) bool {
		return a.DetachingAt > 0 && !f.inUseBy(s.Key, a.ServerID)
	})
}

func attachmentTo(all []backend.Attachment, serverID string) int {
	return slices.IndexFunc(all, func(a backend.Attachment) bool { return a.ServerID == serverID })
}
