package local

import (
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// chunk is how much is copied between two looks at the context, and how much is
// handed to the disk at a time.
const chunk = 8 << 20

// copyData copies the first size bytes of src, data only: what is a hole in src
// stays one in dst, which must be empty. copied counts the bytes as they go.
func (d disk) copyData(ctx context.Context, dst, src *os.File, size int64, copied *atomic.Int64) error {
	c := copier{disk: d, ctx: ctx, dst: dst, src: src, copied: copied}
	for off := int64(0); off < size; {
		start, end, err := d.data(src, off, size)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
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
	return c.dst.WriteAt(c.buf[:m], off)
}
