package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"blockconsole/models/backend"
	"blockconsole/models/reserve"
)

// source is where a new object's bytes come from; the zero value means zeroes.
type source struct {
	path      string
	object    *object     // nil for an image
	image     os.FileInfo // of an image, when it was chosen
	size      int64       // bytes to copy
	allocated int64       // bytes that are not holes
}

// changes reports whether the source is a volume, whose bytes may change while they are
// copied.
func (s source) changes() bool { return s.object != nil && s.object.meta.Kind == volumes }

// CreateVolume makes a sparse file of the requested size, filled from a snapshot or an
// image where one is named. It tries a failed creation again. Errors: CodeInvalid,
// CodeConflict, CodeNotFound for the source, CodeNoSpace, CodeUnavailable.
func (b *Backend) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	m := meta{
		Format: metaFormat, Kind: volumes, Ref: spec.Ref, Name: spec.Name, Description: spec.Description, SizeGiB: spec.SizeGiB,
		Image: spec.Image, Project: spec.Project, Type: spec.Type, Zone: spec.Zone,
	}
	o, err := b.create(ctx, m, func(m *meta) (source, error) { return b.volumeSource(spec, m) })
	if err != nil {
		return backend.Volume{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.volumeLocked(o), nil
}

// CreateSnapshot makes a read-only copy of a volume's file. It tries a failed creation
// again. Errors: CodeInvalid, CodeConflict, CodeNotFound for the volume, CodeNoSpace,
// CodeUnavailable.
func (b *Backend) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	m := meta{
		Format: metaFormat, Kind: snapshots, Ref: spec.Ref, Name: spec.Name, Description: spec.Description,
		Project: spec.Project, Attached: spec.Attached, Acknowledged: spec.Acknowledged, Lock: storeLock(spec.Lock),
	}
	o, err := b.create(ctx, m, func(m *meta) (src source, err error) {
		src, m.SizeGiB, err = b.objectSource(volumes, spec.Volume)
		if err == nil {
			m.Volume = src.object.meta.Ref
		}
		return src, err
	})
	if err != nil {
		return backend.Snapshot{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.snapshotLocked(o), nil
}

// volumeSource checks the size and finds the bytes that a new volume starts with.
func (b *Backend) volumeSource(spec backend.VolumeSpec, m *meta) (source, error) {
	if spec.Snapshot != nil && spec.Image != "" {
		return source{}, &backend.Error{Code: backend.CodeInvalid, Field: "image", Why: backend.WhyTwoSources, Message: "a volume starts with a snapshot or an image, not both"}
	}
	if err := b.checkSize(spec.SizeGiB); err != nil {
		return source{}, err
	}
	if spec.Image != "" {
		return b.imageSource(spec.Image, spec.Raw, spec.SizeGiB)
	}
	if spec.Snapshot == nil {
		return source{}, nil
	}
	src, size, err := b.objectSource(snapshots, *spec.Snapshot)
	if err != nil {
		return source{}, err
	}
	if spec.SizeGiB < size {
		return source{}, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Why: backend.WhySmallerThanSnapshot, WhyArg: strconv.Itoa(size), Message: fmt.Sprintf("smaller than the snapshot's %d GiB", size)}
	}
	m.Source = src.object.meta.Ref
	return src, nil
}

// objectSource finds the volume or snapshot to copy from, and its size in GiB.
func (b *Backend) objectSource(k kind, key backend.Key) (source, int, error) {
	b.mu.Lock()
	o, err := b.indexOf(k).find(key)
	var m meta
	if err == nil {
		m = o.meta
	}
	b.mu.Unlock()
	if err != nil {
		return source{}, 0, err
	}
	if m.Status != backend.Available {
		return source{}, 0, &backend.Error{Code: backend.CodeConflict, Why: backend.WhySourceStatus, WhyArg: string(m.Status), Message: "the source is " + string(m.Status)}
	}
	if err := b.dataDamageOf(o); err != nil {
		return source{}, 0, err
	}
	src := source{path: b.objectDir(published, m) + "/" + dataFile, object: o, size: int64(m.SizeGiB) * gib}
	fi, err := os.Lstat(src.path)
	if err != nil {
		return source{}, 0, b.portError(err, 0)
	}
	src.allocated = min(reserve.Allocated(fi), src.size)
	return src, m.SizeGiB, nil
}

// quickCopyBytes are copied within a briefWait.
const quickCopyBytes = 8 << 20

// create returns the object that has m.Ref, or starts making it from the source that
// find returns.
func (b *Backend) create(ctx context.Context, m meta, find func(*meta) (source, error)) (*object, error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, err
	}
	if err := m.check(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	o, err := b.existingLocked(m)
	b.mu.Unlock()
	if o != nil || err != nil {
		return o, err
	}
	src, err := find(&m)
	if err != nil {
		return nil, err
	}
	o, j, err := b.startCreate(m, src)
	if err != nil || j == nil {
		return o, err
	}
	if b.reflink || src.allocated <= quickCopyBytes {
		waitBriefly(ctx, j)
	} else if m.Kind == snapshots {
		waitBrieflyFor(ctx, j, j.instant)
	}
	return o, nil
}

// existingLocked returns the object that an earlier create call made or is making;
// nil when there is none or its creation failed.
func (b *Backend) existingLocked(m meta) (*object, error) {
	other := snapshots
	if m.Kind == snapshots {
		other = volumes
	}
	if b.indexOf(other).byRef[m.Ref] != nil {
		return nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyRefTaken, Message: "the reference belongs to one of the " + string(other)}
	}
	if o := b.indexOf(m.Kind).byRef[m.Ref]; o != nil && !o.createFailed {
		return o, nil
	}
	return nil, nil
}

