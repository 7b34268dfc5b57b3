package nbd

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
)

// appendDataHead appends the header of a reply that carries n bytes read at off.
func (c *conn) appendDataHead(p []byte, q request, off uint64, n int, done uint16) []byte {
	if !c.structured {
		return appendSimple(p, q.cookie, 0)
	}
	p = appendChunk(p, q.cookie, done, replyTypeOffsetData, uint32(n)+8)
	return binary.BigEndian.AppendUint64(p, off)
}

// startRead answers a READ from memory, or starts a goroutine that reads the disk.
// The error is that of the connection.
func (c *conn) startRead(ctx context.Context, q request) error {
	n := int(q.length)
	if c.nowaitDev != nil && n <= maxInlineRead {
		if done, err := c.readIntoBatch(q); done || err != nil {
			return err
		}
	}
	buf, err := c.acquireBuffer(ctx, n)
	if err != nil {
		return err
	}
	if len(buf.b) < n {
		c.spawn(func() { c.readInPieces(q, buf) })
		return nil
	}
	got := 0
	if c.nowaitDev != nil && n > maxInlineRead {
		got = c.nowaitDev.ReadNowait(buf.b[:n], int64(q.off))
	}
	if got < n {
		c.spawn(func() { c.readBlocking(q, buf, got) })
		return nil
	}
	if err := c.flushBatch(); err != nil {
		buf.release()
		return err
	}
	err = c.sendData(q, buf)
	// A connection that never waits would keep its processor for 10 ms at a time,
	// while clients of others run out of work: an eighth of the throughput of four
	// connections on two processors.
	runtime.Gosched()
	return err
}

// readIntoBatch reads from memory straight into the batch. done is false where not
// all is in memory. The error is that of the connection.
func (c *conn) readIntoBatch(q request) (done bool, err error) {
	n := int(q.length)
	if err := c.reserveBatch(maxHead + n); err != nil {
		return false, err
	}
	head := len(c.appendDataHead(c.batch.b[c.batched:c.batched], q, q.off, n, replyFlagDone))
	start := c.batched + head
	if c.nowaitDev.ReadNowait(c.batch.b[start:start+n], int64(q.off)) < n {
		return false, nil
	}
	c.batched = start + n
	c.read.Add(uint64(n))
	return true, nil
}

// sendData answers a READ whose data is in buf.
func (c *conn) sendData(q request, buf *buffer) error {
	n := int(q.length)
	c.read.Add(uint64(n))
	var space [maxHead]byte
	return c.send(newSegment(c.appendDataHead(space[:0], q, q.off, n, replyFlagDone), buf.b[:n], buf))
}

// readBlocking answers a READ that may wait for the disk; got bytes are in buf.
func (c *conn) readBlocking(q request, buf *buffer, got int) {
	off, n := q.span()
	hole := int64(0)
	if c.structured && !q.has(cmdFlagDF) && n > maxInlineRead && got == 0 && c.nowaitDev != nil {
		hole = c.nowaitDev.LeadingHole(off, n)
	}
	from := max(hole, int64(got))
	if from < n {
		if err := c.withDiskSlot(func() error { return readFull(c.dev(), buf.b[from:n], off+from) }); err != nil {
			c.replyDone(q, buf, "read", err)
			return
		}
	}
	if hole > 0 {
		_ = c.sendSparse(q, buf, hole)
		return
	}
	_ = c.sendData(q, buf)
}

