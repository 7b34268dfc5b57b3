package nbd

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe is asked to hold, counted as if each piece of memory in
// it were a page; tests make it smaller. Each user has 64 MiB of pipes
// (pipe-user-pages-soft in pipe(7)), beyond which new ones hold two pieces: with
// less than leastPipe a buffer is the better way.
var (
	pipeSize  = 256 << 10
	leastPipe = 64 << 10
)

// pipe takes payloads from a socket to a file with splice(2). It refers to the
// memory into which the network put them, so that they are copied once, into the
// page cache, and not through a buffer of this program too.
type pipe struct {
	r, w int // descriptors
	held int // bytes in the pipe

	sock   *socket
	want   int // argument and results of fill
	got    int
	isFull bool
	err    unix.Errno
	try    func(fd uintptr) bool
}

// openPipe returns a pipe behind a connection, or nil where splice is of no use.
func openPipe(nc net.Conn) *pipe {
	s, ok := nc.(*socket)
	if !ok {
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1], sock: s}
	p.try = p.splice
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err != nil || size < leastPipe {
		p.close()
		return nil
	}
	return p
}

// splice moves what the socket has. It says false when the socket has nothing.
func (p *pipe) splice(fd uintptr) bool {
	errno := unix.EINTR
	for n := uintptr(0); errno == unix.EINTR; p.got = int(n) {
		n, _, errno = unix.RawSyscall6(unix.SYS_SPLICE, fd, 0, uintptr(p.w), 0, uintptr(p.want), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	}
	p.err = errno
	if errno != unix.EAGAIN {
		return true
	}
	if p.held == 0 {
		return false
	}
	// Either end may be the reason. A socket that has come to its end counts as one
	// that has something, or nobody would look at it again.
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	p.isFull = err == nil && ready > 0
	return p.isFull
}

// fill waits until the pipe holds n bytes, or as many as it can, which may be
// fewer. errors.ErrUnsupported: there is no splice; any other error is that of the
// connection.
func (p *pipe) fill(n int) error {
	p.isFull = false
	for p.held < n && !p.isFull {
		p.want = n - p.held
		err := p.sock.raw.Read(p.try)
		switch {
		case err != nil:
			return err
		case p.isFull:
		case noSplice(p.err):
			return errors.ErrUnsupported
		case p.err != 0:
			return p.err
		case p.got == 0:
			return io.EOF
		default:
			p.held += p.got
		}
	}
	return nil
}

// noSplice says that a file system or a sandbox does not know splice.
func noSplice(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)
}

// Read takes out what the pipe holds.
func (p *pipe) Read(b []byte) (int, error) {
	if p.held == 0 {
		return 0, io.EOF
	}
	n := 0
	err := again(func() (err error) {
		n, err = unix.Read(p.r, b)
		return err
	})
	if err != nil {
		return 0, err
	}
	p.held -= n
	return n, nil
}

// close may be called on nil.
func (p *pipe) close() {
	if p != nil {
		unix.Close(p.r)
		unix.Close(p.w)
	}
}

// writeFrom writes the next n bytes of p at off, as WriteAt does. After an error
// some of them may have left the pipe.
func (d *FileDevice) writeFrom(p *pipe, off int64, n int) error {
	if d.noSplice.Load() {
		return errors.ErrUnsupported
	}
	if err := d.ask("write"); err != nil {
		return err
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	fd := int(d.f.Fd())
	for begun := false; n > 0; begun = true {
		m := 0
		err := again(func() error {
			moved, err := unix.Splice(p.r, nil, fd, &off, n, unix.SPLICE_F_MOVE)
			m = int(moved) // its type is not the same everywhere
			return err
		})
		switch {
		case noSplice(err) && !begun:
			d.noSplice.Store(true)
			return errors.ErrUnsupported
		case err != nil:
			return err
		case m == 0:
			return io.ErrShortWrite
		}
		n -= m
		p.held -= m
	}
	return nil
}
