package nbd

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnknownExport says that there is no such export for this peer.
var ErrUnknownExport = errors.New("nbd: unknown export")

var errTooMany = errors.New("nbd: the export has as many connections as it may")

// Peer is who asks.
type Peer struct {
	Addr netip.AddrPort
	// Certificate is what the client proved over TLS, verified by
	// Server.TLS.ClientCAs; nil without TLS.
	Certificate *x509.Certificate
}

// ExportInfo is what NBD_OPT_LIST tells about an export.
type ExportInfo struct{ Name, Description string }

// Exports decides who sees what. Both methods are called from many goroutines
// and should answer within the handshake's time limit, after which ctx ends.
type Exports interface {
	// Open finds the export of that name. ErrUnknownExport: it does not exist
	// for that peer. Any other error is logged, and the client is refused.
	Open(ctx context.Context, name string, peer Peer) (*Export, error)
	// List names the exports that exist for that peer.
	List(ctx context.Context, peer Peer) []ExportInfo
}

// ExportOptions are the settings of an export; the zero value is usable.
type ExportOptions struct {
	Description string
	ReadOnly    bool
	MaxHold     time.Duration // the longest hold on writes; zero means 10 s
	MaxConns    int           // connections at once; zero means 64
	// OnError is told every error of the device that a client was told, and
	// those of the flush after a connection's end. op is read, write, flush,
	// trim, zero, status or cache. It is called often when a disk dies, and
	// must not block.
	OnError func(op string, err error)
}

// Export is one device under one name, with all connections that use it.
type Export struct {
	name string
	dev  Device
	opt  ExportOptions
	gate gate

	dirty atomic.Bool // changed since the last flush

	mu     sync.Mutex
	conns  map[*conn]struct{}
	active int // of conns, those that may still change something
	closed bool
}

// NewExport returns an export of dev. The device must stay open until Close has
// returned nil.
func NewExport(name string, dev Device, opt ExportOptions) *Export {
	if opt.MaxHold <= 0 {
		opt.MaxHold = 10 * time.Second
	}
	if opt.MaxConns <= 0 {
		opt.MaxConns = 64
	}
	return &Export{name: name, dev: dev, opt: opt, conns: map[*conn]struct{}{}}
}

// Name is the name the export was made with.
func (e *Export) Name() string { return e.name }

// Hold makes new writes (WRITE, TRIM, WRITE_ZEROES) wait and returns when those
// under way are done: until release, nobody changes the device through this
// export. A WRITE whose payload is still coming may be half done then, as when the
// power fails; it has not been acknowledged. Reads and flushes go on. The hold ends
// at release, when ctx ends and after ExportOptions.MaxHold, whichever comes first;
// release says ErrHoldExpired when it was not the first. Holds queue for each other.
// The error is that of ctx, or context.DeadlineExceeded when the writes under way
// took longer than MaxHold; writes go on then.
func (e *Export) Hold(ctx context.Context) (release func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opt.MaxHold)
	open, err := e.gate.hold(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() error {
		defer cancel()
		return open()
	}, nil
}

// Conns are the connections in transmission, the oldest first.
func (e *Export) Conns() []ConnStats {
	stats := []ConnStats{}
	for _, c := range e.matching(nil) {
		stats = append(stats, c.stats())
	}
	slices.SortFunc(stats, func(a, b ConnStats) int { return int(int64(a.ID) - int64(b.ID)) })
	return stats
}

func (e *Export) matching(match func(ConnStats) bool) []*conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	conns := make([]*conn, 0, len(e.conns))
	for c := range e.conns {
		if match == nil || match(c.stats()) {
			conns = append(conns, c)
		}
	}
	return conns
}

// Disconnect ends the connections that match (nil: all): no further request is
// read, those under way are finished and answered, and the device is flushed. It
// returns when they are gone. When ctx ends first, the sockets are closed
// without waiting for answers to be taken, and the error is that of ctx.
func (e *Export) Disconnect(ctx context.Context, match func(ConnStats) bool) error {
	if err := endAll(ctx, e.matching(match)); err != nil {
		return err
	}
	return e.flush(ctx)
}

// Close refuses new connections from now on, ends all there are as Disconnect
// does, and flushes. It does not close the device. It may be repeated.
func (e *Export) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.Disconnect(ctx, nil)
}

// endAll drains connections and waits for their end.
func endAll(ctx context.Context, conns []*conn) error {
	for _, c := range conns {
		c.drain()
	}
	for _, c := range conns {
		select {
		case <-c.done:
		case <-ctx.Done():
			for _, c := range conns {
				c.kill()
			}
			return ctx.Err()
		}
	}
	return nil
}

func (e *Export) add(c *conn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return ErrUnknownExport
	case len(e.conns) >= e.opt.MaxConns:
		return errTooMany
	}
	e.conns[c] = struct{}{}
	e.active++
	return nil
}

// abandoned says, for a connection that has come to its end, whether it was the
// last one and leaves changes behind that nobody flushed. Not at the end of each:
// a client with several ends them one by one, while the others still write.
func (e *Export) abandoned() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.active--
	return e.active == 0 && e.dirty.Load()
}

func (e *Export) remove(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// soil notes that something has changed, or may have.
func (e *Export) soil() {
	if !e.dirty.Load() {
		e.dirty.Store(true)
	}
}

// clean flushes the device for clients.
func (e *Export) clean(ctx context.Context) error {
	wasDirty := e.dirty.Swap(false)
	err := e.dev.Flush(ctx)
	if err != nil && wasDirty {
		e.dirty.Store(true)
	}
	return err
}

// flush flushes the device, but does not wait longer than ctx: a disk that hangs
// must not keep the program from stopping.
func (e *Export) flush(ctx context.Context) error {
	if e.opt.ReadOnly {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- e.dev.Flush(ctx) }()
	select {
	case err := <-done:
		e.report("flush", err)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// report passes an error of the device on; what the client asked for and cannot
// have is none.
func (e *Export) report(op string, err error) {
	if err == nil || e.opt.OnError == nil || errors.Is(err, errors.ErrUnsupported) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	e.opt.OnError(op, err)
}

// flags are the transmission flags.
func (e *Export) flags(structured bool) uint16 {
	flags := uint16(flagHasFlags | flagSendFlush | flagSendFUA | flagCanMultiConn | flagSendCache)
	if e.opt.ReadOnly {
		flags |= flagReadOnly
	} else {
		flags |= flagSendTrim | flagSendWriteZeroes | flagSendFastZero
	}
	if structured {
		flags |= flagSendDF
	}
	return flags
}