// readInPieces answers a READ of more than buf holds. Nothing else is sent between the
// pieces. A reply whose head has promised all data can report an error only by ending
// the connection.
func (c *conn) readInPieces(q request, buf *buffer) {
	defer buf.release()
	c.exclusive.Lock()
	defer c.exclusive.Unlock()
	off, n := q.span()
	chunks := c.structured && !q.has(cmdFlagDF)
	var space [maxHead]byte
	for done := int64(0); done < n; {
		m := min(n-done, int64(len(buf.b)))
		if err := c.withDiskSlot(func() error { return readFull(c.dev(), buf.b[:m], off+done) }); err != nil {
			c.export.reportError("read", err)
			if done > 0 && !chunks {
				c.closeSocket()
				return
			}
			_ = c.sendExclusive(newSegment(appendReply(space[:0], c.structured, q, errnoOf(err)), nil, nil))
			return
		}
		var head []byte
		switch {
		case chunks && done+m < n:
			head = c.appendDataHead(space[:0], q, uint64(off+done), int(m), 0)
		case chunks:
			head = c.appendDataHead(space[:0], q, uint64(off+done), int(m), replyFlagDone)
		case done == 0:
			head = c.appendDataHead(space[:0], q, q.off, int(n), replyFlagDone)
		}
		if err := c.sendExclusive(newSegment(head, buf.b[:m], nil)); err != nil {
			return
		}
		c.read.Add(uint64(m))
		done += m
	}
}

func (c *conn) dev() Device { return c.export.dev }

// readFull reads all of p, or returns the device's error or io.ErrUnexpectedEOF.
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

// sendSparse answers a READ whose first hole bytes are a hole; the rest is in buf.
func (c *conn) sendSparse(q request, buf *buffer, hole int64) error {
	off, n := q.span()
	flags := uint16(replyFlagDone)
	if hole < n {
		flags = 0
	}
	var space [maxHead]byte
	p := appendChunk(space[:0], q.cookie, flags, replyTypeOffsetHole, 12)
	p = binary.BigEndian.AppendUint64(p, uint64(off))
	chunk := newSegment(binary.BigEndian.AppendUint32(p, uint32(hole)), nil, nil)
	if hole == n {
		chunk.owner = buf
		return c.send(chunk)
	}
	c.read.Add(uint64(n - hole))
	head := c.appendDataHead(space[:0], q, uint64(off+hole), int(n-hole), replyFlagDone)
	return c.send(chunk, newSegment(head, buf.b[hole:n], buf))
}

// startWrite writes at once where memory takes the payload, a small one from the
// read buffer and a large one through a pipe, or starts a goroutine that writes. The
// error is that of the connection.
func (c *conn) startWrite(ctx context.Context, q request) error {
	n := int(q.length)
	nowait := c.nowaitDev != nil && !q.has(cmdFlagFUA) && c.nowaitDev.CanWriteNowait(int64(q.off), n)
	if c.offloadWrites > 0 {
		c.offloadWrites--
		nowait = false
	}
	if nowait && n <= maxInlineWrite {
		p, err := c.peekPayload(n)
		if err != nil {
			return err
		}
		if errno, done := c.writeInline(q, p); done {
			_, _ = c.br.Discard(n)
			return c.batchReply(q, errno)
		}
		nowait = false
	}
	if nowait && n > maxInlineWrite && n <= maxBlockingWrite && c.br.Buffered() == 0 && c.ensurePipe() {
		return c.writeSpliced(ctx, q)
	}
	buf, err := c.acquireBuffer(ctx, n)
	if err != nil {
		return err
	}
	if len(buf.b) < n {
		return c.writeInPieces(ctx, q, buf)
	}
	if err := c.readPayload(buf.b[:n]); err != nil {
		buf.release()
		return err
	}
	if nowait && n <= maxBlockingWrite {
		if errno, done := c.writeInline(q, buf.b[:n]); done {
			buf.release()
			return c.batchReply(q, errno)
		}
	}
	c.spawn(func() { c.writeBlocking(ctx, q, buf) })
	return nil
}

// writeInline writes p at once. done is false while writes are held.
func (c *conn) writeInline(q request, p []byte) (errno uint32, done bool) {
	done, err := c.writeThroughGate(len(p), func() error {
		_, err := c.dev().WriteAt(p, int64(q.off))
		return err
	})
	return errnoOf(err), done
}

// writeThroughGate runs f, which writes n bytes, and returns its error. entered is
// false while writes are held.
func (c *conn) writeThroughGate(n int, f func() error) (entered bool, err error) {
	if !c.export.gate.tryEnter() {
		return false, nil
	}
	start := c.srv.Now()
	err = f()
	c.export.gate.leave()
	if c.srv.Now().Sub(start) > slowWrite {
		c.offloadWrites = offloadAfterSlow
	}
	c.export.markDirty()
	c.countWritten(n, err)
	c.export.reportError("write", err)
	return true, err
}

