package local

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"
	"time"

	"blockconsole/models/backend"
)

// briefWait is how long a create or delete call lingers for work that usually takes
// milliseconds (an empty volume, a reflink, a rename into the trash), so that
// the first look finds it finished. Longer work goes on without the caller.
const briefWait = 50 * time.Millisecond

// overheadBytes is what an object takes beside its data: folder, description, inodes.
const overheadBytes = 64 << 10

// source is where a new object's bytes come from.
type source struct {
	path      string
	object    *object // nil for an image
	size      int64   // bytes to take over
	allocated int64   // of them allocated
}

// CreateVolume makes a sparse file of the asked size, filled from a snapshot or
// an image where one is named. A creation that failed is tried again.
func (b *Backend) CreateVolume(ctx context.Context, spec backend.VolumeSpec) (backend.Volume, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Volume{}, err
	}
	if err := errors.Join(checkRef(spec.Ref), checkText(spec.Name, spec.Description)); err != nil {
		return backend.Volume{}, first(err)
	}
	m := meta{
		Format: metaFormat, Kind: volumes, Ref: spec.Ref, Name: spec.Name, Description: spec.Description, SizeGiB: spec.SizeGiB,
		Image: spec.Image, Project: spec.Project, Type: spec.Type, Zone: spec.Zone,
	}
	o, err := b.create(ctx, m, func(m *meta) (*source, error) { return b.volumeSource(spec, m) })
	if err != nil {
		return backend.Volume{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.volumeLocked(o), nil
}

// CreateSnapshot makes a read-only copy of a volume's file.
func (b *Backend) CreateSnapshot(ctx context.Context, spec backend.SnapshotSpec) (backend.Snapshot, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Snapshot{}, err
	}
	if err := errors.Join(checkRef(spec.Ref), checkText(spec.Name, spec.Description)); err != nil {
		return backend.Snapshot{}, first(err)
	}
	m := meta{
		Format: metaFormat, Kind: snapshots, Ref: spec.Ref, Name: spec.Name, Description: spec.Description,
		Project: spec.Project, Attached: spec.Attached, Acknowledged: spec.Acknowledged,
	}
	o, err := b.create(ctx, m, func(m *meta) (*source, error) { return b.snapshotSource(spec, m) })
	if err != nil {
		return backend.Snapshot{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.snapshotLocked(o), nil
}

func checkRef(ref string) error {
	if !validRef(ref) {
		return &backend.Error{Code: backend.CodeInvalid, Field: "ref", Message: "not a UUID in lower case"}
	}
	return nil
}

// first unwraps the first of joined errors, so that callers may compare it.
func first(err error) error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()[0]
	}
	return err
}

// volumeSource checks the size and finds the bytes that a new volume starts
// with; nil means none.
func (b *Backend) volumeSource(spec backend.VolumeSpec, m *meta) (*source, error) {
	if spec.Snapshot != nil && spec.Image != "" {
		return nil, &backend.Error{Code: backend.CodeInvalid, Field: "image", Message: "a volume starts with a snapshot or an image, not both"}
	}
	if err := b.checkSize(spec.SizeGiB); err != nil {
		return nil, err
	}
	if spec.Image != "" {
		return b.imageSource(spec.Image, spec.SizeGiB)
	}
	if spec.Snapshot == nil {
		return nil, nil
	}
	src, size, err := b.objectSource(snapshots, *spec.Snapshot)
	if err != nil {
		return nil, err
	}
	if spec.SizeGiB < size {
		return nil, &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("smaller than the snapshot's %d GiB", size)}
	}
	m.Source = src.object.meta.Ref
	return src, nil
}

func (b *Backend) snapshotSource(spec backend.SnapshotSpec, m *meta) (*source, error) {
	src, size, err := b.objectSource(volumes, spec.Volume)
	if err != nil {
		return nil, err
	}
	m.SizeGiB, m.Volume = size, src.object.meta.Ref
	return src, nil
}

// objectSource finds the volume or snapshot to copy from, and its size in GiB.
func (b *Backend) objectSource(k kind, key backend.Key) (*source, int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.indexOf(k).find(key)
	if err != nil {
		return nil, 0, err
	}
	if o.meta.Status != backend.Available {
		return nil, 0, &backend.Error{Code: backend.CodeConflict, Message: "the source is " + string(o.meta.Status)}
	}
	src := &source{path: b.objectDir(published, o.meta) + "/" + dataFile, object: o, size: int64(o.meta.SizeGiB) * gib}
	fi, err := os.Lstat(src.path)
	if err != nil {
		return nil, 0, &backend.Error{Code: backend.CodeConflict, Message: "the source's file is missing"}
	}
	src.allocated = min(allocated(fi), src.size)
	return src, o.meta.SizeGiB, nil
}

