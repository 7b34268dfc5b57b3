package backendtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// NBD is a minimal client of the Network Block Device protocol for tests: one request
// at a time, from any address of this machine.
type NBD struct {
	Size int64 // of the export, after Use

	nc net.Conn
	br *bufio.Reader
}

// NBDExport is one line of [NBD.List].
type NBDExport struct{ Name, Description string }

// ErrNBDUnknown is the server's NBD_REP_ERR_UNKNOWN: there is no such export for this
// client.
var ErrNBDUnknown = errors.New("unknown export")

const (
	nbdTimeout = 30 * time.Second // of one reply

	nbdOptMagic   = 0x49484156454f5054 // IHAVEOPT
	nbdReplyMagic = 0x3e889045565a9
	nbdErrUnknown = 1<<31 | 6
)

// DialNBD connects from an address of this machine ("": any) and makes the handshake,
// over TLS when secure is not nil.
func DialNBD(ctx context.Context, address, from string, secure *tls.Config) (*NBD, error) {
	var d net.Dialer
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &NBD{nc: nc, br: bufio.NewReader(nc)}
	if err := c.handshake(ctx, secure); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *NBD) handshake(ctx context.Context, secure *tls.Config) error {
	c.setDeadline()
	var greeting [18]byte
	if _, err := io.ReadFull(c.br, greeting[:]); err != nil {
		return err
	}
	if string(greeting[:8]) != "NBDMAGIC" || binary.BigEndian.Uint64(greeting[8:]) != nbdOptMagic {
		return fmt.Errorf("greeted with %q", greeting)
	}
	if _, err := c.nc.Write([]byte{0, 0, 0, 3}); err != nil { // fixed newstyle, no zeroes
		return err
	}
	if secure == nil {
		return nil
	}
	if err := c.option(5, nil, nil); err != nil { // STARTTLS
		return err
	}
	t := tls.Client(c.nc, secure)
	if err := t.HandshakeContext(ctx); err != nil {
		return err
	}
	c.nc, c.br = t, bufio.NewReader(t)
	return nil
}

func (c *NBD) setDeadline() { _ = c.nc.SetDeadline(time.Now().Add(nbdTimeout)) }

// option sends an option and calls each with its replies until NBD_REP_ACK.
func (c *NBD) option(opt uint32, data []byte, each func(kind uint32, data []byte)) error {
	c.setDeadline()
	be := binary.BigEndian
	p := be.AppendUint32(be.AppendUint32(be.AppendUint64(nil, nbdOptMagic), opt), uint32(len(data)))
	if _, err := c.nc.Write(append(p, data...)); err != nil {
		return err
	}
	for {
		var head [20]byte
		if _, err := io.ReadFull(c.br, head[:]); err != nil {
			return err
		}
		if be.Uint64(head[:]) != nbdReplyMagic || be.Uint32(head[8:]) != opt {
			return fmt.Errorf("reply %x to option %d", head, opt)
		}
		kind, body := be.Uint32(head[12:]), make([]byte, be.Uint32(head[16:]))
		if _, err := io.ReadFull(c.br, body); err != nil {
			return err
		}
		switch {
		case kind == 1: // ACK
			return nil
		case kind == nbdErrUnknown:
			return ErrNBDUnknown
		case kind&(1<<31) != 0:
			return fmt.Errorf("option %d refused with %#x: %s", opt, kind, body)
		}
		if each != nil {
			each(kind, body)
		}
	}
}

// List lists the exports for this client.
func (c *NBD) List() ([]NBDExport, error) {
	var all []NBDExport
	err := c.option(3, nil, func(_ uint32, data []byte) {
		n := binary.BigEndian.Uint32(data)
		all = append(all, NBDExport{string(data[4 : 4+n]), string(data[4+n:])})
	})
	return all, err
}

// Use sends NBD_OPT_GO: it chooses an export and enters transmission.
func (c *NBD) Use(name string) error {
	be := binary.BigEndian
	data := append(be.AppendUint32(nil, uint32(len(name))), name...)
	return c.option(7, append(data, 0, 0), func(_ uint32, data []byte) { // GO
		if be.Uint16(data) == 0 {
			c.Size = int64(be.Uint64(data[2:]))
		}
	})
}

// request makes one command; errors of the server are of type [syscall.Errno].
func (c *NBD) request(kind uint16, off int64, payload, into []byte) error {
	return c.requestFlagged(0, kind, off, payload, into)
}

func (c *NBD) requestFlagged(flags, kind uint16, off int64, payload, into []byte) error {
	return c.requestLength(flags, kind, off, max(len(payload), len(into)), payload, into)
}

// requestLength is for commands about n bytes that carry none.
func (c *NBD) requestLength(flags, kind uint16, off int64, n int, payload, into []byte) error {
	c.setDeadline()
	be := binary.BigEndian
	p := be.AppendUint16(be.AppendUint16(be.AppendUint32(nil, 0x25609513), flags), kind)
	p = be.AppendUint32(be.AppendUint64(be.AppendUint64(p, 1), uint64(off)), uint32(n))
	if _, err := c.nc.Write(append(p, payload...)); err != nil {
		return err
	}
	var head [16]byte
	if _, err := io.ReadFull(c.br, head[:]); err != nil {
		return err
	}
	if be.Uint32(head[:]) != 0x67446698 {
		return fmt.Errorf("reply %x", head)
	}
	if errno := be.Uint32(head[4:]); errno != 0 {
		return syscall.Errno(errno)
	}
	_, err := io.ReadFull(c.br, into)
	return err
}

// ReadAt reads all of p.
func (c *NBD) ReadAt(p []byte, off int64) (int, error) { return len(p), c.request(0, off, nil, p) }

// WriteAt writes all of p.
func (c *NBD) WriteAt(p []byte, off int64) (int, error) { return len(p), c.request(1, off, p, nil) }

// WriteFUA writes all of p, to stable storage before the answer.
func (c *NBD) WriteFUA(p []byte, off int64) error { return c.requestFlagged(1, 1, off, p, nil) }

// Trim sends NBD_CMD_TRIM.
func (c *NBD) Trim(off int64, n int) error { return c.requestLength(0, 4, off, n, nil, nil) }

// WriteZeroes sends NBD_CMD_WRITE_ZEROES; keep asks for zeroes that take space.
func (c *NBD) WriteZeroes(off int64, n int, keep bool) error {
	flags := uint16(0)
	if keep {
		flags = 2 // NO_HOLE
	}
	return c.requestLength(flags, 6, off, n, nil, nil)
}

// Flush sends NBD_CMD_FLUSH.
func (c *NBD) Flush() error { return c.request(3, 0, nil, nil) }

// Ended waits until the server closes the connection.
func (c *NBD) Ended() error {
	c.setDeadline()
	if _, err := c.br.ReadByte(); err == nil {
		return errors.New("the server sent data")
	} else if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return nil
	} else {
		return err
	}
}

// Close closes the connection without NBD_CMD_DISC.
func (c *NBD) Close() error { return c.nc.Close() }
