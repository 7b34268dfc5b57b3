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

// countingDevice counts the pieces that come through a pipe.
type countingDevice struct {
	*FileDevice
	pieces atomic.Int64
	refuse atomic.Int64 // this many pieces answer that there is no splice
}

func (d *countingDevice) writeFrom(p *pipe, off int64, n int) error {
	d.pieces.Add(1)
	if d.refuse.Add(-1) >= 0 {
		return errors.ErrUnsupported
	}
	return d.FileDevice.writeFrom(p, off, n)
}

// setPipeSize sets the capacity of new pipes in bytes, at least a page.
func setPipeSize(t testing.TB, size int) {
	t.Helper()
	before, least := pipeSize, minPipeSize
	pipeSize, minPipeSize = size, 0
	t.Cleanup(func() { pipeSize, minPipeSize = before, least })
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

// primePipe makes the client's next large write go through a pipe: after a large write
// the read buffer takes no payload in.
func (c *client) primePipe() { c.wantErrno(cmdWrite, 0, 0, 1<<20, make([]byte, 1<<20), 0) }

// Writes of random sizes whose payloads arrive in random pieces.
func TestSplice_RandomWrites(t *testing.T) {
	const size = 8 << 20
	for _, pipes := range []int{1 << 12, 1 << 16, 1 << 20} {
		setPipeSize(t, pipes)
		d := &countingDevice{FileDevice: newFileDevice(t, size)}
		e := NewExport("v", d, ExportOptions{})
		addr, _ := startServer(t, singleExport{e}, nil)
		c := dialExport(t, addr, "v", true)
		c.primePipe()
		random, want, source := rand.New(rand.NewPCG(uint64(pipes), 1)), make([]byte, size), randomBytes(2<<20)
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
				c.write(data[:n])
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

// An error of the disk within a payload fails that request only.
func TestSplice_WriteError(t *testing.T) {
	setPipeSize(t, 1<<12) // several pieces per payload
	d := &countingDevice{FileDevice: newFileDevice(t, 4<<20)}
	var until atomic.Int64 // writes that succeed before one fails
	until.Store(1 << 40)
	d.Hook = func(op string) error {
		if op == "write" && until.Add(-1) < 0 {
			until.Store(1 << 40)
			return syscall.ENOSPC
		}
		return nil
	}
	var reported atomic.Int64
	e := NewExport("v", d, ExportOptions{OnError: func(op string, err error) {
		if op != "write" || !errors.Is(err, syscall.ENOSPC) {
			t.Error(op, err)
		}
		reported.Add(1)
	}})
	addr, _ := startServer(t, singleExport{e}, nil)
	c := dialExport(t, addr, "v", true)
	for _, pieces := range []int64{0, 1, 3} {
		c.primePipe()
		until.Store(pieces)
		c.wantErrno(cmdWrite, 0, 1<<20, 1<<20, randomBytes(1<<20), eNoSpc)
		c.wantErrno(cmdWrite, 0, 2<<20, 4096, randomBytes(4096), 0)
		if a := c.roundTrip(cmdRead, 0, 2<<20, 4096, nil); !bytes.Equal(a.data, randomBytes(4096)) {
			t.Error("the next request is out of step")
		}
	}
	if reported.Load() != 3 {
		t.Error("errors reported:", reported.Load())
	}
}

// Quiesce stops a payload between two pieces until resume, while reads go on.
func TestSplice_Quiesce(t *testing.T) {
	setPipeSize(t, 1<<12)
	d := &countingDevice{FileDevice: newFileDevice(t, 4<<20)}
	e := NewExport("v", d, ExportOptions{})
	held := make(chan func() error, 1)
	var begun atomic.Bool
	d.Hook = func(op string) error {
		if op != "write" || d.pieces.Load() != 2 || begun.Swap(true) {
			return nil
		}
		go func() {
			open, err := e.Quiesce(context.Background())
			if err != nil {
				t.Error(err)
			}
			held <- open
		}()
		for e.gate.tryEnter() { // until Quiesce waits for this write
			e.gate.leave()
			runtime.Gosched()
		}
		return nil
	}
	addr, _ := startServer(t, singleExport{e}, nil)
	c, other := dialExport(t, addr, "v", true), dialExport(t, addr, "v", true)
	c.primePipe()
	d.pieces.Store(0)
	data := randomBytes(1 << 20)
	cookie := c.send(cmdWrite, 0, 1<<20, 1<<20, data)
	open := <-held
	written := func() int {
		a := other.roundTrip(cmdRead, 0, 1<<20, 1<<20, nil)
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
	if a := c.roundTrip(cmdRead, 0, 0, 4096, nil); a.errno != 0 { // the payload has been read
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

// Without splice the payload is written through a buffer, and splice is not tried again.
func TestSplice_Unsupported(t *testing.T) {
	before := countPipes(t)
	d := &countingDevice{FileDevice: newFileDevice(t, 4<<20)}
	d.refuse.Store(1)
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	c := dialExport(t, addr, "v", true)
	c.primePipe()
	data := randomBytes(3 << 20)
	for i := range 3 {
		c.wantErrno(cmdWrite, 0, uint64(i)<<20, 1<<20, data[i<<20:(i+1)<<20], 0)
	}
	if a := c.roundTrip(cmdRead, 0, 0, len(data), nil); !bytes.Equal(a.data, data) {
		t.Error("what was written is not what is read")
	}
	if d.pieces.Load() != 1 || countPipes(t) != before {
		t.Error("asked again:", d.pieces.Load())
	}
}

// partialSpliceDevice refuses splice after the first page while armed.
type partialSpliceDevice struct {
	*FileDevice
	armed atomic.Bool
}

func (d *partialSpliceDevice) writeFrom(p *pipe, off int64, n int) error {
	if !d.armed.Swap(false) {
		return d.FileDevice.writeFrom(p, off, n)
	}
	if err := d.FileDevice.writeFrom(p, off, page); err != nil {
		return err
	}
	return syscall.EOPNOTSUPP
}

// A splice that is refused after a part of the payload fails the write.
func TestSplice_ErrorAfterPartialWrite(t *testing.T) {
	t.Parallel()
	d := &partialSpliceDevice{FileDevice: newFileDevice(t, 4<<20)}
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	c := dialExport(t, addr, "v", true)
	c.primePipe()
	d.armed.Store(true)
	c.wantErrno(cmdWrite, 0, 0, 1<<20, randomBytes(1<<20), eNotSup)
	c.wantErrno(cmdWrite, 0, 0, 1<<20, randomBytes(1<<20), 0)
	if a := c.roundTrip(cmdRead, 0, 0, 1<<20, nil); d.armed.Load() || !bytes.Equal(a.data, randomBytes(1<<20)) {
		t.Error("the next request is out of step")
	}
}

// A splice that is refused at once takes nothing from the connection.
func TestPipeFill_Unsupported(t *testing.T) {
	t.Parallel()
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
	p := openPipe(newSocket(served))
	defer p.close()
	if _, err := client.Write(randomBytes(100)); err != nil {
		t.Fatal(err)
	}
	w := p.w
	p.w = int(newFileDevice(t, 1).f.Fd()) // neither end is a pipe: the kernel refuses
	if err := p.fill(100); !errors.Is(err, errors.ErrUnsupported) || p.buffered != 0 {
		t.Errorf("%v, %d bytes", err, p.buffered)
	}
	p.w = w
	got := make([]byte, 100)
	if err := p.fill(100); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, randomBytes(100)) {
		t.Error("bytes are missing", err)
	}
}

// A pipe that the kernel keeps small is not used.
func TestSplice_SmallPipe(t *testing.T) {
	setPipeSize(t, 1<<12)
	minPipeSize = 64 << 10
	before := countPipes(t)
	d := &countingDevice{FileDevice: newFileDevice(t, 4<<20)}
	addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
	c := dialExport(t, addr, "v", true)
	c.primePipe()
	c.wantErrno(cmdWrite, 0, 0, 1<<20, randomBytes(1<<20), 0)
	if a := c.roundTrip(cmdRead, 0, 0, 1<<20, nil); !bytes.Equal(a.data, randomBytes(1<<20)) {
		t.Error("what was written is not what is read")
	}
	if d.pieces.Load() != 0 || countPipes(t) != before {
		t.Error("a pipe was used")
	}
}

// A client that leaves while the pipe is full is noticed at once, not after StallTimeout.
func TestSplice_ClientGoneFullPipe(t *testing.T) {
	setPipeSize(t, 1<<12)
	e := NewExport("v", newFileDevice(t, 4<<20), ExportOptions{})
	addr, _ := startServer(t, singleExport{e}, nil)
	for _, some := range []int{1, 100, page} {
		c := dialExport(t, addr, "v", true)
		c.primePipe()
		c.send(cmdWrite, 0, 0, 1<<20, randomBytes(some))
		mine := e.connsMatching(nil)
		c.Close()
		select {
		case <-mine[0].done:
		case <-time.After(testTimeout):
			t.Fatalf("still there, %d bytes after its last request", some)
		}
	}
}

// A client that leaves within a payload leaves no pipe and no memory behind.
func TestSplice_PipesClosed(t *testing.T) {
	before := countPipes(t)
	e := NewExport("v", newFileDevice(t, 4<<20), ExportOptions{})
	addr, s := startServer(t, singleExport{e}, nil)
	for range 3 {
		c := dialExport(t, addr, "v", true)
		c.primePipe()
		c.wantErrno(cmdWrite, 0, 0, 1<<20, randomBytes(1<<20), 0)
		if countPipes(t) == before {
			t.Error("no pipe was used")
		}
		c.send(cmdWrite, 0, 1<<20, 1<<20, randomBytes(1<<19))
		mine := e.connsMatching(nil)
		c.Close()
		<-mine[0].done
	}
	if after := countPipes(t); after != before {
		t.Errorf("%d pipes more than before", after-before)
	}
	waitMemoryReleased(t, s)
	c := dialExport(t, addr, "v", true)
	if a := c.roundTrip(cmdRead, 0, 0, 1<<20, nil); !bytes.Equal(a.data, randomBytes(1<<20)) {
		t.Error("what was acknowledged is not there")
	}
}
