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
	s, v, err := lookUp(ctx, b, key, findVolume)
	if err != nil {
		return backend.Volume{}, err
	}
	return b.volumeOf(s, v), nil
}

// findVolume answers ErrNotFound for keys that are not UUIDs, so nothing else gets into
// a URL.
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

// CreateVolume starts the volume with spec.Ref, or returns it.
func (b *Backend) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	switch {
	case !isUUID(spec.Ref):
		return backend.Volume{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Why: backend.WhyNoUUID, Message: "not a UUID"}
	case spec.SizeGiB <= 0:
		return backend.Volume{}, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhyTooSmall, Message: "not positive"}
	}
	if err := checkLengths(spec.Name, spec.Description); err != nil {
		return backend.Volume{}, err
	}
	return createOnce(ctx, b, spec.Ref, findVolume, b.volumeOf, func(ctx context.Context, s *session) (v volume, err error) {
		opts, err := b.createOpts(ctx, s, spec)
		if err != nil {
			return v, markUnsent(b.translate(ctx, err))
		}
		ctx, response := captureRequestID(ctx)
		if err := volumes.Create(ctx, s.volume, opts, nil).ExtractIntoStructPtr(&v, "volume"); err != nil {
			return v, b.translateWrite(ctx, s, err, quotaRequest{volumes: 1, gigabytes: int64(spec.SizeGiB)}, spec.Name, spec.Description)
		}
		b.noteCreated(v.ID, response, v.CreatedAt)
		return v, nil
	})
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
		return opts, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhySmallerThanSource, Message: "smaller than the snapshot"}
	}
	opts.SnapshotID = source.ID
	return opts, nil
}

// RenameVolume sets name and description.
func (b *Backend) RenameVolume(ctx context.Context, key backend.Key, name, description string) error {
	if err := checkLengths(name, description); err != nil {
		return err
	}
	s, id, err := b.volumeID(ctx, key)
	if err != nil {
		return err
	}
	err = volumes.Update(ctx, s.volume, id, volumes.UpdateOpts{Name: &name, Description: &description}).Err
	return b.translateWrite(ctx, s, err, quotaRequest{}, name, description)
}

func (b *Backend) volumeID(ctx context.Context, key backend.Key) (*session, string, error) {
	return lookUpID(ctx, b, key, findVolume, func(v volume) string { return v.ID })
}

// SetLock is not offered: Cinder has no such thing, and metadata would bind nobody else.
// Errors: CodeUnsupported.
func (b *Backend) SetLock(context.Context, backend.SubjectType, backend.Key, backend.Lock) error {
	return backend.ErrUnsupported
}

// ExtendVolume grows a volume; it is over when Volume has the new size.
func (b *Backend) ExtendVolume(ctx context.Context, key backend.Key, sizeGiB int) error {
	s, v, err := lookUp(ctx, b, key, findVolume)
	if err != nil {
		return err
	}
	switch {
	case sizeGiB <= 0 || sizeGiB < v.Size:
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhyOnlyGrow, Message: "smaller than the volume"}
	case sizeGiB == v.Size, statusOf(v.Status) == backend.Extending:
		return nil
	}
	ctx, response := captureRequestID(ctx)
	err = volumes.ExtendSize(ctx, s.volume, v.ID, volumes.ExtendSizeOpts{NewSize: sizeGiB}).ExtractErr()
	if err == nil {
		b.lastRequests.add(v.ID, request{id: response.requestID})
		return nil
	}
	p := asAPIError(err)
	if p != nil && p.status == http.StatusRequestEntityTooLarge {
		return b.quotaError(ctx, s, p, quotaRequest{gigabytes: int64(sizeGiB - v.Size)})
	}
	if p.conflict() { // another call may have done it
		if now, err := findVolume(ctx, s, backend.Key{ID: v.ID}); err == nil && (statusOf(now.Status) == backend.Extending || now.Size == sizeGiB) {
			return nil
		}
	}
	return b.translate(ctx, err)
}

// DeleteVolume starts the deletion.
func (b *Backend) DeleteVolume(ctx context.Context, key backend.Key) error {
	s, id, err := b.volumeID(ctx, key)
	if err != nil {
		return ignoreNotFound(err)
	}
	ctx, response := captureRequestID(ctx)
	err = volumes.Delete(ctx, s.volume, id, nil).ExtractErr()
	if p := asAPIError(err); p.conflict() {
		return b.deleteRefused(ctx, s, id, p)
	}
	return b.noteDeleted(ctx, id, response, err)
}

// deleteRefused finds the reason, since Cinder's text lists eight.
func (b *Backend) deleteRefused(ctx context.Context, s *session, id string, p *apiError) error {
	v, err := findVolume(ctx, s, backend.Key{ID: id})
	if err != nil {
		return ignoreNotFound(b.translate(ctx, err))
	}
	if statusOf(v.Status) == backend.Deleting {
		return nil
	}
	if len(v.Attachments) > 0 || statusOf(v.Status) == backend.InUse {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttached, Message: "the volume is attached"}
	}
	var dependents []backend.Key
	err = b.snapshots(s, url.Values{"volume_id": {id}}).forEach(ctx, func(sn snapshot) {
		dependents = append(dependents, backend.Key{Ref: s.refOf(sn.Project, sn.Metadata), ID: sn.ID})
	})
	if err != nil {
		return b.translate(ctx, err)
	}
	if len(dependents) > 0 {
		return &backend.Error{Code: backend.CodeBusy, Dependents: dependents}
	}
	return b.translate(ctx, p)
}

// RevertVolume needs microversion 3.40.
func (b *Backend) RevertVolume(ctx context.Context, volumeKey, snapshotKey backend.Key) error {
	const needs = 40
	s, v, err := lookUp(ctx, b, volumeKey, findVolume)
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
		return b.translate(ctx, err)
	}
	ctx, response := captureRequestID(ctx)
	if err := postRevert(ctx, s.volume, v.ID, sn.ID); err != nil {
		return b.translate(ctx, err)
	}
	b.lastRequests.add(v.ID, request{id: response.requestID})
	return nil
}

// RepairVolume only sets the status in Cinder's database. It never sends attach_status,
// which would delete the attachments.
func (b *Backend) RepairVolume(ctx context.Context, key backend.Key, to backend.Status) error {
	word, err := resetStatus(to)
	if err != nil {
		return err
	}
	s, v, err := lookUp(ctx, b, key, findVolume)
	if err != nil {
		return err
	}
	if to == backend.Available && len(v.Attachments) > 0 {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttached, Message: "the volume is attached: as AVAILABLE a second server could write to it"}
	}
	return b.translate(ctx, volumes.ResetStatus(ctx, s.volume, v.ID, volumes.ResetStatusOpts{Status: word}).ExtractErr())
}
