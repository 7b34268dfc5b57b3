package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
)

// dataHead is what precedes the bytes of a READ's reply.
func (c *conn) dataHead(p []byte, q request, off uint64, n int, done uint16) []byte {
	if !c.structured {
		return appendSimple(p, q.cookie, 0)
	}
	p = appendChunk(p, q.cookie, done, replyTypeOffsetData, uint32(n)+8)
	return binary.BigEndian.AppendUint64(p, off)
}

// startRead answers from memory where that is possible and leaves the rest to
// another goroutine.
func (c *conn) startRead(ctx context.Context, q request) error {
	n := int(q.length)
	if c.prompt != nil && n <= inlineRead {
		if done, err := c.readIntoBatch(q); done || err != nil {
			return err
		}
	}
	buf, err := c.acquire(ctx, n)
	if err != nil {
		return err
	}
	have := 0
	if c.prompt != nil && n > inlineRead {
		have = c.prompt.ReadNow(buf.b[:n], int64(q.off))
	}
	if have < n {
		c.async(func() { c.readSlowly(q, buf, have) })
		return nil
	}
	if err := c.flushBatch(); err != nil {
		buf.release()
		return err
	}
	err = c.sendData(q, buf)
	// Others first: a connection that never has to wait would keep its processor
	// for 10 ms at a time, and their clients run out of work meanwhile (an eighth
	// of the throughput of four connections on two processors).
	runtime.Gosched()
	return err
}

// readIntoBatch reads what is in memory straight to the place from which it is
// sent.
func (c *conn) readIntoBatch(q request) (done bool, err error) {
	n := int(q.length)
	if err := c.room(maxHead + n); err != nil {
		return false, err
	}
	head := len(c.dataHead(c.batch.b[c.batched:c.batched], q, q.off, n, replyFlagDone))
	start := c.batched + head
	if c.prompt.ReadNow(c.batch.b[start:start+n], int64(q.off)) < n {
		return false, nil
	}
	c.batched = start + n
	c.read.Add(uint64(n))
	return true, nil
}

// sendData answers a READ with the whole of its range, which lies in buf.
func (c *conn) sendData(q request, buf *buffer) error {
	n := int(q.length)
	c.read.Add(uint64(n))
	var space [maxHead]byte
	return c.sent(headed(c.dataHead(space[:0], q, q.off, n, replyFlagDone), buf.b[:n], buf))
}

// readSlowly reads what may have to come from the disk; have bytes are in buf.
func (c *conn) readSlowly(q request, buf *buffer, have int) {
	off, n := q.span()
	hole := int64(0)
	if c.structured && !q.has(cmdFlagDF) && n > inlineRead && have == 0 && c.prompt != nil {
		hole = c.prompt.HoleNow(off, n)
	}
	from := max(hole, int64(have))
	if from < n {
		if err := c.onDisk(func() error { return readFull(c.dev(), buf.b[from:n], off+from) }); err != nil {
			c.finish(q, buf, "read", err)
			return
		}
	}
	if hole > 0 {
		_ = c.sendSparse(q, buf, hole)
		return
	}
	_ = c.sendData(q, buf)
}

func (c *conn) dev() Device { return c.export.dev }

