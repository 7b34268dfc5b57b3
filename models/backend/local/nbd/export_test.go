package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// newFileDevice returns a device on a sparse file.
func newFileDevice(t testing.TB, size int64) *FileDevice {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return NewFileDevice(f)
}

// The reply to FUA and FLUSH comes after the sync: while the sync hangs, later requests
// are answered and this one is not.
func TestFlush_ReplyAfterSync(t *testing.T) {
	t.Parallel()
	for _, kind := range []uint16{cmdFlush, cmdWrite, cmdTrim, cmdWriteZeroes} {
		d := newFileDevice(t, 1<<20)
		var syncs atomic.Int64
		syncing, release := make(chan struct{}), make(chan struct{})
		d.Hook = func(op string) error {
			if op == "sync" && syncs.Add(1) == 1 {
				close(syncing)
				<-release
			}
			return nil
		}
		addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
		c := dialExport(t, addr, "v", true)
		data, flags, length := []byte(nil), uint16(cmdFlagFUA), 4096
		if kind == cmdFlush {
			c.wantErrno(cmdWrite, 0, 0, 4096, randomBytes(4096), 0)
			flags, length = 0, 0
		}
		if kind == cmdWrite {
			data = randomBytes(4096)
		}
		first := c.send(kind, flags, 0, length, data)
		<-syncing
		for range 3 {
			if a := c.roundTrip(cmdRead, 0, 0, 4096, nil); a.errno != 0 {
				t.Fatal(a)
			}
		}
		close(release)
		if a := c.receive(); a.cookie != first || a.errno != 0 {
			t.Errorf("command %d: %+v", kind, a)
		}
	}
}

// The kernel reports lost writes once; the device repeats the error.
func TestFlush_ErrorRepeated(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 1<<20)
	var once sync.Once
	d.Hook = func(op string) (err error) {
		if op == "sync" {
			once.Do(func() { err = syscall.EIO })
		}
		return err
	}
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	a, b := dialExport(t, addr, "v", true), dialExport(t, addr, "v", false)
	a.wantErrno(cmdWrite, 0, 0, 4096, randomBytes(4096), 0)
	a.wantErrno(cmdFlush, 0, 0, 0, nil, eIO)
	b.wantErrno(cmdFlush, 0, 0, 0, nil, eIO)
	b.wantErrno(cmdWrite, cmdFlagFUA, 0, 4096, randomBytes(4096), eIO)
	b.wantErrno(cmdWrite, 0, 0, 4096, randomBytes(4096), 0)
}

// Concurrent flushes share one sync, but not one that began before them.
func TestFileDeviceFlush_SharedSync(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 4096)
	syncs := 0
	entered, release := make(chan struct{}), make(chan struct{})
	d.Hook = func(string) error {
		syncs++
		if syncs == 1 {
			close(entered)
			<-release
		}
		return nil
	}
	var all sync.WaitGroup
	flush := func() {
		if err := d.Flush(context.Background()); err != nil {
			t.Error(err)
		}
	}
	all.Go(flush)
	<-entered
	for range 20 {
		all.Go(flush)
	}
	close(release)
	all.Wait()
	if syncs < 2 || syncs > 21 {
		t.Errorf("%d syncs", syncs)
	}
	before := syncs
	flush()
	if syncs != before+1 {
		t.Error("a flush alone made no sync")
	}
}

