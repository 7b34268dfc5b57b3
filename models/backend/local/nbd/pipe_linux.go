package nbd

import (
	"errors"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// pipeSize is the requested capacity of a pipe in bytes, where each piece of memory
// counts as a page. A user's pipes beyond 64 MiB (pipe-user-pages-soft in pipe(7))
// hold two pieces only: below minPipeSize a buffer is faster. Tests change both.
var (
	pipeSize    = 256 << 10
	minPipeSize = 64 << 10
)

// pipe moves payloads from a socket to a file with splice(2). It refers to the
// network's own memory, so that they are copied once, into the page cache, and not
// through a buffer of this program.
type pipe struct {
	r, w     int // descriptors
	buffered int // bytes in the pipe

	sock      *socket
	want      int // argument of trySplice; its results follow
	moved     int
	full      bool
	err       unix.Errno
	trySplice func(fd uintptr) bool
}

// openPipe returns a pipe for a connection, or nil where splice is of no use.
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
	p.trySplice = p.splice
	_, _ = unix.FcntlInt(uintptr(p.w), unix.F_SETPIPE_SZ, pipeSize)
	if size, err := unix.FcntlInt(uintptr(p.w), unix.F_GETPIPE_SZ, 0); err != nil || size < minPipeSize {
		p.close()
		return nil
	}
	return p
}

// splice moves what the socket has. false: the socket has nothing.
func (p *pipe) splice(fd uintptr) bool {
	errno := unix.EINTR
	for n := uintptr(0); errno == unix.EINTR; p.moved = int(n) {
		n, _, errno = unix.RawSyscall6(unix.SYS_SPLICE, fd, 0, uintptr(p.w), 0, uintptr(p.want), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	}
	p.err = errno
	if errno != unix.EAGAIN {
		return true
	}
	if p.buffered == 0 {
		return false
	}
	// The socket is empty or the pipe is full. A socket at its end must count as
	// readable, or nothing would wake the reader again.
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	p.full = err == nil && ready > 0
	return p.full
}

// fill waits until the pipe holds n bytes or is full. errors.ErrUnsupported: there is
// no splice; any other error is that of the connection.
func (p *pipe) fill(n int) error {
	p.full = false
	for p.buffered < n && !p.full {
		p.want = n - p.buffered
		err := p.sock.raw.Read(p.trySplice)
		switch {
		case err != nil:
			return err
		case p.full:
		case spliceUnsupported(p.err):
			return errors.ErrUnsupported
		case p.err != 0:
			return p.err
		case p.moved == 0:
			return io.EOF
		default:
			p.buffered += p.moved
		}
	}
	return nil
}

// spliceUnsupported reports whether a file system or a sandbox refuses splice.
func spliceUnsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM)
}

// Read reads from the pipe; io.EOF when it is empty.
func (p *pipe) Read(b []byte) (int, error) {
	if p.buffered == 0 {
		return 0, io.EOF
	}
	n := 0
	err := ignoringEINTR(func() (err error) {
		n, err = unix.Read(p.r, b)
		return err
	})
	if err != nil {
		return 0, err
	}
	p.buffered -= n
	return n, nil
}

// close closes both ends. p may be nil.
func (p *pipe) close() {
	if p != nil {
		unix.Close(p.r)
		unix.Close(p.w)
	}
}

// writeFrom writes the next n bytes of p at off. errors.ErrUnsupported: there is no
// splice, and nothing was written; after another error some bytes may have left p.
func (d *FileDevice) writeFrom(p *pipe, off int64, n int) error {
	if d.noSplice.Load() {
		return errors.ErrUnsupported
	}
	if err := d.callHook("write"); err != nil {
		return err
	}
	d.beforeWrite(off, int64(n))
	return d.withSpace(off, int64(n), func() error { return d.spliceFrom(p, off, n) })
}

func (d *FileDevice) spliceFrom(p *pipe, off int64, n int) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	fd := int(d.f.Fd())
	for begun := false; n > 0; begun = true {
		m := 0
		err := ignoringEINTR(func() error {
			moved, err := unix.Splice(p.r, nil, fd, &off, n, unix.SPLICE_F_MOVE)
			m = int(moved) // its type differs between architectures
			return err
		})
		switch {
		case spliceUnsupported(err) && !begun:
			d.noSplice.Store(true)
			return errors.ErrUnsupported
		case err != nil:
			return err
		case m == 0:
			return io.ErrShortWrite
		}
		n -= m
		p.buffered -= m
	}
	return nil
}
