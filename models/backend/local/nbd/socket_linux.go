package nbd

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const maxIovecs = 256 // of one writev

// socket is a TCP connection whose system calls bypass the Go scheduler. They do not
// block, but copying a large payload takes so long that the scheduler would wake
// another thread for the processor: a fifth of the throughput with two processors,
// one of them the client's.
type socket struct {
	*net.TCPConn
	raw syscall.RawConn

	// Arguments and results of the calls of one reader and one writer.
	in, out socketCall
	iov     [maxIovecs]unix.Iovec
}

type socketCall struct {
	attempt func(fd uintptr) bool
	p       unsafe.Pointer
	n       int
	got     int
	err     unix.Errno
}

// init makes attempt the system call trap with the arguments p and n.
func (c *socketCall) init(trap uintptr) {
	c.attempt = func(fd uintptr) bool {
		errno := unix.EINTR
		for n := uintptr(0); errno == unix.EINTR; c.got = int(n) {
			n, _, errno = unix.RawSyscall(trap, fd, uintptr(c.p), uintptr(c.n))
		}
		c.err = errno
		return errno != unix.EAGAIN
	}
}

// newSocket returns nc as a socket where it is a TCP connection, else nc itself.
func newSocket(nc net.Conn) net.Conn {
	tcp, ok := nc.(*net.TCPConn)
	if !ok {
		return nc
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nc
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.in.init(unix.SYS_READ)
	s.out.init(unix.SYS_WRITEV)
	return s
}

// receiveWindow is how many bytes a client may send before the server reads them:
// more than usual clients have under way. When a window closes and opens again, two
// processors of the client send, packets overtake each other and are sent twice; a
// large window makes that twenty times rarer.
const receiveWindow = 4 << 20

// growReceiveBuffer gives a connection a large receive buffer from the start.
// SO_RCVBUF would end the kernel's autotuning and has a low limit by default;
// SO_RCVLOWAT makes room for that many bytes, up to half of tcp_rmem's maximum
// (tcp(7), tcp_set_rcvlowat in net/ipv4/tcp.c).
func growReceiveBuffer(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	s, ok := nc.(*socket)
	if !ok {
		return
	}
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, receiveWindow)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, 1)
	})
}

func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in.p, s.in.n = unsafe.Pointer(unsafe.SliceData(p)), len(p)
	err := s.raw.Read(s.in.attempt)
	s.in.p = nil
	switch {
	case err != nil:
		return 0, err
	case s.in.err != 0:
		return 0, s.in.err
	case s.in.got == 0:
		return 0, io.EOF
	}
	return s.in.got, nil
}

func (s *socket) Write(p []byte) (int, error) {
	vec := [1][]byte{p}
	return len(p), s.writeVec(vec[:])
}

// writeVec writes all of vec, or returns an error.
func (s *socket) writeVec(vec [][]byte) error {
	for len(vec) > 0 {
		n := 0
		for ; n < len(vec) && n < maxIovecs; n++ {
			s.iov[n].Base = unsafe.SliceData(vec[n])
			s.iov[n].SetLen(len(vec[n]))
		}
		if err := s.writeIov(s.iov[:n]); err != nil {
			return err
		}
		vec = vec[n:]
	}
	return nil
}

func (s *socket) writeIov(iov []unix.Iovec) error {
	defer clear(iov)
	for len(iov) > 0 {
		s.out.p, s.out.n = unsafe.Pointer(unsafe.SliceData(iov)), len(iov)
		if err := s.raw.Write(s.out.attempt); err != nil {
			return err
		}
		if s.out.err != 0 {
			return s.out.err
		}
		got := uint64(s.out.got)
		for len(iov) > 0 && got >= uint64(iov[0].Len) {
			got -= uint64(iov[0].Len)
			iov = iov[1:]
		}
		if got > 0 {
			iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), got))
			iov[0].SetLen(int(uint64(iov[0].Len) - got))
		}
	}
	return nil
}
