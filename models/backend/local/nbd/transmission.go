package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	batchSize        = 128 << 10
	maxInlineRead    = 32 << 10 // bytes read from memory straight into the batch
	maxInlineWrite   = 32 << 10 // bytes written straight from the read buffer
	maxBlockingWrite = 1 << 20  // bytes of one write by the goroutine that reads requests

	// A write by that goroutine which takes longer than slowWrite waited for the
	// disk after all: other goroutines do the next offloadAfterSlow writes.
	slowWrite        = 30 * time.Millisecond
	offloadAfterSlow = 32
)

// errEnded ends a connection that drains.
var errEnded = errors.New("ended here")

// errDisconnected ends a connection after NBD_CMD_DISC.
var errDisconnected = errors.New("disconnected by the client")

// commandFlags are the flags allowed for each command. Some clients set FUA on all
// of them.
var commandFlags = map[uint16]uint16{
	cmdRead:        cmdFlagFUA | cmdFlagDF,
	cmdWrite:       cmdFlagFUA,
	cmdFlush:       cmdFlagFUA,
	cmdTrim:        cmdFlagFUA,
	cmdCache:       cmdFlagFUA,
	cmdWriteZeroes: cmdFlagFUA | cmdFlagNoHole | cmdFlagFastZero,
	cmdBlockStatus: cmdFlagFUA | cmdFlagReqOne,
}

// transmit reads requests until the connection ends, and returns the reason.
func (c *conn) transmit(ctx context.Context) error {
	defer func() { c.batch.release() }()
	defer func() { c.pipe.close() }()
	for {
		if c.draining.Load() { // what the buffer still holds is not under way
			_ = c.flushBatch()
			return errEnded
		}
		if c.br.Buffered() < requestSize {
			if err := c.flushBatch(); err != nil {
				return err
			}
		}
		head, err := c.br.Peek(requestSize)
		if err != nil {
			return readError(err)
		}
		q, ok := parseRequest(head)
		if !ok {
			return errors.New("bad request magic")
		}
		_, _ = c.br.Discard(requestSize)
		c.input.maxRead = 0
		if err := c.handleRequest(ctx, q); err != nil {
			_ = c.flushBatch()
			return readError(err)
		}
	}
}

func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("connection closed by the client")
	case isTimeout(err):
		return fmt.Errorf("stalled: %w", err)
	}
	return err
}

// handleRequest executes a request, or starts a goroutine that does. An error ends
// the connection.
func (c *conn) handleRequest(ctx context.Context, q request) error {
	if q.kind == cmdDisc {
		return errDisconnected
	}
	if q.kind == cmdWrite && q.length > MaxRequest {
		return fmt.Errorf("WRITE of %d bytes", q.length)
	}
	if errno := c.validate(q); errno != 0 || q.length == 0 && q.kind != cmdFlush {
		if q.kind == cmdWrite {
			if err := c.discardPayload(int(q.length)); err != nil {
				return err
			}
		}
		return c.batchReply(q, errno)
	}
	switch q.kind {
	case cmdRead:
		return c.startRead(ctx, q)
	case cmdWrite:
		return c.startWrite(ctx, q)
	}
	size := 1
	if q.kind == cmdBlockStatus {
		size = blockStatusBuffer
	}
	buf, err := c.acquireBuffer(ctx, size)
	if err != nil {
		return err
	}
	c.spawn(func() { c.handleOther(ctx, q, buf) })
	return nil
}

// validate returns the NBD error for a request that must not be executed, else zero.
func (c *conn) validate(q request) uint32 {
	allowed, known := commandFlags[q.kind]
	if !c.structured {
		allowed &^= cmdFlagDF
	}
	if !known || q.flags&^allowed != 0 {
		return eInval
	}
	writes := q.kind == cmdWrite || q.kind == cmdTrim || q.kind == cmdWriteZeroes
	size := uint64(c.size)
	switch {
	case writes && c.export.opt.ReadOnly:
		return ePerm
	case q.kind == cmdFlush && (q.off != 0 || q.length != 0):
		return eInval
	case q.off > size || uint64(q.length) > size-q.off:
		if q.kind == cmdWrite || q.kind == cmdWriteZeroes {
			return eNoSpc
		}
		return eInval
	case q.kind == cmdRead && q.length > MaxRequest:
		return eInval
	case q.kind == cmdBlockStatus && (!c.allocation || q.length == 0):
		return eInval
	}
	return 0
}

// batchReply puts a reply without data into the batch. The error is that of the
// connection.
func (c *conn) batchReply(q request, errno uint32) error {
	if err := c.reserveBatch(maxHead); err != nil {
		return err
	}
	c.batched += len(appendReply(c.batch.b[c.batched:c.batched], c.structured, q, errno))
	return nil
}

// appendReply appends the reply to a request that failed or has no data. READ and
// BLOCK_STATUS need structured replies where those are negotiated.
func appendReply(p []byte, structured bool, q request, errno uint32) []byte {
	switch {
	case !structured || q.kind != cmdRead && q.kind != cmdBlockStatus:
		return appendSimple(p, q.cookie, errno)
	case errno != 0:
		return appendError(p, q.cookie, errno)
	}
	return appendChunk(p, q.cookie, replyFlagDone, replyTypeNone, 0)
}

// reserveBatch makes room for n bytes in the batch. The error is that of the
// connection.
func (c *conn) reserveBatch(n int) error {
	if c.batched+n > batchSize {
		if err := c.flushBatch(); err != nil {
			return err
		}
	}
	if c.batch == nil {
		c.batch = getBuffer(batchSize)
	}
	return nil
}

// flushBatch sends the batch. The error is that of the connection.
func (c *conn) flushBatch() error {
	if c.batched == 0 {
		return nil
	}
	full := segment{body: c.batch.b[:c.batched], owner: c.batch}
	c.batch, c.batched = nil, 0 // an idle connection needs none
	return c.send(full)
}

// send sends segments and notes the time. The error is that of the connection.
func (c *conn) send(segs ...segment) error {
	c.exclusive.RLock()
	defer c.exclusive.RUnlock()
	return c.sendExclusive(segs...)
}

// sendExclusive is send for a caller that holds exclusive.
func (c *conn) sendExclusive(segs ...segment) error {
	c.lastActive.Store(c.srv.Now().UnixNano()) // before the client knows
	return c.out.send(segs...)
}

// spawn runs the rest of a request in a goroutine. The budgets limit their number.
func (c *conn) spawn(f func()) {
	c.inflight.Add(1)
	go func() {
		defer c.inflight.Done()
		f()
	}()
}

// withDiskSlot runs f, which may wait for the disk, within Server.MaxDiskCalls.
func (c *conn) withDiskSlot(f func() error) error {
	c.srv.diskSlots <- struct{}{}
	defer func() { <-c.srv.diskSlots }()
	return f()
}

// replyDone sends the reply to a request that failed or has no data, and releases
// buf. OnError receives err.
func (c *conn) replyDone(q request, buf *buffer, op string, err error) {
	c.export.reportError(op, err)
	var space [maxHead]byte
	_ = c.send(newSegment(appendReply(space[:0], c.structured, q, errnoOf(err)), nil, buf))
}
