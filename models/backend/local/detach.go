package local

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"sync"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/nbd"
)

const (
	drainPollInterval   = 100 * time.Millisecond // between looks whether the clients have left
	disconnectTimeout   = 15 * time.Second       // for disconnected clients to take their replies
	detachRetryInterval = 5 * time.Second        // before a detachment that the disk refused is tried again
)

// detachment is the leave of one server, which has begun.
type detachment struct {
	server string
	job    *job          // nil: it failed, and is tried again. Guarded by Backend.mu
	forced chan struct{} // closed when it shall not wait for clients
	force  func()        // closes forced; may be repeated
}

// DetachVolume refuses new clients, waits until the present ones leave and flushes
// what they wrote. force disconnects them after the requests under way, also in a
// detachment that already waits. Errors: CodeUnsupported without NBD, CodeNotFound,
// CodeNoSpace, CodeUnavailable.
func (b *Backend) DetachVolume(ctx context.Context, key backend.Key, serverID string, force bool) error {
	return b.detach(ctx, volumes, key, serverID, force)
}

// DetachSnapshot is DetachVolume for one of a snapshot's servers; the others go on
// reading. Errors: those of DetachVolume.
func (b *Backend) DetachSnapshot(ctx context.Context, key backend.Key, serverID string, force bool) error {
	return b.detach(ctx, snapshots, key, serverID, force)
}

func (b *Backend) detach(ctx context.Context, k kind, key backend.Key, serverID string, force bool) error {
	if b.nbd == nil {
		return backend.ErrUnsupported
	}
	j, err := b.startDetach(ctx, k, key, serverID, force)
	if j != nil {
		waitBriefly(ctx, j)
	}
	return err
}

