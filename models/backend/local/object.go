package local

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
)

// location says where an object's folder is.
type location int

const (
	unpublished location = iota // in tmp/, or nowhere when creating it failed
	published                   // in volumes/ or snapshots/
	trashed                     // in trash/: its deletion has begun
)

// object is a volume or snapshot in memory.
type object struct {
	filesMu   sync.Mutex  // held while the folder changes; taken before Backend.mu
	described os.FileInfo // meta.json when it was read last; guarded by filesMu

	// The rest is guarded by Backend.mu.
	meta         meta
	failure      error
	location     location
	job          *job                   // under way
	createFailed bool                   // the next create call tries again
	attaching    bool                   // its attachment is being written
	export       *export                // while it is attached and NBD is on
	copying      *blockcopy.Copy        // of its bytes into a snapshot, which writes to it must not overtake
	detachments  map[string]*detachment // under way, by the server

	damage       *backend.Error // what inspect found last; nil: nothing
	damagedSince time.Time
	kept         *os.File // the file that servers wrote to, after somebody removed it

	check        *check    // of a snapshot: asked for and not ended
	checkFailure error     // why the last one ended without an answer
	sumAfter     time.Time // its checksums are not computed before
}

func (o *object) key() backend.Key { return backend.Key{Ref: o.meta.Ref, ID: o.meta.Ref} }

// isDetaching reports whether detachments from all its servers have begun.
func (o *object) isDetaching() bool {
	return len(o.meta.Attachments) > 0 && !slices.ContainsFunc(o.meta.Attachments, func(a attachment) bool { return !a.isDetaching() })
}

// isVolume reports whether servers may write to it.
func (o *object) isVolume() bool { return o.meta.Kind == volumes }

// writers is the export through which servers write to the object; nil: none do.
func (o *object) writers() *export {
	if !o.isVolume() {
		return nil
	}
	return o.export
}

func (o *object) state(now time.Time) backend.State {
	s := backend.State{Status: o.meta.Status, Percent: backend.PercentUnknown, Failure: o.failure, Since: o.meta.Since}
	switch {
	case o.attaching && o.isVolume():
		s.Status = backend.Attaching
	case o.writers() != nil:
		a := o.meta.Attachments[0]
		s.Status, s.Since, s.Failure = backend.InUse, a.Since, o.export.failureAt(now)
		switch {
		case o.isDetaching():
			s.Status, s.Since = backend.Detaching, a.DetachingSince
		case o.damage != nil:
			s.Status, s.Since = backend.ErrorStatus, o.damagedSince
		}
		if o.damage != nil {
			s.Failure = o.damage
		}
	case o.meta.Status == backend.Available && o.damage != nil:
		s.Status, s.Since, s.Failure = backend.ErrorStatus, o.damagedSince, o.damage
	case o.meta.Status == backend.Available:
		s.Percent = 100
		if o.export != nil {
			s.Failure = o.export.failureAt(now)
		}
	case o.meta.Status == backend.Creating && o.job != nil && o.job.copying.Load() && o.job.bytesNeeded > 0:
		s.Percent = o.job.percent()
	}
	return s
}

func (b *Backend) volumeLocked(o *object) backend.Volume {
	m := o.meta
	v := backend.Volume{
		Key: o.key(), State: o.state(b.now()), Name: m.Name, Description: m.Description, SizeGiB: m.SizeGiB,
		Image: m.Image, Project: m.Project, Type: m.Type, Zone: m.Zone, CreatedAt: m.CreatedAt, Lock: m.lock(),
	}
	if m.Source != "" {
		v.Source = &backend.Key{Ref: m.Source, ID: m.Source}
	}
	if v.Attachments = b.attachmentsLocked(o); v.Attachments != nil {
		v.Hold = b.estimateHoldLocked(o)
	}
	return v
}

// attachmentsLocked are the servers that an object is served to.
func (b *Backend) attachmentsLocked(o *object) (all []backend.Attachment) {
	if o.export == nil {
		return nil
	}
	for _, a := range o.meta.Attachments {
		all = append(all, backend.Attachment{ServerID: a.Server, ServerName: b.nbd.registry.currentName(a.Server, a.Name), AttachedAt: backend.Micros(a.Since),
			UsedAt: backend.Micros(o.export.lastUsed[a.Server]), DetachingAt: backend.Micros(a.DetachingSince)})
	}
	return all
}

func (b *Backend) snapshotLocked(o *object) backend.Snapshot {
	m := o.meta
	return backend.Snapshot{
		Key: o.key(), State: o.state(b.now()), Name: m.Name, Description: m.Description, SizeGiB: m.SizeGiB,
		Volume: backend.Key{Ref: m.Volume, ID: m.Volume}, Project: m.Project, CreatedAt: m.CreatedAt,
		TakenAt: m.TakenAt, Consistency: m.Consistency, Held: m.Held, Lock: m.lock(), Attachments: b.attachmentsLocked(o),
		Checks: o.checks(b.objectDir(published, m)),
	}
}

// lockObject finds an object and locks its files until unlock is called. Its errors
// are those of checkOpen and ErrNotFound.
func (b *Backend) lockObject(ctx context.Context, k kind, key backend.Key) (o *object, unlock func(), err error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, nil, err
	}
	b.mu.Lock()
	o, err = b.indexOf(k).find(key)
	b.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	o.filesMu.Lock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.indexOf(k).byRef[o.meta.Ref] != o {
		o.filesMu.Unlock()
		return nil, nil, backend.ErrNotFound
	}
	return o, o.filesMu.Unlock, nil
}

