package local

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
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
	job          *job    // under way
	createFailed bool    // the next create call tries again
	attaching    bool    // its attachment is being written
	export       *export // while it is attached and NBD is on

	damage       *backend.Error // what inspect found last; nil: nothing
	damagedSince time.Time
	kept         *os.File // the file that servers wrote to, after somebody removed it
}

func (o *object) key() backend.Key { return backend.Key{Ref: o.meta.Ref, ID: o.meta.Ref} }

// isDetaching reports whether a detachment has begun.
func (o *object) isDetaching() bool {
	return len(o.meta.Attachments) > 0 && !o.meta.Attachments[0].DetachingSince.IsZero()
}

func (o *object) state(now time.Time) backend.State {
	s := backend.State{Status: o.meta.Status, Percent: backend.PercentUnknown, Failure: o.failure, Since: o.meta.Since}
	switch {
	case o.attaching:
		s.Status = backend.Attaching
	case o.export != nil:
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
	case o.meta.Status == backend.Creating && o.job != nil && o.job.copying.Load() && o.job.bytesNeeded > 0:
		// 100 is for the moment when it is durable.
		s.Percent = int(min(99, o.job.bytesCopied.Load()*100/o.job.bytesNeeded))
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
	if o.export == nil {
		return v
	}
	for _, a := range m.Attachments {
		v.Attachments = append(v.Attachments, backend.Attachment{ServerID: a.Server, ServerName: b.nbd.registry.currentName(a.Server, a.Name), AttachedAt: backend.Micros(a.Since), UsedAt: backend.Micros(o.export.lastUsed)})
	}
	v.Hold = b.estimateHoldLocked(o)
	return v
}

func (b *Backend) snapshotLocked(o *object) backend.Snapshot {
	m := o.meta
	return backend.Snapshot{
		Key: o.key(), State: o.state(b.now()), Name: m.Name, Description: m.Description, SizeGiB: m.SizeGiB,
		Volume: backend.Key{Ref: m.Volume, ID: m.Volume}, Project: m.Project, CreatedAt: m.CreatedAt,
		Held: m.Held, Lock: m.lock(),
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
	bytesNeeded int64        // that a copy may write
	bytesCopied atomic.Int64 // of bytesNeeded
	copying     atomic.Bool  // the copy has its slot, so there is a percentage
}

// startJobLocked runs work in the background as o's job; work must end with
// endJobLocked. Its error is CodeUnavailable after Close.
func (b *Backend) startJobLocked(o *object, bytesNeeded int64, work func(context.Context, *job)) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	ctx, cancel := context.WithCancel(b.ctx)
	j := &job{cancel: cancel, done: make(chan struct{}), bytesNeeded: bytesNeeded}
	b.jobs[j] = true
	o.job = j
	b.wg.Go(func() {
		defer cancel()
		work(ctx, j)
	})
	return j, nil
}

func (b *Backend) endJobLocked(o *object, j *job) {
	o.job = nil
	delete(b.jobs, j)
	close(j.done)
}

// waitBriefly waits at most briefWait for a job.
func waitBriefly(ctx context.Context, j *job) {
	ctx, cancel := context.WithTimeout(ctx, briefWait)
	defer cancel()
	select {
	case <-j.done:
	case <-ctx.Done():
	}
}
