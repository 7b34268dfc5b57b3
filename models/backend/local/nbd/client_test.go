package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testTimeout bounds every wait of a test.
const testTimeout = 30 * time.Second

// startServer serves exports on a free loopback port until the test ends.
func startServer(t testing.TB, exports Exports, configure func(*Server)) (addr string, s *Server) {
	t.Helper()
	s = &Server{Exports: exports}
	if configure != nil {
		configure(s)
	}
	s.init()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error("shutdown:", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error("serve:", err)
		}
	})
	return l.Addr().String(), s
}

// lockedBuffer is a log of a test.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// waitFor reports whether the log contains text in time.
func (l *lockedBuffer) waitFor(text string) bool {
	for deadline := time.Now().Add(testTimeout); !strings.Contains(l.String(), text); runtime.Gosched() {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// runConn serves a connection until its end.
func runConn(s *Server, nc net.Conn) {
	c := newConn(s, nc)
	if _, err := s.addConn(c); err != nil {
		panic(err)
	}
	defer s.wg.Done()
	c.run(context.Background())
}

// memDevice is a Device in memory. Its hooks are called before the operation.
type memDevice struct {
	mu                        sync.RWMutex
	b                         []byte
	onRead, onWrite, onFlush  func() error
	flushes                   atomic.Int64
	zeroFlags                 atomic.Int64 // of the last WriteZeroes
	noFastZero                atomic.Bool
	trimmed, cached, statuses atomic.Int64
	largeReads                atomic.Int64 // of more than ownBuffer
}

func newMemDevice(size int) *memDevice { return &memDevice{b: make([]byte, size)} }

func callIfSet(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

// blockingHook returns a hook that sends to entered and then waits for the end of
// release.
func blockingHook() (hook func() error, entered, release chan struct{}) {
	entered, release = make(chan struct{}, 1000), make(chan struct{})
	return func() error {
		entered <- struct{}{}
		<-release
		return nil
	}, entered, release
}

func (m *memDevice) Size() (int64, error) { return int64(len(m.b)), nil }

func (m *memDevice) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > ownBuffer {
		m.largeReads.Add(1)
	}
	if err := callIfSet(m.onRead); err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copy(p, m.b[off:]), nil
}

func (m *memDevice) WriteAt(p []byte, off int64) (int, error) {
	if err := callIfSet(m.onWrite); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.b[off:], p), nil
}

func (m *memDevice) Flush(context.Context) error {
	m.flushes.Add(1)
	return callIfSet(m.onFlush)
}

func (m *memDevice) Trim(_ context.Context, off, n int64) error {
	m.trimmed.Add(n)
	return m.WriteZeroes(context.Background(), off, n, 0)
}

func (m *memDevice) WriteZeroes(_ context.Context, off, n int64, flags ZeroFlags) error {
	if m.noFastZero.Load() && flags&FastZero != 0 {
		return errors.ErrUnsupported
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.zeroFlags.Store(int64(flags))
	clear(m.b[off : off+n])
	return nil
}

func (m *memDevice) BlockStatus(_ context.Context, off, n int64, dst []Extent) ([]Extent, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	m.statuses.Add(1)
	const block = 4096
	for end := off + n; off < end; {
		next := min((off/block+1)*block, end)
		hole := bytes.Count(m.b[off:next], []byte{0}) == int(next-off)
		switch last := len(dst) - 1; {
		case last >= 0 && dst[last].Hole == hole:
			dst[last].Length += next - off
		case len(dst) == cap(dst):
			return dst, nil
		default:
			dst = append(dst, Extent{Length: next - off, Hole: hole})
		}
		off = next
	}
	return dst, nil
}

func (m *memDevice) Cache(_ context.Context, _, n int64) error {
	m.cached.Add(n)
	return nil
}

// client is an NBD client that sends and receives raw messages.
type client struct {
	testing.TB
	net.Conn
	structured bool
	cookie     uint64
	reads      map[uint64]int // length of simple READ replies to come
}

// dial connects and exchanges the greeting and the flags.
func dial(t testing.TB, addr string) *client {
	t.Helper()
	return dialAs(t, addr, flagFixedNewstyle|flagNoZeroes)
}

func dialAs(t testing.TB, addr string, flags byte) *client {
	t.Helper()
	c := connect(t, addr)
	c.greet(flags)
	return c
}

// connect makes a connection on which nothing is exchanged yet.
func connect(t testing.TB, addr string) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(testTimeout))
	return &client{TB: t, Conn: nc, reads: map[uint64]int{}}
}

// greet exchanges the greeting and the flags.
func (c *client) greet(flags byte) {
	c.Helper()
	p := c.readN(18)
	if binary.BigEndian.Uint64(p) != initPasswd || binary.BigEndian.Uint64(p[8:]) != optMagic || binary.BigEndian.Uint16(p[16:]) != 3 {
		c.Fatalf("greeting %x", p)
	}
	c.write([]byte{0, 0, 0, flags})
}

func (c *client) write(p []byte) {
	c.Helper()
	if _, err := c.Write(p); err != nil {
		c.Fatal(err)
	}
}

func (c *client) readN(n int) []byte {
	c.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(c, p); err != nil {
		c.Fatal("reading:", err)
	}
	return p
}

// wantDisconnected fails unless the server ends the connection. It discards what the
// server still sends.
func (c *client) wantDisconnected() {
	c.Helper()
	_, err := io.Copy(io.Discard, c)
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		c.Fatal("the connection is still there")
	}
}

type optionReply struct {
	kind uint32
	data []byte
}

func optionFrame(opt uint32, data []byte) []byte {
	p := binary.BigEndian.AppendUint64(nil, optMagic)
	p = binary.BigEndian.AppendUint32(p, opt)
	return append(binary.BigEndian.AppendUint32(p, uint32(len(data))), data...)
}