// Quiesce waits for the writes in flight and holds new ones, on all connections; reads
// and flushes go on.
func TestQuiesce(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	hook, entered, release := blockingHook()
	m.onWrite = hook
	e := NewExport("v", m, ExportOptions{})
	addr, _ := startServer(t, singleExport{e}, nil)
	a, b := dialExport(t, addr, "v", true), dialExport(t, addr, "v", false)
	under := a.send(cmdWrite, 0, 0, 4096, randomBytes(4096))
	<-entered
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Quiesce(short); !errors.Is(err, context.Canceled) {
		t.Fatal("held in spite of a write under way:", err)
	}
	held := make(chan func() error)
	go func() {
		open, err := e.Quiesce(context.Background())
		if err != nil {
			t.Error(err)
		}
		held <- open
	}()
	close(release)
	open := <-held
	if r := a.receive(); r.cookie != under || r.errno != 0 {
		t.Fatal(r)
	}
	waiting := map[uint16]uint64{cmdWrite: b.send(cmdWrite, 0, 0, 4096, make([]byte, 4096))}
	waiting[cmdTrim] = b.send(cmdTrim, 0, 8192, 4096, nil)
	waiting[cmdWriteZeroes] = b.send(cmdWriteZeroes, 0, 8192, 4096, nil)
	for range 3 {
		if r := b.roundTrip(cmdRead, 0, 0, 4096, nil); r.errno != 0 || !bytes.Equal(r.data, randomBytes(4096)) {
			t.Fatal("a read during the hold", r.errno)
		}
		b.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	for range waiting {
		if r := b.receive(); r.errno != 0 {
			t.Error(r)
		}
	}
	if r := b.roundTrip(cmdRead, 0, 0, 4096, nil); !bytes.Equal(r.data, make([]byte, 4096)) {
		t.Error("the write that was held did not happen")
	}
	if err := open(); !errors.Is(err, ErrQuiesceExpired) {
		t.Error("released twice:", err)
	}
}

// Writes resume after MaxQuiesce, and resume returns an error.
func TestQuiesce_Expiry(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(4096), ExportOptions{MaxQuiesce: 50 * time.Millisecond})
	addr, _ := startServer(t, singleExport{e}, nil)
	c := dialExport(t, addr, "v", true)
	open, err := e.Quiesce(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.wantErrno(cmdWrite, 0, 0, 512, randomBytes(512), 0) // waits until writes resume
	if err := open(); !errors.Is(err, ErrQuiesceExpired) {
		t.Error(err)
	}
	open, err = e.Quiesce(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Quiesce(context.Background()) // queues behind the first
	if err == nil {
		err = again()
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = open()
}

func TestExport_ConnStats(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	d := newFileDevice(t, 1<<20)
	e := NewExport("v", d, ExportOptions{})
	addr, _ := startServer(t, singleExport{e}, func(s *Server) { s.Now = clock })
	if len(e.Conns()) != 0 {
		t.Error("connections before any connected")
	}
	c := dialExport(t, addr, "v", true)
	c.wantErrno(cmdWrite, 0, 0, 8192, randomBytes(8192), 0)
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	c.wantErrno(cmdRead, 0, 0, 4096, nil, 0)
	dialExport(t, addr, "v", true)
	all := e.Conns()
	if len(all) != 2 {
		t.Fatal(all)
	}
	s := all[0]
	if s.Addr.String() != c.LocalAddr().String() || s.BytesRead != 4096 || s.BytesWritten != 8192 || s.Subject != "" ||
		s.LastActivity.Sub(s.Since) != time.Minute || s.Size != 1<<20 || s.ID >= all[1].ID {
		t.Errorf("%+v", all)
	}
}

// Disconnect finishes the requests under way and flushes; other connections stay.
func TestExportDisconnect(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	hook, entered, release := blockingHook()
	m.onWrite = hook
	e := NewExport("v", m, ExportOptions{})
	addr, _ := startServer(t, singleExport{e}, nil)
	a, b := dialExport(t, addr, "v", true), dialExport(t, addr, "v", true)
	cookie := a.send(cmdWrite, 0, 0, 4096, randomBytes(4096))
	<-entered
	mine := func(s ConnStats) bool { return s.Addr.String() == a.LocalAddr().String() }
	soon, cancel := context.WithCancel(context.Background())
	gone := make(chan error)
	go func() { gone <- e.Disconnect(context.Background(), mine) }()
	close(release)
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if m.flushes.Load() == 0 {
		t.Error("no flush")
	}
	if r := a.receive(); r.cookie != cookie || r.errno != 0 {
		t.Error(r)
	}
	a.wantDisconnected()
	b.wantErrno(cmdRead, 0, 0, 4096, nil, 0)
	if n := len(e.Conns()); n != 1 {
		t.Error(n, "connections left")
	}
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	b.wantDisconnected()
	if _, final := dial(t, addr).option(optGo, goData("v")); final != repErrUnknown {
		t.Errorf("GO to a closed export: %#x", final)
	}
	cancel()
	if err := e.Close(soon); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Disconnect and Shutdown end with their context although the disk hangs.
func TestExportDisconnect_HungDisk(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	hook, entered, release := blockingHook()
	m.onRead = hook
	e := NewExport("v", m, ExportOptions{})
	addr, s := startServer(t, singleExport{e}, nil)
	c := dialExport(t, addr, "v", true)
	c.send(cmdRead, 0, 0, 4096, nil)
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Disconnect(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.wantDisconnected()
	close(release)
}

func TestServerShutdown(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	hook, entered, release := blockingHook()
	m.onWrite = hook
	addr, s := startServer(t, singleExport{NewExport("v", m, ExportOptions{})}, nil)
	halfway, idle, busy := dial(t, addr), dialExport(t, addr, "v", true), dialExport(t, addr, "v", true)
	cookie := busy.send(cmdWrite, 0, 0, 4096, randomBytes(4096))
	<-entered
	over := make(chan error)
	go func() { over <- s.Shutdown(context.Background()) }()
	halfway.wantDisconnected()
	idle.wantDisconnected()
	close(release)
	if r := busy.receive(); r.cookie != cookie || r.errno != 0 {
		t.Error(r)
	}
	busy.wantDisconnected()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if m.flushes.Load() == 0 {
		t.Error("not flushed")
	}
}

// The next connection sees the new size; the present one keeps the old.
func TestExport_DeviceResized(t *testing.T) {
	t.Parallel()
	d := newFileDevice(t, 1<<20)
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	old := dialExport(t, addr, "v", true)
	if err := d.f.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	old.wantErrno(cmdWrite, 0, 1<<20, 512, randomBytes(512), eNoSpc)
	dialExport(t, addr, "v", true).wantErrno(cmdWrite, 0, 1<<20, 512, randomBytes(512), 0)
	if err := d.f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	old.wantErrno(cmdRead, 0, 1<<19, 512, nil, eIO) // the file was truncated
}

func TestExport_MaxConns(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(4096), ExportOptions{MaxConns: 1})
	addr, _ := startServer(t, singleExport{e}, nil)
	c := dialExport(t, addr, "v", true)
	if _, final := dial(t, addr).option(optGo, goData("v")); final != repErrPolicy {
		t.Errorf("%#x", final)
	}
	c.write(requestFrame(request{kind: cmdDisc}))
	c.wantDisconnected()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error("not a clean end:", err)
	}
}

// noReplyConn is a connection whose client takes the greeting and nothing else.
type noReplyConn struct {
	scriptedConn
	writes int
}

func (d *noReplyConn) Write(p []byte) (int, error) {
	if d.writes++; d.writes > 1 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// A client that is gone before the reply to GO is not listed.
func TestExport_ClientGoneBeforeGoReply(t *testing.T) {
	t.Parallel()
	e := NewExport("v", newMemDevice(4096), ExportOptions{})
	s := &Server{Exports: singleExport{e}}
	s.init()
	said := append([]byte{0, 0, 0, flagFixedNewstyle}, optionFrame(optGo, goData("v"))...)
	runConn(s, &noReplyConn{scriptedConn: scriptedConn{in: bytes.NewReader(said)}})
	if n := len(e.Conns()); n != 0 {
		t.Error("connections listed:", n)
	}
}

// Only the end of the last connection flushes.
func TestExport_FlushAfterLastConn(t *testing.T) {
	t.Parallel()
	m := newMemDevice(1 << 20)
	e := NewExport("v", m, ExportOptions{})
	addr, _ := startServer(t, singleExport{e}, nil)
	a, b := dialExport(t, addr, "v", true), dialExport(t, addr, "v", true)
	leave := func(c *client) {
		mine := e.connsMatching(func(s ConnStats) bool { return s.Addr.String() == c.LocalAddr().String() })
		c.write(requestFrame(request{kind: cmdDisc}))
		<-mine[0].done
	}
	a.wantErrno(cmdWrite, 0, 0, 4096, randomBytes(4096), 0)
	leave(a)
	if m.flushes.Load() != 0 {
		t.Error("flushed while another connection is there")
	}
	leave(b)
	if m.flushes.Load() != 1 {
		t.Error("flushes after the last:", m.flushes.Load())
	}
	leave(dialExport(t, addr, "v", true)) // which changed nothing
	if m.flushes.Load() != 1 {
		t.Error("flushed without a change")
	}
}