// readFull is ReadAt with an end of the file before the end of the device as the
// error it is.
func readFull(dev Device, p []byte, off int64) error {
	n, err := dev.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sendSparse answers a READ whose first bytes are a hole with the length of it,
// and the rest, which lies in buf.
func (c *conn) sendSparse(q request, buf *buffer, hole int64) error {
	off, n := q.span()
	flags := uint16(replyFlagDone)
	if hole < n {
		flags = 0
	}
	var space [maxHead]byte
	p := appendChunk(space[:0], q.cookie, flags, replyTypeOffsetHole, 12)
	p = binary.BigEndian.AppendUint64(p, uint64(off))
	chunk := headed(binary.BigEndian.AppendUint32(p, uint32(hole)), nil, nil)
	if hole == n {
		chunk.owner = buf
		return c.sent(chunk)
	}
	c.read.Add(uint64(n - hole))
	head := c.dataHead(space[:0], q, uint64(off+hole), int(n-hole), replyFlagDone)
	return c.sent(chunk, headed(head, buf.b[hole:n], buf))
}

// startWrite writes at once when memory takes the payload, a small one straight
// out of the read buffer and a large one through a pipe, and leaves all others to
// another goroutine.
func (c *conn) startWrite(ctx context.Context, q request) error {
	n := int(q.length)
	now := c.prompt != nil && !q.has(cmdFlagFUA) && c.prompt.WriteNow(int64(q.off), n)
	if c.patience > 0 {
		c.patience--
		now = false
	}
	if now && n <= inlineWrite {
		p, err := c.peekPayload(n)
		if err != nil {
			return err
		}
		if errno, done := c.writeNow(q, p); done {
			_, _ = c.br.Discard(n)
			return c.reply(q, errno)
		}
		now = false
	}
	if now && n > inlineWrite && n <= largeWrite && c.br.Buffered() == 0 && c.hasPipe() {
		return c.writeThrough(ctx, q)
	}
	buf, err := c.acquire(ctx, n)
	if err != nil {
		return err
	}
	if err := c.payload(buf.b[:n]); err != nil {
		buf.release()
		return err
	}
	if now && n <= largeWrite {
		if errno, done := c.writeNow(q, buf.b[:n]); done {
			buf.release()
			return c.reply(q, errno)
		}
	}
	c.async(func() { c.writeSlowly(ctx, q, buf) })
	return nil
}

// writeNow writes in the reading goroutine, unless writes are held.
func (c *conn) writeNow(q request, p []byte) (errno uint32, done bool) {
	done, err := c.promptly(len(p), func() error {
		_, err := c.dev().WriteAt(p, int64(q.off))
		return err
	})
	return wireError(err), done
}

// promptly runs f, which writes n bytes, in the reading goroutine, unless writes
// are held.
func (c *conn) promptly(n int, f func() error) (entered bool, err error) {
	if !c.export.gate.tryEnter() {
		return false, nil
	}
	start := c.srv.Now()
	err = f()
	c.export.gate.leave()
	if c.srv.Now().Sub(start) > slowWrite {
		c.patience = slowWritesNext
	}
	c.export.soil()
	c.wrote(n, err)
	c.export.report("write", err)
	return true, err
}

// wrote counts the bytes of a write that succeeded.
func (c *conn) wrote(n int, err error) {
	if err == nil {
		c.written.Add(uint64(n))
	}
}

// peekPayload returns a payload where it lies.
func (c *conn) peekPayload(n int) ([]byte, error) {
	if c.br.Buffered() < n {
		if err := c.flushBatch(); err != nil {
			return nil, err
		}
		defer c.awaitPayload(n)()
	}
	return c.br.Peek(n)
}

func (c *conn) writeSlowly(ctx context.Context, q request, buf *buffer) {
	off, n := q.span()
	err := c.change(ctx, q, func() error {
		_, err := c.dev().WriteAt(buf.b[:n], off)
		c.wrote(int(n), err)
		return err
	})
	c.finish(q, buf, "write", err)
}

// change runs f, which changes the device, inside the gate, and makes the change
// last when FUA asks for that.
func (c *conn) change(ctx context.Context, q request, f func() error) error {
	if err := c.export.gate.enter(ctx); err != nil {
		return err
	}
	err := c.onDisk(f)
	c.export.gate.leave()
	c.export.soil() // after it: a flush meanwhile may have come too early
	if err == nil && q.has(cmdFlagFUA) {
		err = c.onDisk(func() error { return c.dev().Flush(ctx) })
	}
	return err
}

// other does the commands without payload.
func (c *conn) other(ctx context.Context, q request, buf *buffer) {
	off, n := q.span()
	dev := c.dev()
	switch q.kind {
	case cmdFlush:
		c.finish(q, buf, "flush", c.onDisk(func() error { return c.export.clean(ctx) }))
	case cmdCache:
		c.finish(q, buf, "cache", c.onDisk(func() error { return dev.Cache(ctx, off, n) }))
	case cmdTrim:
		c.finish(q, buf, "trim", c.change(ctx, q, func() error { return dev.Trim(ctx, off, n) }))
	case cmdWriteZeroes:
		var flags ZeroFlags
		if q.has(cmdFlagNoHole) {
			flags |= NoHole
		}
		if q.has(cmdFlagFastZero) {
			flags |= FastZero
		}
		c.finish(q, buf, "zero", c.change(ctx, q, func() error { return dev.WriteZeroes(ctx, off, n, flags) }))
	case cmdBlockStatus:
		c.blockStatus(ctx, q, buf)
	}
}

func (c *conn) blockStatus(ctx context.Context, q request, buf *buffer) {
	limit := maxExtents
	if q.has(cmdFlagReqOne) {
		limit = 1
	}
	var extents []Extent
	err := c.onDisk(func() (err error) {
		extents, err = c.dev().BlockStatus(ctx, int64(q.off), int64(q.length), make([]Extent, 0, limit))
		return err
	})
	if err != nil || len(extents) == 0 {
		c.finish(q, buf, "status", errors.Join(err, io.ErrUnexpectedEOF))
		return
	}
	body := binary.BigEndian.AppendUint32(buf.b[:0], contextAllocationID)
	for _, e := range extents {
		var state uint32
		if e.Hole {
			state = stateHole | stateZero
		}
		body = binary.BigEndian.AppendUint32(body, uint32(e.Length))
		body = binary.BigEndian.AppendUint32(body, state)
	}
	var space [maxHead]byte
	_ = c.sent(headed(appendChunk(space[:0], q.cookie, replyFlagDone, replyTypeBlockStatus, uint32(len(body))), body, buf))
}
