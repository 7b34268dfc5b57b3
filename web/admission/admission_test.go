package admission

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"
)

// pipes is a listener whose clients come from where the test says.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	nc, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return nc, nil
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return nil }

type from struct {
	net.Conn
	address net.Addr
}

func (f from) RemoteAddr() net.Addr { return f.address }

// fixture is a Listener of three connections with a clock that stands still.
type fixture struct {
	*Listener
	pipes pipes
	now   time.Time
	full  int
}

func newFixture() *fixture {
	f := &fixture{pipes: make(pipes, 1), now: time.Unix(1000, 0)}
	f.Listener = Limit(f.pipes, 3, func() time.Time { return f.now }, func() { f.full++ })
	return f
}

// connect is a client that is accepted, one second after the last.
func (f *fixture) connect(t *testing.T, address string) (client net.Conn, c *Conn) {
	t.Helper()
	f.now = f.now.Add(time.Second)
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	f.pipes <- from{far, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(address))}
	nc, err := f.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, nc.(*Conn)
}

func gaveWay(c *Conn) bool {
	_, err := c.Read(make([]byte, 1))
	return errors.Is(err, os.ErrDeadlineExceeded)
}

func TestListener_LongestWaitingGivesWay(t *testing.T) {
	f := newFixture()
	_, first := f.connect(t, "192.0.2.1:1")
	_, second := f.connect(t, "192.0.2.1:2")
	_, third := f.connect(t, "192.0.2.1:3")
	first.Busy()
	_, fourth := f.connect(t, "192.0.2.1:4")
	if !gaveWay(second) {
		t.Error("the one that waits longest stays")
	}
	// The server sets deadlines of its own, before each request.
	if err := second.SetReadDeadline(time.Time{}); err != nil || !gaveWay(second) {
		t.Errorf("it waits again: %v", err)
	}
	f.now = f.now.Add(time.Second)
	first.Wait()
	third.Busy()
	_, fifth := f.connect(t, "192.0.2.1:5")
	if !gaveWay(fourth) {
		t.Error("the one whose request has just ended went first")
	}
	if f.full != 2 {
		t.Errorf("%d were counted, not 2", f.full)
	}
	first.Close()
	f.connect(t, "192.0.2.1:6")
	if f.full != 2 {
		t.Error("a connection that was closed still counts")
	}
	fifth.Close()
}

func TestListener_WhoFillsItGivesWay(t *testing.T) {
	f := newFixture()
	_, neighbour := f.connect(t, "198.51.100.9:1")
	_, crowd := f.connect(t, "[2001:db8::1]:1")
	f.connect(t, "[2001:db8::2]:1") // of the same network
	f.connect(t, "203.0.113.5:1")
	if !gaveWay(crowd) {
		t.Error("the neighbour pays for the crowd")
	}
	neighbour.Close()
}

func TestListener_AllBusy(t *testing.T) {
	f := newFixture()
	for range 3 {
		_, c := f.connect(t, "192.0.2.1:1")
		c.Busy()
	}
	near, far := net.Pipe()
	f.pipes <- from{far, net.TCPAddrFromAddrPort(netip.MustParseAddrPort("192.0.2.2:1"))}
	close(f.pipes)
	if _, err := f.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Fatal(err)
	}
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("it was not closed: %v", err)
	}
}

// A client that takes nothing of its answer waits no less than one that asks nothing.
func TestListener_StalledWriterGivesWay(t *testing.T) {
	f := newFixture()
	_, stalledConn := f.connect(t, "192.0.2.1:1")
	stalledConn.Busy()
	written := make(chan error, 1)
	go func() {
		_, err := stalledConn.Write(make([]byte, 10))
		written <- err
	}()
	for {
		f.mu.Lock()
		begun := !stalledConn.writing.IsZero()
		f.mu.Unlock()
		if begun {
			break
		}
	}
	for range 2 {
		_, c := f.connect(t, "192.0.2.1:1")
		c.Busy()
	}
	f.connect(t, "192.0.2.1:4")
	if err := <-written; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the write goes on: %v", err)
	}
}

func TestCounter(t *testing.T) {
	c := NewCounter(2)
	for _, step := range []struct {
		key  string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}} {
		if got := c.Enter(step.key); got != step.want {
			t.Errorf("%s: %v", step.key, got)
		}
	}
	c.Leave("a")
	if !c.Enter("a") || c.Enter("a") {
		t.Error("one that left is not forgotten")
	}
}

func TestDivide_LeavesOneFree(t *testing.T) {
	for conns := 10; conns < 20_000; conns += 7 {
		s := Divide(conns)
		if free := conns - s.Streams - s.Pages - s.SignIns; free < 1 || s.Pages < 2 || s.Streams < 5 {
			t.Errorf("%d: %+v", conns, s)
		}
	}
}
