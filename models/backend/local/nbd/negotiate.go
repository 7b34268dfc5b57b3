package nbd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// errAborted ends a negotiation in good order.
var errAborted = errors.New("aborted by the client")

// errEntered ends a negotiation with transmission.
var errEntered = errors.New("entering transmission")

// handshake is the state of a negotiation beside what the connection keeps.
type handshake struct {
	*conn
	noZeroes bool
	tlsNext  bool   // STARTTLS was acknowledged
	reply    []byte // replies to the present option
}

// negotiate goes through the handshake. nil: an export is chosen and
// transmission may begin.
func (c *conn) negotiate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.srv.HandshakeTimeout)
	defer cancel()
	c.readBy(c.srv.HandshakeTimeout)
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.HandshakeTimeout))
	c.br = bufio.NewReaderSize(c.nc, handshakeBuffer)
	h := &handshake{conn: c}
	if err := h.greet(); err != nil {
		return err
	}
	for range maxOptions {
		err := h.option(ctx)
		if errors.Is(err, errEntered) {
			c.begin()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("too many options")
}

// begin prepares for transmission.
func (c *conn) begin() {
	widen(c.nc)
	var from io.Reader = c.nc
	if n := c.br.Buffered(); n > 0 {
		early, _ := c.br.Peek(n)
		from = io.MultiReader(bytes.NewReader(early), c.nc)
	}
	c.src.Reader = from
	c.br = bufio.NewReaderSize(&c.src, readBuffer)
	c.readBy(0)
	_ = c.nc.SetWriteDeadline(time.Time{})
}

func (h *handshake) greet() error {
	be := binary.BigEndian
	p := be.AppendUint64(nil, initPasswd)
	p = be.AppendUint64(p, optMagic)
	p = be.AppendUint16(p, flagFixedNewstyle|flagNoZeroes)
	if _, err := h.nc.Write(p); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(h.br, flags[:]); err != nil {
		return err
	}
	f := be.Uint32(flags[:])
	if f&^(flagFixedNewstyle|flagNoZeroes) != 0 {
		return fmt.Errorf("unknown client flags %#x", f)
	}
	h.noZeroes = f&flagNoZeroes != 0
	return nil
}

// option reads one option, does it and sends the replies.
func (h *handshake) option(ctx context.Context) error {
	be := binary.BigEndian
	var head [16]byte
	if _, err := io.ReadFull(h.br, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return errAborted
		}
		return err
	}
	opt, n := be.Uint32(head[8:]), be.Uint32(head[12:])
	if be.Uint64(head[:]) != optMagic {
		return errors.New("bad option magic")
	}
	if n > maxOption {
		return fmt.Errorf("option %d of %d bytes", opt, n)
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(h.br, data); err != nil {
		return err
	}
	h.reply = h.reply[:0]
	after := h.do(ctx, opt, data)
	if len(h.reply) > 0 {
		if _, err := h.nc.Write(h.reply); err != nil {
			return err
		}
	}
	if opt == optStartTLS && after == nil && h.tlsNext {
		h.tlsNext = false
		return h.startTLS(ctx)
	}
	return after
}

// do does one option: it appends the replies, and returns errEntered when
// transmission begins, errAborted or another error when the connection ends.
func (h *handshake) do(ctx context.Context, opt uint32, data []byte) error {
	if h.srv.tls != nil && h.peer.Certificate == nil {
		switch opt {
		case optStartTLS, optAbort:
		case optExportName:
			return errors.New("EXPORT_NAME without TLS")
		default:
			h.answer(opt, repErrTLSReqd, nil)
			return nil
		}
	}
	switch opt {
	case optExportName:
		return h.exportName(ctx, string(data))
	case optAbort:
		h.answer(opt, repAck, nil)
		return errAborted
	case optList:
		h.list(ctx, data)
	case optStartTLS:
		h.requestTLS(data)
	case optInfo, optGo:
		return h.info(ctx, opt, data)
	case optStructuredReply:
		if len(data) > 0 {
			h.answer(opt, repErrInvalid, nil)
			break
		}
		h.structured = true
		h.answer(opt, repAck, nil)
	case optListMetaContext, optSetMetaContext:
		h.metaContext(ctx, opt, data)
	default:
		h.answer(opt, repErrUnsup, nil)
	}
	return nil
}

// answer appends one option reply.
func (h *handshake) answer(opt, kind uint32, data []byte) {
	be := binary.BigEndian
	h.reply = be.AppendUint64(h.reply, repMagic)
	h.reply = be.AppendUint32(h.reply, opt)
	h.reply = be.AppendUint32(h.reply, kind)
	h.reply = be.AppendUint32(h.reply, uint32(len(data)))
	h.reply = append(h.reply, data...)
}
