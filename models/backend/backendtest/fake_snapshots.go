package backendtest

import (
	"context"
	"fmt"
	"slices"

	"blockconsole/models/backend"
)

// CreateSnapshot starts a snapshot, or returns the one that has spec.Ref. Its
// bytes are those of this moment. A volume in use needs a spec that knows it and
// has the user's word.
func (f *Fake) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	if err := f.enter(ctx, "CreateSnapshot", spec.Ref); err != nil {
		return backend.Snapshot{}, err
	}
	defer f.mu.Unlock()
	if s := f.seeSnapshot(backend.Key{Ref: spec.Ref}); s != nil {
		return s.show(), nil
	}
	v := f.findVolume(spec.Volume)
	switch {
	case spec.Ref == "":
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "empty"}
	case v == nil:
		return backend.Snapshot{}, backend.ErrNotFound
	case v.Status == backend.InUse && !(spec.Attached && spec.Acknowledged):
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached and nobody accepted the risk"}
	case v.Status != backend.Available && v.Status != backend.InUse:
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	if err := f.checkQuota("snapshots", int64(len(f.snapshots)), 1); err != nil {
		return backend.Snapshot{}, err
	}
	s := &fakeSnapshot{data: slices.Clone(v.data), Snapshot: backend.Snapshot{
		Key: backend.Key{Ref: spec.Ref, ID: f.newID()}, Name: spec.Name, Description: spec.Description,
		SizeGiB: v.SizeGiB, Volume: v.Key, Project: spec.Project, CreatedAt: f.now().UTC(),
	}}
	if v.Status == backend.InUse {
		s.Held = v.Hold
	}
	f.snapshots[s.ID] = s
	f.runSnapshot(s, "CreateSnapshot", backend.Creating, backend.ErrorStatus, func() { s.State = f.state(backend.Available, nil) })
	return s.show(), nil
}

// snapshot enters a method that changes one snapshot.
func (f *Fake) snapshot(ctx context.Context, method string, key backend.Key) (*fakeSnapshot, error) {
	if err := f.enter(ctx, method, key.Ref); err != nil {
		return nil, err
	}
	if s := f.seeSnapshot(key); s != nil {
		return s, nil
	}
	f.mu.Unlock()
	return nil, backend.ErrNotFound
}

// RenameSnapshot sets name and description.
func (f *Fake) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	s, err := f.snapshot(ctx, "RenameSnapshot", key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if s.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being deleted"}
	}
	s.Name, s.Description, s.Changed = name, description, f.now().UTC()
	return nil
}

// DeleteSnapshot starts the deletion. With the capability BusySnapshots the
// volumes made from it keep it.
func (f *Fake) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	s, err := f.snapshot(ctx, "DeleteSnapshot", key)
	if err != nil {
		return ignoreGone(err)
	}
	defer f.mu.Unlock()
	switch {
	case s.Status == backend.Deleting:
		return nil
	case s.Status != backend.Available && s.Status != backend.ErrorStatus:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is " + string(s.Status)}
	}
	var busy []backend.Key
	for _, v := range pageOf(f.volumes, "", len(f.volumes)+1, (*fakeVolume).show).Items {
		if v.Source != nil && v.Source.ID == s.ID && (f.caps.BusySnapshots || v.Status == backend.Creating) {
			busy = append(busy, v.Key)
		}
	}
	if len(busy) > 0 {
		return &backend.Error{Code: backend.CodeBusy, Dependents: busy}
	}
	f.runSnapshot(s, "DeleteSnapshot", backend.Deleting, backend.ErrorDeleting, func() { delete(f.snapshots, s.ID) })
	f.spoilDelete(s.task, s.Ref)
	return nil
}

// RepairSnapshot sets the status.
func (f *Fake) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	s, err := f.snapshot(ctx, "RepairSnapshot", key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if err := f.checkRepair(to); err != nil {
		return err
	}
	s.State, s.task = f.state(to, nil), nil
	return nil
}

// AttachVolume starts attaching; the volume is IN-USE when it is over.
func (f *Fake) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	v, err := f.volume(ctx, "AttachVolume", key)
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
	f.run(v, "AttachVolume", backend.Attaching, v.Status, func() { f.attach(v, server) })
	return nil
}

// DetachVolume starts detaching.
func (f *Fake) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	v, err := f.volume(ctx, "DetachVolume", key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	switch {
	case !f.caps.Attach:
		return backend.ErrUnsupported
	case v.Status == backend.Detaching && v.server == serverID:
		if force {
			f.cutOff(v.Key, serverID, "")
		}
		return nil
	case v.Status != backend.Attaching && v.attachment(serverID) < 0:
		return nil
	case v.Status != backend.InUse:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	v.server = serverID
	if force {
		f.cutOff(v.Key, serverID, "")
	}
	f.run(v, "DetachVolume", backend.Detaching, v.Status, func() { f.detach(v, serverID) })
	v.task.held = v.task.held || f.used(v, serverID) // it waits for the clients
	return nil
}

func (v *fakeVolume) attachment(serverID string) int {
	return slices.IndexFunc(v.Attachments, func(a backend.Attachment) bool { return a.ServerID == serverID })
}

func (f *Fake) attach(v *fakeVolume, s backend.Server) {
	if v.attachment(s.ID) < 0 {
		v.Attachments = append(v.Attachments, backend.Attachment{
			ServerID: s.ID, ServerName: s.Name, Device: fmt.Sprintf("/dev/vd%c", 'b'+len(v.Attachments)), AttachedAt: f.now().UTC(),
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
