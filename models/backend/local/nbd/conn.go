package nbd

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	handshakeBuffer = 4 << 10
	readBuffer      = 256 << 10 // many small requests in one system call
)

// ConnStats describes a connection in the transmission phase.
type ConnStats struct {
	ID uint64 // unique within the server, increasing
	Peer
	Subject                 string // of the client's certificate, empty without TLS
	Since, LastActivity     time.Time
	BytesRead, BytesWritten uint64 // from and to the device
	Size                    int64  // of the device when the client connected, bytes
}

// conn is the connection of a client.
type conn struct {
	srv  *Server
	id   uint64
	peer Peer
	done chan struct{} // closed at the end, after the flush of an export's last connection

	mu       sync.Mutex // guards changes of draining, and nc while TLS replaces it
	nc       net.Conn
	draining atomic.Bool
	drained  chan struct{} // closed when draining begins

	address     *address
	inHandshake bool // guarded by srv.mu
	hasTurn     bool // for the handshake

	br        *bufio.Reader
	input     cappedReader // what br reads from during transmission
	export    *Export
	nowaitDev NowaitDevice // the export's device; nil if it is none
	size      int64        // of the device, bytes

	structured       bool   // structured replies are negotiated
	allocation       bool   // the client selected base:allocation …
	allocationExport string // … for the export of this name

	out           replyWriter
	batch         *buffer             // replies without data and small reads, not yet sent; may be nil
	batched       int                 // bytes in batch
	offloadWrites int                 // this many writes more go to other goroutines, after a slow one
	pipe          *pipe               // from the socket to the device; nil before the first use
	noPipe        bool                // splice is of no use on this connection
	budget        *semaphore.Weighted // connMemory
	own           *semaphore.Weighted // ownBuffer
	exclusive     sync.RWMutex        // held for reading by every send, for writing by a reply in pieces
	inflight      sync.WaitGroup

	connectedAt time.Time
	lastActive  atomic.Int64 // Unix nanoseconds
	read        atomic.Uint64
	written     atomic.Uint64
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		srv: s, id: s.lastID.Add(1), nc: newSocket(nc), done: make(chan struct{}), drained: make(chan struct{}), budget: semaphore.NewWeighted(connMemory), own: semaphore.NewWeighted(ownBuffer),
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.peer.Addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return c
}

func (c *conn) stats() ConnStats {
	s := ConnStats{
		ID: c.id, Peer: c.peer, Since: c.connectedAt, LastActivity: time.Unix(0, c.lastActive.Load()),
		BytesRead: c.read.Load(), BytesWritten: c.written.Load(), Size: c.size,
	}
	if c.peer.Certificate != nil {
		s.Subject = c.peer.Certificate.Subject.String()
	}
	return s
}

// run serves the connection from the greeting to its end.
func (c *conn) run(ctx context.Context) {
	defer close(c.done)
	defer c.srv.removeConn(c)
	defer c.closeSocket()
	defer c.leaveExport(ctx)
	log := c.srv.Log.With("conn", c.id, "addr", c.peer.Addr)
	if err := c.awaitTurn(); err != nil {
		c.refused(RefusedHandshakes, err)
		return
	}
	if err := c.runHandshake(ctx); err != nil {
		c.refused(RefusedNegotiation, err)
		return
	}
	log = log.With("export", c.export.name)
	log.Info("nbd connected")
	err := c.transmit(ctx)
	if c.draining.Load() {
		err = errEnded
	}
	c.inflight.Wait()
	c.closeSocket()
	log.Info("nbd disconnected", "read", c.read.Load(), "written", c.written.Load(), "reason", err)
}

// refused tells of a handshake that failed, unless that is told already or this server
// or the client ended it in good order.
func (c *conn) refused(why Refusal, err error) {
	if c.draining.Load() || errors.Is(err, errClientAborted) || errors.Is(err, errRefused) {
		return
	}
	var failed *tlsError
	if errors.As(err, &failed) {
		why = RefusedTLS
	}
	c.srv.refuse(why, c.peer, err)
}

// leaveExport removes the connection from its export, if it has one. The last one
// flushes, since clients may leave without doing so.
func (c *conn) leaveExport(ctx context.Context) {
	if c.export == nil {
		return
	}
	if c.export.finishConn() {
		c.export.reportError("flush", c.export.flush(ctx))
	}
	c.export.removeConn(c)
}

// drain stops reading requests; those under way are finished and answered. It
// reports whether the connection was not draining before.
func (c *conn) drain() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	begun := c.draining.CompareAndSwap(false, true)
	if begun {
		close(c.drained)
	}
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	return begun
}

// closeSocket closes the socket. It may be repeated.
func (c *conn) closeSocket() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.Close()
}

// setReadTimeout limits the time of reads from now on; zero means no limit.
func (c *conn) setReadTimeout(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining.Load() {
		return
	}
	if limit <= 0 {
		_ = c.nc.SetReadDeadline(time.Time{})
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(limit))
}

// upgradeTLS does the TLS handshake and replaces the plain connection.
func (c *conn) upgradeTLS(ctx context.Context) error {
	if c.br.Buffered() > 0 {
		return errors.New("data before the TLS handshake")
	}
	t := tls.Server(c.nc, c.srv.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return explainTLS(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc, c.br = t, bufio.NewReaderSize(t, handshakeBuffer)
	c.peer.Certificate = t.ConnectionState().PeerCertificates[0]
	return nil
}

// readPayload fills p with the payload of a WRITE.
func (c *conn) readPayload(p []byte) error {
	if c.br.Buffered() < len(p) {
		if err := c.flushBatch(); err != nil {
			return err
		}
		defer c.startPayloadTimeout(len(p))()
	}
	c.input.maxRead = 0
	if len(p) <= maxInlineWrite {
		_, err := io.ReadFull(c.br, p)
		return err
	}
	n := 0
	if c.br.Buffered() > 0 {
		n, _ = c.br.Read(p)
	}
	// Not through the read buffer: it would take in the head of the next payload,
	// which would then have to be copied out of it.
	_, err := io.ReadFull(c.input.Reader, p[n:])
	c.input.maxRead = requestSize
	return err
}

// cappedReader fills the read buffer. After a large payload it reads only the next
// request's header, since what the buffer holds of another large payload would be
// copied once more.
type cappedReader struct {
	io.Reader
	maxRead int // bytes of one read; zero means no limit
}

func (s *cappedReader) Read(p []byte) (int, error) {
	if s.maxRead > 0 && len(p) > s.maxRead {
		p = p[:s.maxRead]
	}
	return s.Reader.Read(p)
}

// startPayloadTimeout limits the time for reading n bytes to StallTimeout and a
// second for each MiB, until the returned function is called.
func (c *conn) startPayloadTimeout(n int) func() {
	c.setReadTimeout(c.srv.StallTimeout + time.Duration(n>>20)*time.Second)
	return func() { c.setReadTimeout(0) }
}

// discardPayload reads the n bytes of a payload that nobody needs.
func (c *conn) discardPayload(n int) error {
	if c.br.Buffered() < n {
		if err := c.flushBatch(); err != nil {
			return err
		}
		defer c.startPayloadTimeout(n)()
	}
	_, err := c.br.Discard(n)
	return err
}

// isTimeout reports whether err is the end of a read or write deadline, also of the
// one that drain sets.
func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
