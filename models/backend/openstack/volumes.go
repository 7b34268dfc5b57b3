package openstack

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"

	"blockconsole/models/backend"
)

// Volume finds by ID, else by Ref.
func (b *Backend) Volume(ctx context.Context, key backend.Key) (backend.Volume, error) {
	s, v, err := b.lookVolume(ctx, key)
	if err != nil {
		return backend.Volume{}, err
	}
	return b.volumeOf(s, v), nil
}

func (b *Backend) lookVolume(ctx context.Context, key backend.Key) (*session, volume, error) {
	s, err := b.session(ctx)
	if err != nil {
		return nil, volume{}, err
	}
	v, err := findVolume(ctx, s, key)
	return s, v, b.explain(ctx, err)
}

// findVolume gives backend.ErrNotFound for keys that no object can have, so nothing
// odd ever gets into an address.
func findVolume(ctx context.Context, s *session, key backend.Key) (v volume, err error) {
	switch {
	case isUUID(key.ID):
		err = volumes.Get(ctx, s.volume, key.ID).ExtractIntoStructPtr(&v, "volume")
		return v, err
	case isUUID(key.Ref) && key.ID == "":
		return findByRef(ctx, key.Ref, func(ctx context.Context, q url.Values) ([]volume, bool, error) {
			return getPage[volume](ctx, s.volume, "volumes/detail", "volumes", q)
		}, func(v volume) (string, map[string]any) { return v.ID, v.Metadata })
	}
	return v, backend.ErrNotFound
}

// findByRef gives the oldest object that carries ref. It checks what it gets: a
// cloud that does not know the filter answers with everything.
func findByRef[T any](ctx context.Context, ref string, page func(context.Context, url.Values) ([]T, bool, error), of func(T) (string, map[string]any)) (found T, err error) {
	for q := byRef(ref); ; {
		items, more, err := page(ctx, q)
		if err != nil {
			return found, err
		}
		last := ""
		for _, item := range items {
			id, metadata := of(item)
			if metadata[refName] == ref {
				return item, nil
			}
			last = id
		}
		if !more {
			return found, backend.ErrNotFound
		}
		q.Set("marker", last)
	}
}

// CreateVolume starts the volume that has spec.Ref, or returns it.
func (b *Backend) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	switch {
	case !isUUID(spec.Ref):
		return backend.Volume{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "not a UUID"}
	case spec.SizeGiB <= 0:
		return backend.Volume{}, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "not positive"}
	}
	if err := fits(spec.Name, spec.Description); err != nil {
		return backend.Volume{}, err
	}
	unlock, err := b.making.lock(ctx, spec.Ref)
	if err != nil {
		return backend.Volume{}, err
	}
	defer unlock()
	s, err := b.session(ctx)
	if err != nil {
		return backend.Volume{}, unsent(err)
	}
	v, err := findVolume(ctx, s, backend.Key{Ref: spec.Ref})
	if err == nil || b.explain(ctx, err) != backend.ErrNotFound {
		return b.volumeOf(s, v), unsent(b.explain(ctx, err))
	}
	opts, err := b.createOpts(ctx, s, spec)
	if err != nil {
		return backend.Volume{}, unsent(b.explain(ctx, err))
	}
	ctx, seen := watch(ctx)
	if err := volumes.Create(ctx, s.volume, opts, nil).ExtractIntoStructPtr(&v, "volume"); err != nil {
		return backend.Volume{}, b.explainCreate(ctx, s, err, asked{volumes: 1, gigabytes: int64(spec.SizeGiB)}, spec.Name, spec.Description)
	}
	b.made(v.ID, seen, v.CreatedAt)
	return b.volumeOf(s, v), nil
}

// made notes who made an object, and the time that its answer tells: it is the
// cloud's clock to the microsecond.
func (b *Backend) made(id string, seen *seen, created stamp) {
	b.recent.note(id, request{id: seen.requestID})
	if !created.IsZero() {
		b.clock(created.Time)
	}
}

func (b *Backend) createOpts(ctx context.Context, s *session, spec backend.VolumeSpec) (volumes.CreateOpts, error) {
	opts := volumes.CreateOpts{
		Size: spec.SizeGiB, Name: spec.Name, Description: spec.Description, VolumeType: spec.Type, AvailabilityZone: spec.Zone,
		Metadata: map[string]string{refName: spec.Ref},
	}
	if spec.Image != "" {
		if !isUUID(spec.Image) {
			return opts, backend.ErrNotFound
		}
		opts.ImageID = spec.Image
	}
	if spec.Snapshot == nil {
		return opts, nil
	}
	source, err := findSnapshot(ctx, s, *spec.Snapshot)
	if err != nil {
		return opts, err
	}
	if spec.SizeGiB < source.Size {
		return opts, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "smaller than the snapshot"}
	}
	opts.SnapshotID = source.ID
	return opts, nil
}

// explainCreate explains why something with a name could not be made or renamed.
func (b *Backend) explainCreate(ctx context.Context, s *session, err error, want asked, name, description string) error {
	p := problemOf(err)
	switch {
	case p == nil:
	case p.status == http.StatusRequestEntityTooLarge:
		return b.explainQuota(ctx, s, p, want)
	case p.gone() && p.says("Volume type"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "type", Message: p.text}
	case p.status == http.StatusInternalServerError && (wide(name) || wide(description)) && b.answers(ctx, s):
		// Other requests do well: it is the text. Repeating it would never end.
		field := "name"
		if !wide(name) {
			field = "description"
		}
		return &backend.Error{Code: backend.CodeInvalid, Field: field, Message: "the cloud cannot store characters outside of the Basic Multilingual Plane, such as emoji"}
	}
	return b.explain(ctx, err)
}

