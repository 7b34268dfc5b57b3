package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	batchSize   = 128 << 10
	inlineRead  = 32 << 10 // bytes that are read into the batch, if they are in memory
	inlineWrite = 32 << 10 // bytes that are written out of the read buffer, if memory takes them
	largeWrite  = 1 << 20  // bytes that are written by the reading goroutine at all

	// Such a write that took longer than slowWrite was waiting for the disk
	// after all; the next ones go the way on which nobody waits for them.
	slowWrite      = 30 * time.Millisecond
	slowWritesNext = 32
)

// errDisconnected is the end that a client asked for.
var errDisconnected = errors.New("disconnected by the client")

// commandFlags are the flags that each command may have. FUA is allowed
// everywhere, since clients are known to set it on anything.
var commandFlags = map[uint16]uint16{
	cmdRead:        cmdFlagFUA | cmdFlagDF,
	cmdWrite:       cmdFlagFUA,
	cmdFlush:       cmdFlagFUA,
	cmdTrim:        cmdFlagFUA,
	cmdCache:       cmdFlagFUA,
	cmdWriteZeroes: cmdFlagFUA | cmdFlagNoHole | cmdFlagFastZero,
	cmdBlockStatus: cmdFlagFUA | cmdFlagReqOne,
}

// transmit reads requests until the connection ends, and says why it did.
func (c *conn) transmit(ctx context.Context) error {
	c.out.init(c.nc, c.srv.StallTimeout)
	defer func() { c.batch.release() }()
	defer func() { c.pipe.close() }()
	for {
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
		c.src.limit = 0
		if err := c.request(ctx, q); err != nil {
			_ = c.flushBatch()
			return readError(err)
		}
	}
}

func readError(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("connection closed by the client")
	case timedOut(err):
		return fmt.Errorf("ended here or stalled: %w", err)
	}
	return err
}

// request does one request, or starts it. An error ends the connection.
func (c *conn) request(ctx context.Context, q request) error {
	if q.kind == cmdDisc {
		return errDisconnected
	}
	if q.kind == cmdWrite && q.length > MaxRequest {
		return fmt.Errorf("WRITE of %d bytes", q.length)
	}
	if errno := c.check(q); errno != 0 || q.length == 0 && q.kind != cmdFlush {
		if q.kind == cmdWrite {
			if err := c.drop(int(q.length)); err != nil {
				return err
			}
		}
		return c.reply(q, errno)
	}
	switch q.kind {
	case cmdRead:
		return c.startRead(ctx, q)
	case cmdWrite:
		return c.startWrite(ctx, q)
	}
	size := 1
	if q.kind == cmdBlockStatus {
		size = statusMemory
	}
	buf, err := c.acquire(ctx, size)
	if err != nil {
		return err
	}
	c.async(func() { c.other(ctx, q, buf) })
	return nil
}

// check says what is wrong with a request before anything is done for it.
func (c *conn) check(q request) uint32 {
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

// reply puts a reply without data into the batch.
func (c *conn) reply(q request, errno uint32) error {
	if err := c.room(maxHead); err != nil {
		return err
	}
	c.batched += len(appendReply(c.batch.b[c.batched:c.batched], c.structured, q, errno))
	return nil
}

// appendReply appends the reply to a request that failed or has no data. READ and
// BLOCK_STATUS must be answered in structure where that was negotiated.
func appendReply(p []byte, structured bool, q request, errno uint32) []byte {
	switch {
	case !structured || q.kind != cmdRead && q.kind != cmdBlockStatus:
		return appendSimple(p, q.cookie, errno)
	case errno != 0:
		return appendError(p, q.cookie, errno)
	}
	return appendChunk(p, q.cookie, replyFlagDone, replyTypeNone, 0)
}

// room makes sure that the batch has room for n bytes.
func (c *conn) room(n int) error {
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

// flushBatch sends the batch.
func (c *conn) flushBatch() error {
	if c.batched == 0 {
		return nil
	}
	full := segment{body: c.batch.b[:c.batched], owner: c.batch}
	c.batch, c.batched = nil, 0 // an idle connection needs none
	return c.sent(full)
}

// sent sends and notes the activity.
func (c *conn) sent(segs ...segment) error {
	err := c.out.send(segs...)
	c.active.Store(c.srv.Now().UnixNano())
	return err
}

// async runs the rest of a request beside the reading goroutine. Budgets bound
// how many there are.
func (c *conn) async(f func()) {
	c.inflight.Add(1)
	go func() {
		defer c.inflight.Done()
		f()
	}()
}

// onDisk runs f, which may wait for the disk, within the server's limit.
func (c *conn) onDisk(f func() error) error {
	c.srv.disk <- struct{}{}
	defer func() { <-c.srv.disk }()
	return f()
}

// finish sends the reply of a request without data and releases buf.
func (c *conn) finish(q request, buf *buffer, op string, err error) {
	c.export.report(op, err)
	var space [maxHead]byte
	_ = c.sent(headed(appendReply(space[:0], c.structured, q, wireError(err)), nil, buf))
}
