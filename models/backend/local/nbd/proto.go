package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"syscall"
)

// Names and values are those of the protocol document.

// Magic numbers of the handshake and of the transmission.
const (
	initPasswd           = 0x4e42444d41474943 // "NBDMAGIC"
	optMagic             = 0x49484156454f5054 // "IHAVEOPT"
	repMagic             = 0x3e889045565a9
	requestMagic         = 0x25609513
	simpleReplyMagic     = 0x67446698
	structuredReplyMagic = 0x668e33ef
)

// Handshake flags of the server, and with the same bits of the client.
const (
	flagFixedNewstyle = 1 << 0
	flagNoZeroes      = 1 << 1
)

// Transmission flags.
const (
	flagHasFlags        = 1 << 0
	flagReadOnly        = 1 << 1
	flagSendFlush       = 1 << 2
	flagSendFUA         = 1 << 3
	flagSendTrim        = 1 << 5
	flagSendWriteZeroes = 1 << 6
	flagSendDF          = 1 << 7
	flagCanMultiConn    = 1 << 8
	flagSendCache       = 1 << 10
	flagSendFastZero    = 1 << 11
)

// Options.
const (
	optExportName      = 1
	optAbort           = 2
	optList            = 3
	optStartTLS        = 5
	optInfo            = 6
	optGo              = 7
	optStructuredReply = 8
	optListMetaContext = 9
	optSetMetaContext  = 10
)

// Option replies.
const (
	repAck         = 1
	repServer      = 2
	repInfo        = 3
	repMetaContext = 4

	repErrUnsup   = 1<<31 + 1
	repErrPolicy  = 1<<31 + 2
	repErrInvalid = 1<<31 + 3
	repErrTLSReqd = 1<<31 + 5
	repErrUnknown = 1<<31 + 6
)

// Kinds of information in a reply to INFO and GO.
const (
	infoExport      = 0
	infoName        = 1
	infoDescription = 2
	infoBlockSize   = 3
)

// Commands.
const (
	cmdRead        = 0
	cmdWrite       = 1
	cmdDisc        = 2
	cmdFlush       = 3
	cmdTrim        = 4
	cmdCache       = 5
	cmdWriteZeroes = 6
	cmdBlockStatus = 7
)

// Command flags.
const (
	cmdFlagFUA      = 1 << 0
	cmdFlagNoHole   = 1 << 1
	cmdFlagDF       = 1 << 2
	cmdFlagReqOne   = 1 << 3
	cmdFlagFastZero = 1 << 4
)

// Structured replies.
const (
	replyFlagDone = 1 << 0

	replyTypeNone        = 0
	replyTypeOffsetData  = 1
	replyTypeOffsetHole  = 2
	replyTypeBlockStatus = 5
	replyTypeError       = 1<<15 + 1
)

// Error values in replies; zero is success.
const (
	ePerm     = 1
	eIO       = 5
	eInval    = 22
	eNoSpc    = 28
	eNotSup   = 95
	eShutdown = 108
)

// base:allocation is the only metadata context; the id is the server's choice.
const (
	contextAllocation   = "base:allocation"
	contextAllocationID = 1

	stateHole = 1 << 0
	stateZero = 1 << 1
)

const (
	requestSize    = 28
	simpleSize     = 16
	structuredSize = 20

	// MaxRequest is the largest READ or WRITE in bytes, as NBD_INFO_BLOCK_SIZE
	// announces it. A longer WRITE ends the connection.
	MaxRequest = 32 << 20
	// MaxName is the longest export name in bytes.
	MaxName = 4096

	minBlock          = 1
	preferredBlock    = 4096
	maxOption         = 64 << 10 // bytes of one option's data; more ends the connection
	maxOptions        = 1 << 12  // options of one handshake
	maxExtents        = 1024     // descriptors of one BLOCK_STATUS reply
	blockStatusBuffer = 32 << 10 // bytes of maxExtents extents and their reply
)

// request is a request message without its payload.
type request struct {
	flags  uint16
	kind   uint16
	cookie uint64
	off    uint64
	length uint32
}

func parseRequest(p []byte) (request, bool) {
	be := binary.BigEndian
	return request{be.Uint16(p[4:]), be.Uint16(p[6:]), be.Uint64(p[8:]), be.Uint64(p[16:]), be.Uint32(p[24:])},
		be.Uint32(p) == requestMagic
}

func (q request) has(flag uint16) bool { return q.flags&flag != 0 }

// span returns the request's range in the device's types; validate must come first.
func (q request) span() (off, n int64) { return int64(q.off), int64(q.length) }

// appendSimple appends a simple reply.
func appendSimple(p []byte, cookie uint64, errno uint32) []byte {
	p = binary.BigEndian.AppendUint32(p, simpleReplyMagic)
	p = binary.BigEndian.AppendUint32(p, errno)
	return binary.BigEndian.AppendUint64(p, cookie)
}

// appendChunk appends the header of a structured reply chunk with length bytes of
// payload.
func appendChunk(p []byte, cookie uint64, flags, kind uint16, length uint32) []byte {
	p = binary.BigEndian.AppendUint32(p, structuredReplyMagic)
	p = binary.BigEndian.AppendUint16(p, flags)
	p = binary.BigEndian.AppendUint16(p, kind)
	p = binary.BigEndian.AppendUint64(p, cookie)
	return binary.BigEndian.AppendUint32(p, length)
}

// appendError appends a structured error, the last chunk of a reply.
func appendError(p []byte, cookie uint64, errno uint32) []byte {
	p = appendChunk(p, cookie, replyFlagDone, replyTypeError, 6)
	p = binary.BigEndian.AppendUint32(p, errno)
	return binary.BigEndian.AppendUint16(p, 0)
}

// errnoOf returns the NBD error for an error of the device; see Device.
func errnoOf(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errors.ErrUnsupported):
		return eNotSup
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return eNoSpc
	case errors.Is(err, syscall.EPERM):
		return ePerm
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return eShutdown
	}
	return eIO
}
