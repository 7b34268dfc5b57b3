package nbd

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnknownExport says that the peer has no export of that name.
var ErrUnknownExport = errors.New("nbd: unknown export")

var errTooManyConns = errors.New("nbd: too many connections to the export")

// Peer is the client of a connection.
type Peer struct {
	Addr netip.AddrPort
	// Certificate is the client's, verified by Server.TLS.ClientCAs; nil without TLS.
	Certificate *x509.Certificate
}

// ExportInfo is one export in the reply to NBD_OPT_LIST.
type ExportInfo struct{ Name, Description string }

// Exports decides which exports a peer may use. Its methods are called by many
// goroutines at once; ctx ends with the handshake's time limit.
type Exports interface {
	// Open returns the export of that name. ErrUnknownExport: the peer has none.
	// Any other error is logged and refuses the client.
	Open(ctx context.Context, name string, peer Peer) (*Export, error)
	// List returns the exports that the peer may use.
	List(ctx context.Context, peer Peer) []ExportInfo
}

// ExportOptions are the settings of an export; the zero value is usable.
type ExportOptions struct {
	Description string
	ReadOnly    bool
	MaxQuiesce  time.Duration // the longest that Quiesce holds writes; zero means 10 s
	MaxConns    int           // connections at once; zero means 64
	// OnError receives every error of the device that a client received, and those
	// of the flush after the last connection. op is read, write, flush, trim, zero,
	// status or cache. It is called for every request while a disk fails, and must
	// not block.
	OnError func(op string, err error)
}

// Export is a device under a name, with all connections that use it.
type Export struct {
	name string
	dev  Device
	opt  ExportOptions
	gate writeGate

	dirty atomic.Bool // changed since the last flush

	share share // of the server's memory

	mu       sync.Mutex
	conns    map[*conn]struct{}
	mayWrite int // connections that may still change the device
	closed   bool
}

// NewExport returns an export of dev. The device must stay open until Close has
// returned nil.
func NewExport(name string, dev Device, opt ExportOptions) *Export {
	opt.MaxQuiesce = cmp.Or(opt.MaxQuiesce, 10*time.Second)
	opt.MaxConns = cmp.Or(opt.MaxConns, 64)
	return &Export{name: name, dev: dev, opt: opt, conns: map[*conn]struct{}{}}
}

// Name is the one given to NewExport.
func (e *Export) Name() string { return e.name }

// Quiesce holds new writes (WRITE, TRIM, WRITE_ZEROES) and returns when those in
// flight are done: nothing changes the device through this export until resume. A
// WRITE whose payload is still arriving may be half done, as after a power failure;
// it is not acknowledged. Reads and flushes go on. Writes also resume when ctx ends
// and after MaxQuiesce; resume returns ErrQuiesceExpired then. Calls queue for each
// other. The error is that of ctx, or context.DeadlineExceeded when the writes in
// flight took longer than MaxQuiesce.
func (e *Export) Quiesce(ctx context.Context) (resume func() error, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.opt.MaxQuiesce)
	open, err := e.gate.quiesce(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	return func() error {
		defer cancel()
		return open()
	}, nil
}

// Conns returns the connections in the transmission phase, the oldest first.
func (e *Export) Conns() []ConnStats {
	stats := []ConnStats{}
	for _, c := range e.connsMatching(nil) {
		stats = append(stats, c.stats())
	}
	slices.SortFunc(stats, func(a, b ConnStats) int { return cmp.Compare(a.ID, b.ID) })
	return stats
}

func (e *Export) connsMatching(match func(ConnStats) bool) []*conn {
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

// Disconnect ends the connections that match (nil: all): it reads no more requests,
// finishes and answers those under way, and flushes the device. It returns when the
// connections have ended, with the error of the flush. When ctx ends first, it
// closes the sockets and returns the error of ctx.
func (e *Export) Disconnect(ctx context.Context, match func(ConnStats) bool) error {
	if err := disconnectAll(ctx, e.connsMatching(match)); err != nil {
		return err
	}
	return e.flushWithin(ctx)
}

// Revoke ends the connections that match, without waiting for their end: it reads no
// more requests, finishes those under way and gives the client limit to take each
// piece of the answers. It returns the connections that were not ending already.
func (e *Export) Revoke(limit time.Duration, match func(ConnStats) bool) []ConnStats {
	var ending []ConnStats
	for _, c := range e.connsMatching(match) {
		if c.drain() {
			c.out.limitWrites(limit)
			ending = append(ending, c.stats())
		}
	}
	return ending
}

// Close refuses new connections and ends all others as Disconnect does, with the
// same errors. It does not close the device. It may be repeated.
func (e *Export) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	return e.Disconnect(ctx, nil)
}

// disconnectAll drains connections and waits for their end. The error is that of ctx.
func disconnectAll(ctx context.Context, conns []*conn) error {
	for _, c := range conns {
		c.drain()
	}
	for _, c := range conns {
		select {
		case <-c.done:
		case <-ctx.Done():
			for _, c := range conns {
				c.closeSocket()
			}
			return ctx.Err()
		}
	}
	return nil
}

// addConn returns ErrUnknownExport after Close, and errTooManyConns.
func (e *Export) addConn(c *conn) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return ErrUnknownExport
	case len(e.conns) >= e.opt.MaxConns:
		return errTooManyConns
	}
	e.conns[c] = struct{}{}
	e.mayWrite++
	return nil
}

// finishConn notes that a connection has finished its requests, and reports whether
// to flush: it was the last, and there are unflushed writes. A flush at the end of
// each would slow a client down that closes its connections one by one.
func (e *Export) finishConn() (flush bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mayWrite--
	return e.mayWrite == 0 && e.dirty.Load()
}

func (e *Export) removeConn(c *conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.conns, c)
}

// markDirty notes that the device may have changed since the last flush.
func (e *Export) markDirty() {
	if !e.dirty.Load() {
		e.dirty.Store(true)
	}
}

// flush flushes the device and returns its error.
func (e *Export) flush(ctx context.Context) error {
	wasDirty := e.dirty.Swap(false)
	err := e.dev.Flush(ctx)
	if err != nil && wasDirty {
		e.dirty.Store(true)
	}
	return err
}

// flushWithin flushes the device until ctx ends: a disk that hangs must not keep the
// program from stopping.
func (e *Export) flushWithin(ctx context.Context) error {
	if e.opt.ReadOnly {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- e.dev.Flush(ctx) }()
	select {
	case err := <-done:
		e.reportError("flush", err)
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reportError passes an error of the device to OnError. Unsupported requests and the
// end of a context are no errors of the device.
func (e *Export) reportError(op string, err error) {
	if err == nil || e.opt.OnError == nil || errors.Is(err, errors.ErrUnsupported) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return
	}
	e.opt.OnError(op, err)
}

// transmissionFlags tells the client what it may ask for.
func (e *Export) transmissionFlags(structured bool) uint16 {
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
