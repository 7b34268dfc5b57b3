package local

import (
	"context"
	"slices"
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

func (a attachment) isDetaching() bool { return !a.DetachingSince.IsZero() }

// attachmentTo is the index of the server among the attachments; -1: it has none.
func (m meta) attachmentTo(serverID string) int {
	return slices.IndexFunc(m.Attachments, func(a attachment) bool { return a.Server == serverID })
}

// serverNames are the names of the servers when they were attached.
func (m meta) serverNames() []string {
	var names []string
	for _, a := range m.Attachments {
		names = append(names, a.Name)
	}
	return names
}

// AttachVolume exports the volume under its ref to a registered server. Only one
// server at a time, since file systems on a volume do not expect another writer.
// Errors: CodeUnsupported without NBD, CodeNotFound, CodeInvalid for a server that is
// not registered, CodeConflict, CodeDamaged, CodeFault, CodeNoSpace, CodeUnavailable.
func (b *Backend) AttachVolume(ctx context.Context, key backend.Key, serverID string) error {
	return b.attach(ctx, volumes, key, serverID)
}

// AttachSnapshot exports the snapshot under its ref, for reading, to one more
// registered server. Errors: those of AttachVolume.
func (b *Backend) AttachSnapshot(ctx context.Context, key backend.Key, serverID string) error {
	return b.attach(ctx, snapshots, key, serverID)
}

func (b *Backend) attach(ctx context.Context, k kind, key backend.Key, serverID string) error {
	if b.nbd == nil {
		return backend.ErrUnsupported
	}
	o, unlock, err := b.lockObject(ctx, k, key)
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
	m.Attachments = append(slices.Clone(m.Attachments), attachment{Server: server.ID, Name: server.Name, Since: b.now().UTC()})
	return b.finishAttach(o, m)
}

// finishAttach serves the object to the servers of m, and makes that durable.
func (b *Backend) finishAttach(o *object, m meta) error {
	b.mu.Lock()
	e := o.export // a snapshot's, which other servers use
	b.mu.Unlock()
	var err error
	isNew := e == nil
	if isNew {
		e, err = b.openExport(m)
	}
	if err == nil {
		err = b.replaceMetaOrKeep(o, m)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.attaching = false
	if err != nil {
		if isNew && e.file != nil {
			e.file.Close()
		}
		return b.portError(err, overheadBytes)
	}
	o.meta.Attachments = m.Attachments
	b.addExportLocked(o, e)
	if o.isVolume() {
		b.estimateHoldLocked(o)
	}
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

// checkAttached reports whether the object is attached to the server already. Errors:
// CodeConflict while it is being detached, or is a volume that is attached to another
// server, CodeFault.
func (b *Backend) checkAttached(o *object, serverID string) (done bool, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.export == nil {
		return false, nil
	}
	i := o.meta.attachmentTo(serverID)
	switch {
	case o.isVolume() && o.isDetaching(), i >= 0 && o.meta.Attachments[i].isDetaching():
		return false, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyDetaching, Message: "it is being detached"}
	case o.isVolume() && i < 0:
		return false, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyAttachedElsewhere, Message: "the volume is attached to another server"}
	case o.export.nbd == nil: // its file could not be opened before
		e, err := b.openExport(o.meta)
		if err != nil {
			return false, err
		}
		b.addExportLocked(o, e)
	}
	return i >= 0, nil
}

// startAttach marks the object as attaching, which keeps it from being deleted. What copies
// it goes on; see addExportLocked.
func (b *Backend) startAttach(o *object) (meta, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return meta{}, &backend.Error{Code: backend.CodeUnavailable, Err: errClosed}
	case o.meta.Status != backend.Available:
		return meta{}, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyStatus, WhyArg: string(o.meta.Status), Message: "it is " + string(o.meta.Status)}
	}
	o.attaching = true
	return o.meta, nil
}
