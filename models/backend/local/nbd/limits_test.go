package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// waitMemoryReleased waits until the whole shared memory is free.
func waitMemoryReleased(t testing.TB, s *Server) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); s.memoryUsed() > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("memory is still charged")
		}
	}
}

func (s *Server) memoryUsed() int64 {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	return s.memory.used
}

// Each malformed frame ends its connection and disturbs no other.
func TestServer_MalformedFrames(t *testing.T) {
	t.Parallel()
	be := binary.BigEndian
	header := func(magic uint64, opt, length uint32) []byte {
		return be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, magic), opt), length)
	}
	m := newMemDevice(1 << 20)
	addr, s := startServer(t, exportMap{"v": NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxHandshakes = 100 })
	neighbour := dialExport(t, addr, "v", true)
	for name, frame := range map[string][]byte{
		"bad option magic":      header(optMagic+1, optList, 0),
		"request as an option":  requestFrame(request{kind: cmdRead, length: 4096}),
		"option of 4 GiB":       header(optMagic, optGo, 1<<32-1),
		"option of 64 KiB + 1":  header(optMagic, 77, maxOption+1),
		"EXPORT_NAME of 60 KiB": optionFrame(optExportName, make([]byte, 60<<10)),
		"EXPORT_NAME unknown":   optionFrame(optExportName, []byte("../../etc/passwd")),
		"EXPORT_NAME with NUL":  optionFrame(optExportName, []byte("v\x00")),
		"HTTP":                  []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
		"TLS at once":           []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and more to make it long enough"),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, addr)
			c.write(frame)
			c.wantDisconnected()
		})
	}
	for name, frame := range map[string][]byte{
		"bad request magic":       make([]byte, requestSize),
		"reply as a request":      append(appendSimple(nil, 1, 0), make([]byte, 12)...),
		"option as a request":     append(optionFrame(optList, nil), make([]byte, 12)...),
		"WRITE of 4 GiB":          requestFrame(request{kind: cmdWrite, length: 1<<32 - 1}),
		"WRITE of MaxRequest + 1": requestFrame(request{kind: cmdWrite, length: MaxRequest + 1}),
		"a good one, then noise":  append(requestFrame(request{kind: cmdFlush}), randomBytes(100)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := dialExport(t, addr, "v", true)
			c.write(frame)
			c.wantDisconnected()
		})
	}
	t.Run("unknown client flags", func(t *testing.T) { dialAs(t, addr, 4).wantDisconnected() })
	neighbour.wantErrno(cmdWrite, 0, 0, 4096, randomBytes(4096), 0)
	neighbour.wantErrno(cmdRead, 0, 0, 4096, nil, 0)
	waitMemoryReleased(t, s)
}

// A connection that breaks off at any byte leaves nothing behind.
func TestServer_TruncatedStreams(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(1<<20), ExportOptions{})
	addr, s := startServer(t, exportMap{"v": e}, nil)
	whole := append(optionFrame(optStructuredReply, nil), optionFrame(optGo, goData("v"))...)
	for n := 0; n <= len(whole); n += 3 {
		c := dial(t, addr)
		c.write(whole[:n])
		c.Close()
	}
	write := append(requestFrame(request{kind: cmdWrite, length: 1 << 19}), make([]byte, 1000)...)
	for n := 0; n < len(write); n += 9 {
		c := dialExport(t, addr, "v", true)
		c.write(write[:n])
		c.Close()
	}
	if err := e.Disconnect(context.Background(), nil); err != nil {
		t.Error(err)
	}
	waitMemoryReleased(t, s)
}

// Silent and slow clients are disconnected during the handshake, and not after it.
func TestServer_HandshakeTimeout(t *testing.T) {
	e := NewExport("v", newMemDevice(1<<20), ExportOptions{})
	addr, _ := startServer(t, exportMap{"v": e}, func(s *Server) { s.HandshakeTimeout = 100 * time.Millisecond })
	idle := dialExport(t, addr, "v", true)
	silent := dial(t, addr)
	halfway := dial(t, addr)
	halfway.write(optionFrame(optGo, goData("v"))[:9])
	silent.wantDisconnected()
	halfway.wantDisconnected()
	drip := dial(t, addr)
	for i := 0; ; i++ {
		frame := optionFrame(77, nil)
		if _, err := drip.Write(frame[i%16 : i%16+1]); err != nil {
			break // replied to, but too late
		}
		one := make([]byte, 1)
		_ = drip.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := drip.Read(one); err != nil && !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
			break
		}
	}
	idle.wantErrno(cmdRead, 0, 0, 512, nil, 0)
}