// countWritten adds the n bytes of a write that succeeded.
func (c *conn) countWritten(n int, err error) {
	if err == nil {
		c.written.Add(uint64(n))
	}
}

// peekPayload returns the n bytes of a payload in the read buffer. The error is that
// of the connection.
func (c *conn) peekPayload(n int) ([]byte, error) {
	if c.br.Buffered() < n {
		if err := c.flushBatch(); err != nil {
			return nil, err
		}
		defer c.startPayloadTimeout(n)()
	}
	return c.br.Peek(n)
}

func (c *conn) writeBlocking(ctx context.Context, q request, buf *buffer) {
	off, n := q.span()
	err := c.modify(ctx, q, func() error {
		_, err := c.dev().WriteAt(buf.b[:n], off)
		c.countWritten(int(n), err)
		return err
	})
	c.replyDone(q, buf, "write", err)
}

// writeInPieces writes a payload of more than buf holds. One that never arrives in full
// may have changed a part of its range, as a disk that loses power does. The error is
// that of the connection.
func (c *conn) writeInPieces(ctx context.Context, q request, buf *buffer) error {
	defer buf.release()
	off, n := q.span()
	for done := int64(0); done < n; {
		m := min(n-done, int64(len(buf.b)))
		if err := c.readPayload(buf.b[:m]); err != nil {
			return err
		}
		piece := q
		if done+m < n {
			piece.flags = 0 // FUA comes with the last piece, and for all
		}
		err := c.modify(ctx, piece, func() error {
			_, err := c.dev().WriteAt(buf.b[:m], off+done)
			c.countWritten(int(m), err)
			return err
		})
		done += m
		if err != nil {
			c.export.reportError("write", err)
			if err := c.discardPayload(int(n - done)); err != nil {
				return err
			}
			return c.batchReply(q, errnoOf(err))
		}
	}
	return c.batchReply(q, 0)
}

// modify runs f, which changes the device, inside the gate, and flushes when the
// request has FUA. It returns the error of f, of the flush or of ctx.
func (c *conn) modify(ctx context.Context, q request, f func() error) error {
	if err := c.export.gate.enter(ctx); err != nil {
		return err
	}
	err := c.withDiskSlot(f)
	c.export.gate.leave()
	c.export.markDirty() // after f: a flush during it may have come too early
	if err == nil && q.has(cmdFlagFUA) {
		err = c.withDiskSlot(func() error { return c.dev().Flush(ctx) })
	}
	return err
}

// handleOther answers the commands that carry no data to or from the device.
func (c *conn) handleOther(ctx context.Context, q request, buf *buffer) {
	off, n := q.span()
	dev := c.dev()
	switch q.kind {
	case cmdFlush:
		c.replyDone(q, buf, "flush", c.withDiskSlot(func() error { return c.export.flush(ctx) }))
	case cmdCache:
		c.replyDone(q, buf, "cache", c.withDiskSlot(func() error { return dev.Cache(ctx, off, n) }))
	case cmdTrim:
		c.replyDone(q, buf, "trim", c.modify(ctx, q, func() error { return dev.Trim(ctx, off, n) }))
	case cmdWriteZeroes:
		var flags ZeroFlags
		if q.has(cmdFlagNoHole) {
			flags |= NoHole
		}
		if q.has(cmdFlagFastZero) {
			flags |= FastZero
		}
		c.replyDone(q, buf, "zero", c.modify(ctx, q, func() error { return dev.WriteZeroes(ctx, off, n, flags) }))
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
	err := c.withDiskSlot(func() (err error) {
		extents, err = c.dev().BlockStatus(ctx, int64(q.off), int64(q.length), make([]Extent, 0, limit))
		return err
	})
	if err != nil || len(extents) == 0 {
		c.replyDone(q, buf, "status", errors.Join(err, io.ErrUnexpectedEOF))
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
	_ = c.send(newSegment(appendChunk(space[:0], q.cookie, replyFlagDone, replyTypeBlockStatus, uint32(len(body))), body, buf))
}
