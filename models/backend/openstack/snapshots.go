package openstack

import (
	"context"
	"net/url"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"

	"blockconsole/models/backend"
)

// Snapshot finds by ID, else by Ref.
func (b *Backend) Snapshot(ctx context.Context, key backend.Key) (backend.Snapshot, error) {
	s, sn, err := b.lookSnapshot(ctx, key)
	if err != nil {
		return backend.Snapshot{}, err
	}
	return b.snapshotOf(s, sn), nil
}

func (b *Backend) lookSnapshot(ctx context.Context, key backend.Key) (*session, snapshot, error) {
	s, err := b.session(ctx)
	if err != nil {
		return nil, snapshot{}, err
	}
	sn, err := findSnapshot(ctx, s, key)
	return s, sn, b.explain(ctx, err)
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

// CreateSnapshot starts the snapshot that has spec.Ref, or returns it.
func (b *Backend) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	if !isUUID(spec.Ref) {
		return backend.Snapshot{}, &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "not a UUID"}
	}
	spec.Description = folded(spec.Description)
	if err := fits(spec.Name, spec.Description); err != nil {
		return backend.Snapshot{}, err
	}
	unlock, err := b.making.lock(ctx, spec.Ref)
	if err != nil {
		return backend.Snapshot{}, err
	}
	defer unlock()
	s, err := b.session(ctx)
	if err != nil {
		return backend.Snapshot{}, unsent(err)
	}
	sn, err := findSnapshot(ctx, s, backend.Key{Ref: spec.Ref})
	if err == nil || b.explain(ctx, err) != backend.ErrNotFound {
		return b.snapshotOf(s, sn), unsent(b.explain(ctx, err))
	}
	of, err := findVolume(ctx, s, spec.Volume) // its size is what the quota counts
	if err != nil {
		return backend.Snapshot{}, unsent(b.explain(ctx, err))
	}
	ctx, seen := watch(ctx)
	err = snapshots.Create(ctx, s.volume, snapshots.CreateOpts{
		VolumeID: of.ID, Name: spec.Name, Description: spec.Description, Metadata: map[string]string{refName: spec.Ref},
		Force: s.minor < volumeMinor, // from 3.66 on it is always so, and the word is refused
	}).ExtractIntoStructPtr(&sn, "snapshot")
	if err != nil {
		return backend.Snapshot{}, b.explainCreate(ctx, s, err, asked{snapshots: 1, gigabytes: int64(of.Size)}, spec.Name, spec.Description)
	}
	b.made(sn.ID, seen, sn.CreatedAt)
	return b.snapshotOf(s, sn), nil
}

// RenameSnapshot sets name and description; the description becomes one line.
func (b *Backend) RenameSnapshot(ctx context.Context, key backend.Key, name, description string) error {
	description = folded(description)
	if err := fits(name, description); err != nil {
		return err
	}
	s, id, err := b.snapshotID(ctx, key)
	if err != nil {
		return err
	}
	r := snapshots.Update(ctx, s.volume, id, snapshots.UpdateOpts{Name: &name, Description: &description})
	if r.Err == nil {
		return nil
	}
	return b.explainCreate(ctx, s, r.Err, asked{}, name, description)
}

func (b *Backend) snapshotID(ctx context.Context, key backend.Key) (*session, string, error) {
	if isUUID(key.ID) {
		s, err := b.session(ctx)
		return s, key.ID, err
	}
	s, sn, err := b.lookSnapshot(ctx, key)
	return s, sn.ID, err
}

// DeleteSnapshot starts the deletion. Where volumes depend on the snapshot the cloud
// accepts it all the same and gives it up later: see Told.
func (b *Backend) DeleteSnapshot(ctx context.Context, key backend.Key) error {
	s, id, err := b.snapshotID(ctx, key)
	if err == backend.ErrNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, seen := watch(ctx)
	err = snapshots.Delete(ctx, s.volume, id).ExtractErr()
	p := problemOf(err)
	switch {
	case err == nil:
		b.recent.note(id, request{id: seen.requestID, deletes: true})
		return nil
	case p.gone():
		return nil
	case p.refused():
		now, lookErr := findSnapshot(ctx, s, backend.Key{ID: id})
		if lookErr = b.explain(ctx, lookErr); lookErr == backend.ErrNotFound || lookErr == nil && statusOf(now.Status) == backend.Deleting {
			return nil
		}
	}
	return b.explain(ctx, err)
}

// RepairSnapshot sets the status in Cinder's database and nothing else.
func (b *Backend) RepairSnapshot(ctx context.Context, key backend.Key, to backend.Status) error {
	word, err := resetTo(to)
	if err != nil {
		return err
	}
	s, sn, err := b.lookSnapshot(ctx, key)
	if err != nil {
		return err
	}
	return b.explain(ctx, snapshots.ResetStatus(ctx, s.volume, sn.ID, snapshots.ResetStatusOpts{Status: word}).ExtractErr())
}
