package local

import (
	"context"
	"errors"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// attachment is what meta.json remembers of one server. A list of them is never
// changed in place: copies of the description share it.
type attachment struct {
	Server         string    `json:"server"`
	Name           string    `json:"name"` // of the server when it was attached
	Since          time.Time `json:"since"`
	DetachingSince time.Time `json:"detaching_since,omitzero"` // lets nobody in any more; once begun, it is finished
}

const (
	drainPollInterval   = 100 * time.Millisecond // how often a detachment looks whether the clients have gone
	disconnectTimeout   = 15 * time.Second       // for clients that are cut off to take the answers under way
	detachRetryInterval = 5 * time.Second        // before a detachment that the disk refused goes on
)

// AttachVolume lets a registered server use the volume: it is exported under its
// ref. One server at a time: the file systems that servers put on a volume expect
// to be alone with it, and nothing here would tell two writers of each other.
// [backend.CodeInvalid]: no such server is registered.
func (b *Backend) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	if b.nbd == nil {
		return backend.ErrUnsupported
	}
	o, unlock, err := b.lockObject(ctx, volumes, key)
	if err != nil {
		return err
	}
	defer unlock()
	if done, err := b.checkAttached(o, serverID); done || err != nil {
		return err
	}
	server, err := b.nbd.registry.lookup(ctx, serverID)
	if err != nil {
		return err
	}
	m, err := b.startAttach(o)
	if err != nil {
		return err
	}
	now := b.now().UTC()
	m.Attachments = []attachment{{Server: server.ID, Name: server.Name, Since: now}}
	e, err := b.openExport(m)
	if err == nil {
		err = b.replaceMetaOrKeep(o, m)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.attaching = false
	if err != nil {
		if e.file != nil {
			e.file.Close()
		}
		return b.storeError(err)
	}
	o.meta.Attachments = m.Attachments
	b.addExportLocked(o, e)
	b.estimateHoldLocked(o)
	return nil
}

// replaceMetaOrKeep writes the description m, or leaves the one that there was: what was
// refused must not come true at the next start.
func (b *Backend) replaceMetaOrKeep(o *object, m meta) error {
	err := b.replaceMeta(published, m.withFinalStatus())
	if err == nil {
		return nil
	}
	b.mu.Lock()
	before := o.meta
	b.mu.Unlock()
	if e := b.replaceMeta(published, before.withFinalStatus()); e != nil {
		b.log.Warn("the description may tell of a change that was refused", "ref", m.Ref, "error", e)
	}
	return err
}

// checkAttached is the answer to a repeated call: done, or that it cannot be.
func (b *Backend) checkAttached(o *object, serverID string) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case o.export == nil:
		return false, nil
	case o.isDetaching():
		return false, &backend.Error{Code: backend.CodeConflict, Message: "the volume is being detached"}
	case o.meta.Attachments[0].Server != serverID:
		return false, &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to another server"}
	case o.export.nbd == nil: // its file could not be opened at the start
		e, err := b.openExport(o.meta)
		if err != nil {
			return false, err
		}
		b.addExportLocked(o, e)
	}
	return true, nil
}

// startAttach keeps others from deleting the volume and from copying it as one
// that nobody writes to.
func (b *Backend) startAttach(o *object) (meta, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return meta{}, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	case o.meta.Status != backend.Available:
		return meta{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(o.meta.Status)}
	case len(o.copyTargets) > 0:
		return meta{}, &backend.Error{Code: backend.CodeUnavailable, RetryAfter: time.Second, Err: errors.New("a snapshot of the volume is being copied")}
	}
	o.attaching = true
	return o.meta, nil
}

// DetachVolume takes the volume from the server: nobody new is let in, the
// clients' end is awaited, what they wrote is flushed. force ends their
// connections after the requests under way, also for a detachment that waits.
func (b *Backend) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	if b.nbd == nil {
		return backend.ErrUnsupported
	}
	j, err := b.startDetach(ctx, key, serverID, force)
	if j != nil {
		waitBriefly(ctx, j)
	}
	return err
}

