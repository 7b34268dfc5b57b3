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

// Serve gives the Fake the capability OwnServers: it serves attached volumes to the
// registered servers, and a detach without force waits for their clients. protocol is
// nbd or nbds, address the one of [backend.Export].
func (f *Fake) Serve(protocol, address string, registered func(ctx context.Context) ([]backend.RegisteredServer, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caps.OwnServers, f.caps.MultiAttach = true, true
	f.exports.protocol, f.exports.address, f.exports.registered = protocol, address, registered
}

// Connect connects a client of a server to a volume and returns the connection's ID.
func (f *Fake) Connect(volumeRef, serverID, address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef})
	if v == nil || v.attachment(serverID) < 0 {
		panic("backendtest: " + volumeRef + " is not attached to " + serverID)
	}
	f.exports.lastID++
	now := backend.Micros(f.now())
	c := backend.Connection{ID: fmt.Sprintf("connection-%d", f.exports.lastID), Volume: v.Key,
		ServerID: serverID, Address: address, Since: now, ActiveAt: now}
	if f.exports.protocol == "nbds" {
		c.Identity = v.Attachments[v.attachment(serverID)].ServerName
	}
	f.exports.connections = append(f.exports.connections, c)
	v.Attachments[v.attachment(serverID)].UsedAt = now
	return c.ID
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
			f.disconnect(c.Volume, "", connection)
		}
	}
}

// disconnect ends connections to a volume: those of a server, or one by its ID.
func (f *Fake) disconnect(volume backend.Key, server, connection string) {
	f.exports.connections = slices.DeleteFunc(f.exports.connections, func(c backend.Connection) bool {
		return c.Volume == volume && (c.ServerID == server || c.ID == connection)
	})
	v := f.findVolume(volume)
	if v != nil && v.Status == backend.Detaching && !f.inUseBy(v, v.server) && v.task != nil {
		v.task.held = f.hold
	}
}

// inUseBy says whether clients of the server are connected to the volume.
func (f *Fake) inUseBy(v *fakeVolume, server string) bool {
	return slices.ContainsFunc(f.exports.connections, func(c backend.Connection) bool { return c.Volume == v.Key && c.ServerID == server })
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

// Export is where an attached volume is served.
func (f *Fake) Export(ctx context.Context, key backend.Key) (backend.Export, error) {
	v, err := enterObject(ctx, f, "Export", f.volumes, key)
	if err != nil {
		return backend.Export{}, err
	}
	defer f.mu.Unlock()
	switch {
	case f.exports.protocol == "":
		return backend.Export{}, backend.ErrUnsupported
	case len(v.Attachments) == 0:
		return backend.Export{}, &backend.Error{Code: backend.CodeConflict, Message: "the volume is not attached"}
	}
	return backend.Export{Protocol: f.exports.protocol, Address: f.exports.address, Name: cmp.Or(v.Ref, v.ID)}, nil
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
