package backendtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"blockconsole/models/backend"
)

// exports is what a Fake that serves volumes itself has: see Serve.
type exports struct {
	protocol, address string
	registered        func(ctx context.Context) ([]backend.RegisteredServer, error)
	connections       []backend.Connection
	lastID            int
}

var _ backend.Exporter = (*Fake)(nil)

// Serve lets the Fake serve attached volumes itself, to the registered servers: it
// has the capability OwnServers, and a detaching without force waits for clients.
// protocol is nbd or nbds, address what it claims to listen at.
func (f *Fake) Serve(protocol, address string, registered func(ctx context.Context) ([]backend.RegisteredServer, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.caps.OwnServers, f.caps.MultiAttach = true, true
	f.exports.protocol, f.exports.address, f.exports.registered = protocol, address, registered
}

// Connect lets a client of a server connect to a volume, and returns the
// connection's id.
func (f *Fake) Connect(volumeRef, serverID, address string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef})
	if v == nil || v.attachment(serverID) < 0 {
		panic("backendtest: " + volumeRef + " is not attached to " + serverID)
	}
	f.exports.lastID++
	now := f.now().UTC()
	c := backend.Connection{ID: fmt.Sprintf("connection-%d", f.exports.lastID), Volume: v.Key,
		ServerID: serverID, Address: address, Since: now, LastActivity: now}
	if f.exports.protocol == "nbds" {
		c.Identity = v.Attachments[v.attachment(serverID)].ServerName
	}
	f.exports.connections = append(f.exports.connections, c)
	v.Attachments[v.attachment(serverID)].UsedAt = now
	return c.ID
}

// Transfer lets a client read and write that many bytes.
func (f *Fake) Transfer(connection string, read, written int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.exports.connections {
		if c := &f.exports.connections[i]; c.ID == connection {
			c.BytesRead, c.BytesWritten, c.LastActivity = c.BytesRead+read, c.BytesWritten+written, f.now().UTC()
		}
	}
}

// Disconnect lets a client go; a detaching that waited for it goes on.
func (f *Fake) Disconnect(connection string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.exports.connections {
		if c.ID == connection {
			f.cutOff(c.Volume, "", connection)
		}
	}
}

// cutOff ends connections to a volume: those of a server, or one by its id.
func (f *Fake) cutOff(volume backend.Key, server, connection string) {
	f.exports.connections = slices.DeleteFunc(f.exports.connections, func(c backend.Connection) bool {
		return c.Volume == volume && (c.ServerID == server || c.ID == connection)
	})
	v := f.findVolume(volume)
	if v != nil && v.Status == backend.Detaching && !f.used(v, v.server) && v.task != nil {
		v.task.held = f.hold
	}
}

// used says that clients of the server use the volume.
func (f *Fake) used(v *fakeVolume, server string) bool {
	return slices.ContainsFunc(f.exports.connections, func(c backend.Connection) bool { return c.Volume == v.Key && c.ServerID == server })
}

// SetHold lets a snapshot of the volume hold its servers' writes that long.
func (f *Fake) SetHold(volumeRef string, hold time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}); v != nil {
		v.Hold = hold
	}
}

// SetFault lets the disk under a volume that is in use fail; nil ends it.
func (f *Fake) SetFault(volumeRef string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if v := f.findVolume(backend.Key{ID: volumeRef, Ref: volumeRef}); v != nil {
		v.Failure = err
	}
}

// Connections lists who is connected.
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

// Export tells where an attached volume is served.
func (f *Fake) Export(ctx context.Context, key backend.Key) (backend.Export, error) {
	v, err := f.volume(ctx, "Export", key)
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

// ownServer finds a server among those that are registered.
func (f *Fake) ownServer(id string) *backend.Server {
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
