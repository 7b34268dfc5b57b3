//go:build linux

package nbd

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// pipedFile counts the pieces that come through a pipe.
type pipedFile struct {
	*FileDevice
	pieces atomic.Int64
	refuse atomic.Int64 // pieces before which the system has no splice
}

func (d *pipedFile) writeFrom(p *pipe, off int64, n int) error {
	d.pieces.Add(1)
	if d.refuse.Add(-1) >= 0 {
		return errors.ErrUnsupported
	}
	return d.FileDevice.writeFrom(p, off, n)
}

// usePipesOf makes pipes hold so many bytes, a page at least.
func usePipesOf(t testing.TB, size int) {
	t.Helper()
	before, least := pipeSize, leastPipe
	pipeSize, leastPipe = size, 0
	t.Cleanup(func() { pipeSize, leastPipe = before, least })
}

func countPipes(t testing.TB) (n int) {
	t.Helper()
	fds, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, _ := os.Readlink(fd); strings.HasPrefix(to, "pipe:") {
			n++
		}
	}
	return n
}

// openPipes makes the next large write of a client go through a pipe: what
// follows a large write is not taken into the read buffer.
func (c *client) openPipes() { c.want(cmdWrite, 0, 0, 1<<20, make([]byte, 1<<20), 0) }

// Whatever the sizes and however the payloads come, the bytes are those that the
// client sent.
func TestWritesThroughPipes(t *testing.T) {
	const size = 8 << 20
	for _, pipes := range []int{1 << 12, 1 << 16, 1 << 20} {
		usePipesOf(t, pipes)
		d := &pipedFile{FileDevice: newFile(t, size)}
		e := NewExport("v", d, ExportOptions{})
		addr, _ := start(t, one{e}, nil)
		c := enter(t, addr, "v", true)
		c.openPipes()
		random, want, source := rand.New(rand.NewPCG(uint64(pipes), 1)), make([]byte, size), noise(2<<20)
		for range 100 {
			length := 1 + random.IntN(1<<20)
			if random.IntN(4) > 0 {
				length = (length + page - 1) &^ (page - 1)
			}
			off := random.IntN(size - length)
			if random.IntN(4) > 0 {
				off &^= page - 1
			}
			data := source[random.IntN(1<<20):][:length]
			copy(want[off:], data)
			cookie := c.send(cmdWrite, 0, uint64(off), length, nil)
			for len(data) > 0 {
				n := min(len(data), 1+random.IntN(1<<(8+random.IntN(13))))
				c.put(data[:n])
				data = data[n:]
			}
			if a := c.receive(); a.cookie != cookie || a.errno != 0 {
				t.Fatalf("%d bytes at %d: %+v", length, off, a)
			}
		}
		got := make([]byte, size)
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
			t.Error("what was written is not what is read", err)
		}
		if d.pieces.Load() == 0 {
			t.Error("nothing went through a pipe")
		}
		if n := e.Conns()[0].BytesWritten; n < 50*page {
			t.Error("bytes written:", n)
		}
	}
}

// An error of the disk in the middle of a payload is the answer to that request
// only.
func TestPipedWriteFails(t *testing.T) {
	usePipesOf(t, 1<<12) // several pieces
	d := &pipedFile{FileDevice: newFile(t, 4<<20)}
	var until atomic.Int64 // writes that succeed before one fails
	until.Store(1 << 40)
	d.Hook = func(op string) error {
		if op == "write" && until.Add(-1) < 0 {
			until.Store(1 << 40)
			return syscall.ENOSPC
		}
		return nil
	}
	var told atomic.Int64
	e := NewExport("v", d, ExportOptions{OnError: func(op string, err error) {
		if op != "write" || !errors.Is(err, syscall.ENOSPC) {
			t.Error(op, err)
		}
		told.Add(1)
	}})
	addr, _ := start(t, one{e}, nil)
	c := enter(t, addr, "v", true)
	for _, pieces := range []int64{0, 1, 3} {
		c.openPipes()
		until.Store(pieces)
		c.want(cmdWrite, 0, 1<<20, 1<<20, noise(1<<20), eNoSpc)
		c.want(cmdWrite, 0, 2<<20, 4096, noise(4096), 0)
		if a := c.ask(cmdRead, 0, 2<<20, 4096, nil); !bytes.Equal(a.data, noise(4096)) {
			t.Error("the next request is out of step")
		}
	}
	if told.Load() != 3 {
		t.Error("errors told:", told.Load())
	}
}