// A client that does not send its payload or take its replies is disconnected, and its
// memory released.
func TestServer_StallTimeout(t *testing.T) {
	e := NewExport("v", newMemDevice(MaxRequest), ExportOptions{})
	addr, s := startServer(t, exportMap{"v": e}, func(s *Server) { s.StallTimeout = 100 * time.Millisecond })
	c := dialExport(t, addr, "v", true)
	c.write(requestFrame(request{kind: cmdWrite, length: 1 << 19}))
	c.wantDisconnected()
	c = dialExport(t, addr, "v", true)
	c.write(requestFrame(request{kind: cmdWrite, length: 512}))
	c.wantDisconnected()
	c = dialExport(t, addr, "v", false)
	mine := e.connsMatching(func(s ConnStats) bool { return s.Addr.String() == c.LocalAddr().String() })
	if len(mine) != 1 {
		t.Fatal(mine)
	}
	for range 8 {
		c.send(cmdRead, 0, 0, MaxRequest, nil)
	}
	select {
	case <-mine[0].done:
	case <-time.After(testTimeout):
		t.Fatal("a client that takes no answers is still there")
	}
	waitMemoryReleased(t, s)
}

// Payloads under way stay within MaxMemory and what each connection has for itself, and
// all requests are served.
func TestServer_MaxMemory(t *testing.T) {
	t.Parallel()
	const conns, length = 8, MaxRequest / 2 // one fits, in half of the memory
	m := newMemDevice(MaxRequest)
	var mu sync.Mutex
	inside := 0
	all, open := make(chan struct{}), make(chan struct{})
	m.onRead = func() error {
		mu.Lock()
		if inside++; inside == conns {
			close(all)
		}
		mu.Unlock()
		<-open
		return nil
	}
	addr, s := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxMemory = MaxRequest })
	var clients sync.WaitGroup
	for range conns {
		c := dialExport(t, addr, "v", false)
		c.send(cmdRead, 0, 0, length, nil)
		clients.Go(func() {
			if a := c.receive(); a.errno != 0 || len(a.data) != length {
				t.Error("error", a.errno, len(a.data))
			}
		})
	}
	<-all // at once: nobody waits for the memory of others
	if used := s.memoryUsed(); used != length {
		t.Errorf("%d bytes of the memory are used, one payload has %d", used, length)
	}
	if n := m.largeReads.Load(); n != 1 {
		t.Errorf("%d reads of more than a connection has for itself", n)
	}
	close(open)
	clients.Wait()
}

// A connection has at most connMemory/connMinCost small requests under way.
func TestConn_MemoryBudget(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	var mu sync.Mutex
	inside, full, open := 0, make(chan struct{}), make(chan struct{})
	m.onRead = func() error {
		mu.Lock()
		if inside++; inside == connMemory/connMinCost {
			close(full)
		}
		mu.Unlock()
		<-open
		return nil
	}
	addr, _ := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxDiskCalls = 1000 })
	c := dialExport(t, addr, "v", true)
	const n = 1000
	go func() {
		for i := range uint64(n) {
			if _, err := c.Write(requestFrame(request{kind: cmdRead, cookie: i, length: 512})); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	<-full
	mu.Lock()
	if inside != connMemory/connMinCost {
		t.Errorf("%d at once", inside)
	}
	mu.Unlock()
	close(open)
	for range n {
		if a := c.receive(); a.errno != 0 {
			t.Fatal(a)
		}
	}
}

func TestServer_Admission(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(4096), ExportOptions{})
	addr, _ := startServer(t, exportMap{"v": e}, func(s *Server) {
		s.Admit = func(ip netip.Addr) error {
			if ip.IsLoopback() {
				return errors.New("a stranger")
			}
			return nil
		}
	})
	wantRefused(t, addr)

	addr, _ = startServer(t, exportMap{"v": e}, func(s *Server) { s.MaxConns = 2 })
	a, b := dialExport(t, addr, "v", true), dial(t, addr)
	wantRefused(t, addr)
	b.option(optAbort, nil)
	b.wantDisconnected()
	a.wantErrno(cmdFlush, 0, 0, 0, nil, 0)

	addr, _ = startServer(t, exportMap{"v": e}, func(s *Server) { s.MaxHandshakes, s.MaxWaiting = 1, 1 })
	dialExport(t, addr, "v", true) // past its handshake
	dial(t, addr)
	connect(t, addr) // waits
	wantRefused(t, addr)
}

// A machine with many disks that boots: its handshakes wait for their turn.
func TestServer_HandshakesQueue(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(4096), ExportOptions{})
	addr, _ := startServer(t, exportMap{"v": e}, nil)
	var all []*client
	for range 40 {
		all = append(all, connect(t, addr))
	}
	for _, c := range all {
		c.greet(flagFixedNewstyle | flagNoZeroes)
		c.openExport("v", false)
		c.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
	}
}

