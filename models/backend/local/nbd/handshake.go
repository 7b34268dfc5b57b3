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

// errClientAborted ends a handshake in good order.
var errClientAborted = errors.New("aborted by the client")

// errRefused ends a handshake whose refusal is told already.
var errRefused = errors.New("refused")

// errTransmissionStarts ends a handshake after EXPORT_NAME or GO.
var errTransmissionStarts = errors.New("entering transmission")

// handshake is what a connection needs only until transmission.
type handshake struct {
	*conn
	noZeroes      bool
	startTLSAcked bool
	replies       []byte // to the present option
}

// runHandshake negotiates. nil: the connection has an export and transmission may
// begin. errClientAborted: the client left in good order.
func (c *conn) runHandshake(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.srv.HandshakeTimeout)
	defer cancel()
	c.setReadTimeout(c.srv.HandshakeTimeout)
	_ = c.nc.SetWriteDeadline(time.Now().Add(c.srv.HandshakeTimeout))
	c.br = bufio.NewReaderSize(c.nc, handshakeBuffer)
	h := &handshake{conn: c}
	if err := h.exchangeFlags(); err != nil {
		return err
	}
	for range maxOptions {
		err := h.serveOption(ctx)
		if errors.Is(err, errTransmissionStarts) {
			c.startTransmission()
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("too many options")
}

// startTransmission replaces the small read buffer and ends the time limits.
func (c *conn) startTransmission() {
	growReceiveBuffer(c.nc)
	var from io.Reader = c.nc
	if n := c.br.Buffered(); n > 0 {
		early, _ := c.br.Peek(n)
		from = io.MultiReader(bytes.NewReader(early), c.nc)
	}
	c.input.Reader = from
	c.br = bufio.NewReaderSize(&c.input, readBuffer)
	c.setReadTimeout(0)
	_ = c.nc.SetWriteDeadline(time.Time{})
}

func (h *handshake) exchangeFlags() error {
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

// serveOption reads an option and sends the replies. Its errors are those of
// dispatch and of the connection.
func (h *handshake) serveOption(ctx context.Context) error {
	be := binary.BigEndian
	var head [16]byte
	if _, err := io.ReadFull(h.br, head[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return errClientAborted
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
	h.replies = h.replies[:0]
	after := h.dispatch(ctx, opt, data)
	if len(h.replies) > 0 {
		if _, err := h.nc.Write(h.replies); err != nil {
			return err
		}
	}
	if opt == optStartTLS && after == nil && h.startTLSAcked {
		h.startTLSAcked = false
		return h.upgradeTLS(ctx)
	}
	return after
}

// dispatch appends the replies to an option. errTransmissionStarts: transmission
// begins. Any other error ends the connection.
func (h *handshake) dispatch(ctx context.Context, opt uint32, data []byte) error {
	if h.srv.tls != nil && h.peer.Certificate == nil {
		switch opt {
		case optStartTLS, optAbort:
		case optExportName:
			return errors.New("EXPORT_NAME without TLS")
		default:
			h.appendOptionReply(opt, repErrTLSReqd, nil)
			return nil
		}
	}
	switch opt {
	case optExportName:
		return h.handleExportName(ctx, string(data))
	case optAbort:
		h.appendOptionReply(opt, repAck, nil)
		return errClientAborted
	case optList:
		h.handleList(ctx, data)
	case optStartTLS:
		h.handleStartTLS(data)
	case optInfo, optGo:
		return h.handleInfo(ctx, opt, data)
	case optStructuredReply:
		if len(data) > 0 {
			h.appendOptionReply(opt, repErrInvalid, nil)
			break
		}
		h.structured = true
		h.appendOptionReply(opt, repAck, nil)
	case optListMetaContext, optSetMetaContext:
		h.handleMetaContext(ctx, opt, data)
	default:
		h.appendOptionReply(opt, repErrUnsup, nil)
	}
	return nil
}

// appendOptionReply appends one reply to opt.
func (h *handshake) appendOptionReply(opt, kind uint32, data []byte) {
	be := binary.BigEndian
	h.replies = be.AppendUint64(h.replies, repMagic)
	h.replies = be.AppendUint32(h.replies, opt)
	h.replies = be.AppendUint32(h.replies, kind)
	h.replies = be.AppendUint32(h.replies, uint32(len(data)))
	h.replies = append(h.replies, data...)
}
