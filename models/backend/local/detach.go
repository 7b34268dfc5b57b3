package local

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"blockconsole/models/backend"
)

const (
	drainPollInterval   = 100 * time.Millisecond // between looks whether the clients have left
	disconnectTimeout   = 15 * time.Second       // for disconnected clients to take their replies
	detachRetryInterval = 5 * time.Second        // before a detachment that the disk refused is tried again
)

// DetachVolume refuses new clients, waits until the present ones leave and flushes
// what they wrote. force disconnects them after the requests under way, also in a
// detachment that already waits. Errors: CodeUnsupported without NBD, CodeNotFound,
// CodeNoSpace, CodeUnavailable.
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

// startDetach returns the job of the detachment; nil when the volume is not attached
// to the server.
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
		if err := b.replaceMetaIfThere(o, m.withFinalStatus()); err != nil {
			return nil, b.portError(err, overheadBytes)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.export != e {
		return nil, nil // detached meanwhile
	}
	o.meta.Attachments = m.Attachments
	if force {
		e.force()
	}
	return b.startDetachLocked(o)
}

// startDetachLocked starts the job of a detachment, or returns the one under way. Its
// error is CodeUnavailable after Close.
func (b *Backend) startDetachLocked(o *object) (*job, error) {
	if o.job != nil {
		return o.job, nil
	}
	e := o.export
	return b.startJobLocked(o, 0, func(ctx context.Context, j *job) { b.runDetach(ctx, o, e, j) })
}

// runDetach is the job of a detachment. One that cannot be finished is tried again
// later, and by the next Open.
func (b *Backend) runDetach(ctx context.Context, o *object, e *export, j *job) {
	lost, drained := b.drainClients(ctx, e)
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	status := backend.Available
	if lost != nil && backend.AsError(lost, backend.CodeDamaged) == nil {
		lost = &backend.Error{Code: backend.CodeFault, Op: "flush", Err: lost}
	}
	if damage := b.dataDamage(o); damage != nil {
		lost = damage
	}
	if lost != nil { // an administrator decides
		status = backend.ErrorStatus
	}
	var err error
	if drained {
		m, _ := b.metaOf(o)
		m = b.withStatus(m, status, lost)
		m.Attachments = nil
		err = b.replaceMetaIfThere(o, m)
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
		b.setDamageLocked(o, nil) // the status tells now
		switch d := backend.AsError(lost, backend.CodeDamaged); {
		case d != nil && d.Kept != "":
			o.kept = e.file
		case e.file != nil:
			e.file.Close() // flushed, or known to be lost
		}
	}
}

// replaceMetaIfThere is replaceMeta, without error where somebody removed the folder: an
// attachment must not outlive its volume.
func (b *Backend) replaceMetaIfThere(o *object, m meta) error {
	err := b.replaceMeta(published, m)
	if errors.Is(err, fs.ErrNotExist) && b.dataDamage(o) != nil {
		return nil
	}
	return err
}

// dropKeptLocked gives up the file of a volume that somebody removed.
func (b *Backend) dropKeptLocked(o *object) {
	if o.kept != nil {
		o.kept.Close()
		o.kept = nil
	}
}

// drainClients waits until no client uses the export and flushes it. lost is the error
// of the flush; drained is false when ctx ended first.
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
		case <-e.forced:
			waiting = false
		case <-ctx.Done():
			return nil, false
		}
	}
	limited, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	err := e.nbd.Close(limited)
	if err != nil && limited.Err() != nil { // the sockets are closed; writes to the disk still have to end
		err = e.nbd.Close(ctx)
	}
	return err, ctx.Err() == nil
}

// retryDetachLocked starts the detachment again later. Until then the volume stays
// DETACHING and shows the failure.
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
			_, _ = b.startDetachLocked(o) // fails only after Close
		}
	})
}

// forceDetach disconnects the clients that a detachment waits for, and waits for its
// end. Errors: CodeConflict while the volume is attached, CodeNotFound,
// CodeUnavailable.
func (b *Backend) forceDetach(ctx context.Context, key backend.Key) error {
	if err := b.checkOpen(ctx); err != nil {
		return err
	}
	b.mu.Lock()
	o, err := b.volumes.find(key)
	if err != nil || o.export == nil {
		b.mu.Unlock()
		return err
	}
	if !o.isDetaching() {
		b.mu.Unlock()
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttached, Message: "the volume is attached to a server; detach it first"}
	}
	o.export.force()
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
