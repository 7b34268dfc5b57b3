package backendtest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"blockconsole/models/backend"
)

// CreateVolume starts a volume, or returns the one that has spec.Ref.
func (f *Fake) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	if err := f.enter(ctx, "CreateVolume", spec.Ref); err != nil {
		return backend.Volume{}, err
	}
	defer f.mu.Unlock()
	if v := read(f, f.volumes, backend.Key{Ref: spec.Ref}); v != nil {
		return v.show(), nil
	}
	v := &fakeVolume{Volume: backend.Volume{
		Name: spec.Name, Description: spec.Description, SizeGiB: spec.SizeGiB, Image: spec.Image,
		Project: spec.Project, Type: spec.Type, Zone: spec.Zone, CreatedAt: f.now().UTC(),
	}}
	if err := f.checkVolume(spec); err != nil {
		return backend.Volume{}, err
	}
	if err := f.fill(v, spec); err != nil {
		return backend.Volume{}, err
	}
	v.Key = backend.Key{Ref: spec.Ref, ID: f.newID()}
	f.volumes[v.ID] = v
	f.run(v.handle(), "CreateVolume", backend.Creating, backend.ErrorStatus, func() { v.State = f.state(backend.Available, nil) })
	return v.show(), nil
}

func (f *Fake) checkVolume(spec backend.VolumeSpec) error {
	switch {
	case spec.Ref == "":
		return &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "empty"}
	case spec.Snapshot != nil && spec.Image != "":
		return &backend.Error{Code: backend.CodeInvalid, Field: "image", Message: "a snapshot is given too"}
	case spec.SizeGiB <= 0:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "at least 1 GiB"}
	case f.caps.MaxSizeGiB >= 0 && spec.SizeGiB > f.caps.MaxSizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("at most %d GiB", f.caps.MaxSizeGiB)}
	}
	if err := f.checkQuota("volumes", int64(len(f.volumes)), 1); err != nil {
		return err
	}
	if err := f.checkQuota("gigabytes", f.gigabytes(), int64(spec.SizeGiB)); err != nil {
		return err
	}
	return nil
}

// fill copies the bytes of the source.
func (f *Fake) fill(v *fakeVolume, spec backend.VolumeSpec) error {
	if spec.Image != "" {
		content, ok := f.images[spec.Image]
		if !ok {
			return backend.ErrNotFound
		}
		v.data = slices.Clone(content)
	}
	if spec.Snapshot == nil {
		return nil
	}
	s := f.findSnapshot(*spec.Snapshot)
	switch {
	case s == nil:
		return backend.ErrNotFound
	case s.Status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is " + string(s.Status)}
	case spec.SizeGiB < s.SizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("smaller than the snapshot's %d GiB", s.SizeGiB)}
	}
	v.data, v.Source = slices.Clone(s.data), &backend.Key{Ref: s.Ref, ID: s.ID}
	return nil
}

// Volume counts as a poll: the second one finishes the operation under way.
func (f *Fake) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	if err := f.enter(ctx, "Volume", key.Ref); err != nil {
		return backend.Volume{}, err
	}
	defer f.mu.Unlock()
	if v := read(f, f.volumes, key); v != nil {
		v.task.poll()
	}
	v := read(f, f.volumes, key)
	if v == nil {
		return backend.Volume{}, backend.ErrNotFound
	}
	return v.show(), nil
}

func (v *fakeVolume) show() backend.Volume {
	out := v.Volume
	out.Attachments = slices.Clone(out.Attachments)
	return out
}

// RenameVolume sets name and description.
func (f *Fake) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	v, err := enterObject(ctx, f, "RenameVolume", f.volumes, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if v.Status == backend.Deleting {
		return &backend.Error{Code: backend.CodeConflict, Message: "it is being deleted"}
	}
	v.Name, v.Description, v.Changed = name, description, f.now().UTC()
	return nil
}

