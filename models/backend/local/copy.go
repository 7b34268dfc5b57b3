package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// chunk is how much is copied between two looks at the context, and how much is
// handed to the disk at a time.
const chunk = 8 << 20

// block is how much zero the plain copy leaves out at a time.
const block = 64 << 10

// copyData copies the first size bytes of src, data only: what is a hole in src
// stays one in dst, which must be empty. copied counts the bytes as they go.
//
// Zeros that were written are copied as they are: looking for them would mean to
// take every byte through this process, which the kernel's copy avoids, and a
// disk's owner who wrote zeros may have meant to reserve the room. Only where the
// kernel cannot copy, or hides its holes, zeros become holes on the way.
func (d disk) copyData(ctx context.Context, dst, src *os.File, size int64, copied *atomic.Int64) error {
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	c := copier{disk: d, ctx: ctx, dst: dst, src: src, copied: copied}
	for off := int64(0); off < size; {
		start, end, err := d.data(src, off, size)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if start == 0 && end == size && allocated(fi) < size {
			c.plain = true // it says that all is data, and has no room for it
		}
		if err := c.run(start, end); err != nil {
			return err
		}
		off = end
	}
	return nil
}

type copier struct {
	disk
	ctx      context.Context
	dst, src *os.File
	copied   *atomic.Int64
	plain    bool   // the kernel's copy was refused
	buf      []byte // of the plain copy
	pending  int64  // bytes since the last flush
	from     int64  // where they begin
}

// run copies one run of data.
func (c *copier) run(start, end int64) error {
	for off := start; off < end; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := c.step(off, int(min(end-off, chunk)))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF // the source shrank
		}
		if c.pending == 0 {
			c.from = off
		}
		off += int64(n)
		c.pending += int64(n)
		c.copied.Add(int64(n))
		if c.pending >= chunk {
			c.flush(c.dst, c.from, off-c.from)
			c.pending = 0
		}
	}
	return nil
}

// step copies at most n bytes at off.
func (c *copier) step(off int64, n int) (int, error) {
	if !c.plain {
		m, err := c.copyRange(c.dst, c.src, off, n)
		if !errors.Is(err, errors.ErrUnsupported) {
			return m, err
		}
		c.plain = true
	}
	if c.buf == nil {
		c.buf = make([]byte, 1<<20)
	}
	if err := c.ask(opCopy, c.dst.Name()); err != nil {
		return 0, err
	}
	m, err := c.src.ReadAt(c.buf[:min(n, len(c.buf))], off)
	if m == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	for p := 0; p < m; p += block {
		part := c.buf[p:min(p+block, m)]
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		if _, err := c.dst.WriteAt(part, off+int64(p)); err != nil {
			return 0, err
		}
	}
	return m, nil
}

var zeros [block]byte