// startCreate adds the object to the index and starts the job that makes it. A nil
// job: another call was faster.
func (b *Backend) startCreate(m meta, src source) (*object, *job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, err := b.existingLocked(m); o != nil || err != nil {
		return o, nil, err
	}
	if from := src.object; from != nil {
		switch {
		case from.meta.Status != backend.Available:
			return nil, nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhySourceStatus, WhyArg: string(from.meta.Status), Message: "the source is " + string(from.meta.Status)}
		case from.copying != nil, from.meta.Kind == volumes && !b.reflink && len(b.copyTargets[from.meta.Ref]) > 0:
			return nil, nil, errBeingCopied()
		}
		m.Attached = m.Attached || from.writers() != nil
	}
	if err := b.checkSpaceLocked(src.allocated); err != nil {
		return nil, nil, err
	}
	o := b.indexOf(m.Kind).byRef[m.Ref] // a failed creation
	if o == nil {
		o = &object{}
	}
	now := b.now().UTC()
	m.CreatedAt, m.Since, m.Status = now, now, backend.Creating
	o.meta, o.failure, o.createFailed = m, nil, false
	j, err := b.startJobLocked(o, src.allocated, func(ctx context.Context, j *job) { b.runCreate(ctx, o, j, src) })
	if err != nil {
		return nil, nil, err
	}
	b.indexOf(m.Kind).add(o)
	b.setChildLocked(o, true)
	if src.object != nil {
		b.copyTargets.set(src.object.meta.Ref, m.Ref, true)
	}
	return o, j, nil
}

// runCreate is the job of a creation.
func (b *Backend) runCreate(ctx context.Context, o *object, j *job, src source) {
	err := b.build(ctx, o, j, src)
	if err != nil {
		if err := b.removeFiles(o); err != nil { // the next attempt or Open removes them
			b.log.Warn("partial files stay until the next start", "ref", o.meta.Ref, "error", err)
		}
	}
	b.mu.Lock()
	if src.object != nil {
		b.copyTargets.set(src.object.meta.Ref, o.meta.Ref, false)
	}
	switch {
	case o.meta.Status == backend.Deleting: // cancelled by a delete call
		b.mu.Unlock()
		b.runDelete(o, j)
		return
	case err == nil:
		b.setStatusLocked(o, backend.Available, nil)
		b.checking.wake() // a snapshot is to get checksums
	case b.ctx.Err() != nil: // closing
		b.forgetLocked(o)
	default:
		b.log.Error("creation failed", "kind", o.meta.Kind, "ref", o.meta.Ref, "error", err)
		b.setStatusLocked(o, backend.ErrorStatus, b.portError(err, j.bytesNeeded+overheadBytes))
		o.createFailed = true
		b.setChildLocked(o, false)
	}
	b.endJobLocked(o, j)
	b.mu.Unlock()
}

