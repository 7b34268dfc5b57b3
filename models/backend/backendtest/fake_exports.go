package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// exports is the state of Serve.
type exports struct {
	protocol, address string
	registered        func(ctx context.Context) ([]backend.RegisteredServer, error)
	connections       []backend.Connection
	lastID            int
}

var _ backend.Exporter = (*Fake)(nil)

// Serve gives the Fake the capability OwnServers: it serves what is attached to the
// registered servers, and a detach without force waits for their clients. protocol is
// nbd or nbds, address the one of [backend.Export].
func (f *Fake) Serve(protocol, address string, registered func(ctx context.Context) ([]backend.RegisteredServer, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caps.OwnServers, f.caps.MultiAttach, f.caps.AttachSnapshots = true, true, true
	f.exports.protocol, f.exports.address, f.exports.registered = protocol, address, registered
}

// Connect connects a client of a server to a volume or snapshot and returns the
// connection's ID.
func (f *Fake) Connect(ref, serverID, address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	kind, key, attachments := f.attached(backend.Key{ID: ref, Ref: ref})
	i := attachmentTo(attachments, serverID)
	if i < 0 {
		panic("backendtest: " + ref + " is not attached to " + serverID)
	}
	f.exports.lastID++
	now := backend.Micros(f.now())
	c := backend.Connection{ID: fmt.Sprintf("connection-%d", f.exports.lastID), Kind: kind, Object: key,
		ServerID: serverID, Address: address, Since: now, ActiveAt: now}
	if f.exports.protocol == "nbds" {
		c.Identity = attachments[i].ServerName
	}
	f.exports.connections = append(f.exports.connections, c)
	attachments[i].UsedAt = now
	return c.ID
}

// attached finds a volume or else a snapshot, with its attachments.
func (f *Fake) attached(key backend.Key) (kind backend.SubjectType, found backend.Key, attachments []backend.Attachment) {
	if v := f.findVolume(key); v != nil {
		return backend.SubjectVolume, v.Key, v.Attachments
	}
	if s := f.findSnapshot(key); s != nil {
		return backend.SubjectSnapshot, s.Key, s.Attachments
	}
	return "", key, nil
}

// Transfer counts bytes that a client has read and written.
func (f *Fake) Transfer(connection string, read, written int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.exports.connections {
		if c := &f.exports.connections[i]; c.ID == connection {
			c.BytesRead, c.BytesWritten, c.ActiveAt = c.BytesRead+read, c.BytesWritten+written, backend.Micros(f.now())
		}
	}
}

// Disconnect ends a connection; a detach that waits for it continues.
func (f *Fake) Disconnect(connection string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.exports.connections {
		if c.ID == connection {
			f.disconnect(c.Object, "", connection)
		}
	}
}

// disconnect ends connections to an object: those of a server, or one by its ID.
func (f *Fake) disconnect(object backend.Key, server, connection string) {
	f.exports.connections = slices.DeleteFunc(f.exports.connections, func(c backend.Connection) bool {
		return c.Object == object && (c.ServerID == server || c.ID == connection)
	})
	v := f.findVolume(object)
	if v != nil && v.Status == backend.Detaching && !f.inUseBy(v.Key, v.server) && v.task != nil {
		v.task.held = f.hold
	}
	if s := f.findSnapshot(object); s != nil {
		f.endDetachments(s)
	}
}

// inUseBy says whether clients of the server are connected to the object.
func (f *Fake) inUseBy(object backend.Key, server string) bool {
	return slices.ContainsFunc(f.exports.connections, func(c backend.Connection) bool { return c.Object == object && c.ServerID == server })
}

// SetHold sets how long a snapshot of the volume holds its servers' writes.
func (f *Fake) SetHold(volumeRef string, hold time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}); v != nil {
		v.Hold = hold
	}
}

// SetDiskFault sets the disk error of a volume that is in use; nil clears it.
func (f *Fake) SetDiskFault(volumeRef string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}); v != nil {
		v.Failure = err
	}
}

// Connections lists the clients of Connect.
func (f *Fake) Connections(ctx context.Context) ([]backend.Connection, error) {
	if err := f.enter(ctx, "Connections", ""); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if f.exports.protocol == "" {
		return nil, backend.ErrUnsupported
	}
	return slices.Clone(f.exports.connections), nil
}

// Export is where an attached volume or snapshot is served.
func (f *Fake) Export(ctx context.Context, key backend.Key) (backend.Export, error) {
	if err := f.enter(ctx, "Export", key.Ref); err != nil {
		return backend.Export{}, err
	}
	defer f.mu.Unlock()
	kind, found, attachments := f.attached(key)
	switch {
	case f.exports.protocol == "":
		return backend.Export{}, backend.ErrUnsupported
	case kind == "":
		return backend.Export{}, backend.ErrNotFound
	case len(attachments) == 0:
		return backend.Export{}, &backend.Error{Code: backend.CodeConflict, Message: "it is not attached"}
	}
	return backend.Export{Protocol: f.exports.protocol, Address: f.exports.address, Name: cmp.Or(found.Ref, found.ID)}, nil
}

// registeredServer finds a server of Serve by its ID.
func (f *Fake) registeredServer(id string) *backend.Server {
	if f.exports.registered == nil {
		return nil
	}
	all, err := f.exports.registered(context.Background())
	if err != nil {
		return nil
	}
	for _, s := range all {
		if s.ID == id {
			return &backend.Server{ID: s.ID, Name: s.Name}
		}
	}
	return nil
}

// Faults lists the objects whose failure is CodeDamaged, and the attached volumes with
// an error of SetDiskFault.
func (f *Fake) Faults(ctx context.Context) (faults backend.Faults, err error) {
	if err := f.enter(ctx, "Faults", ""); err != nil {
		return faults, err
	}
	defer f.mu.Unlock()
	for _, v := range f.volumes {
		if v.Failure != nil && (len(v.Attachments) > 0 || backend.AsError(v.Failure, backend.CodeDamaged) != nil) {
			faults.Volumes = append(faults.Volumes, v.Key)
		}
	}
	for _, s := range f.snapshots {
		if backend.AsError(s.Failure, backend.CodeDamaged) != nil {
			faults.Snapshots = append(faults.Snapshots, s.Key)
		}
	}
	return faults, nil
}
