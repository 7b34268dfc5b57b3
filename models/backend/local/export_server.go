package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/nbd"
)

// shutdownTimeout is how long Close waits for clients to take their replies and for
// the disk to flush what they wrote.
const shutdownTimeout = 10 * time.Second

// refusedRegistration counts clients that were disconnected because of a changed
// registration.
const refusedRegistration nbd.Refusal = "registration"

const (
	registrationInterval = 300 * time.Millisecond // between looks whether who is connected is still registered
	replyLimit           = time.Second / 2        // for a client that is not to take the answers under way
)

// exportServer serves attached volumes and snapshots over NBD.
type exportServer struct {
	server   nbd.Server
	registry serverRegistry
	address  string
	tls      bool
	refused  func(nbd.Refusal)
	wg       sync.WaitGroup
}

// newExportServer checks the options for NBD. startServing then accepts connections.
func (b *Backend) newExportServer(o Options) (*exportServer, error) {
	if o.Servers == nil {
		return nil, errors.New("NBD needs the servers that may connect")
	}
	if c := o.NBDTLS; c != nil && (c.ClientCAs == nil || len(c.Certificates) == 0 && c.GetCertificate == nil) {
		return nil, errors.New("NBD over TLS needs a certificate and the authority of its clients")
	}
	s := &exportServer{
		address: o.NBD.Addr().String(), tls: o.NBDTLS != nil,
		registry: serverRegistry{fetch: o.Servers, now: b.now},
		refused: func(why nbd.Refusal) {
			if o.OnRefused != nil {
				o.OnRefused(string(why))
			}
		},
	}
	s.server = nbd.Server{Exports: nbdExports{b}, TLS: o.NBDTLS, Admit: b.admitAddress, OnRefused: s.refused, Log: b.log}
	return s, nil
}

// startServing accepts connections in the background.
func (b *Backend) startServing(o Options) {
	b.nbd.server.MaxConns = maxConns(o.MaxFiles, len(b.exports))
	b.nbd.wg.Go(func() {
		if err := b.nbd.server.Serve(context.Background(), o.NBD); !errors.Is(err, nbd.ErrServerClosed) {
			b.log.Error("nobody can connect to volumes any more", "address", b.nbd.address, "error", err)
		}
	})
	b.nbd.wg.Go(b.watchRegistrations)
}

// maxConns is how many connections there may be, where files may be open and objects are
// attached: a socket and the ends of a pipe each, beside the objects' own files, of which
// there may be twice as many later. 0: no bound. All arguments are numbers of objects.
func maxConns(files, attached int) int {
	const most = 1024
	if files == 0 {
		return 0
	}
	return max(1, min(most, (files-max(files/4, 2*attached))/3))
}

