package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// handleExportName answers EXPORT_NAME, which can refuse only by disconnecting.
func (h *handshake) handleExportName(ctx context.Context, name string) error {
	if !validName(name) {
		return errors.New("invalid export name")
	}
	export, size, err := h.openExport(ctx, name)
	if err == nil {
		err = h.enterExport(export, size)
	}
	if err != nil {
		h.replyForError(err)
		return errRefused
	}
	h.replies = binary.BigEndian.AppendUint64(h.replies, uint64(h.size))
	h.replies = binary.BigEndian.AppendUint16(h.replies, h.export.transmissionFlags(h.structured))
	if !h.noZeroes {
		h.replies = append(h.replies, make([]byte, 124)...)
	}
	return errTransmissionStarts
}

func (h *handshake) handleList(ctx context.Context, data []byte) {
	if len(data) > 0 {
		h.appendOptionReply(optList, repErrInvalid, nil)
		return
	}
	for _, e := range h.srv.Exports.List(ctx, h.peer) {
		p := appendString(nil, e.Name)
		h.appendOptionReply(optList, repServer, append(p, e.Description...))
	}
	h.appendOptionReply(optList, repAck, nil)
}

func (h *handshake) handleStartTLS(data []byte) {
	switch {
	case h.srv.tls == nil:
		h.appendOptionReply(optStartTLS, repErrPolicy, []byte("TLS is not configured here"))
	case len(data) > 0, h.peer.Certificate != nil:
		h.appendOptionReply(optStartTLS, repErrInvalid, nil)
	default:
		h.startTLSAcked = true
		h.appendOptionReply(optStartTLS, repAck, nil)
	}
}

// handleInfo answers INFO and GO.
func (h *handshake) handleInfo(ctx context.Context, opt uint32, data []byte) error {
	name, rest, ok := parseString(data)
	if !ok || !validName(name) || len(rest) < 2 || len(rest) != 2+2*int(binary.BigEndian.Uint16(rest)) {
		h.appendOptionReply(opt, repErrInvalid, nil)
		return nil
	}
	var requested []uint16
	for p := rest[2:]; len(p) > 0; p = p[2:] {
		requested = append(requested, binary.BigEndian.Uint16(p))
	}
	export, size, err := h.openExport(ctx, name)
	if err == nil && opt == optGo {
		err = h.enterExport(export, size)
	}
	if err != nil {
		h.appendOptionReply(opt, h.replyForError(err), nil)
		return nil
	}
	be := binary.BigEndian
	p := be.AppendUint16(nil, infoExport)
	p = be.AppendUint64(p, uint64(size))
	h.appendOptionReply(opt, repInfo, be.AppendUint16(p, export.transmissionFlags(h.structured)))
	if slices.Contains(requested, infoName) {
		h.appendOptionReply(opt, repInfo, append(be.AppendUint16(nil, infoName), export.name...))
	}
	if d := export.opt.Description; d != "" && slices.Contains(requested, infoDescription) {
		h.appendOptionReply(opt, repInfo, append(be.AppendUint16(nil, infoDescription), d...))
	}
	p = be.AppendUint16(nil, infoBlockSize)
	p = be.AppendUint32(p, minBlock)
	p = be.AppendUint32(p, preferredBlock)
	h.appendOptionReply(opt, repInfo, be.AppendUint32(p, MaxRequest))
	h.appendOptionReply(opt, repAck, nil)
	if opt == optGo {
		return errTransmissionStarts
	}
	return nil
}

// openExport returns an export and its size in bytes. Its errors are those of
// Exports.Open and Device.Size.
func (h *handshake) openExport(ctx context.Context, name string) (*Export, int64, error) {
	export, err := h.srv.Exports.Open(ctx, name, h.peer)
	if err != nil {
		return nil, 0, err
	}
	size, err := export.dev.Size()
	return export, size, err
}

// enterExport adds the connection to the export. Its errors are those of addConn.
func (h *handshake) enterExport(export *Export, size int64) error {
	// Set first: Export.Conns shows the connection from addConn on.
	h.out.init(h.nc, h.srv.StallTimeout)
	h.export, h.size, h.connectedAt = export, size, h.srv.Now()
	h.lastActive.Store(h.connectedAt.UnixNano())
	h.nowaitDev, _ = export.dev.(NowaitDevice)
	h.allocation = h.allocation && h.structured && h.allocationExport == export.name
	if err := export.addConn(h.conn); err != nil {
		h.export = nil
		return err
	}
	h.srv.handshakeDone(h.conn)
	return nil
}

// replyForError tells of an error of openExport or enterExport and returns the reply.
// Another peer's export must look like one that does not exist.
func (h *handshake) replyForError(err error) uint32 {
	why := RefusedExport
	if errors.Is(err, errTooManyConns) {
		why = RefusedConnections
	}
	h.srv.refuse(why, h.peer, err)
	if errors.Is(err, ErrUnknownExport) {
		return repErrUnknown
	}
	return repErrPolicy
}

// handleMetaContext answers LIST_META_CONTEXT and SET_META_CONTEXT.
func (h *handshake) handleMetaContext(ctx context.Context, opt uint32, data []byte) {
	set := opt == optSetMetaContext
	if set {
		h.allocation = false
	}
	name, queries, ok := parseMetaContexts(data)
	if !ok || !validName(name) || !h.structured {
		h.appendOptionReply(opt, repErrInvalid, nil)
		return
	}
	export, _, err := h.openExport(ctx, name)
	if err != nil {
		h.appendOptionReply(opt, h.replyForError(err), nil)
		return
	}
	found := slices.Contains(queries, contextAllocation)
	id := uint32(contextAllocationID)
	if set {
		h.allocation, h.allocationExport = found, export.name
	} else {
		found = found || len(queries) == 0 || slices.Contains(queries, "base:")
		id = 0
	}
	if found {
		h.appendOptionReply(opt, repMetaContext, append(binary.BigEndian.AppendUint32(nil, id), contextAllocation...))
	}
	h.appendOptionReply(opt, repAck, nil)
}

// parseMetaContexts parses the data of LIST_META_CONTEXT and SET_META_CONTEXT.
func parseMetaContexts(p []byte) (name string, queries []string, ok bool) {
	name, p, ok = parseString(p)
	if !ok || len(p) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(p)
	p = p[4:]
	if uint64(n)*4 > uint64(len(p)) {
		return "", nil, false
	}
	for range n {
		var q string
		if q, p, ok = parseString(p); !ok {
			return "", nil, false
		}
		queries = append(queries, q)
	}
	return name, queries, len(p) == 0
}

// parseString parses a length and that many bytes.
func parseString(p []byte) (s string, rest []byte, ok bool) {
	if len(p) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(p)
	p = p[4:]
	if uint64(n) > uint64(len(p)) {
		return "", nil, false
	}
	return string(p[:n]), p[n:], true
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint32(p, uint32(len(s))), s...)
}

// validName reports whether s is a string as the protocol allows it.
func validName(s string) bool {
	return len(s) <= MaxName && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
