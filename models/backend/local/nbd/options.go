package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"unicode/utf8"
)

// exportName does EXPORT_NAME, which knows no error but the end.
func (h *handshake) exportName(ctx context.Context, name string) error {
	if !validName(name) {
		return errors.New("invalid export name")
	}
	if err := h.choose(ctx, name); err != nil {
		return err
	}
	h.reply = binary.BigEndian.AppendUint64(h.reply, uint64(h.size))
	h.reply = binary.BigEndian.AppendUint16(h.reply, h.export.flags(h.structured))
	if !h.noZeroes {
		h.reply = append(h.reply, make([]byte, 124)...)
	}
	return errEntered
}

func (h *handshake) list(ctx context.Context, data []byte) {
	if len(data) > 0 {
		h.answer(optList, repErrInvalid, nil)
		return
	}
	for _, e := range h.srv.Exports.List(ctx, h.peer) {
		p := appendString(nil, e.Name)
		h.answer(optList, repServer, append(p, e.Description...))
	}
	h.answer(optList, repAck, nil)
}

func (h *handshake) requestTLS(data []byte) {
	switch {
	case h.srv.tls == nil:
		h.answer(optStartTLS, repErrPolicy, []byte("TLS is not configured here"))
	case len(data) > 0, h.peer.Certificate != nil:
		h.answer(optStartTLS, repErrInvalid, nil)
	default:
		h.tlsNext = true
		h.answer(optStartTLS, repAck, nil)
	}
}

// info does INFO and GO.
func (h *handshake) info(ctx context.Context, opt uint32, data []byte) error {
	name, rest, ok := takeString(data)
	if !ok || !validName(name) || len(rest) < 2 || len(rest) != 2+2*int(binary.BigEndian.Uint16(rest)) {
		h.answer(opt, repErrInvalid, nil)
		return nil
	}
	var asked []uint16
	for p := rest[2:]; len(p) > 0; p = p[2:] {
		asked = append(asked, binary.BigEndian.Uint16(p))
	}
	export, size, err := h.find(ctx, name)
	if err == nil && opt == optGo {
		err = h.enter(export, size)
	}
	if err != nil {
		h.answer(opt, h.refusal(err), nil)
		return nil
	}
	be := binary.BigEndian
	p := be.AppendUint16(nil, infoExport)
	p = be.AppendUint64(p, uint64(size))
	h.answer(opt, repInfo, be.AppendUint16(p, export.flags(h.structured)))
	if slices.Contains(asked, infoName) {
		h.answer(opt, repInfo, append(be.AppendUint16(nil, infoName), export.name...))
	}
	if d := export.opt.Description; d != "" && slices.Contains(asked, infoDescription) {
		h.answer(opt, repInfo, append(be.AppendUint16(nil, infoDescription), d...))
	}
	p = be.AppendUint16(nil, infoBlockSize)
	p = be.AppendUint32(p, minBlock)
	p = be.AppendUint32(p, preferredBlock)
	h.answer(opt, repInfo, be.AppendUint32(p, MaxRequest))
	h.answer(opt, repAck, nil)
	if opt == optGo {
		return errEntered
	}
	return nil
}

// find asks for an export and its size.
func (h *handshake) find(ctx context.Context, name string) (*Export, int64, error) {
	export, err := h.srv.Exports.Open(ctx, name, h.peer)
	if err != nil {
		return nil, 0, err
	}
	size, err := export.dev.Size()
	return export, size, err
}

// choose finds an export and enters it.
func (h *handshake) choose(ctx context.Context, name string) error {
	export, size, err := h.find(ctx, name)
	if err != nil {
		return err
	}
	return h.enter(export, size)
}

// enter makes this connection one of the export's.
func (h *handshake) enter(export *Export, size int64) error {
	// Set before the export's list shows the connection to others.
	h.export, h.size, h.since = export, size, h.srv.Now()
	h.active.Store(h.since.UnixNano())
	h.prompt, _ = export.dev.(Prompt)
	h.allocation = h.allocation && h.structured && h.allocatedOn == export.name
	if err := export.add(h.conn); err != nil {
		h.export = nil
		return err
	}
	h.srv.negotiated(h.conn)
	return nil
}

// refusal is how an error of find or enter is told. What does not exist for a
// peer and what does not exist must look the same.
func (h *handshake) refusal(err error) uint32 {
	if errors.Is(err, ErrUnknownExport) {
		return repErrUnknown
	}
	h.srv.Log.Warn("nbd export refused", "addr", h.peer.Addr, "error", err)
	return repErrPolicy
}

// metaContext does LIST_META_CONTEXT and SET_META_CONTEXT.
func (h *handshake) metaContext(ctx context.Context, opt uint32, data []byte) {
	set := opt == optSetMetaContext
	if set {
		h.allocation = false
	}
	name, queries, ok := takeQueries(data)
	if !ok || !validName(name) || !h.structured {
		h.answer(opt, repErrInvalid, nil)
		return
	}
	export, _, err := h.find(ctx, name)
	if err != nil {
		h.answer(opt, h.refusal(err), nil)
		return
	}
	found := slices.Contains(queries, contextAllocation)
	id := uint32(contextAllocationID)
	if set {
		h.allocation, h.allocatedOn = found, export.name
	} else {
		found = found || len(queries) == 0 || slices.Contains(queries, "base:")
		id = 0
	}
	if found {
		h.answer(opt, repMetaContext, append(binary.BigEndian.AppendUint32(nil, id), contextAllocation...))
	}
	h.answer(opt, repAck, nil)
}

// takeQueries parses the data of LIST_META_CONTEXT and SET_META_CONTEXT.
func takeQueries(p []byte) (name string, queries []string, ok bool) {
	name, p, ok = takeString(p)
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
		if q, p, ok = takeString(p); !ok {
			return "", nil, false
		}
		queries = append(queries, q)
	}
	return name, queries, len(p) == 0
}

// takeString parses a length and as many bytes.
func takeString(p []byte) (s string, rest []byte, ok bool) {
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

// validName is the document's rule for strings.
func validName(s string) bool {
	return len(s) <= MaxName && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}
