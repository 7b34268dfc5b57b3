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
	readBuffer      = 256 << 10 // many small requests, or the head of a large one, in one call
	connMemory      = 64 << 20  // bytes of payloads under way on one connection
	connMinCost     = 256 << 10 // what the smallest request counts: 256 under way at most
	serverMinCost   = 8 << 10   // a goroutine's stack
)

// ConnStats is one connection in transmission.
type ConnStats struct {
	ID                      uint64 // unique within the server, rising
	Addr                    netip.AddrPort
	Subject                 string // of the client's certificate, empty without TLS
	Since, LastActivity     time.Time
	BytesRead, BytesWritten uint64 // from and to the device
	Size                    int64  // of the device as this client knows it
}

// conn is one client.
type conn struct {
	srv  *Server
	id   uint64
	peer Peer
	done chan struct{} // closed when the connection is over, and its writes are flushed if it was the last

	mu       sync.Mutex // guards nc against the switch to TLS, and draining
	nc       net.Conn
	draining bool

	negotiated bool // guarded by srv.mu

	br     *bufio.Reader
	src    source // under br in transmission
	export *Export
	prompt Prompt // the export's device, if it is one
	size   int64

	structured  bool
	allocation  bool   // base:allocation was selected …
	allocatedOn string // … for the export of this name

	out      replies
	batch    *buffer // small replies of the reading goroutine …
	batched  int     // … so far
	patience int     // writes that are not done by the reading goroutine, after a slow one
	pipe     *pipe   // from the socket to the device; nil before the first use …
	pipeless bool    // … and for good where there can be none
	budget   *semaphore.Weighted
	inflight sync.WaitGroup

	since   time.Time
	active  atomic.Int64 // Unix nanoseconds
	read    atomic.Uint64
	written atomic.Uint64
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{srv: s, id: s.ids.Add(1), nc: direct(nc), done: make(chan struct{}), budget: semaphore.NewWeighted(connMemory)}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := a.AddrPort()
		c.peer.Addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return c
}

func (c *conn) stats() ConnStats {
	s := ConnStats{
		ID: c.id, Addr: c.peer.Addr, Since: c.since, LastActivity: time.Unix(0, c.active.Load()),
		BytesRead: c.read.Load(), BytesWritten: c.written.Load(), Size: c.size,
	}
	if c.peer.Certificate != nil {
		s.Subject = c.peer.Certificate.Subject.String()
	}
	return s
}

// run is the life of a connection.
func (c *conn) run(ctx context.Context) {
	defer close(c.done)
	defer c.srv.remove(c)
	defer c.kill()
	defer c.leave(ctx)
	log := c.srv.Log.With("conn", c.id, "addr", c.peer.Addr)
	err := c.negotiate(ctx)
	c.srv.negotiated(c)
	if err != nil {
		if !errors.Is(err, errAborted) {
			log.Info("nbd negotiation", "error", err)
		}
		return
	}
	log = log.With("export", c.export.name)
	log.Info("nbd connected")
	err = c.transmit(ctx)
	c.inflight.Wait()
	c.kill()
	log.Info("nbd disconnected", "read", c.read.Load(), "written", c.written.Load(), "reason", err)
}

// leave takes the connection off the export that it entered, if it did. The
// clients may be gone without a flush; what they wrote should not depend on this
// machine's luck.
func (c *conn) leave(ctx context.Context) {
	if c.export == nil {
		return
	}
	if c.export.abandoned() {
		c.export.report("flush", c.export.clean(ctx))
	}
	c.export.remove(c)
}

// drain makes the connection read nothing any more; requests that were read are
// finished.
func (c *conn) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
}

// kill closes the socket. It may be repeated.
func (c *conn) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc.Close()
}

// readBy sets a time limit for reading; zero means none.
func (c *conn) readBy(limit time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.draining {
		return
	}
	if limit <= 0 {
		_ = c.nc.SetReadDeadline(time.Time{})
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(limit))
}

// startTLS replaces the plain connection.
func (c *conn) startTLS(ctx context.Context) error {
	if c.br.Buffered() > 0 {
		return errors.New("data before the TLS handshake")
	}
	t := tls.Server(c.nc, c.srv.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nc, c.br = t, bufio.NewReaderSize(t, handshakeBuffer)
	c.peer.Certificate = t.ConnectionState().PeerCertificates[0]
	return nil
}

// acquire takes a buffer of at least n bytes, within the budgets.
func (c *conn) acquire(ctx context.Context, n int) (*buffer, error) {
	size := int64(1) << classOf(n)
	mine, all := max(size, connMinCost), max(size, serverMinCost)
	if !c.budget.TryAcquire(mine) {
		if err := c.flushBatch(); err != nil {
			return nil, err
		}
		if err := c.budget.Acquire(ctx, mine); err != nil {
			return nil, err
		}
	}
	if !c.srv.budget.TryAcquire(all) {
		err := c.flushBatch()
		if err == nil {
			err = c.srv.budget.Acquire(ctx, all)
		}
		if err != nil {
			c.budget.Release(mine)
			return nil, err
		}
	}
	b := getBuffer(n)
	b.owner = c
	return b, nil
}

// refund undoes acquire's charge for a buffer of size bytes.
func (c *conn) refund(size int64) {
	c.budget.Release(max(size, connMinCost))
	c.srv.budget.Release(max(size, serverMinCost))
}

// payload fills p with what follows the request header. A client may take the
// stall limit and a second for each MiB.
func (c *conn) payload(p []byte) error {
	if c.br.Buffered() < len(p) {
		if err := c.flushBatch(); err != nil {
			return err
		}
		defer c.awaitPayload(len(p))()
	}
	c.src.limit = 0
	if len(p) <= inlineWrite {
		_, err := io.ReadFull(c.br, p)
		return err
	}
	n := 0
	if c.br.Buffered() > 0 {
		n, _ = c.br.Read(p)
	}
	// Not through the read buffer, which would take the next payload's head along
	// and so on for ever.
	_, err := io.ReadFull(c.src.Reader, p[n:])
	c.src.limit = requestSize
	return err
}

// source is what the read buffer is filled from. After a large payload limit
// keeps it from taking more than the next request's head, since what it takes of
// another large payload would be copied once more.
type source struct {
	io.Reader
	limit int // of one read; zero means none
}

func (s *source) Read(p []byte) (int, error) {
	if s.limit > 0 && len(p) > s.limit {
		p = p[:s.limit]
	}
	return s.Reader.Read(p)
}

// awaitPayload limits the time of reading n bytes until the returned function is
// called.
func (c *conn) awaitPayload(n int) func() {
	c.readBy(c.srv.StallTimeout + time.Duration(n>>20)*time.Second)
	return func() { c.readBy(0) }
}

// drop reads and forgets a payload.
func (c *conn) drop(n int) error {
	if c.br.Buffered() < n {
		if err := c.flushBatch(); err != nil {
			return err
		}
		defer c.awaitPayload(n)()
	}
	_, err := c.br.Discard(n)
	return err
}

// timedOut says that err is the end of a time limit, also that of drain.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
