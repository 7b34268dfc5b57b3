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
	Server  string    `json:"server"`
	Name    string    `json:"name"` // of the server when it was attached
	Since   time.Time `json:"since"`
	Leaving time.Time `json:"detaching_since,omitzero"` // lets nobody in any more; once begun, it is finished
}

const (
	vacancyEvery = 100 * time.Millisecond // how often a detachment looks whether the clients have gone
	cutTime      = 15 * time.Second       // for clients that are cut off to take the answers under way
	detachPause  = 5 * time.Second        // before a detachment that the disk refused goes on
)

// AttachVolume lets a registered server use the volume: it is exported under its
// ref. One server at a time: the file systems that servers put on a volume expect
// to be alone with it, and nothing here would tell two writers of each other.
// [backend.CodeInvalid]: no such server is registered.
func (b *Backend) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	if b.nbd == nil {
		return backend.ErrUnsupported
	}
	o, release, err := b.hold(ctx, volumes, key)
	if err != nil {
		return err
	}
	defer release()
	if done, err := b.attachedAlready(o, serverID); done || err != nil {
		return err
	}
	server, err := b.nbd.servers.find(ctx, serverID)
	if err != nil {
		return err
	}
	m, err := b.beginAttach(o)
	if err != nil {
		return err
	}
	now := b.now().UTC()
	m.Attachments = []attachment{{Server: server.ID, Name: server.Name, Since: now}}
	e, err := b.openExport(m)
	if err == nil {
		err = b.remember(o, m)
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
	b.exportLocked(o, e)
	b.predictLocked(o)
	return nil
}

// remember writes the description m, or leaves the one that there was: what was
// refused must not come true at the next start.
func (b *Backend) remember(o *object, m meta) error {
	err := b.replaceMeta(home, m.onDisk())
	if err == nil {
		return nil
	}
	b.mu.Lock()
	before := o.meta
	b.mu.Unlock()
	if e := b.replaceMeta(home, before.onDisk()); e != nil {
		b.log.Warn("the description may tell of a change that was refused", "ref", m.Ref, "error", e)
	}
	return err
}

// attachedAlready is the answer to a repeated call: done, or that it cannot be.
func (b *Backend) attachedAlready(o *object, serverID string) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case o.export == nil:
		return false, nil
	case o.detaching():
		return false, &backend.Error{Code: backend.CodeConflict, Message: "the volume is being detached"}
	case o.meta.Attachments[0].Server != serverID:
		return false, &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to another server"}
	case o.export.nbd == nil: // its file could not be opened at the start
		e, err := b.openExport(o.meta)
		if err != nil {
			return false, err
		}
		b.exportLocked(o, e)
	}
	return true, nil
}

// beginAttach keeps others from deleting the volume and from copying it as one
// that nobody writes to.
func (b *Backend) beginAttach(o *object) (meta, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return meta{}, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	case o.meta.Status != backend.Available:
		return meta{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is " + string(o.meta.Status)}
	case len(o.readers) > 0:
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
		linger(ctx, j)
	}
	return err
}

func (b *Backend) startDetach(ctx context.Context, key backend.Key, serverID string, force bool) (*job, error) {
	o, release, err := b.hold(ctx, volumes, key)
	if err != nil {
		return nil, err
	}
	defer release()
	b.mu.Lock()
	m, e, under := o.meta, o.export, o.detaching()
	b.mu.Unlock()
	if e == nil || m.Attachments[0].Server != serverID {
		return nil, nil
	}
	if !under {
		m.Attachments = slices.Clone(m.Attachments)
		m.Attachments[0].Leaving = b.now().UTC()
		if err := b.replaceMeta(home, m.onDisk()); err != nil {
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
	return b.detachLocked(o)
}

// detachLocked starts the job of a detachment, unless it is under way.
func (b *Backend) detachLocked(o *object) (*job, error) {
	if o.job != nil {
		return o.job, nil
	}
	e := o.export
	return b.startLocked(o, 0, func(ctx context.Context, j *job) { b.detach(ctx, o, e, j) })
}

// detach is the job of a detachment. What it cannot finish it tries again later,
// and the next Open does.
func (b *Backend) detach(ctx context.Context, o *object, e *export, j *job) {
	lost, gone := b.vacate(ctx, e)
	o.files.Lock()
	defer o.files.Unlock()
	status := backend.Available
	if lost != nil { // an administrator decides
		status, lost = backend.ErrorStatus, &backend.Error{Code: backend.CodeFault, Op: "flush", Err: lost}
	}
	var err error
	if gone {
		err = b.writeDetached(o, status, lost)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endLocked(o, j)
	switch {
	case !gone: // closing
	case err != nil:
		b.log.Error("a volume cannot be detached yet", "volume", o.meta.Ref, "error", err)
		e.trouble.Store(&trouble{failure: b.failure(err, headroom), at: b.now()})
		b.detachLaterLocked(o, e)
	default:
		o.meta.Attachments, o.export = nil, nil
		delete(b.exported, o.meta.Ref)
		b.set(o, status, lost)
		if e.file != nil {
			e.file.Close() // flushed, or known to be lost
		}
	}
}

// writeDetached lets the description say that the volume belongs to nobody.
func (b *Backend) writeDetached(o *object, status backend.Status, failure error) error {
	b.mu.Lock()
	m := b.stored(o.meta, status, failure)
	b.mu.Unlock()
	m.Attachments = nil
	return b.replaceMeta(home, m)
}

// vacate waits until nobody uses the export and all is flushed. lost: the disk
// did not take what was written. gone is false when ctx ended first.
func (b *Backend) vacate(ctx context.Context, e *export) (lost error, gone bool) {
	if e.nbd == nil {
		return nil, true
	}
	look := time.NewTicker(vacancyEvery)
	defer look.Stop()
	for waiting := len(e.nbd.Conns()) > 0; waiting; {
		select {
		case <-look.C:
			waiting = len(e.nbd.Conns()) > 0
		case <-e.cut:
			waiting = false
		case <-ctx.Done():
			return nil, false
		}
	}
	polite, cancel := context.WithTimeout(ctx, cutTime)
	defer cancel()
	err := e.nbd.Close(polite)
	if err != nil && polite.Err() != nil { // sockets are closed now; what is on its way to the disk stays awaited
		err = e.nbd.Close(ctx)
	}
	return err, ctx.Err() == nil
}

// detachLaterLocked tries again what the disk refused. In between the volume
// stays DETACHING, and says why.
func (b *Backend) detachLaterLocked(o *object, e *export) {
	if b.closed {
		return
	}
	b.work.Go(func() {
		select {
		case <-time.After(detachPause):
		case <-b.ctx.Done():
			return
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		if o.export == e {
			_, _ = b.detachLocked(o) // refused only by a closed backend
		}
	})
}

// endDetaching lets an administrator's repair end a detachment that waits for
// clients: they are cut off. [backend.CodeConflict]: the volume is in use.
func (b *Backend) endDetaching(ctx context.Context, key backend.Key) error {
	b.mu.Lock()
	o, err := b.volumes.find(key)
	if err != nil || o.export == nil {
		b.mu.Unlock()
		return err
	}
	if !o.detaching() {
		b.mu.Unlock()
		return &backend.Error{Code: backend.CodeConflict, Message: "the volume is attached to a server; detach it first"}
	}
	o.export.cutOff()
	j, err := b.detachLocked(o)
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
