package nbd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ErrServerClosed is what Serve returns after Shutdown.
var ErrServerClosed = errors.New("nbd: server closed")

// Server serves exports over NBD. The first Serve reads the fields, which must not
// change afterwards; all but Exports may be zero.
//
// Requests under way share MaxMemory bytes: no export and no address holds more of
// them than it leaves to others, and requests that get none are served in pieces. A
// connection has at most 64 MiB of requests under way, beyond which it waits for
// itself. It also uses 256 KiB, 1 MiB each for small requests, for pieces and for
// replies that its client has not taken, and in the kernel up to 8 MiB of socket
// buffers and a pipe of 256 KiB.
type Server struct {
	Exports Exports
	// TLS makes TLS mandatory (FORCEDTLS), with client certificates signed by
	// ClientCAs, which must be set. nil: no TLS.
	TLS *tls.Config
	// Admit decides on a connection before any byte is exchanged: an error is the
	// reason to refuse it. nil admits all.
	Admit func(netip.Addr) error
	// OnRefused is told of every client that is turned away, and must not block. The
	// log folds those that repeat. nil discards.
	OnRefused func(Refusal)
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil means time.Now

	HandshakeTimeout time.Duration // for the whole handshake; zero means 15 s
	StallTimeout     time.Duration // for a client to take a reply or to send a payload; zero means 60 s
	MaxConns         int           // connections at once; zero means 1024
	MaxHandshakes    int           // handshakes at once from one address; zero means 32
	MaxWaiting       int           // connections that wait for those, for 4 HandshakeTimeouts at most; zero means 256
	MaxMemory        int64         // bytes shared by requests under way; zero means 256 MiB
	MaxDiskCalls     int           // blocking calls of devices at once; zero means 256

	initOnce  sync.Once
	memory    memory
	refusals  refusals
	diskSlots chan struct{}
	tls       *tls.Config
	lastID    atomic.Uint64
	wg        sync.WaitGroup // one per connection

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	addresses map[netip.Addr]*address // that have connections
}

func (s *Server) init() {
	s.initOnce.Do(func() {
		s.MaxMemory = cmp.Or(s.MaxMemory, 256<<20)
		s.MaxDiskCalls = cmp.Or(s.MaxDiskCalls, 256)
		s.MaxConns = cmp.Or(s.MaxConns, 1024)
		s.MaxHandshakes = cmp.Or(s.MaxHandshakes, 32)
		s.MaxWaiting = cmp.Or(s.MaxWaiting, 256)
		s.HandshakeTimeout = cmp.Or(s.HandshakeTimeout, 15*time.Second)
		s.StallTimeout = cmp.Or(s.StallTimeout, 60*time.Second)
		s.Log = cmp.Or(s.Log, slog.New(slog.DiscardHandler))
		if s.Now == nil {
			s.Now = time.Now
		}
		if s.TLS != nil {
			s.tls = serverTLS(s.TLS)
		}
		s.memory.max = s.MaxMemory
		s.diskSlots = make(chan struct{}, s.MaxDiskCalls)
		s.listeners = map[net.Listener]struct{}{}
		s.conns = map[*conn]struct{}{}
		s.addresses = map[netip.Addr]*address{}
	})
}

// Serve accepts connections on l until Shutdown, and returns ErrServerClosed then,
// or until l fails for good, and returns that error. It closes l. The end of ctx
// stops it as Shutdown does, without waiting for the connections.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer l.Close()
	if s.TLS != nil && s.TLS.ClientCAs == nil {
		return errors.New("nbd: TLS without ClientCAs cannot verify clients")
	}
	s.init()
	if !s.addListener(l) {
		return ErrServerClosed
	}
	defer s.removeListener(l)
	stop := context.AfterFunc(ctx, s.closeAndDrain)
	defer stop()
	for pause := time.Duration(0); ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.startConn(context.WithoutCancel(ctx), nc)
		case s.isClosing():
			return ErrServerClosed
		case errors.Is(err, net.ErrClosed):
			return err
		default: // it may pass, as running out of descriptors does
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.Log.Warn("nbd accept", "error", err, "retry_in", pause)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// startConn serves a connection in a goroutine, or closes it where it is refused.
func (s *Server) startConn(ctx context.Context, nc net.Conn) {
	if tcp, ok := nc.(*net.TCPConn); ok {
		// Idle clients may stay for ever; this finds the machines that are gone.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 6})
	}
	c := newConn(s, nc)
	if why, err := s.addConn(c); err != nil {
		if why != "" {
			s.refuse(why, c.peer, err)
		}
		nc.Close()
		return
	}
	go func() {
		defer s.wg.Done()
		c.run(ctx)
	}()
}

// closeAndDrain closes the listeners and drains every connection.
func (s *Server) closeAndDrain() {
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

// Shutdown stops accepting connections and reading requests, finishes and answers
// those under way, flushes the devices and returns when every connection has ended.
// When ctx ends first, it closes the sockets and returns the error of ctx. The
// server cannot be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.init()
	s.closeAndDrain()
	ended := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.closeSocket()
	}
	return ctx.Err()
}
