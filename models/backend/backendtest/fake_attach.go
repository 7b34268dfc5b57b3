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
	v.task.held = v.task.held || f.inUseBy(v, serverID) // until the clients are gone
	return nil
}

func (v *fakeVolume) attachment(serverID string) int {
	return slices.IndexFunc(v.Attachments, func(a backend.Attachment) bool { return a.ServerID == serverID })
}

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