// allocated is how many bytes of the disk a file takes.
func allocated(fi os.FileInfo) int64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int64(st.Blocks) * 512
	}
	return fi.Size()
}

// checkSize refuses what can never be a volume here.
func (b *Backend) checkSize(size int) error {
	if size <= 0 {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: "at least 1 GiB"}
	}
	limit := b.maxFile
	if sp, err := b.disk.space(b.dir); err == nil {
		limit = min(limit, sp.total)
	}
	if int64(size) > math.MaxInt64/gib || int64(size)*gib > limit {
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: fmt.Sprintf("the file system holds at most %d GiB", limit/gib)}
	}
	return nil
}

// create returns the object that has m.Ref, or starts making it.
func (b *Backend) create(ctx context.Context, m meta, find func(*meta) (*source, error)) (*object, error) {
	if o, err := b.existing(m); o != nil || err != nil {
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
	if src == nil || b.reflink || src.allocated <= chunkBytes {
		waitBriefly(ctx, j)
	}
	return o, nil
}

// existing finds what an earlier create made or is making. A failed creation
// counts as nothing.
func (b *Backend) existing(m meta) (*object, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.existingLocked(m)
}

func (b *Backend) existingLocked(m meta) (*object, error) {
	other := snapshots
	if m.Kind == snapshots {
		other = volumes
	}
	if b.indexOf(other).byRef[m.Ref] != nil {
		return nil, &backend.Error{Code: backend.CodeConflict, Message: "the reference belongs to one of the " + string(other)}
	}
	if o := b.indexOf(m.Kind).byRef[m.Ref]; o != nil && !o.createFailed {
		return o, nil
	}
	return nil, nil
}

// startCreate puts the object into the index and starts the job that makes it. A nil
// job: somebody else was faster.
func (b *Backend) startCreate(m meta, src *source) (*object, *job, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o, err := b.existingLocked(m); o != nil || err != nil {
		return o, nil, err
	}
	if src != nil && src.object != nil && src.object.meta.Status != backend.Available {
		return nil, nil, &backend.Error{Code: backend.CodeConflict, Message: "the source is " + string(src.object.meta.Status)}
	}
	if src != nil && src.object != nil {
		if src.object.attaching {
			return nil, nil, &backend.Error{Code: backend.CodeUnavailable, RetryAfter: time.Second, Err: errors.New("the source is being attached")}
		}
		m.Attached = m.Attached || src.object.export != nil
	}
	var need int64
	if src != nil {
		need = src.allocated
	}
	if err := b.checkSpaceLocked(need); err != nil {
		return nil, nil, err
	}
	o := b.indexOf(m.Kind).byRef[m.Ref] // a failed creation, made anew
	if o == nil {
		o = &object{}
	}
	now := b.now().UTC()
	m.CreatedAt, m.Since, m.Status = now, now, backend.Creating
	o.meta, o.failure, o.createFailed = m, nil, false
	j, err := b.startJobLocked(o, need, func(ctx context.Context, j *job) { b.runCreate(ctx, o, j, src) })
	if err != nil {
		return nil, nil, err
	}
	b.indexOf(m.Kind).add(o)
	b.setChildLocked(o, true)
	if src != nil && src.object != nil {
		src.object.setCopyTargetLocked(o, true)
	}
	return o, j, nil
}

// checkSpaceLocked promises need bytes, beside what running copies still need.
func (b *Backend) checkSpaceLocked(need int64) error {
	sp, err := b.disk.space(b.dir)
	if err != nil {
		return nil // the copy itself will tell
	}
	if b.reflink {
		need = 0
	}
	need += overheadBytes
	free := sp.free - b.reservedBytes(sp)
	for j := range b.jobs {
		if !b.reflink {
			free -= max(0, j.bytesNeeded-j.bytesCopied.Load())
		}
	}
	if need > free {
		return &backend.Error{Code: backend.CodeNoSpace, Need: need, Free: max(0, free)}
	}
	return nil
}

// setChildLocked notes, or forgets, that a snapshot keeps its volume from being
// deleted.
func (b *Backend) setChildLocked(o *object, on bool) {
	if o.meta.Kind != snapshots {
		return
	}
	v, ref := o.meta.Volume, o.meta.Ref
	if on {
		if b.children[v] == nil {
			b.children[v] = map[string]bool{}
		}
		b.children[v][ref] = true
		return
	}
	delete(b.children[v], ref)
	if len(b.children[v]) == 0 {
		delete(b.children, v)
	}
}

// setCopyTargetLocked notes, or forgets, that by is being copied from o.
func (o *object) setCopyTargetLocked(by *object, on bool) {
	if on {
		if o.copyTargets == nil {
			o.copyTargets = map[string]backend.Key{}
		}
		o.copyTargets[by.meta.Ref] = by.key()
		return
	}
	delete(o.copyTargets, by.meta.Ref)
}