// build makes the object's folder in tmp/ and publishes it.
func (b *Backend) build(ctx context.Context, o *object, j *job, src source) error {
	m, _ := b.metaOf(o)
	if err := b.removeFiles(o); err != nil { // of an earlier attempt
		return err
	}
	dir := b.objectDir(unpublished, m)
	if err := b.disk.mkdir(dir); err != nil {
		return err
	}
	f, err := b.disk.create(dir + "/" + dataFile)
	if err != nil {
		return err
	}
	defer f.Close()
	if src.path != "" {
		if err := b.fillFromSource(ctx, o, f, src, j); err != nil {
			return err
		}
	}
	m, _ = b.metaOf(o) // the size is that of the instant
	if err := b.disk.truncate(f, int64(m.SizeGiB)*gib); err != nil {
		return err
	}
	if err := b.verifyRestored(ctx, f, src, j); err != nil {
		return err
	}
	if m.Kind == snapshots {
		if err := b.disk.readOnly(f); err != nil {
			return err
		}
	}
	return b.publish(ctx, o, f)
}

// fillFromSource is copySource, and an error where the source did not stay the same
// meanwhile: CodeChanged of an image, CodeDamaged of a volume or snapshot.
func (b *Backend) fillFromSource(ctx context.Context, o *object, f *os.File, src source, j *job) error {
	err := b.copySource(ctx, o, f, src, j)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if src.object != nil {
		if damage := b.dataDamageOf(src.object); damage != nil {
			return damage
		}
		return err
	}
	now, statErr := os.Lstat(src.path)
	if statErr != nil || !sameContent(src.image, now) {
		return &backend.Error{Code: backend.CodeChanged, Path: src.path, Err: statErr}
	}
	return err
}

// copySource gives o's file f the source's bytes of one instant: by sharing its blocks,
// else by a copy, which waits for one of the slots before its instant.
func (b *Backend) copySource(ctx context.Context, o *object, f *os.File, src source, j *job) error {
	in, err := b.disk.open(src.path, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := b.cloneSource(ctx, f, in, src, o, j); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	release, err := b.takeCopySlot(ctx)
	if err != nil {
		return err
	}
	defer release()
	c, err := b.startCopy(ctx, f, in, src, o, j)
	if err != nil {
		return err
	}
	defer b.endCopy(src.object, c)
	j.copying.Store(true)
	return c.Run(ctx)
}

// takeCopySlot waits for one of the slots of copies, until release. Its error is that of
// ctx.
func (b *Backend) takeCopySlot(ctx context.Context) (release func(), err error) {
	select {
	case b.copySlots <- struct{}{}:
		return func() { <-b.copySlots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// publish makes the folder durable, then visible, then its visibility durable. It
// locks the object's files, since a rename in between would be lost.
func (b *Backend) publish(ctx context.Context, o *object, f *os.File) error {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	m, _ := b.metaOf(o)
	m = b.withStatus(m, backend.Available, nil)
	dir := b.objectDir(unpublished, m)
	mf, err := b.disk.createMeta(dir+"/"+metaFile, m)
	if err != nil {
		return err
	}
	defer mf.Close()
	err = parallel(
		func() error { return b.disk.sync(f) },
		func() error { return b.disk.sync(mf) },
		func() error { return b.disk.syncDir(dir) },
	)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	if err := b.disk.rename(dir, b.objectDir(published, m)); err != nil {
		return err
	}
	b.setLocation(o, published)
	return b.syncDirs(string(m.Kind), "tmp")
}