// option sends an option and reads its replies up to the final one.
func (c *client) option(opt uint32, data []byte) (replies []optionReply, final uint32) {
	c.Helper()
	c.write(optionFrame(opt, data))
	for {
		h := c.readN(20)
		if binary.BigEndian.Uint64(h) != repMagic || binary.BigEndian.Uint32(h[8:]) != opt {
			c.Fatalf("option reply %x", h)
		}
		kind := binary.BigEndian.Uint32(h[12:])
		d := c.readN(int(binary.BigEndian.Uint32(h[16:])))
		if kind == repAck || kind >= 1<<31 {
			return replies, kind
		}
		replies = append(replies, optionReply{kind, d})
	}
}

func goData(name string, infos ...uint16) []byte {
	p := binary.BigEndian.AppendUint16(appendString(nil, name), uint16(len(infos)))
	for _, i := range infos {
		p = binary.BigEndian.AppendUint16(p, i)
	}
	return p
}

func metaData(name string, queries ...string) []byte {
	p := binary.BigEndian.AppendUint32(appendString(nil, name), uint32(len(queries)))
	for _, q := range queries {
		p = appendString(p, q)
	}
	return p
}

// dialExport goes to transmission, with structured replies and base:allocation where
// structured is set.
func dialExport(t testing.TB, addr, name string, structured bool) *client {
	t.Helper()
	c := dial(t, addr)
	c.openExport(name, structured)
	return c
}

// openExport goes from the handshake to transmission.
func (c *client) openExport(name string, structured bool) {
	c.Helper()
	if structured {
		if _, final := c.option(optStructuredReply, nil); final != repAck {
			c.Fatalf("STRUCTURED_REPLY: %#x", final)
		}
		if _, final := c.option(optSetMetaContext, metaData(name, contextAllocation)); final != repAck {
			c.Fatalf("SET_META_CONTEXT: %#x", final)
		}
		c.structured = true
	}
	if _, final := c.option(optGo, goData(name)); final != repAck {
		c.Fatalf("GO: %#x", final)
	}
}

func requestFrame(q request) []byte {
	p := binary.BigEndian.AppendUint32(nil, requestMagic)
	p = binary.BigEndian.AppendUint16(p, q.flags)
	p = binary.BigEndian.AppendUint16(p, q.kind)
	p = binary.BigEndian.AppendUint64(p, q.cookie)
	p = binary.BigEndian.AppendUint64(p, q.off)
	return binary.BigEndian.AppendUint32(p, q.length)
}

// send sends a request and returns its cookie.
func (c *client) send(kind, flags uint16, off uint64, length int, payload []byte) uint64 {
	c.Helper()
	c.cookie++
	if kind == cmdRead {
		c.reads[c.cookie] = length
	}
	c.write(append(requestFrame(request{flags, kind, c.cookie, off, uint32(length)}), payload...))
	return c.cookie
}

type reply struct {
	cookie uint64
	errno  uint32
	data   []byte // of a READ; holes are filled with zeroes
	chunks []uint16
	status []uint32 // length and flags, in turn
}

// receive reads a whole reply and fails where two are interleaved.
func (c *client) receive() reply {
	c.Helper()
	be := binary.BigEndian
	if p := c.readN(4); be.Uint32(p) == simpleReplyMagic {
		p = c.readN(12)
		a := reply{cookie: be.Uint64(p[4:]), errno: be.Uint32(p)}
		if n := c.reads[a.cookie]; a.errno == 0 && n > 0 {
			if c.structured {
				c.Fatal("a simple reply to READ")
			}
			a.data = c.readN(n)
		}
		return a
	} else if be.Uint32(p) != structuredReplyMagic || !c.structured {
		c.Fatalf("reply magic %x", p)
	}
	var a reply
	for {
		p := c.readN(16)
		flags, kind, cookie := be.Uint16(p), be.Uint16(p[2:]), be.Uint64(p[4:])
		if a.chunks != nil && cookie != a.cookie {
			c.Fatal("interleaved replies")
		}
		a.cookie, a.chunks = cookie, append(a.chunks, kind)
		body := c.readN(int(be.Uint32(p[12:])))
		switch kind {
		case replyTypeOffsetData:
			a.data = append(a.data, body[8:]...)
		case replyTypeOffsetHole:
			a.data = append(a.data, make([]byte, be.Uint32(body[8:]))...)
		case replyTypeError:
			a.errno = be.Uint32(body)
		case replyTypeBlockStatus:
			for b := body[4:]; len(b) > 0; b = b[4:] {
				a.status = append(a.status, be.Uint32(b))
			}
		}
		if flags&replyFlagDone != 0 {
			return a
		}
		c.readN(4)
	}
}

// roundTrip sends a request and reads its reply.
func (c *client) roundTrip(kind, flags uint16, off uint64, length int, payload []byte) reply {
	c.Helper()
	cookie := c.send(kind, flags, off, length, payload)
	a := c.receive()
	if a.cookie != cookie {
		c.Fatalf("reply to %d, not to %d", a.cookie, cookie)
	}
	return a
}

func (c *client) wantErrno(kind, flags uint16, off uint64, length int, payload []byte, errno uint32) {
	c.Helper()
	if a := c.roundTrip(kind, flags, off, length, payload); a.errno != errno {
		c.Fatalf("command %d flags %#x off %d length %d: error %d, want %d", kind, flags, off, length, a.errno, errno)
	}
}

// wantRefused fails unless the server disconnects without sending anything.
func wantRefused(t testing.TB, addr string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testTimeout))
	if p, err := io.ReadAll(nc); len(p) > 0 || isTimeout(err) {
		t.Errorf("%q %v", p, err)
	}
}