// A hold stops a payload between two pieces: nothing more of it is written until
// the release, while reads go on.
func TestHoldStopsAPipedWrite(t *testing.T) {
	usePipesOf(t, 1<<12)
	d := &pipedFile{FileDevice: newFile(t, 4<<20)}
	e := NewExport("v", d, ExportOptions{})
	held := make(chan func() error, 1)
	var begun atomic.Bool
	d.Hook = func(op string) error {
		if op != "write" || d.pieces.Load() != 2 || begun.Swap(true) {
			return nil
		}
		go func() {
			open, err := e.Hold(context.Background())
			if err != nil {
				t.Error(err)
			}
			held <- open
		}()
		for e.gate.tryEnter() { // until the hold waits for this write
			e.gate.leave()
			runtime.Gosched()
		}
		return nil
	}
	addr, _ := start(t, one{e}, nil)
	c, other := enter(t, addr, "v", true), enter(t, addr, "v", true)
	c.openPipes()
	d.pieces.Store(0)
	data := noise(1 << 20)
	cookie := c.send(cmdWrite, 0, 1<<20, 1<<20, data)
	open := <-held
	written := func() int {
		a := other.ask(cmdRead, 0, 1<<20, 1<<20, nil)
		n := 0
		for n < len(a.data) && a.data[n] == data[n] {
			n++
		}
		if !bytes.Equal(a.data[n:], make([]byte, len(a.data)-n)) {
			t.Error("something else was written")
		}
		return n
	}
	before := written()
	if before == 0 || before == 1<<20 || d.pieces.Load() != 2 {
		t.Errorf("%d bytes in %d pieces before the hold", before, d.pieces.Load())
	}
	if a := c.ask(cmdRead, 0, 0, 4096, nil); a.errno != 0 { // the payload has been taken
		t.Error(a)
	}
	if after := written(); after != before {
		t.Errorf("%d bytes were written during the hold", after-before)
	}
	if err := open(); err != nil {
		t.Error(err)
	}
	if a := c.receive(); a.cookie != cookie || a.errno != 0 {
		t.Error(a)
	}
	if written() != 1<<20 {
		t.Error("not written in the end")
	}
}

// Where the file system has no splice the payload is written all the same, and
// nobody tries again.
func TestWithoutSplice(t *testing.T) {
	before := countPipes(t)
	d := &pipedFile{FileDevice: newFile(t, 4<<20)}
	d.refuse.Store(1)
	addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
	c := enter(t, addr, "v", true)
	c.openPipes()
	data := noise(3 << 20)
	for i := range 3 {
		c.want(cmdWrite, 0, uint64(i)<<20, 1<<20, data[i<<20:(i+1)<<20], 0)
	}
	if a := c.ask(cmdRead, 0, 0, len(data), nil); !bytes.Equal(a.data, data) {
		t.Error("what was written is not what is read")
	}
	if d.pieces.Load() != 1 || countPipes(t) != before {
		t.Error("asked again:", d.pieces.Load())
	}
}

// partly is a file system that has splice no more after a page.
type partly struct {
	*FileDevice
	armed atomic.Bool
}

func (d *partly) writeFrom(p *pipe, off int64, n int) error {
	if !d.armed.Swap(false) {
		return d.FileDevice.writeFrom(p, off, n)
	}
	if err := d.FileDevice.writeFrom(p, off, page); err != nil {
		return err
	}
	return syscall.EOPNOTSUPP
}

