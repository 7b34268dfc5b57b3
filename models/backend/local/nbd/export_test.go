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

// newFile is a device on a sparse file.
func newFile(t testing.TB, size int64) *FileDevice {
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

// The reply to FUA and FLUSH comes after the sync and not before: the sync is
// stopped on its way, a later request is answered, the earlier one is not.
func TestNoReplyBeforeSync(t *testing.T) {
	for _, kind := range []uint16{cmdFlush, cmdWrite, cmdTrim, cmdWriteZeroes} {
		d := newFile(t, 1<<20)
		var syncs atomic.Int64
		syncing, release := make(chan struct{}), make(chan struct{})
		d.Hook = func(op string) error {
			if op == "sync" && syncs.Add(1) == 1 {
				close(syncing)
				<-release
			}
			return nil
		}
		addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
		c := enter(t, addr, "v", true)
		data, flags, length := []byte(nil), uint16(cmdFlagFUA), 4096
		if kind == cmdFlush {
			c.want(cmdWrite, 0, 0, 4096, noise(4096), 0)
			flags, length = 0, 0
		}
		if kind == cmdWrite {
			data = noise(4096)
		}
		first := c.send(kind, flags, 0, length, data)
		<-syncing
		for range 3 {
			if a := c.ask(cmdRead, 0, 0, 4096, nil); a.errno != 0 {
				t.Fatal(a)
			}
		}
		close(release)
		if a := c.receive(); a.cookie != first || a.errno != 0 {
			t.Errorf("command %d: %+v", kind, a)
		}
	}
}

// What the kernel could not write is lost, and it says so once. The device goes
// on saying it.
func TestFailedSyncIsKept(t *testing.T) {
	d := newFile(t, 1<<20)
	var once sync.Once
	d.Hook = func(op string) (err error) {
		if op == "sync" {
			once.Do(func() { err = syscall.EIO })
		}
		return err
	}
	addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
	a, b := enter(t, addr, "v", true), enter(t, addr, "v", false)
	a.want(cmdWrite, 0, 0, 4096, noise(4096), 0)
	a.want(cmdFlush, 0, 0, 0, nil, eIO)
	b.want(cmdFlush, 0, 0, 0, nil, eIO)
	b.want(cmdWrite, cmdFlagFUA, 0, 4096, noise(4096), eIO)
	b.want(cmdWrite, 0, 0, 4096, noise(4096), 0)
}

// Flushes that wait for one another share one sync, but never one that had begun
// before them.
func TestFlushesShare(t *testing.T) {
	d := newFile(t, 4096)
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

// A hold waits for the writes under way and keeps new ones out, on all
// connections; reads and flushes go on.
func TestHold(t *testing.T) {
	m := newMemory(1 << 20)
	inside, release := make(chan struct{}, 9), make(chan struct{})
	m.onWrite = func() error {
		inside <- struct{}{}
		<-release
		return nil
	}
	e := NewExport("v", m, ExportOptions{})
	addr, _ := start(t, one{e}, nil)
	a, b := enter(t, addr, "v", true), enter(t, addr, "v", false)
	under := a.send(cmdWrite, 0, 0, 4096, noise(4096))
	<-inside
	short, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Hold(short); !errors.Is(err, context.Canceled) {
		t.Fatal("held in spite of a write under way:", err)
	}
	held := make(chan func() error)
	go func() {
		open, err := e.Hold(context.Background())
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
		if r := b.ask(cmdRead, 0, 0, 4096, nil); r.errno != 0 || !bytes.Equal(r.data, noise(4096)) {
			t.Fatal("a read during the hold", r.errno)
		}
		b.want(cmdFlush, 0, 0, 0, nil, 0)
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	for range waiting {
		if r := b.receive(); r.errno != 0 {
			t.Error(r)
		}
	}
	if r := b.ask(cmdRead, 0, 0, 4096, nil); !bytes.Equal(r.data, make([]byte, 4096)) {
		t.Error("the write that was held did not happen")
	}
	if err := open(); !errors.Is(err, ErrHoldExpired) {
		t.Error("released twice:", err)
	}
}

// A hold ends by itself, and its owner learns that.
func TestHoldEnds(t *testing.T) {
	e := NewExport("v", newMemory(4096), ExportOptions{MaxHold: time.Millisecond})
	addr, _ := start(t, one{e}, nil)
	c := enter(t, addr, "v", true)
	open, err := e.Hold(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c.want(cmdWrite, 0, 0, 512, noise(512), 0) // waits until the hold is over
	if err := open(); !errors.Is(err, ErrHoldExpired) {
		t.Error(err)
	}
	open, err = e.Hold(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	again, err := e.Hold(context.Background()) // queues behind the first
	if err == nil {
		err = again()
	}
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	_ = open()
}

func TestStats(t *testing.T) {
	now := time.Date(2026, 11, 22, 15, 30, 0, 0, time.UTC)
	var mu sync.Mutex
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	d := newFile(t, 1<<20)
	e := NewExport("v", d, ExportOptions{})
	addr, _ := start(t, one{e}, func(s *Server) { s.Now = clock })
	if len(e.Conns()) != 0 {
		t.Error("connections before any connected")
	}
	c := enter(t, addr, "v", true)
	c.want(cmdWrite, 0, 0, 8192, noise(8192), 0)
	mu.Lock()
	now = now.Add(time.Minute)
	mu.Unlock()
	c.want(cmdRead, 0, 0, 4096, nil, 0)
	enter(t, addr, "v", true)
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

// Cutting off lets the requests under way finish and flushes; others stay.
func TestDisconnect(t *testing.T) {
	m := newMemory(1 << 20)
	inside, release := make(chan struct{}), make(chan struct{})
	m.onWrite = func() error {
		inside <- struct{}{}
		<-release
		return nil
	}
	e := NewExport("v", m, ExportOptions{})
	addr, _ := start(t, one{e}, nil)
	a, b := enter(t, addr, "v", true), enter(t, addr, "v", true)
	cookie := a.send(cmdWrite, 0, 0, 4096, noise(4096))
	<-inside
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
	a.gone()
	b.want(cmdRead, 0, 0, 4096, nil, 0)
	if n := len(e.Conns()); n != 1 {
		t.Error(n, "connections left")
	}
	if err := e.Close(context.Background()); err != nil {
		t.Error(err)
	}
	b.gone()
	if _, final := connect(t, addr).option(optGo, goData("v")); final != repErrUnknown {
		t.Errorf("GO to a closed export: %#x", final)
	}
	cancel()
	if err := e.Close(soon); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A disk that hangs keeps nobody from stopping.
func TestDisconnectIsBounded(t *testing.T) {
	m := newMemory(1 << 20)
	inside, release := make(chan struct{}), make(chan struct{})
	m.onRead = func() error {
		inside <- struct{}{}
		<-release
		return nil
	}
	e := NewExport("v", m, ExportOptions{})
	addr, s := start(t, one{e}, nil)
	c := enter(t, addr, "v", true)
	c.send(cmdRead, 0, 0, 4096, nil)
	<-inside
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Disconnect(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.gone()
	close(release)
}

func TestShutdown(t *testing.T) {
	m := newMemory(1 << 20)
	inside, release := make(chan struct{}), make(chan struct{})
	m.onWrite = func() error {
		inside <- struct{}{}
		<-release
		return nil
	}
	addr, s := start(t, one{NewExport("v", m, ExportOptions{})}, nil)
	halfway, idle, busy := connect(t, addr), enter(t, addr, "v", true), enter(t, addr, "v", true)
	cookie := busy.send(cmdWrite, 0, 0, 4096, noise(4096))
	<-inside
	over := make(chan error)
	go func() { over <- s.Shutdown(context.Background()) }()
	halfway.gone()
	idle.gone()
	close(release)
	if r := busy.receive(); r.cookie != cookie || r.errno != 0 {
		t.Error(r)
	}
	busy.gone()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if m.flushes.Load() == 0 {
		t.Error("not flushed")
	}
}

// An extended device is larger for the next connection; the present one keeps
// the size it was told.
func TestExtend(t *testing.T) {
	d := newFile(t, 1<<20)
	addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
	old := enter(t, addr, "v", true)
	if err := d.f.Truncate(2 << 20); err != nil {
		t.Fatal(err)
	}
	old.want(cmdWrite, 0, 1<<20, 512, noise(512), eNoSpc)
	enter(t, addr, "v", true).want(cmdWrite, 0, 1<<20, 512, noise(512), 0)
	if err := d.f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	old.want(cmdRead, 0, 1<<19, 512, nil, eIO) // someone cut the file
}

func TestTooManyConnections(t *testing.T) {
	e := NewExport("v", newMemory(4096), ExportOptions{MaxConns: 1})
	addr, _ := start(t, one{e}, nil)
	c := enter(t, addr, "v", true)
	if _, final := connect(t, addr).option(optGo, goData("v")); final != repErrPolicy {
		t.Errorf("%#x", final)
	}
	c.put(requestFrame(request{kind: cmdDisc}))
	c.gone()
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error("not a clean end:", err)
	}
}

// deaf is a client that takes the greeting and no word more.
type deaf struct {
	tape
	writes int
}

func (d *deaf) Write(p []byte) (int, error) {
	if d.writes++; d.writes > 1 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

// A client that is gone before the answer to its GO is no client.
func TestNobodyEnteredWithoutAnAnswer(t *testing.T) {
	e := NewExport("v", newMemory(4096), ExportOptions{})
	s := &Server{Exports: one{e}}
	s.init()
	said := append([]byte{0, 0, 0, flagFixedNewstyle}, optionFrame(optGo, goData("v"))...)
	newConn(s, &deaf{tape: tape{in: bytes.NewReader(said)}}).run(context.Background())
	if n := len(e.Conns()); n != 0 {
		t.Error("connections listed:", n)
	}
}

// The end of a client's last connection flushes what it wrote, not that of each.
func TestLastOneFlushes(t *testing.T) {
	m := newMemory(1 << 20)
	e := NewExport("v", m, ExportOptions{})
	addr, _ := start(t, one{e}, nil)
	a, b := enter(t, addr, "v", true), enter(t, addr, "v", true)
	leave := func(c *client) {
		mine := e.matching(func(s ConnStats) bool { return s.Addr.String() == c.LocalAddr().String() })
		c.put(requestFrame(request{kind: cmdDisc}))
		<-mine[0].done
	}
	a.want(cmdWrite, 0, 0, 4096, noise(4096), 0)
	leave(a)
	if m.flushes.Load() != 0 {
		t.Error("flushed while another connection is there")
	}
	leave(b)
	if m.flushes.Load() != 1 {
		t.Error("flushes after the last:", m.flushes.Load())
	}
	leave(enter(t, addr, "v", true)) // which changed nothing
	if m.flushes.Load() != 1 {
		t.Error("flushed without a change")
	}
}
