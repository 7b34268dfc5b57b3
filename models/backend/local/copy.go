package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"

	"blockconsole/models/backend/local/nbd"
	"blockconsole/models/reserve"
)

const (
	chunkBytes     = 8 << 20  // copied between two looks at the context, and written back at a time
	prefetchBytes  = 32 << 20 // read ahead of the copy
	zeroBlockBytes = 64 << 10 // of zeroes become a hole in a copy in user space
)

// copyData copies the first size bytes of src to dst, which must be empty; holes stay
// holes. copied counts the bytes meanwhile. The error is that of ctx or of the disk.
//
// Zeroes that were written are copied: finding them would take every byte through this
// process, which the kernel's copy avoids, and they may have been written to reserve
// the room. They become holes only where the kernel cannot copy or hides the holes.
func (d disk) copyData(ctx context.Context, dst, src *os.File, size int64, copied *atomic.Int64) error {
	fi, err := src.Stat()
	if err != nil {
		return err
	}
	c := copier{disk: d, ctx: ctx, dst: dst, src: src, copied: copied, size: size, sparse: reserve.Allocated(fi) < size}
	for {
		if err := c.prefetchNext(); err != nil {
			return err
		}
		if len(c.next) == 0 {
			return nil
		}
		p := c.next[0]
		c.next = c.next[1:]
		c.prefetched -= p.end - p.start
		if err := c.copyPiece(p); err != nil {
			return err
		}
	}
}

// piece is a part of a run of data, at most a chunk long.
type piece struct{ start, end int64 }

type copier struct {
	disk
	ctx       context.Context
	dst, src  *os.File
	copied    *atomic.Int64
	size      int64 // of src
	sparse    bool  // src has holes somewhere
	userspace bool  // the kernel refused to copy
	buf       []byte

	next       []piece // prefetched and not yet copied
	prefetched int64   // bytes of next
	scanned    int64   // the offset up to which data was looked for

	pending     int64 // bytes copied since the last startWriteback …
	pendingFrom int64 // … from this offset on
}

// prefetchNext finds the next data and starts reading it, while earlier data is copied
// and written.
func (c *copier) prefetchNext() error {
	for c.prefetched < prefetchBytes && c.scanned < c.size {
		start, end, err := c.nextData(c.src, c.scanned, c.size)
		if errors.Is(err, io.EOF) {
			c.scanned = c.size
			break
		}
		if err != nil {
			return err
		}
		if start == 0 && end == c.size && c.sparse {
			c.userspace = true // all is data, it says, but less is allocated: it hides holes
		}
		end = min(end, start+chunkBytes)
		c.prefetch(c.src, start, end-start)
		c.next = append(c.next, piece{start, end})
		c.prefetched += end - start
		c.scanned = end
	}
	return nil
}

func (c *copier) copyPiece(p piece) error {
	for off := p.start; off < p.end; {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		n, err := c.copyChunk(off, int(p.end-off))
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF // the source shrank
		}
		if c.pending == 0 {
			c.pendingFrom = off
		}
		off += int64(n)
		c.pending += int64(n)
		c.copied.Add(int64(n))
		if c.pending >= chunkBytes {
			c.startWriteback(c.dst, c.pendingFrom, off-c.pendingFrom)
			c.pending = 0
		}
	}
	return nil
}

// copyChunk copies at most n bytes at off and returns how many.
func (c *copier) copyChunk(off int64, n int) (int, error) {
	if c.space != nil {
		if !c.space.Begin(int64(n)) {
			return 0, nbd.ErrNoRoom
		}
		defer c.space.End(int64(n))
	}
	if !c.userspace {
		m, err := c.copyRange(c.dst, c.src, off, n)
		if !errors.Is(err, errors.ErrUnsupported) {
			return m, err
		}
		c.userspace = true
	}
	if c.buf == nil {
		c.buf = make([]byte, 1<<20)
	}
	if err := c.callHook(opCopy, c.dst.Name()); err != nil {
		return 0, err
	}
	m, err := c.src.ReadAt(c.buf[:min(n, len(c.buf))], off)
	if m == 0 {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return 0, err
	}
	for p := 0; p < m; p += zeroBlockBytes {
		part := c.buf[p:min(p+zeroBlockBytes, m)]
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		if _, err := c.dst.WriteAt(part, off+int64(p)); err != nil {
			return 0, err
		}
	}
	return m, nil
}

var zeros [zeroBlockBytes]byte