// ExtendVolume starts growing the volume.
func (f *Fake) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	v, err := enterObject(ctx, f, "ExtendVolume", f.volumes, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	before := v.Status
	switch {
	case v.SizeGiB == sizeGiB || v.Status == backend.Extending:
		return nil
	case sizeGiB < v.SizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "a volume can only grow"}
	case f.caps.MaxSizeGiB >= 0 && sizeGiB > f.caps.MaxSizeGiB:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("at most %d GiB", f.caps.MaxSizeGiB)}
	case before == backend.InUse && !f.caps.ExtendAttached:
		return &backend.Error{Code: backend.CodeConflict, Message: "an attached volume cannot grow here"}
	case before != backend.Available && before != backend.InUse:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(before)}
	}
	if err := f.checkQuota("gigabytes", f.gigabytes(), int64(sizeGiB-v.SizeGiB)); err != nil {
		return err
	}
	f.run(v.handle(), "ExtendVolume", backend.Extending, backend.ErrorStatus, func() {
		v.SizeGiB = sizeGiB
		v.State = f.state(before, nil)
	})
	return nil
}

// DeleteVolume starts the deletion.
func (f *Fake) DeleteVolume(ctx context.Context, key backend.Key) error {
	v, err := enterObject(ctx, f, "DeleteVolume", f.volumes, key)
	if err != nil {
		return ignoreNotFound(err)
	}
	defer f.mu.Unlock()
	switch {
	case v.Status == backend.Deleting:
		return nil
	case len(v.Attachments) > 0:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached"}
	case v.Status != backend.Available && v.Status != backend.ErrorStatus:
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(v.Status)}
	}
	if busy := f.dependents(v); len(busy) > 0 {
		return &backend.Error{Code: backend.CodeBusy, Dependents: busy}
	}
	f.run(v.handle(), "DeleteVolume", backend.Deleting, backend.ErrorDeleting, func() { delete(f.volumes, v.ID) })
	f.failDeletion(v.task, v.Ref)
	return nil
}

// dependents are the volume's snapshots.
func (f *Fake) dependents(v *fakeVolume) []backend.Key {
	var busy []backend.Key
	for _, s := range pageOf(f.snapshots, "", len(f.snapshots)+1, (*fakeSnapshot).show).Items {
		if s.Volume.ID == v.ID {
			busy = append(busy, s.Key)
		}
	}
	return busy
}

func ignoreNotFound(err error) error {
	if errors.Is(err, backend.ErrNotFound) {
		return nil
	}
	return err
}

// RevertVolume starts restoring the bytes of the latest snapshot.
func (f *Fake) RevertVolume(ctx context.Context, volume, snapshot backend.Key) error {
	v, err := enterObject(ctx, f, "RevertVolume", f.volumes, volume)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	s := f.findSnapshot(snapshot)
	switch {
	case !f.caps.Revert:
		return backend.ErrUnsupported
	case s == nil:
		return backend.ErrNotFound
	case v.Status == backend.Restoring:
		return nil
	case v.Status != backend.Available || s.Status != backend.Available:
		return &backend.Error{Code: backend.CodeConflict, Message: fmt.Sprintf("the volume is %s, the snapshot %s", v.Status, s.Status)}
	case s.Volume.ID != v.ID || s.SizeGiB != v.SizeGiB:
		return &backend.Error{Code: backend.CodeConflict, Message: "the snapshot is of another volume or size"}
	}
	for _, other := range f.snapshots {
		if other.Volume.ID == v.ID && other.CreatedAt.After(s.CreatedAt) {
			return &backend.Error{Code: backend.CodeConflict, Message: "there is a later snapshot"}
		}
	}
	s.State = f.state(backend.Restoring, nil)
	f.run(v.handle(), "RevertVolume", backend.Restoring, backend.ErrorStatus, func() {
		v.data = slices.Clone(s.data)
		v.State, s.State = f.state(backend.Available, nil), f.state(backend.Available, nil)
	})
	fail := v.task.fail
	v.task.fail = func(err error) {
		fail(err)
		s.State = f.state(backend.Available, nil)
	}
	return nil
}

// RepairVolume sets the status.
func (f *Fake) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	v, err := enterObject(ctx, f, "RepairVolume", f.volumes, key)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	if err := f.checkRepair(to); err != nil {
		return err
	}
	v.State, v.task = f.state(to, nil), nil
	return nil
}

func (f *Fake) checkRepair(to backend.Status) error {
	switch {
	case !f.caps.Repair:
		return backend.ErrUnsupported
	case f.repairRole != "":
		return &backend.Error{Code: backend.CodeForbidden, Role: f.repairRole}
	case to != backend.ErrorStatus && to != backend.Available:
		return &backend.Error{Code: backend.CodeInvalid, Field: "status", Message: "ERROR or AVAILABLE"}
	}
	return nil
}