// Clients that take no answers, or send no payload, wait for themselves: requests of
// others, however large they are, are answered meanwhile.
func TestServer_SlowReaders(t *testing.T) {
	t.Parallel()
	slow, m := newMemDevice(MaxRequest), newMemDevice(MaxRequest)
	var mu sync.Mutex
	reads, full := 0, make(chan struct{})
	slow.onRead = func() error {
		mu.Lock()
		defer mu.Unlock()
		if reads++; reads == 8 { // of 32 MiB each, which is all
			close(full)
		}
		return nil
	}
	exports := exportMap{"slow": NewExport("slow", slow, ExportOptions{}), "v": NewExport("v", m, ExportOptions{})}
	addr, _ := startServer(t, exports, func(s *Server) { s.StallTimeout = time.Hour })
	for range 9 {
		c := dialExport(t, addr, "slow", true)
		for range 4 {
			c.send(cmdRead, 0, 0, MaxRequest, nil)
		}
		dialExport(t, addr, "slow", true).send(cmdWrite, 0, 0, MaxRequest, nil)
	}
	<-full
	data := randomBytes(MaxRequest)
	for _, structured := range []bool{true, false} {
		c := dialExport(t, addr, "v", structured)
		c.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
		c.wantErrno(cmdWrite, 0, 0, 4096, data[:4096], 0)
		c.wantErrno(cmdTrim, 0, 0, 4096, nil, 0)
		c.wantErrno(cmdWrite, cmdFlagFUA, 0, MaxRequest, data, 0)
		if a := c.roundTrip(cmdRead, 0, 0, MaxRequest, nil); !bytes.Equal(a.data, data) {
			t.Error("what was written is not what is read")
		}
		clear(data)
	}
	if n := len(exports["slow"].Conns()); n != 18 {
		t.Errorf("%d slow clients are still there, not 18", n)
	}
}

// Whoever is turned away is counted, and the log says why, once for those that repeat.
func TestServer_RefusalsAreToldOf(t *testing.T) {
	t.Parallel()
	var log lockedBuffer
	var clock atomic.Int64
	counted := make(chan Refusal, 100)
	full := NewExport("full", newMemDevice(4096), ExportOptions{MaxConns: 1})
	start := func(configure func(*Server)) string {
		addr, _ := startServer(t, exportMap{"full": full}, func(s *Server) {
			s.Log, s.OnRefused = slog.New(slog.NewTextHandler(&log, nil)), func(r Refusal) { counted <- r }
			s.Now = func() time.Time { return time.Unix(1e9, clock.Load()) }
			configure(s)
		})
		return addr
	}
	want := func(r Refusal, text string) {
		t.Helper()
		if got := <-counted; got != r {
			t.Errorf("counted as %q, not %q", got, r)
		}
		if !log.waitFor(text) {
			t.Errorf("no %s in %s", text, log.String())
		}
	}
	addr := start(func(s *Server) { s.Admit = func(netip.Addr) error { return errors.New("a stranger") } })
	wantRefused(t, addr)
	want(RefusedAddress, "a stranger")

	addr = start(func(s *Server) { s.MaxConns = 1 })
	dialExport(t, addr, "full", false)
	wantRefused(t, addr)
	want(RefusedConnections, "too many connections to the server")

	addr = start(func(s *Server) {})
	c := dial(t, addr)
	if _, final := c.option(optGo, goData("full")); final != repErrPolicy {
		t.Errorf("%#x", final)
	}
	want(RefusedConnections, "too many connections to the export")
	c.option(optGo, goData("none"))
	want(RefusedExport, "unknown export")
	c = dial(t, addr)
	c.write(optionFrame(optExportName, []byte("none")))
	c.wantDisconnected()
	want(RefusedExport, "unknown export")
	c = dial(t, addr)
	c.write([]byte("GET / HTTP/1.1\r\n\r\n"))
	c.wantDisconnected()
	want(RefusedNegotiation, "bad option magic")

	addr = start(func(s *Server) { s.MaxHandshakes, s.MaxWaiting, s.HandshakeTimeout = 1, 1, time.Minute })
	dial(t, addr)
	waits := connect(t, addr)
	for range 3 {
		wantRefused(t, addr)
		want(RefusedHandshakes, "too many handshakes from the address")
	}
	clock.Add(int64(refusalInterval))
	wantRefused(t, addr)
	want(RefusedHandshakes, "repeated=2")
	if n := strings.Count(log.String(), "too many handshakes"); n != 2 {
		t.Errorf("%d lines:\n%s", n, log.String())
	}
	waits.Close()

	clock.Add(int64(refusalInterval))
	addr = start(func(s *Server) { s.MaxHandshakes, s.HandshakeTimeout = 1, 20*time.Millisecond })
	for range 8 {
		connect(t, addr)
	}
	seen := map[Refusal]int{}
	for range 8 {
		seen[<-counted]++
	}
	if seen[RefusedNegotiation] == 0 || seen[RefusedHandshakes] == 0 || len(seen) != 2 || !log.waitFor("waited too long") {
		t.Errorf("%v\n%s", seen, log.String())
	}
}
