package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// waitMemoryReleased waits until the whole memory budget is free.
func waitMemoryReleased(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	if err := s.budget.Acquire(ctx, s.MaxMemory); err != nil {
		t.Fatal("memory is still charged")
	}
	s.budget.Release(s.MaxMemory)
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

// Payloads under way stay within MaxMemory, and all requests are served in the end.
func TestServer_MaxMemory(t *testing.T) {
	t.Parallel()
	const length = MaxRequest / 2 // two fit
	m := newMemDevice(MaxRequest)
	var mu sync.Mutex
	now, most := 0, 0
	two, open := make(chan struct{}), make(chan struct{})
	m.onRead = func() error {
		mu.Lock()
		now++
		most = max(most, now)
		if now == 2 && most == 2 {
			select {
			case <-two:
			default:
				close(two)
			}
		}
		mu.Unlock()
		<-open
		mu.Lock()
		now--
		mu.Unlock()
		return nil
	}
	addr, s := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxMemory = 1 })
	if s.MaxMemory != MaxRequest {
		t.Error("memory of one request at least:", s.MaxMemory)
	}
	var all sync.WaitGroup
	for range 8 {
		c := dialExport(t, addr, "v", false)
		c.send(cmdRead, 0, 0, length, nil)
		all.Go(func() {
			if a := c.receive(); a.errno != 0 || len(a.data) != length {
				t.Error("error", a.errno, len(a.data))
			}
		})
	}
	<-two
	if s.budget.TryAcquire(1) {
		t.Error("there is memory left")
	}
	close(open)
	all.Wait()
	mu.Lock()
	defer mu.Unlock()
	if most != 2 {
		t.Errorf("%d payloads at once, 2 fit", most)
	}
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
		s.Admit = func(ip netip.Addr) bool { return !ip.IsLoopback() }
	})
	wantRefused(t, addr)

	addr, _ = startServer(t, exportMap{"v": e}, func(s *Server) { s.MaxConns = 2 })
	a, b := dialExport(t, addr, "v", true), dial(t, addr)
	wantRefused(t, addr)
	b.option(optAbort, nil)
	b.wantDisconnected()
	a.wantErrno(cmdFlush, 0, 0, 0, nil, 0)

	addr, _ = startServer(t, exportMap{"v": e}, func(s *Server) { s.MaxHandshakes = 1 })
	dialExport(t, addr, "v", true) // past its handshake
	dial(t, addr)
	wantRefused(t, addr)
}