// answers says that Cinder and its database are well.
func (b *Backend) answers(ctx context.Context, s *session) bool {
	_, _, err := getPage[volume](ctx, s.volume, "volumes", "volumes", url.Values{"limit": {"1"}})
	return err == nil
}

// RenameVolume sets name and description.
func (b *Backend) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	if err := fits(name, description); err != nil {
		return err
	}
	s, id, err := b.volumeID(ctx, key)
	if err != nil {
		return err
	}
	r := volumes.Update(ctx, s.volume, id, volumes.UpdateOpts{Name: &name, Description: &description})
	if r.Err == nil {
		return nil
	}
	return b.explainCreate(ctx, s, r.Err, asked{}, name, description)
}

// volumeID saves a request where the ID is known.
func (b *Backend) volumeID(ctx context.Context, key backend.Key) (*session, string, error) {
	if isUUID(key.ID) {
		s, err := b.session(ctx)
		return s, key.ID, err
	}
	s, v, err := b.lookVolume(ctx, key)
	return s, v.ID, err
}

// ExtendVolume grows a volume. It is done when Volume tells the new size.
func (b *Backend) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	s, v, err := b.lookVolume(ctx, key)
	if err != nil {
		return err
	}
	switch {
	case sizeGiB <= 0 || sizeGiB < v.Size:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "smaller than the volume"}
	case sizeGiB == v.Size, statusOf(v.Status) == backend.Extending:
		return nil
	}
	ctx, seen := watch(ctx)
	err = volumes.ExtendSize(ctx, s.volume, v.ID, volumes.ExtendSizeOpts{NewSize: sizeGiB}).ExtractErr()
	if err == nil {
		b.recent.note(v.ID, request{id: seen.requestID})
		return nil
	}
	p := problemOf(err)
	if p != nil && p.status == http.StatusRequestEntityTooLarge {
		return b.explainQuota(ctx, s, p, asked{gigabytes: int64(sizeGiB - v.Size)})
	}
	if p.refused() { // another call may have been faster
		if now, err := findVolume(ctx, s, backend.Key{ID: v.ID}); err == nil && (statusOf(now.Status) == backend.Extending || now.Size == sizeGiB) {
			return nil
		}
	}
	return b.explain(ctx, err)
}

// DeleteVolume starts the deletion.
func (b *Backend) DeleteVolume(ctx context.Context, key backend.Key) error {
	s, id, err := b.volumeID(ctx, key)
	if err == backend.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, seen := watch(ctx)
	err = volumes.Delete(ctx, s.volume, id, nil).ExtractErr()
	p := problemOf(err)
	switch {
	case err == nil:
		b.recent.note(id, request{id: seen.requestID, deletes: true})
		return nil
	case p.gone():
		return nil
	case p.refused():
		return b.whyNotDeleted(ctx, s, id, p)
	}
	return b.explain(ctx, err)
}

// whyNotDeleted tells apart what Cinder puts into one sentence of eight reasons.
func (b *Backend) whyNotDeleted(ctx context.Context, s *session, id string, p *problem) error {
	v, err := findVolume(ctx, s, backend.Key{ID: id})
	if err != nil {
		if err = b.explain(ctx, err); err == backend.ErrNotFound {
			return nil
		}
		return err
	}
	if statusOf(v.Status) == backend.Deleting {
		return nil
	}
	if len(v.Attachments) > 0 || statusOf(v.Status) == backend.InUse {
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached"}
	}
	var dependents []backend.Key
	err = b.snapshots(s, url.Values{"volume_id": {id}}).each(ctx, func(sn snapshot) {
		dependents = append(dependents, backend.Key{Ref: s.refOf(sn.Project, sn.Metadata), ID: sn.ID})
	})
	if err != nil {
		return b.explain(ctx, err)
	}
	if len(dependents) > 0 {
		return &backend.Error{Code: backend.CodeBusy, Dependents: dependents}
	}
	return b.explain(ctx, p)
}

// RevertVolume puts the latest snapshot's bytes back.
func (b *Backend) RevertVolume(ctx context.Context, volumeKey, snapshotKey backend.Key) error {
	const needs = 40
	s, v, err := b.lookVolume(ctx, volumeKey)
	if err != nil {
		return err
	}
	if s.minor < needs {
		return backend.ErrUnsupported
	}
	if statusOf(v.Status) == backend.Restoring {
		return nil
	}
	sn, err := findSnapshot(ctx, s, snapshotKey)
	if err != nil {
		return b.explain(ctx, err)
	}
	ctx, seen := watch(ctx)
	if err := revert(ctx, s.volume, v.ID, sn.ID); err != nil {
		return b.explain(ctx, err)
	}
	b.recent.note(v.ID, request{id: seen.requestID})
	return nil
}

// RepairVolume sets the status in Cinder's database and nothing else. It never sends
// attach_status, which would drop the records of attachments.
func (b *Backend) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	word, err := resetTo(to)
	if err != nil {
		return err
	}
	s, v, err := b.lookVolume(ctx, key)
	if err != nil {
		return err
	}
	if to == backend.Available && len(v.Attachments) > 0 {
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached: as AVAILABLE a second server could write to it"}
	}
	return b.explain(ctx, volumes.ResetStatus(ctx, s.volume, v.ID, volumes.ResetStatusOpts{Status: word}).ExtractErr())
}

func resetTo(to backend.Status) (string, error) {
	switch to {
	case backend.ErrorStatus:
		return "error", nil
	case backend.Available:
		return "available", nil
	}
	return "", &backend.Error{Code: backend.CodeInvalid, Field: "status", Message: "neither ERROR nor AVAILABLE"}
}
