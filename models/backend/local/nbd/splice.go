package nbd

import (
	"context"
	"errors"
	"io"
)

// page is the unit of the kernel's page cache in bytes: a write to a part of a page
// may have to read the rest of it first.
const page = 4096

// pipeWriter is a NowaitDevice that writes payloads from a pipe.
type pipeWriter interface {
	NowaitDevice
	writeFrom(p *pipe, off int64, n int) error
}

// ensurePipe opens the connection's pipe, or returns false where the connection or
// the device cannot use one.
func (c *conn) ensurePipe() bool {
	if _, ok := c.nowaitDev.(pipeWriter); !ok || c.noPipe {
		return false
	}
	if c.pipe == nil {
		c.pipe = openPipe(c.nc)
		c.noPipe = c.pipe == nil
	}
	return !c.noPipe
}

func (c *conn) closePipe() {
	c.pipe.close()
	c.pipe = nil
}

// writeSpliced writes a payload, of which nothing is in the read buffer, through the
// connection's pipe: whole pages, whenever the pipe is full or holds the rest. A
// payload that never arrives in full may have changed a part of its range, as a disk
// that loses power does. The error is that of the connection.
func (c *conn) writeSpliced(ctx context.Context, q request) error {
	if err := c.flushBatch(); err != nil {
		return err
	}
	defer c.startPayloadTimeout(int(q.length))()
	for rest := q; rest.length > 0; {
		err := c.pipe.fill(int(rest.length))
		if errors.Is(err, errors.ErrUnsupported) {
			c.noPipe = true
			return c.writeRestBuffered(ctx, rest)
		}
		if err != nil {
			return err
		}
		before := c.pipe.buffered
		n := before &^ (page - 1)
		if n == 0 {
			return c.writeRestBuffered(ctx, rest)
		}
		entered, err := c.writeThroughGate(n, func() error {
			return c.nowaitDev.(pipeWriter).writeFrom(c.pipe, int64(rest.off), n)
		})
		switch {
		case !entered:
			return c.writeRestBuffered(ctx, rest)
		case errors.Is(err, errors.ErrUnsupported) && c.pipe.buffered == before:
			c.noPipe = true
			return c.writeRestBuffered(ctx, rest)
		case err != nil:
			return c.failRest(rest, int(rest.length)-before, err)
		}
		rest.off, rest.length = rest.off+uint64(n), rest.length-uint32(n)
		if c.offloadWrites > 0 { // a slow disk does not shorten the client's time
			c.startPayloadTimeout(int(rest.length))
		}
	}
	c.input.maxRead = requestSize
	return c.batchReply(q, 0)
}

// writeRestBuffered reads what is in the pipe and what follows it into a buffer, and
// starts a goroutine that writes it. The error is that of the connection.
func (c *conn) writeRestBuffered(ctx context.Context, rest request) error {
	n := int(rest.length)
	buf, err := c.acquireBuffer(ctx, n)
	if err != nil {
		return err
	}
	c.startPayloadTimeout(n)
	piped := c.pipe.buffered
	if _, err = io.ReadFull(c.pipe, buf.b[:piped]); err == nil {
		_, err = io.ReadFull(c.input.Reader, buf.b[piped:n])
	}
	if err != nil {
		buf.release()
		return err
	}
	if c.noPipe {
		c.closePipe()
	}
	c.input.maxRead = requestSize
	c.spawn(func() { c.writeBlocking(ctx, rest, buf) })
	return nil
}

// failRest answers a request whose write failed while coming bytes of its payload
// had not arrived. The error is that of the connection.
func (c *conn) failRest(rest request, coming int, failed error) error {
	c.closePipe() // with what is in it
	if err := c.discardPayload(coming); err != nil {
		return err
	}
	return c.batchReply(rest, errnoOf(failed))
}
