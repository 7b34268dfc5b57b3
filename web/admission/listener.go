package admission

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Listener accepts at most max connections. When all are in use, a new one takes the
// place of one that waits for its client: silent, idle, in the middle of what it sends,
// or not taking what it gets. Of these the one gives way that has waited longest at the
// address that has most of them, so that whoever fills the console up does it at their
// own expense.
type Listener struct {
	net.Listener
	max  int
	now  func() time.Time
	full func()

	mu    sync.Mutex
	conns map[*Conn]struct{}
}

// Limit makes a listener of at most limit connections at once. full is called for each
// connection that gave way or was refused; it may be nil.
func Limit(l net.Listener, limit int, now func() time.Time, full func()) *Listener {
	if full == nil {
		full = func() {}
	}
	return &Listener{Listener: l, max: limit, now: now, full: full, conns: map[*Conn]struct{}{}}
}

// Accept waits for the next connection that there is a place for. Errors: those of the
// listener below.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c := &Conn{Conn: nc, listener: l, address: addressOf(nc), since: l.now()}
		if l.add(c) {
			return c, nil
		}
		nc.Close()
	}
}

func addressOf(nc net.Conn) string {
	peer, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	if err != nil {
		return ""
	}
	return AddressKey(peer.Addr())
}

// AddressKey is one key for all addresses that a client has: an IPv6 client has a
// network of them.
func AddressKey(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if network, err := ip.Prefix(64); err == nil && ip.Is6() {
		return network.String()
	}
	return ip.String()
}

// add counts a connection; false: all are busy.
func (l *Listener) add(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.conns) >= l.max {
		l.full()
		waiting := l.longestWaiting()
		if waiting == nil {
			return false
		}
		waiting.giveWay()
	}
	l.conns[c] = struct{}{}
	return true
}

// longestWaiting is the connection that gives way next; nil: all are busy.
func (l *Listener) longestWaiting() *Conn {
	now, since, count := l.now(), map[*Conn]time.Time{}, map[string]int{}
	for c := range l.conns {
		if start, ok := c.waitsSince(now); ok {
			since[c] = start
			count[c.address]++
		}
	}
	var found *Conn
	for c, start := range since {
		if found == nil || count[c.address] > count[found.address] ||
			count[c.address] == count[found.address] && start.Before(since[found]) {
			found = c
		}
	}
	return found
}

// Conn is a connection that knows whether it is busy or waits for its client.
type Conn struct {
	net.Conn
	listener *Listener
	address  string

	// Guarded by listener.mu.
	busy    int       // number of requests that are being answered
	since   time.Time // it waits, when busy is 0
	writing time.Time // when the write began that is under way; zero: none is
	gaveWay bool
}

// stalled is after what time a client that takes nothing is one that the connection waits for.
const stalled = time.Second

// waitsSince returns since when the connection waits for its client; false: it does not.
func (c *Conn) waitsSince(now time.Time) (time.Time, bool) {
	switch {
	case c.busy == 0:
		return c.since, true
	case !c.writing.IsZero() && now.Sub(c.writing) > stalled:
		return c.writing, true
	}
	return time.Time{}, false
}

type connKey struct{}

// ConnContext is for http.Server: ConnOf then finds the connection of a request.
func ConnContext(ctx context.Context, nc net.Conn) context.Context {
	if encrypted, ok := nc.(*tls.Conn); ok {
		nc = encrypted.NetConn()
	}
	return context.WithValue(ctx, connKey{}, nc)
}

// ConnOf is the connection of a request's context; nil, which may be used, where it is
// not one of a Listener.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// Busy says that a request is being answered: until Wait the connection stays.
func (c *Conn) Busy() { c.add(1) }

// Wait says that the connection waits for its client again.
func (c *Conn) Wait() { c.add(-1) }

func (c *Conn) add(n int) {
	if c == nil {
		return
	}
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.busy += n; c.busy == 0 {
		c.since = c.listener.now()
	}
}

// Write writes to the client. Errors: those of the connection below.
func (c *Conn) Write(b []byte) (int, error) {
	c.setWriting(c.listener.now())
	defer c.setWriting(time.Time{})
	return c.Conn.Write(b)
}

func (c *Conn) setWriting(since time.Time) {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	c.writing = since
}

// giveWay ends the connection's reads, and a write that has stalled, and frees its
// place. What is still to be written leaves, so a client whose body was too slow is told.
func (c *Conn) giveWay() {
	past, set := time.Unix(1, 0), c.Conn.SetReadDeadline
	if c.busy > 0 {
		set = c.Conn.SetDeadline
	}
	c.gaveWay = true
	delete(c.listener.conns, c)
	_ = set(past) // an error: it is closed already
}

// SetReadDeadline sets the deadline of reads, unless the connection gave way. Errors:
// those of the connection below.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.unlessGone(func() error { return c.Conn.SetReadDeadline(t) })
}

// SetDeadline sets the deadline of reads and writes, that of reads unless the connection
// gave way. Errors: those of the connection below.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline sets the deadline of writes. Errors: those of the connection below.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	return c.unlessGone(func() error { return c.Conn.SetWriteDeadline(t) })
}

func (c *Conn) unlessGone(set func() error) error {
	c.listener.mu.Lock()
	defer c.listener.mu.Unlock()
	if c.gaveWay {
		return nil
	}
	return set()
}

// CloseWrite ends what is written, so that http.Server's last answer arrives before the
// connection is gone. Errors: those of the connection below, errors.ErrUnsupported.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Close closes the connection and frees its place. Errors: those of the connection below.
func (c *Conn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.conns, c)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
