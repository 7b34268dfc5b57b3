package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("nbd: server closed")

// Server speaks NBD. Its fields are read by the first Serve and must not change
// afterwards; all but Exports may be left zero.
//
// Payloads, and what a request needs beside them, take Memory bytes in all and 64
// MiB for one connection at most; who asks for more waits. A connection takes 256
// KiB, up to 1 MiB more of small replies while its client does not take them, and
// of the kernel what its socket and the pipe behind it hold: 8 MiB and 256 KiB.
type Server struct {
	Exports Exports
	// TLS makes TLS mandatory (FORCEDTLS) with a client certificate that
	// ClientCAs verifies; ClientCAs must be set. nil: no TLS.
	TLS *tls.Config
	// Admit refuses an address before a byte is exchanged. nil admits all.
	Admit func(netip.Addr) bool
	Log   *slog.Logger     // nil discards
	Now   func() time.Time // nil means time.Now

	HandshakeTimeout time.Duration // for a whole negotiation; zero means 15 s
	StallTimeout     time.Duration // for a client to take a reply or to send a payload it announced; zero means 60 s
	MaxConns         int           // connections at once; zero means 1024
	MaxHandshakes    int           // negotiations at once from one address; zero means 32
	Memory           int64         // bytes for payloads of all connections; zero means 256 MiB, less than MaxRequest is raised to it
	MaxDisk          int           // calls at once that wait for the disk; zero means 256

	start   sync.Once
	budget  *semaphore.Weighted
	disk    chan struct{}
	tls     *tls.Config
	ids     atomic.Uint64
	running sync.WaitGroup // connections

	mu         sync.Mutex
	closing    bool
	listeners  map[net.Listener]struct{}
	conns      map[*conn]struct{}
	handshakes map[netip.Addr]int
}

func (s *Server) init() {
	s.start.Do(func() {
		s.Memory = max(orDefault(s.Memory, 256<<20), MaxRequest)
		s.MaxDisk = orDefault(s.MaxDisk, 256)
		s.MaxConns = orDefault(s.MaxConns, 1024)
		s.MaxHandshakes = orDefault(s.MaxHandshakes, 32)
		s.HandshakeTimeout = orDefault(s.HandshakeTimeout, 15*time.Second)
		s.StallTimeout = orDefault(s.StallTimeout, 60*time.Second)
		if s.Log == nil {
			s.Log = slog.New(slog.DiscardHandler)
		}
		if s.Now == nil {
			s.Now = time.Now
		}
		if s.TLS != nil {
			s.tls = s.TLS.Clone()
			s.tls.ClientAuth = tls.RequireAndVerifyClientCert
		}
		s.budget = semaphore.NewWeighted(s.Memory)
		s.disk = make(chan struct{}, s.MaxDisk)
		s.listeners = map[net.Listener]struct{}{}
		s.conns = map[*conn]struct{}{}
		s.handshakes = map[netip.Addr]int{}
	})
}

func orDefault[T int | int64 | time.Duration](v, def T) T {
	if v <= 0 {
		return def
	}
	return v
}

// Serve accepts connections on l until Shutdown, which makes it return
// ErrServerClosed, or until accepting fails. When ctx ends, l is closed and
// connections are drained, without waiting for them: call Shutdown. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if s.TLS != nil && s.TLS.ClientCAs == nil {
		return errors.New("nbd: TLS without ClientCAs cannot verify clients")
	}
	s.init()
	if !s.listen(l) {
		return ErrServerClosed
	}
	defer s.forget(l)
	stop := context.AfterFunc(ctx, s.stop)
	defer stop()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.accept(context.WithoutCancel(ctx), nc)
		case s.isClosing():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // out of descriptors, say: it passes
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.Log.Warn("nbd accept", "error", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) forget(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// accept starts a connection unless there are too many.
func (s *Server) accept(ctx context.Context, nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		// An idle client may stay for ever, a machine that is gone may not.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6})
	}
	c := newConn(s, nc)
	if !s.admit(c) {
		nc.Close()
		return
	}
	go func() {
		defer s.running.Done()
		c.run(ctx)
	}()
}

func (s *Server) admit(c *conn) bool {
	ip := c.peer.Addr.Addr()
	if s.Admit != nil && !s.Admit(ip) {
		s.Log.Info("nbd refused", "addr", c.peer.Addr)
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.conns) >= s.MaxConns || s.handshakes[ip] >= s.MaxHandshakes {
		return false
	}
	s.conns[c] = struct{}{}
	s.handshakes[ip]++
	s.running.Add(1)
	return true
}

// negotiated takes a connection off the count of handshakes, once.
func (s *Server) negotiated(c *conn) {
	ip := c.peer.Addr.Addr()
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.negotiated {
		return
	}
	c.negotiated = true
	if s.handshakes[ip]--; s.handshakes[ip] <= 0 {
		delete(s.handshakes, ip)
	}
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// stop closes the listeners and drains every connection.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	for c := range s.conns {
		c.drain()
	}
}

// Shutdown accepts and reads nothing any more, lets requests under way finish
// and be answered, flushes what was written and returns when every connection is
// gone. When ctx ends first, the sockets are closed and the error is that of
// ctx. The server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.stop()
	gone := make(chan struct{})
	go func() {
		s.running.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.kill()
	}
	return ctx.Err()
}
