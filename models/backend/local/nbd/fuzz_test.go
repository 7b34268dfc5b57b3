package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// scriptedConn is a connection whose client sends in, takes every reply and leaves.
type scriptedConn struct {
	in  *bytes.Reader
	mu  sync.Mutex
	out bytes.Buffer
}

func (p *scriptedConn) Read(b []byte) (int, error) { return p.in.Read(b) }

func (p *scriptedConn) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.Write(b)
}

func (p *scriptedConn) Close() error                     { return nil }
func (p *scriptedConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (p *scriptedConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (p *scriptedConn) SetDeadline(time.Time) error      { return nil }
func (p *scriptedConn) SetReadDeadline(time.Time) error  { return nil }
func (p *scriptedConn) SetWriteDeadline(time.Time) error { return nil }

// serveScript runs a server on the bytes of a client and returns its replies. It fails
// where something of the connection is left.
func serveScript(t *testing.T, said []byte) []byte {
	t.Helper()
	exports := exportMap{
		"":  NewExport("", newMemDevice(64<<10), ExportOptions{}),
		"v": NewExport("v", newMemDevice(64<<10), ExportOptions{Description: "d", ReadOnly: true}),
	}
	s := &Server{Exports: exports}
	s.init()
	p := &scriptedConn{in: bytes.NewReader(said)}
	runConn(s, p)
	for _, e := range exports {
		if len(e.Conns()) != 0 {
			t.Error("the connection is still listed")
		}
	}
	waitMemoryReleased(t, s)
	return p.out.Bytes()
}

// readOptionReplies reads well-formed option replies until something else comes.
func readOptionReplies(t *testing.T, r *bytes.Reader) {
	t.Helper()
	for r.Len() >= 20 {
		var h [20]byte
		_, _ = io.ReadFull(r, h[:])
		if binary.BigEndian.Uint64(h[:]) != repMagic {
			_, _ = r.Seek(-20, io.SeekCurrent)
			return
		}
		if n := int64(binary.BigEndian.Uint32(h[16:])); n > int64(r.Len()) {
			t.Fatalf("an option reply of %d bytes in %d", n, r.Len())
		} else if _, err := r.Seek(n, io.SeekCurrent); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzHandshake(f *testing.F) {
	hello := []byte{0, 0, 0, 3}
	for _, options := range [][]byte{
		nil,
		optionFrame(optList, nil),
		optionFrame(optGo, goData("v", infoName, infoDescription, infoBlockSize)),
		append(optionFrame(optStructuredReply, nil), optionFrame(optSetMetaContext, metaData("v", contextAllocation))...),
		append(optionFrame(optStructuredReply, nil), optionFrame(optListMetaContext, metaData(""))...),
		append(optionFrame(optInfo, goData("x")), optionFrame(optAbort, nil)...),
		optionFrame(optExportName, nil),
		optionFrame(optStartTLS, nil),
		optionFrame(optGo, []byte{255, 255, 255, 255, 0, 0}),
	} {
		f.Add(append(bytes.Clone(hello), options...))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		out := serveScript(t, said)
		if len(out) < 18 {
			t.Fatalf("no greeting: %x", out)
		}
		r := bytes.NewReader(out[18:])
		readOptionReplies(t, r)
		if len(said) < 20 && r.Len() > 0 {
			t.Errorf("%d bytes for a client that asked nothing", r.Len())
		}
	})
}

func FuzzTransmission(f *testing.F) {
	q := func(kind, flags uint16, off uint64, length uint32) []byte {
		return requestFrame(request{flags, kind, 42, off, length})
	}
	f.Add(q(cmdRead, 0, 0, 4096))
	f.Add(q(cmdRead, cmdFlagDF, 100, 64<<10-100))
	f.Add(append(q(cmdWrite, cmdFlagFUA, 4096, 4), 1, 2, 3, 4))
	f.Add(append(q(cmdWrite, 0, 1<<63, 4), 1, 2, 3, 4))
	f.Add(append(q(cmdTrim, 0, 0, 4096), q(cmdFlush, 0, 0, 0)...))
	f.Add(append(q(cmdWriteZeroes, cmdFlagNoHole|cmdFlagFastZero, 1, 2), q(cmdCache, 0, 0, 1)...))
	f.Add(append(q(cmdBlockStatus, cmdFlagReqOne, 0, 64<<10), q(cmdDisc, 0, 0, 0)...))
	f.Add(q(cmdWrite, 0, 0, 1<<32-1))
	f.Add(q(99, 65535, 1<<64-1, 1<<32-1))
	enter := []byte{0, 0, 0, 3}
	enter = append(enter, optionFrame(optStructuredReply, nil)...)
	enter = append(enter, optionFrame(optSetMetaContext, metaData("", contextAllocation))...)
	enter = append(enter, optionFrame(optGo, goData(""))...)
	f.Fuzz(func(t *testing.T, said []byte) {
		r := bytes.NewReader(serveScript(t, append(bytes.Clone(enter), said...))[18:])
		readOptionReplies(t, r)
		requests := len(said) / requestSize
		done := 0
		for r.Len() > 0 {
			if readReply(t, r) {
				done++
			}
		}
		if done > requests {
			t.Errorf("%d replies to %d requests", done, requests)
		}
	})
}

// readReply reads one well-formed message of a structured transmission and reports
// whether it was the last of its reply.
func readReply(t *testing.T, r *bytes.Reader) bool {
	t.Helper()
	var h [structuredSize]byte
	if _, err := io.ReadFull(r, h[:simpleSize]); err != nil {
		t.Fatal("a reply cut off")
	}
	switch be := binary.BigEndian; be.Uint32(h[:]) {
	case simpleReplyMagic:
		return true
	case structuredReplyMagic:
		if _, err := io.ReadFull(r, h[simpleSize:]); err != nil {
			t.Fatal("a chunk cut off")
		}
		n := be.Uint32(h[16:])
		if int64(n) > int64(r.Len()) || n > 8+64<<10 {
			t.Fatalf("a chunk of %d bytes in %d", n, r.Len())
		}
		_, _ = r.Seek(int64(n), io.SeekCurrent)
		return be.Uint16(h[4:])&replyFlagDone != 0
	}
	t.Fatalf("neither reply nor chunk: %x", h)
	return false
}
