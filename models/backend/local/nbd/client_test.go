package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// start serves exports on a free port of loopback until the test ends.
func start(t testing.TB, exports Exports, configure func(*Server)) (addr string, s *Server) {
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
		ctx, cancel := context.WithTimeout(context.Background(), patience)
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

// memory is a Device in memory. Its hooks are called before the operation.
type memory struct {
	mu                        sync.RWMutex
	b                         []byte
	onRead, onWrite, onFlush  func() error
	flushes                   atomic.Int64
	zeroFlags                 atomic.Int64 // of the last WriteZeroes
	noFastZero                atomic.Bool
	trimmed, cached, statuses atomic.Int64
}

func newMemory(size int) *memory { return &memory{b: make([]byte, size)} }

func run(f func() error) error {
	if f == nil {
		return nil
	}
	return f()
}

func (m *memory) Size() (int64, error) { return int64(len(m.b)), nil }

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if err := run(m.onRead); err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copy(p, m.b[off:]), nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if err := run(m.onWrite); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(m.b[off:], p), nil
}

func (m *memory) Flush(context.Context) error {
	m.flushes.Add(1)
	return run(m.onFlush)
}

func (m *memory) Trim(_ context.Context, off, n int64) error {
	m.trimmed.Add(n)
	return m.WriteZeroes(context.Background(), off, n, 0)
}

func (m *memory) WriteZeroes(_ context.Context, off, n int64, flags ZeroFlags) error {
	if m.noFastZero.Load() && flags&FastZero != 0 {
		return errors.ErrUnsupported
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.zeroFlags.Store(int64(flags))
	clear(m.b[off : off+n])
	return nil
}

func (m *memory) BlockStatus(_ context.Context, off, n int64, dst []Extent) ([]Extent, error) {
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

func (m *memory) Cache(_ context.Context, _, n int64) error {
	m.cached.Add(n)
	return nil
}

// client is a raw NBD client.
type client struct {
	testing.TB
	net.Conn
	structured bool
	cookie     uint64
	reads      map[uint64]int // length of simple READ replies to come
}

// connect connects and goes through the fixed part of the handshake.
func connect(t testing.TB, addr string) *client {
	t.Helper()
	return connectAs(t, addr, flagFixedNewstyle|flagNoZeroes)
}

func connectAs(t testing.TB, addr string, flags byte) *client {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(patience))
	c := &client{TB: t, Conn: nc, reads: map[uint64]int{}}
	p := c.take(18)
	if binary.BigEndian.Uint64(p) != initPasswd || binary.BigEndian.Uint64(p[8:]) != optMagic || binary.BigEndian.Uint16(p[16:]) != 3 {
		t.Fatalf("greeting %x", p)
	}
	c.put([]byte{0, 0, 0, flags})
	return c
}

func (c *client) put(p []byte) {
	c.Helper()
	if _, err := c.Write(p); err != nil {
		c.Fatal(err)
	}
}

func (c *client) take(n int) []byte {
	c.Helper()
	p := make([]byte, n)
	if _, err := io.ReadFull(c, p); err != nil {
		c.Fatal("reading:", err)
	}
	return p
}

// gone fails unless the server ends the connection; what it still sends is
// dropped.
func (c *client) gone() {
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
	c.put(optionFrame(opt, data))
	for {
		h := c.take(20)
		if binary.BigEndian.Uint64(h) != repMagic || binary.BigEndian.Uint32(h[8:]) != opt {
			c.Fatalf("option reply %x", h)
		}
		kind := binary.BigEndian.Uint32(h[12:])
		d := c.take(int(binary.BigEndian.Uint32(h[16:])))
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

// enter negotiates structured replies and base:allocation, if asked, and goes to
// transmission.
func enter(t testing.TB, addr, name string, structured bool) *client {
	t.Helper()
	c := connect(t, addr)
	if structured {
		if _, final := c.option(optStructuredReply, nil); final != repAck {
			t.Fatalf("STRUCTURED_REPLY: %#x", final)
		}
		if _, final := c.option(optSetMetaContext, metaData(name, contextAllocation)); final != repAck {
			t.Fatalf("SET_META_CONTEXT: %#x", final)
		}
		c.structured = true
	}
	if _, final := c.option(optGo, goData(name)); final != repAck {
		t.Fatalf("GO: %#x", final)
	}
	return c
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
	c.put(append(requestFrame(request{flags, kind, c.cookie, off, uint32(length)}), payload...))
	return c.cookie
}

type answer struct {
	cookie uint64
	errno  uint32
	data   []byte // of a READ; holes are filled with zeroes
	chunks []uint16
	status []uint32 // length and flags, in turn
}

// receive reads one whole reply; no two may be interleaved.
func (c *client) receive() answer {
	c.Helper()
	be := binary.BigEndian
	if p := c.take(4); be.Uint32(p) == simpleReplyMagic {
		p = c.take(12)
		a := answer{cookie: be.Uint64(p[4:]), errno: be.Uint32(p)}
		if n := c.reads[a.cookie]; a.errno == 0 && n > 0 {
			if c.structured {
				c.Fatal("a simple reply to READ")
			}
			a.data = c.take(n)
		}
		return a
	} else if be.Uint32(p) != structuredReplyMagic || !c.structured {
		c.Fatalf("reply magic %x", p)
	}
	var a answer
	for {
		p := c.take(16)
		flags, kind, cookie := be.Uint16(p), be.Uint16(p[2:]), be.Uint64(p[4:])
		if a.chunks != nil && cookie != a.cookie {
			c.Fatal("interleaved replies")
		}
		a.cookie, a.chunks = cookie, append(a.chunks, kind)
		body := c.take(int(be.Uint32(p[12:])))
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
		c.take(4)
	}
}

// ask sends a request and reads its reply.
func (c *client) ask(kind, flags uint16, off uint64, length int, payload []byte) answer {
	c.Helper()
	cookie := c.send(kind, flags, off, length, payload)
	a := c.receive()
	if a.cookie != cookie {
		c.Fatalf("reply to %d, not to %d", a.cookie, cookie)
	}
	return a
}

func (c *client) want(kind, flags uint16, off uint64, length int, payload []byte, errno uint32) {
	c.Helper()
	if a := c.ask(kind, flags, off, length, payload); a.errno != errno {
		c.Fatalf("command %d flags %#x off %d length %d: error %d, want %d", kind, flags, off, length, a.errno, errno)
	}
}

// refused fails unless the server hangs up without a word.
func refused(t testing.TB, addr string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(patience))
	if p, err := io.ReadAll(nc); len(p) > 0 || timedOut(err) {
		t.Errorf("%q %v", p, err)
	}
}
