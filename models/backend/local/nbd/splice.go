package nbd

import (
	"context"
	"errors"
	"io"
)

// page is the unit in which the kernel caches files: what changes a part of one
// may have to read the rest of it first.
const page = 4096

// piped is a Prompt that takes payloads out of a pipe.
type piped interface {
	Prompt
	writeFrom(p *pipe, off int64, n int) error
}

// hasPipe makes a pipe for the connection, if it and the device can use one.
func (c *conn) hasPipe() bool {
	if _, ok := c.prompt.(piped); !ok || c.pipeless {
		return false
	}
	if c.pipe == nil {
		c.pipe = openPipe(c.nc)
		c.pipeless = c.pipe == nil
	}
	return !c.pipeless
}

func (c *conn) closePipe() {
	c.pipe.close()
	c.pipe = nil
}

// writeThrough writes a payload, of which nothing is in the read buffer, without
// a buffer of ours: what is in the connection's pipe is written as soon as that is
// all or the pipe is full, in whole pages. As on a disk that loses its power, a
// write whose payload never came to its end may have changed a part of its range.
func (c *conn) writeThrough(ctx context.Context, q request) error {
	if err := c.flushBatch(); err != nil {
		return err
	}
	defer c.awaitPayload(int(q.length))()
	for rest := q; rest.length > 0; {
		err := c.pipe.fill(int(rest.length))
		if errors.Is(err, errors.ErrUnsupported) {
			c.pipeless = true
			return c.writeRest(ctx, rest)
		}
		if err != nil {
			return err
		}
		held := c.pipe.held
		n := held &^ (page - 1)
		if n == 0 {
			return c.writeRest(ctx, rest)
		}
		entered, err := c.promptly(n, func() error {
			return c.prompt.(piped).writeFrom(c.pipe, int64(rest.off), n)
		})
		switch {
		case !entered:
			return c.writeRest(ctx, rest)
		case errors.Is(err, errors.ErrUnsupported) && c.pipe.held == held:
			c.pipeless = true
			return c.writeRest(ctx, rest)
		case err != nil:
			return c.refuseRest(rest, int(rest.length)-held, err)
		}
		rest.off, rest.length = rest.off+uint64(n), rest.length-uint32(n)
		if c.patience > 0 { // the disk's time is not the client's
			c.awaitPayload(int(rest.length))
		}
	}
	c.src.limit = requestSize
	return c.reply(q, 0)
}

// writeRest takes what is in the pipe, and what follows it, into a buffer and
// leaves the writing to another goroutine.
func (c *conn) writeRest(ctx context.Context, rest request) error {
	n := int(rest.length)
	buf, err := c.acquire(ctx, n)
	if err != nil {
		return err
	}
	c.awaitPayload(n)
	held := c.pipe.held
	if _, err = io.ReadFull(c.pipe, buf.b[:held]); err == nil {
		_, err = io.ReadFull(c.src.Reader, buf.b[held:n])
	}
	if err != nil {
		buf.release()
		return err
	}
	if c.pipeless {
		c.closePipe()
	}
	c.src.limit = requestSize
	c.async(func() { c.writeSlowly(ctx, rest, buf) })
	return nil
}

// refuseRest answers a request whose writing failed while coming bytes of its
// payload had not come yet.
func (c *conn) refuseRest(rest request, coming int, failed error) error {
	c.closePipe() // with what is in it
	if err := c.drop(coming); err != nil {
		return err
	}
	return c.reply(rest, wireError(failed))
}
