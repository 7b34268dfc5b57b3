package nbd

import (
	"errors"
	"time"
)

// waitTimeouts is how many HandshakeTimeouts a connection waits for its turn at most.
const waitTimeouts = 4

// address is what the connections from one IP address share.
type address struct {
	conns      int           // guarded by Server.mu
	handshakes int           // of conns, in the handshake or waiting for it; guarded by Server.mu
	turns      chan struct{} // holds a token for each handshake under way
	share      share         // of the server's memory
}

var (
	errTooManyWaiting = errors.New("too many handshakes from the address")
	errWaitedTooLong  = errors.New("waited too long for the handshakes of others from the address")
	errServerFull     = errors.New("too many connections to the server")
)

// addConn counts a connection, or returns the reason to refuse it.
func (s *Server) addConn(c *conn) (Refusal, error) {
	ip := c.peer.Addr.Addr()
	if s.Admit != nil {
		if err := s.Admit(ip); err != nil {
			return RefusedAddress, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a, free := s.addresses[ip], s.MaxConns-len(s.conns)
	switch {
	case s.closing:
		return "", ErrServerClosed
	case free <= 0:
		return RefusedConnections, errServerFull
	case a != nil && a.handshakes >= s.MaxHandshakes+min(s.MaxWaiting, free/2): // leave others room
		return RefusedHandshakes, errTooManyWaiting
	case a == nil:
		a = &address{turns: make(chan struct{}, s.MaxHandshakes)}
		s.addresses[ip] = a
	}
	a.conns++
	a.handshakes++
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	c.address, c.inHandshake = a, true
	return "", nil
}

// removeConn forgets a connection that has ended.
func (s *Server) removeConn(c *conn) {
	s.handshakeDone(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.address.conns--; c.address.conns == 0 {
		delete(s.addresses, c.peer.Addr.Addr())
	}
}

// awaitTurn waits until few enough connections from the address are in the handshake.
func (c *conn) awaitTurn() error {
	limit := time.NewTimer(waitTimeouts * c.srv.HandshakeTimeout)
	defer limit.Stop()
	select {
	case c.address.turns <- struct{}{}:
		c.hasTurn = true
		return nil
	case <-c.drained:
		return errEnded
	case <-limit.C:
		return errWaitedTooLong
	}
}

// handshakeDone gives the turn to the next connection from the address. It may be
// repeated.
func (s *Server) handshakeDone(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.inHandshake {
		return
	}
	c.inHandshake = false
	c.address.handshakes--
	if c.hasTurn {
		<-c.address.turns
	}
}