// Where splice ends in the middle, the write has failed: what is left is not taken
// for the whole.
func TestSpliceEndsInTheMiddle(t *testing.T) {
	d := &partly{FileDevice: newFile(t, 4<<20)}
	addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
	c := enter(t, addr, "v", true)
	c.openPipes()
	d.armed.Store(true)
	c.want(cmdWrite, 0, 0, 1<<20, noise(1<<20), eNotSup)
	c.want(cmdWrite, 0, 0, 1<<20, noise(1<<20), 0)
	if a := c.ask(cmdRead, 0, 0, 1<<20, nil); d.armed.Load() || !bytes.Equal(a.data, noise(1<<20)) {
		t.Error("the next request is out of step")
	}
}

// Where the system refuses the call itself, nothing is taken from the connection.
func TestFillWithoutSplice(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	defer there.Close()
	if openPipe(here) != nil {
		t.Error("a pipe behind what is no socket")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	p := openPipe(direct(served))
	defer p.close()
	if _, err := client.Write(noise(100)); err != nil {
		t.Fatal(err)
	}
	w := p.w
	p.w = int(newFile(t, 1).f.Fd()) // neither end is a pipe: refused as where there is no splice
	if err := p.fill(100); !errors.Is(err, errors.ErrUnsupported) || p.held != 0 {
		t.Errorf("%v, %d bytes", err, p.held)
	}
	p.w = w
	got := make([]byte, 100)
	if err := p.fill(100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, noise(100)) {
		t.Error("bytes are missing", err)
	}
}

// A pipe that the system keeps small is worse than none.
func TestPipesThatAreTooSmall(t *testing.T) {
	usePipesOf(t, 1<<12)
	leastPipe = 64 << 10
	before := countPipes(t)
	d := &pipedFile{FileDevice: newFile(t, 4<<20)}
	addr, _ := start(t, one{NewExport("v", d, ExportOptions{})}, nil)
	c := enter(t, addr, "v", true)
	c.openPipes()
	c.want(cmdWrite, 0, 0, 1<<20, noise(1<<20), 0)
	if a := c.ask(cmdRead, 0, 0, 1<<20, nil); !bytes.Equal(a.data, noise(1<<20)) {
		t.Error("what was written is not what is read")
	}
	if d.pieces.Load() != 0 || countPipes(t) != before {
		t.Error("a pipe was used")
	}
}

// A client that leaves while the pipe is full is gone at once, not when its
// payload is overdue.
func TestLeavingAFullPipe(t *testing.T) {
	usePipesOf(t, 1<<12)
	e := NewExport("v", newFile(t, 4<<20), ExportOptions{})
	addr, _ := start(t, one{e}, nil)
	for _, some := range []int{1, 100, page} {
		c := enter(t, addr, "v", true)
		c.openPipes()
		c.send(cmdWrite, 0, 0, 1<<20, noise(some))
		mine := e.matching(nil)
		c.Close()
		select {
		case <-mine[0].done:
		case <-time.After(patience):
			t.Fatalf("still there, %d bytes after its last request", some)
		}
	}
}

// A client that leaves in the middle of a payload takes nothing but its
// connection along.
func TestPipesAreClosed(t *testing.T) {
	before := countPipes(t)
	e := NewExport("v", newFile(t, 4<<20), ExportOptions{})
	addr, s := start(t, one{e}, nil)
	for range 3 {
		c := enter(t, addr, "v", true)
		c.openPipes()
		c.want(cmdWrite, 0, 0, 1<<20, noise(1<<20), 0)
		if countPipes(t) == before {
			t.Error("no pipe was used")
		}
		c.send(cmdWrite, 0, 1<<20, 1<<20, noise(1<<19))
		mine := e.matching(nil)
		c.Close()
		<-mine[0].done
	}
	if after := countPipes(t); after != before {
		t.Errorf("%d pipes more than before", after-before)
	}
	allFreed(t, s)
	c := enter(t, addr, "v", true)
	if a := c.ask(cmdRead, 0, 0, 1<<20, nil); !bytes.Equal(a.data, noise(1<<20)) {
		t.Error("what was acknowledged is not there")
	}
}
