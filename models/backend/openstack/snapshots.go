package openstack

import (
	"context"
	"errors"
	"net/url"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"

	"blockconsole/models/backend"
)

// Snapshot finds by ID, else by Ref.
func (b *Backend) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	s, sn, err := lookUp(ctx, b, key, findSnapshot)
	if err != nil {
		return backend.Snapshot{}, err
	}
	return b.snapshotOf(s, sn), nil
}

func findSnapshot(ctx context.Context, s *session, key backend.Key) (sn snapshot, err error) {
	const filters = 22 // the microversion that finds snapshots by metadata
	switch {
	case isUUID(key.ID):
		err = snapshots.Get(ctx, s.volume, key.ID).ExtractIntoStructPtr(&sn, "snapshot")
		return sn, err
	case isUUID(key.Ref) && key.ID == "":
		return findByRef(ctx, key.Ref, func(ctx context.Context, q url.Values) ([]snapshot, bool, error) {
			if s.minor < filters {
				q.Del("metadata")
			}
			return getPage[snapshot](ctx, s.volume, "snapshots/detail", "snapshots", q)
		}, func(sn snapshot) (string, map[string]any) { return sn.ID, sn.Metadata })
	}
	return sn, backend.ErrNotFound
}

// CreateSnapshot starts the snapshot with spec.Ref, or returns it.
func (b *Backend) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	if !isUUID(spec.Ref) {
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Why: backend.WhyNoUUID, Message: "not a UUID"}
	}
	spec.Description = singleLine(spec.Description)
	if err := checkLengths(spec.Name, spec.Description); err != nil {
		return backend.Snapshot{}, err
	}
	return createOnce(ctx, b, spec.Ref, findSnapshot, b.snapshotOf, func(ctx context.Context, s *session) (sn snapshot, err error) {
		of, err := findVolume(ctx, s, spec.Volume) // the quota counts its size
		if err != nil {
			return sn, markUnsent(b.translate(ctx, err))
		}
		ctx, response := captureRequestID(ctx)
		err = snapshots.Create(ctx, s.volume, snapshots.CreateOpts{
			VolumeID: of.ID, Name: spec.Name, Description: spec.Description, Metadata: map[string]string{refName: spec.Ref},
			Force: s.minor < volumeMinor, // implied and refused from 3.66 on
		}).ExtractIntoStructPtr(&sn, "snapshot")
		if err != nil {
			return sn, b.translateWrite(ctx, s, err, quotaRequest{snapshots: 1, gigabytes: int64(of.Size)}, spec.Name, spec.Description)
		}
		b.noteCreated(sn.ID, response, sn.CreatedAt)
		return sn, nil
	})
}

// RenameSnapshot sets name and description; the description becomes a single line.
func (b *Backend) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	description = singleLine(description)
	if err := checkLengths(name, description); err != nil {
		return err
	}
	s, id, err := b.snapshotID(ctx, key)
	if err != nil {
		return err
	}
	err = snapshots.Update(ctx, s.volume, id, snapshots.UpdateOpts{Name: &name, Description: &description}).Err
	return b.translateWrite(ctx, s, err, quotaRequest{}, name, description)
}

func (b *Backend) snapshotID(ctx context.Context, key backend.Key) (*session, string, error) {
	return lookUpID(ctx, b, key, findSnapshot, func(sn snapshot) string { return sn.ID })
}

// DeleteSnapshot starts the deletion. While volumes depend on the snapshot some clouds
// accept it and give it up later, see LastFailure.
func (b *Backend) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	s, id, err := b.snapshotID(ctx, key)
	if err != nil {
		return ignoreNotFound(err)
	}
	ctx, response := captureRequestID(ctx)
	err = snapshots.Delete(ctx, s.volume, id).ExtractErr()
	if asAPIError(err).conflict() {
		now, getErr := findSnapshot(ctx, s, backend.Key{ID: id})
		if getErr = b.translate(ctx, getErr); errors.Is(getErr, backend.ErrNotFound) || getErr == nil && statusOf(now.Status) == backend.Deleting {
			return nil
		}
	}
	return b.noteDeleted(ctx, id, response, err)
}

// RepairSnapshot only sets the status in Cinder's database.
func (b *Backend) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	word, err := resetStatus(to)
	if err != nil {
		return err
	}
	s, sn, err := lookUp(ctx, b, key, findSnapshot)
	if err != nil {
		return err
	}
	return b.translate(ctx, snapshots.ResetStatus(ctx, s.volume, sn.ID, snapshots.ResetStatusOpts{Status: word}).ExtractErr())
}

// CheckSnapshot is not offered: the cloud's storage has checksums of its own. Errors:
// CodeUnsupported.
func (b *Backend) CheckSnapshot(context.Context, backend.Key, bool) error {
	return backend.ErrUnsupported
}
