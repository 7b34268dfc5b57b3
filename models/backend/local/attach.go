package local

import (
	"context"
	"time"

	"blockconsole/models/backend"
)

// attachment is a server in meta.json. A list of them is never changed in place,
// since copies of meta share it.
type attachment struct {
	Server         string    `json:"server"`
	Name           string    `json:"name"` // of the server when it was attached
	Since          time.Time `json:"since"`
	DetachingSince time.Time `json:"detaching_since,omitzero"` // a detachment that has begun is finished
}

// AttachVolume exports the volume under its ref to a registered server. Only one
// server at a time, since file systems on a volume do not expect another writer.
// Errors: CodeUnsupported without NBD, CodeNotFound, CodeInvalid for a server that is
// not registered, CodeConflict, CodeDamaged, CodeFault, CodeNoSpace, CodeUnavailable.
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
	if err := b.dataDamage(o); err != nil {
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
		return b.portError(err, overheadBytes)
	}
	o.meta.Attachments = m.Attachments
	b.addExportLocked(o, e)
	b.estimateHoldLocked(o)
	return nil
}

// replaceMetaOrKeep writes m, or restores the old meta.json: an attachment that was
// refused must not exist after the next start.
func (b *Backend) replaceMetaOrKeep(o *object, m meta) error {
	err := b.replaceMeta(published, m.withFinalStatus())
	if err == nil {
		return nil
	}
	before, _ := b.metaOf(o)
	if e := b.replaceMeta(published, before.withFinalStatus()); e != nil {
		b.log.Warn("the description may tell of a change that was refused", "ref", m.Ref, "error", e)
	}
	return err
}

// checkAttached reports whether the volume is attached to the server already. Errors:
// CodeConflict while it is attached to another or being detached, CodeFault.
func (b *Backend) checkAttached(o *object, serverID string) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case o.export == nil:
		return false, nil
	case o.isDetaching():
		return false, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDetaching, Message: "the volume is being detached"}
	case o.meta.Attachments[0].Server != serverID:
		return false, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttachedElsewhere, Message: "the volume is attached to another server"}
	case o.export.nbd == nil: // its file could not be opened before
		e, err := b.openExport(o.meta)
		if err != nil {
			return false, err
		}
		b.addExportLocked(o, e)
	}
	return true, nil
}

// startAttach marks the volume as attaching, which keeps it from being deleted. What copies
// it goes on; see addExportLocked.
func (b *Backend) startAttach(o *object) (meta, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return meta{}, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	case o.meta.Status != backend.Available:
		return meta{}, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyStatus, WhyArg: string(o.meta.Status), Message: "the volume is " + string(o.meta.Status)}
	}
	o.attaching = true
	return o.meta, nil
}