// startDetach returns the job of the detachment; nil when the object is not attached
// to the server.
func (b *Backend) startDetach(ctx context.Context, k kind, key backend.Key, serverID string, force bool) (*job, error) {
	o, unlock, err := b.lockObject(ctx, k, key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	b.mu.Lock()
	m, e := o.meta, o.export
	b.mu.Unlock()
	i := m.attachmentTo(serverID)
	if e == nil || i < 0 {
		return nil, nil
	}
	if !m.Attachments[i].isDetaching() {
		m.Attachments = slices.Clone(m.Attachments)
		m.Attachments[i].DetachingSince = b.now().UTC()
		if err := b.replaceMetaIfThere(o, m.withFinalStatus()); err != nil {
			return nil, b.portError(err, overheadBytes)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.meta.Attachments = m.Attachments
	return b.startDetachLocked(o, serverID, force)
}

// startDetachLocked starts the job of a detachment, or returns the one under way. Its
// error is CodeUnavailable after Close.
func (b *Backend) startDetachLocked(o *object, serverID string, force bool) (*job, error) {
	if b.closed {
		return nil, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	}
	d := o.detachments[serverID]
	if d == nil {
		forced := make(chan struct{})
		d = &detachment{server: serverID, forced: forced, force: sync.OnceFunc(func() { close(forced) })}
		if o.detachments == nil {
			o.detachments = map[string]*detachment{}
		}
		o.detachments[serverID] = d
	}
	if force {
		d.force()
	}
	if d.job == nil {
		e := o.export
		d.job = b.runJobLocked(0, func(ctx context.Context, j *job) { b.runDetach(ctx, o, e, d, j) })
	}
	return d.job, nil
}

// runDetach is the job of a detachment. One that cannot be finished is tried again
// later, and by the next Open.
func (b *Backend) runDetach(ctx context.Context, o *object, e *export, d *detachment, j *job) {
	lost, drained := b.drainClients(ctx, o, e, d)
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	m, _ := b.metaOf(o)
	i := m.attachmentTo(d.server)
	m.Attachments = slices.Delete(slices.Clone(m.Attachments), i, i+1)
	status := m.Status
	if m.Kind == volumes {
		if lost, status = b.whatIsLost(o, lost), backend.Available; lost != nil { // an administrator decides
			status = backend.ErrorStatus
		}
		m = b.withStatus(m, status, lost)
	}
	var err error
	if drained {
		err = b.replaceMetaIfThere(o, m)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	d.job = nil
	b.endJobLocked(o, j)
	switch {
	case !drained: // closing
	case err != nil:
		b.log.Error("a server cannot be detached yet", "kind", m.Kind, "ref", m.Ref, "error", err)
		o.export.lastFailure.Store(&diskFailure{err: b.portError(err, overheadBytes), at: b.now()})
		b.retryDetachLocked(o, d)
	default:
		o.meta.Attachments = m.Attachments
		delete(o.detachments, d.server)
		delete(o.export.lastUsed, d.server)
		if len(m.Attachments) == 0 {
			b.endExportLocked(o, status, lost)
		}
	}
}

// whatIsLost is what a volume's servers may have lost; flushed is the result of the last
// flush of what they wrote.
func (b *Backend) whatIsLost(o *object, flushed error) error {
	if damage := b.dataDamage(o); damage != nil {
		return damage
	}
	if flushed != nil && backend.AsError(flushed, backend.CodeDamaged) == nil {
		return &backend.Error{Code: backend.CodeFault, Op: "flush", Err: flushed}
	}
	return flushed
}

// endExportLocked closes the file of an object whose last server is detached.
func (b *Backend) endExportLocked(o *object, status backend.Status, lost error) {
	e := o.export
	o.export = nil
	delete(b.exports, o.meta.Ref)
	if !o.isVolume() {
		b.wg.Go(e.close)
		return
	}
	b.setStatusLocked(o, status, lost)
	b.setDamageLocked(o, nil) // the status tells now
	switch d := backend.AsError(lost, backend.CodeDamaged); {
	case d != nil && d.Kept != "":
		o.kept = e.file
	case e.file != nil:
		e.file.Close() // flushed, or known to be lost
	}
}

// close refuses clients that were let in just before, and closes the file.
func (e *export) close() {
	if e.nbd == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), disconnectTimeout)
	defer cancel()
	_ = e.nbd.Close(ctx) // it was only read
	e.file.Close()
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

// drainClients waits until the server has no client, ends the connections that are left
// and, of a volume, flushes the export. lost is the error of the flush; drained is false
// when ctx ended first.
func (b *Backend) drainClients(ctx context.Context, o *object, e *export, d *detachment) (lost error, drained bool) {
	if e.nbd == nil {
		return nil, true
	}
	poll := time.NewTicker(drainPollInterval)
	defer poll.Stop()
	for waiting := b.hasClients(o, e, d.server); waiting; {
		select {
		case <-poll.C:
			waiting = b.hasClients(o, e, d.server)
		case <-d.forced:
			waiting = false
		case <-ctx.Done():
			return nil, false
		}
	}
	end := e.nbd.Close
	if m, _ := b.metaOf(o); m.Kind == snapshots {
		end = func(ctx context.Context) error { return e.nbd.Disconnect(ctx, b.clientsOf(o, d.server)) }
	}
	limited, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	err := end(limited)
	if err != nil && limited.Err() != nil { // the sockets are closed; writes to the disk still have to end
		err = end(ctx)
	}
	return err, ctx.Err() == nil
}

// hasClients reports whether the server is connected.
func (b *Backend) hasClients(o *object, e *export, serverID string) bool {
	return slices.ContainsFunc(e.nbd.Conns(), b.clientsOf(o, serverID))
}

// clientsOf tells the connections of a server from those of an object's other servers.
func (b *Backend) clientsOf(o *object, serverID string) func(nbd.ConnStats) bool {
	m, _ := b.metaOf(o)
	servers := b.nbd.registry.lastKnown()
	return func(c nbd.ConnStats) bool { return b.nbd.serverOf(m.Attachments, c.Peer, servers) == serverID }
}

// retryDetachLocked starts the detachment again later. Until then the object shows the
// failure, and a volume stays DETACHING.
func (b *Backend) retryDetachLocked(o *object, d *detachment) {
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
		if o.detachments[d.server] == d {
			_, _ = b.startDetachLocked(o, d.server, false) // fails only after Close
		}
	})
}

// forceDetach disconnects the clients that detachments wait for, and waits for their
// end. Errors: CodeConflict while the object is attached, CodeNotFound,
// CodeUnavailable.
func (b *Backend) forceDetach(ctx context.Context, k kind, key backend.Key) error {
	if err := b.checkOpen(ctx); err != nil {
		return err
	}
	jobs, err := b.forceDetachments(k, key)
	for _, j := range jobs {
		select {
		case <-j.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (b *Backend) forceDetachments(k kind, key backend.Key) (jobs []*job, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.indexOf(k).find(key)
	if err != nil || o.export == nil {
		return nil, err
	}
	if !o.isDetaching() {
		return nil, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttached, Message: "it is attached to a server; detach it first"}
	}
	for _, a := range o.meta.Attachments {
		j, err := b.startDetachLocked(o, a.Server, true)
		if err != nil {
			return jobs, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}
