package nbd

import (
	"bytes"
	"sync/atomic"
	"syscall"
	"testing"
)

// Requests that get no shared memory are served in pieces, byte for byte. An error in a
// later piece reaches the client; it ends the connection where the reply has promised
// the data already.
func TestConn_RequestsInPieces(t *testing.T) {
	t.Parallel()
	const length = 3*ownBuffer + 12345
	m := newMemDevice(4 * ownBuffer)
	var failing atomic.Bool
	var calls atomic.Int64
	failSecond := func() error {
		if failing.Load() && calls.Add(1) == 2 {
			return syscall.EIO
		}
		return nil
	}
	m.onRead, m.onWrite = failSecond, failSecond
	e := NewExport("v", m, ExportOptions{})
	addr, s := startServer(t, exportMap{"v": e}, func(s *Server) { s.MaxMemory = 1 })
	for _, tt := range []struct {
		name       string
		structured bool
		flags      uint16
		ends       bool
	}{
		{"simple", false, 0, true},
		{"structured", true, 0, false},
		{"structured, not fragmented", true, cmdFlagDF, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			failing.Store(false)
			c, data := dialExport(t, addr, "v", tt.structured), randomBytes(length)
			before := m.flushes.Load()
			c.wantErrno(cmdWrite, cmdFlagFUA, 7, length, data, 0)
			if n := m.flushes.Load() - before; n != 1 {
				t.Errorf("%d flushes of one write with FUA", n)
			}
			a := c.roundTrip(cmdRead, tt.flags, 7, length, nil)
			if !bytes.Equal(a.data, data) {
				t.Error("what was written is not what is read")
			}
			if tt.flags == cmdFlagDF && len(a.chunks) != 1 {
				t.Errorf("%d fragments", len(a.chunks))
			}
			failing.Store(true)
			calls.Store(0)
			c.wantErrno(cmdWrite, 0, 7, length, data, eIO)
			c.wantErrno(cmdFlush, 0, 0, 0, nil, 0) // still in step
			calls.Store(0)
			if !tt.ends {
				c.wantErrno(cmdRead, tt.flags, 7, length, nil, eIO)
				c.wantErrno(cmdFlush, 0, 0, 0, nil, 0)
				return
			}
			c.send(cmdRead, tt.flags, 7, length, nil)
			c.wantDisconnected()
		})
	}
	if m.largeReads.Load() > 0 || s.memoryUsed() > 0 {
		t.Error("more memory is used than a connection has for itself")
	}
}