func (b *Backend) startDetach(ctx context.Context, key backend.Key, serverID string, force bool) (*job, error) {
	o, unlock, err := b.lockObject(ctx, volumes, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	b.mu.Lock()
	m, e, detaching := o.meta, o.export, o.isDetaching()
	b.mu.Unlock()
	if e == nil || m.Attachments[0].Server != serverID {
		return nil, nil
	}
	if !detaching {
		m.Attachments = slices.Clone(m.Attachments)
		m.Attachments[0].DetachingSince = b.now().UTC()
		if err := b.replaceMeta(published, m.withFinalStatus()); err != nil {
			return nil, b.storeError(err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.export != e {
		return nil, nil // it ended meanwhile
	}
	o.meta.Attachments = m.Attachments
	if force {
		e.cutOff()
	}
	return b.startDetachLocked(o)
}

// startDetachLocked starts the job of a detachment, unless it is under way.
func (b *Backend) startDetachLocked(o *object) (*job, error) {
	if o.job != nil {
		return o.job, nil
	}
	e := o.export
	return b.startJobLocked(o, 0, func(ctx context.Context, j *job) { b.runDetach(ctx, o, e, j) })
}

// runDetach is the job of a detachment. What it cannot finish it tries again later,
// and the next Open does.
func (b *Backend) runDetach(ctx context.Context, o *object, e *export, j *job) {
	lost, drained := b.drainClients(ctx, e)
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	status := backend.Available
	if lost != nil { // an administrator decides
		status, lost = backend.ErrorStatus, &backend.Error{Code: backend.CodeFault, Op: "flush", Err: lost}
	}
	var err error
	if drained {
		err = b.writeDetachedMeta(o, status, lost)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endJobLocked(o, j)
	switch {
	case !drained: // closing
	case err != nil:
		b.log.Error("a volume cannot be detached yet", "volume", o.meta.Ref, "error", err)
		e.lastFailure.Store(&diskFailure{err: b.portError(err, overheadBytes), at: b.now()})
		b.retryDetachLocked(o, e)
	default:
		o.meta.Attachments, o.export = nil, nil
		delete(b.exports, o.meta.Ref)
		b.setStatusLocked(o, status, lost)
		if e.file != nil {
			e.file.Close() // flushed, or known to be lost
		}
	}
}

// writeDetachedMeta lets the description say that the volume belongs to nobody.
func (b *Backend) writeDetachedMeta(o *object, status backend.Status, failure error) error {
	b.mu.Lock()
	m := b.withStatus(o.meta, status, failure)
	b.mu.Unlock()
	m.Attachments = nil
	return b.replaceMeta(published, m)
}

// drainClients waits until nobody uses the export and all is flushed. lost: the disk
// did not take what was written. gone is false when ctx ended first.
func (b *Backend) drainClients(ctx context.Context, e *export) (lost error, drained bool) {
	if e.nbd == nil {
		return nil, true
	}
	poll := time.NewTicker(drainPollInterval)
	defer poll.Stop()
	for waiting := len(e.nbd.Conns()) > 0; waiting; {
		select {
		case <-poll.C:
			waiting = len(e.nbd.Conns()) > 0
		case <-e.cut:
			waiting = false
		case <-ctx.Done():
			return nil, false
		}
	}
	limited, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	err := e.nbd.Close(limited)
	if err != nil && limited.Err() != nil { // sockets are closed now; what is on its way to the disk stays awaited
		err = e.nbd.Close(ctx)
	}
	return err, ctx.Err() == nil
}

// retryDetachLocked tries again what the disk refused. In between the volume
// stays DETACHING, and says why.
func (b *Backend) retryDetachLocked(o *object, e *export) {
	if b.closed {
		return
	}
	b.wg.Go(func() {
		select {
		case <-time.After(detachRetryInterval):
		case <-b.ctx.Done():
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if o.export == e {
			_, _ = b.startDetachLocked(o) // refused only by a closed backend
		}
	})
}

// forceDetach lets an administrator's repair end a detachment that waits for
// clients: they are cut off. [backend.CodeConflict]: the volume is in use.
func (b *Backend) forceDetach(ctx context.Context, key backend.Key) error {
	b.mu.Lock()
	o, err := b.volumes.find(key)
	if err != nil || o.export == nil {
		b.mu.Unlock()
		return err
	}
	if !o.isDetaching() {
		b.mu.Unlock()
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to a server; detach it first"}
	}
	o.export.cutOff()
	j, err := b.startDetachLocked(o)
	b.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case <-j.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