// metaOf returns the object's description and location.
func (b *Backend) metaOf(o *object) (meta, location) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return o.meta, o.location
}

func (b *Backend) setLocation(o *object, l location) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.location = l
}

func (b *Backend) setSize(o *object, sizeGiB, extendingTo int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.meta.SizeGiB, o.meta.ExtendingTo = sizeGiB, extendingTo
}

func (b *Backend) setStatusLocked(o *object, s backend.Status, failure error) {
	o.meta, o.failure = b.withStatus(o.meta, s, failure), failure
}

// withStatus returns m with a new status.
func (b *Backend) withStatus(m meta, s backend.Status, failure error) meta {
	m.Status, m.Failure, m.FailureCause, m.FailureOp, m.Damage, m.Since = s, "", backend.DiskCause(failure), "", nil, b.now().UTC()
	if failure != nil {
		m.Failure = failure.Error()
	}
	if fault := backend.AsError(failure, backend.CodeFault); fault != nil {
		m.FailureOp = fault.Op
	}
	if d := backend.AsError(failure, backend.CodeDamaged); d != nil {
		m.Damage = &storedDamage{d.Damage, d.Have, d.Want, d.Served}
	}
	return m
}

// storedFailure is the failure that meta.json in dir remembers.
func (b *Backend) storedFailure(dir string, m meta) error {
	if d := m.Damage; d != nil {
		return &backend.Error{Code: backend.CodeDamaged, Path: dir + "/" + dataFile, Damage: d.Damage, Have: d.Have, Want: d.Want, Served: d.Served}
	}
	if m.Failure == "" {
		return nil
	}
	if m.FailureCause != "" || m.FailureOp != "" {
		return &backend.Error{Code: backend.CodeFault, Op: m.FailureOp, Cause: m.FailureCause, Path: b.dir, Err: errors.New(m.Failure)}
	}
	return &backend.Error{Code: backend.CodeUnavailable, Err: errors.New(m.Failure)}
}

// objectDir is the path of an object's folder.
func (b *Backend) objectDir(l location, m meta) string {
	switch l {
	case published:
		return b.path(string(m.Kind), m.Ref)
	case trashed:
		return b.path("trash", m.Ref)
	}
	return b.path("tmp", m.Ref)
}

// setChildLocked notes, or forgets, that a snapshot keeps its volume from being
// deleted.
func (b *Backend) setChildLocked(o *object, on bool) {
	if o.meta.Kind == snapshots {
		b.children.set(o.meta.Volume, o.meta.Ref, on)
	}
}

func (b *Backend) forgetLocked(o *object) {
	b.indexOf(o.meta.Kind).remove(o.meta.Ref)
	delete(b.damaged, o)
	b.dropKeptLocked(o)
	b.setChildLocked(o, false)
}

// briefWait is how long a call waits for its job. Most take milliseconds (an empty
// volume, a reflink, a rename into the trash), and the caller then sees the result at
// once. Longer ones go on without the caller.
const briefWait = 50 * time.Millisecond

// job is a creation, deletion or detachment under way.
type job struct {
	cancel      func()
	done        chan struct{}
	instant     chan struct{} // closed when the bytes that it copies are those of one instant
	bytesNeeded int64         // that a copy may write
	bytesCopied atomic.Int64  // of bytesNeeded
	copying     atomic.Bool   // the copy has its slot, so there is a percentage
	toCompare   atomic.Int64  // bytes that a restore compares with checksums after the copy …
	compared    atomic.Int64  // … so far
}

// percent is less than 100, which is for the moment when all is durable.
func (j *job) percent() int {
	all := j.bytesNeeded + j.toCompare.Load()
	return int(min(99, (j.bytesCopied.Load()+j.compared.Load())*100/max(1, all)))
}

// startJobLocked runs work in the background as o's job; work must end with
// endJobLocked. Its error is CodeUnavailable after Close.
func (b *Backend) startJobLocked(o *object, bytesNeeded int64, work func(context.Context, *job)) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	o.job = b.runJobLocked(bytesNeeded, work)
	return o.job, nil
}

// runJobLocked is startJobLocked for work beside an object's job.
func (b *Backend) runJobLocked(bytesNeeded int64, work func(context.Context, *job)) *job {
	ctx, cancel := context.WithCancel(b.ctx)
	j := &job{cancel: cancel, done: make(chan struct{}), instant: make(chan struct{}), bytesNeeded: bytesNeeded}
	b.jobs[j] = true
	b.wg.Go(func() {
		defer cancel()
		work(ctx, j)
	})
	return j
}

func (b *Backend) endJobLocked(o *object, j *job) {
	if o.job == j {
		o.job = nil
	}
	delete(b.jobs, j)
	close(j.done)
}

// waitBriefly waits at most briefWait for a job.
func waitBriefly(ctx context.Context, j *job) { waitBrieflyFor(ctx, j, nil) }

// waitBrieflyFor waits at most briefWait for a job or for what is closed before its end.
func waitBrieflyFor(ctx context.Context, j *job, closed chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, briefWait)
	defer cancel()
	select {
	case <-j.done:
	case <-closed:
	case <-ctx.Done():
	}
}
