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

// allFreed waits until no memory is charged to anybody.
func allFreed(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.budget.Acquire(ctx, s.Memory); err != nil {
		t.Fatal("memory is still charged")
	}
	s.budget.Release(s.Memory)
}

// Each of these costs the client its connection and nobody else anything.
func TestHostileFrames(t *testing.T) {
	be := binary.BigEndian
	header := func(magic uint64, opt, length uint32) []byte {
		return be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, magic), opt), length)
	}
	m := newMemory(1 << 20)
	addr, s := start(t, several{"v": NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxHandshakes = 100 })
	neighbour := enter(t, addr, "v", true)
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
			c := connect(t, addr)
			c.put(frame)
			c.gone()
		})
	}
	for name, frame := range map[string][]byte{
		"bad request magic":       make([]byte, requestSize),
		"reply as a request":      append(appendSimple(nil, 1, 0), make([]byte, 12)...),
		"option as a request":     append(optionFrame(optList, nil), make([]byte, 12)...),
		"WRITE of 4 GiB":          requestFrame(request{kind: cmdWrite, length: 1<<32 - 1}),
		"WRITE of MaxRequest + 1": requestFrame(request{kind: cmdWrite, length: MaxRequest + 1}),
		"a good one, then noise":  append(requestFrame(request{kind: cmdFlush}), noise(100)...),
	} {
		t.Run(name, func(t *testing.T) {
			c := enter(t, addr, "v", true)
			c.put(frame)
			c.gone()
		})
	}
	t.Run("unknown client flags", func(t *testing.T) { connectAs(t, addr, 4).gone() })
	neighbour.want(cmdWrite, 0, 0, 4096, noise(4096), 0)
	neighbour.want(cmdRead, 0, 0, 4096, nil, 0)
	allFreed(t, s)
}

// A connection that breaks off in the middle leaves nothing behind, wherever the
// middle is.
func TestTruncated(t *testing.T) {
	e := NewExport("v", newMemory(1<<20), ExportOptions{})
	addr, s := start(t, several{"v": e}, nil)
	whole := append(optionFrame(optStructuredReply, nil), optionFrame(optGo, goData("v"))...)
	for n := 0; n <= len(whole); n += 3 {
		c := connect(t, addr)
		c.put(whole[:n])
		c.Close()
	}
	write := append(requestFrame(request{kind: cmdWrite, length: 1 << 19}), make([]byte, 1000)...)
	for n := 0; n < len(write); n += 9 {
		c := enter(t, addr, "v", true)
		c.put(write[:n])
		c.Close()
	}
	if err := e.Disconnect(context.Background(), nil); err != nil {
		t.Error(err)
	}
	allFreed(t, s)
}

// Silent and slow clients lose the connection during the handshake; afterwards
// being silent is fine.
func TestSlowHandshake(t *testing.T) {
	e := NewExport("v", newMemory(1<<20), ExportOptions{})
	addr, _ := start(t, several{"v": e}, func(s *Server) { s.HandshakeTimeout = 100 * time.Millisecond })
	idle := enter(t, addr, "v", true)
	silent := connect(t, addr)
	halfway := connect(t, addr)
	halfway.put(optionFrame(optGo, goData("v"))[:9])
	silent.gone()
	halfway.gone()
	drip := connect(t, addr)
	for i := 0; ; i++ {
		frame := optionFrame(77, nil)
		if _, err := drip.Write(frame[i%16 : i%16+1]); err != nil {
			break // an answer to every byte, but too late
		}
		one := make([]byte, 1)
		_ = drip.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if _, err := drip.Read(one); err != nil && !errors.Is(err, context.DeadlineExceeded) && !timedOut(err) {
			break
		}
	}
	idle.want(cmdRead, 0, 0, 512, nil, 0)
}

// A client that announces a payload and does not send it, or asks and does not
// take the answer, is dropped and its memory freed.
func TestStalledClients(t *testing.T) {
	e := NewExport("v", newMemory(MaxRequest), ExportOptions{})
	addr, s := start(t, several{"v": e}, func(s *Server) { s.StallTimeout = 100 * time.Millisecond })
	c := enter(t, addr, "v", true)
	c.put(requestFrame(request{kind: cmdWrite, length: 1 << 19}))
	c.gone()
	c = enter(t, addr, "v", true)
	c.put(requestFrame(request{kind: cmdWrite, length: 512}))
	c.gone()
	c = enter(t, addr, "v", false)
	mine := e.matching(func(s ConnStats) bool { return s.Addr.String() == c.LocalAddr().String() })
	if len(mine) != 1 {
		t.Fatal(mine)
	}
	for range 8 {
		c.send(cmdRead, 0, 0, MaxRequest, nil)
	}
	select {
	case <-mine[0].done:
	case <-time.After(patience):
		t.Fatal("a client that takes no answers is still there")
	}
	allFreed(t, s)
}

// However much is asked for at once, payloads under way stay within the budget,
// and all are served in the end.
func TestMemoryIsBounded(t *testing.T) {
	const length = MaxRequest / 2 // two fit
	m := newMemory(MaxRequest)
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
	addr, s := start(t, one{NewExport("v", m, ExportOptions{})}, func(s *Server) { s.Memory = 1 })
	if s.Memory != MaxRequest {
		t.Error("memory of one request at least:", s.Memory)
	}
	var all sync.WaitGroup
	for range 8 {
		c := enter(t, addr, "v", false)
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

// One connection has a budget as well: small requests are many, large ones few.
func TestMemoryOfOneConnection(t *testing.T) {
	m := newMemory(1 << 20)
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
	addr, _ := start(t, one{NewExport("v", m, ExportOptions{})}, func(s *Server) { s.MaxDisk = 1000 })
	c := enter(t, addr, "v", true)
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

func TestAdmission(t *testing.T) {
	e := NewExport("v", newMemory(4096), ExportOptions{})
	addr, _ := start(t, several{"v": e}, func(s *Server) {
		s.Admit = func(ip netip.Addr) bool { return !ip.IsLoopback() }
	})
	refused(t, addr)

	addr, _ = start(t, several{"v": e}, func(s *Server) { s.MaxConns = 2 })
	a, b := enter(t, addr, "v", true), connect(t, addr)
	refused(t, addr)
	b.option(optAbort, nil)
	b.gone()
	a.want(cmdFlush, 0, 0, 0, nil, 0)

	addr, _ = start(t, several{"v": e}, func(s *Server) { s.MaxHandshakes = 1 })
	enter(t, addr, "v", true) // not a handshake any more
	connect(t, addr)
	refused(t, addr)
}