// stopServing finishes the requests under way, and flushes and closes the files of all
// exports. Jobs must have ended. Its errors are those of the files and of a timeout.
func (b *Backend) stopServing() error {
	if b.nbd == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	errs := []error{b.nbd.server.Shutdown(ctx)}
	b.nbd.wg.Wait()
	b.mu.Lock()
	exported := b.exports
	b.exports = map[string]*object{}
	b.mu.Unlock()
	for _, o := range exported {
		if e := o.export; e.file != nil {
			err := e.nbd.Close(ctx)
			errs = append(errs, err)
			if err == nil || ctx.Err() == nil { // else the disk hangs, and closing the file would too
				errs = append(errs, e.file.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// watchRegistrations ends the connections of peers that would not be let in any more,
// until Close.
func (b *Backend) watchRegistrations() {
	ticker := time.NewTicker(registrationInterval)
	defer ticker.Stop()
	for known := true; ; {
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
		err := b.endUnregistered(b.ctx)
		if err != nil && known && b.ctx.Err() == nil {
			b.log.Warn("it is not known who is registered; clients stay connected meanwhile", "error", err)
		}
		known = err == nil
	}
}

// endUnregistered ends, after the requests under way, the connections that no longer
// match the registration of a server that their object is attached to. The error is
// the console's; nothing ends then.
func (b *Backend) endUnregistered(ctx context.Context) error {
	used := b.usedExports()
	if len(used) == 0 {
		return nil
	}
	servers, err := b.nbd.registry.refresh(ctx)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, o := range used {
		if o.export == nil {
			continue
		}
		ending := o.export.nbd.Revoke(replyLimit, func(c nbd.ConnStats) bool { return !b.isAttachedToLocked(o, c.Peer, servers) })
		for _, c := range ending {
			b.nbd.refused(refusedRegistration)
			b.log.Warn("a client is disconnected: it no longer matches the registration of its server", "ref", o.meta.Ref, "addr", c.Addr, "subject", c.Subject)
		}
	}
	return nil
}

// usedExports are the objects with clients.
func (b *Backend) usedExports() []*object {
	b.mu.Lock()
	defer b.mu.Unlock()
	var used []*object
	for _, o := range b.exports {
		if o.export.nbd != nil && len(o.export.nbd.Conns()) > 0 {
			used = append(used, o)
		}
	}
	return used
}

// admitAddress returns why nobody may connect from the address; nil when a registered
// server has it.
func (b *Backend) admitAddress(a netip.Addr) error {
	servers, err := b.nbd.registry.list(b.ctx)
	if err != nil {
		return fmt.Errorf("nobody is let in while it is not known who may: %w", err)
	}
	for _, s := range servers {
		if s.hasAddress(a) {
			return nil
		}
	}
	return errors.New("no registered server has the address")
}

// refreshServerNames makes attachments show the present names of their servers, or the
// last known ones where the console does not answer.
func (b *Backend) refreshServerNames(ctx context.Context) {
	b.mu.Lock()
	attached := len(b.exports) > 0
	b.mu.Unlock()
	if attached {
		_, _ = b.nbd.registry.list(ctx)
	}
}

// nbdExports decides which exports a peer may use.
type nbdExports struct{ b *Backend }

var _ nbd.Exports = nbdExports{}

// Open returns the export of what is attached to the peer. Errors:
// nbd.ErrUnknownExport with the reason for the log, and those of the console's list of servers.
func (d nbdExports) Open(ctx context.Context, name string, peer nbd.Peer) (*nbd.Export, error) {
	servers, err := d.b.nbd.registry.list(ctx)
	if err != nil {
		return nil, err
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	o := d.b.exports[name]
	switch {
	case o == nil:
		return nil, fmt.Errorf("%w: nothing that is attached is called %.64q", nbd.ErrUnknownExport, name)
	case !d.b.allowsPeerLocked(o, peer, servers):
		return nil, fmt.Errorf("%w: %s", nbd.ErrUnknownExport, d.b.explainDenialLocked(o, peer, servers))
	}
	o.export.lastUsed[d.b.nbd.serverOf(o.meta.Attachments, peer, servers)] = d.b.now().UTC()
	return o.export.nbd, nil
}

// List returns what is attached to the peer, in the order of refs.
func (d nbdExports) List(ctx context.Context, peer nbd.Peer) []nbd.ExportInfo {
	servers, err := d.b.nbd.registry.list(ctx)
	if err != nil {
		d.b.log.Warn("no volumes are listed while it is not known for whom", "error", err)
		return nil
	}
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	var list []nbd.ExportInfo
	for ref, o := range d.b.exports {
		if d.b.allowsPeerLocked(o, peer, servers) {
			name, _, _ := strings.Cut(o.meta.Name, "\x00") // which NBD does not allow in strings
			list = append(list, nbd.ExportInfo{Name: ref, Description: name})
		}
	}
	slices.SortFunc(list, func(a, b nbd.ExportInfo) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// allowsPeerLocked reports whether the export accepts a connection of the peer.
func (b *Backend) allowsPeerLocked(o *object, peer nbd.Peer, servers map[string]registeredServer) bool {
	return o.export.nbd != nil && slices.ContainsFunc(o.meta.Attachments, func(a attachment) bool {
		return !a.isDetaching() && b.nbd.matches(a, peer, servers)
	})
}

// explainDenialLocked says why the export does not accept a connection of the peer: for
// its first server that would be nearest to it.
func (b *Backend) explainDenialLocked(o *object, peer nbd.Peer, servers map[string]registeredServer) string {
	what := strings.TrimSuffix(string(o.meta.Kind), "s")
	if o.export.nbd == nil {
		return "the file of the " + what + " cannot be opened"
	}
	var reasons []string
	for _, a := range o.meta.Attachments {
		switch s, registered := servers[a.Server]; {
		case a.isDetaching():
			reasons = append(reasons, "the "+what+" is being detached")
		case !registered:
			reasons = append(reasons, "the server that the "+what+" is attached to is not registered any more")
		case !s.hasAddress(peer.Addr.Addr()):
			reasons = append(reasons, "the "+what+" is attached to "+s.Name+", which does not have the address")
		default:
			reasons = append(reasons, "the "+what+" is attached to "+s.Name+", and the certificate has another name")
		}
	}
	return strings.Join(reasons, "; ")
}

// isAttachedToLocked reports whether the peer is a server that the object is attached
// to.
func (b *Backend) isAttachedToLocked(o *object, peer nbd.Peer, servers map[string]registeredServer) bool {
	return slices.ContainsFunc(o.meta.Attachments, func(a attachment) bool { return b.nbd.matches(a, peer, servers) })
}

// matches reports whether the peer is the server of the attachment.
func (s *exportServer) matches(a attachment, peer nbd.Peer, servers map[string]registeredServer) bool {
	server, ok := servers[a.Server]
	return ok && server.isPeer(peer, s.tls)
}

// serverOf is which of an object's servers a connected peer is. Where several match, as
// with one address without TLS, it is one that stays; where none does, the first.
func (s *exportServer) serverOf(attachments []attachment, peer nbd.Peer, servers map[string]registeredServer) string {
	leaving := ""
	for _, a := range attachments {
		switch {
		case !s.matches(a, peer, servers):
		case !a.isDetaching():
			return a.Server
		case leaving == "":
			leaving = a.Server
		}
	}
	if leaving == "" && len(attachments) > 0 {
		return attachments[0].Server
	}
	return leaving
}

// Connections lists the connected clients of all objects, in the order of the objects'
// refs. It is empty where NBD is off. Errors: CodeUnavailable after Close.
func (b *Backend) Connections(ctx context.Context) ([]backend.Connection, error) {
	if err := b.checkOpen(ctx); err != nil {
		return nil, err
	}
	if b.nbd == nil {
		return []backend.Connection{}, nil
	}
	type used struct {
		export      *nbd.Export
		of          backend.Connection
		attachments []attachment
	}
	var all []used
	b.mu.Lock()
	for _, o := range b.exports {
		if o.export.nbd != nil {
			all = append(all, used{o.export.nbd, backend.Connection{Kind: o.meta.Kind.subject(), Object: o.key()}, o.meta.Attachments})
		}
	}
	b.mu.Unlock()
	slices.SortFunc(all, func(a, b used) int { return cmp.Compare(a.of.Object.Ref, b.of.Object.Ref) })
	list, servers := []backend.Connection{}, b.nbd.registry.lastKnown()
	for _, u := range all {
		for _, c := range u.export.Conns() {
			one := u.of
			one.ServerID = b.nbd.serverOf(u.attachments, c.Peer, servers)
			one.ID, one.Address, one.Identity = strconv.FormatUint(c.ID, 10), c.Addr.String(), c.Subject
			one.Since, one.ActiveAt = backend.Micros(c.Since), backend.Micros(c.LastActivity)
			one.BytesRead, one.BytesWritten = int64(c.BytesRead), int64(c.BytesWritten)
			list = append(list, one)
		}
	}
	return list, nil
}

// Export is where an attached volume or snapshot is served. Errors: CodeUnsupported without NBD,
// CodeNotFound, CodeConflict when it is not attached, CodeUnavailable after Close.
func (b *Backend) Export(ctx context.Context, key backend.Key) (backend.Export, error) {
	if err := b.checkOpen(ctx); err != nil {
		return backend.Export{}, err
	}
	if b.nbd == nil {
		return backend.Export{}, backend.ErrUnsupported
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, err := b.volumes.find(key)
	if err != nil {
		o, err = b.snapshots.find(key)
	}
	if err != nil {
		return backend.Export{}, err
	}
	if o.export == nil {
		return backend.Export{}, &backend.Error{Code: backend.CodeConflict, Why: backend.WhyNotAttached, Message: "it is not attached to a server"}
	}
	x := backend.Export{Protocol: "nbd", Address: b.nbd.address, Name: o.meta.Ref}
	if b.nbd.tls {
		x.Protocol = "nbds"
	}
	return x, nil
}
