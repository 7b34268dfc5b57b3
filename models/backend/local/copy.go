package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
)

// chunkBytes is how much is copied between two looks at the context, and how much is
// handed to the disk at a time.
const chunkBytes = 8 << 20

// prefetchBytes is how much is being read ahead of the copy.
const prefetchBytes = 32 << 20

// zeroBlockBytes is how much zero the plain copy leaves out at a time.
const zeroBlockBytes = 64 << 10

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
	c := copier{disk: d, ctx: ctx, dst: dst, src: src, copied: copied, size: size, sparse: allocated(fi) < size}
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
	userspace bool  // the kernel's copy was refused
	buf       []byte

	next       []piece // announced to the disk and not yet copied
	prefetched int64   // bytes of them
	scanned    int64   // where the search for data goes on

	pending     int64 // bytes copied since the last flush
	pendingFrom int64 // where they begin
}

// get finds the data that comes next and lets the disk begin to read it, so
// that reading runs beside the copying and writing of what came before.
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
			c.userspace = true // it says that all is data, and has no room for it
		}
		end = min(end, start+chunkBytes)
		c.prefetch(c.src, start, end-start)
		c.next = append(c.next, piece{start, end})
		c.prefetched += end - start
		c.scanned = end
	}
	return nil
}

// copyPiece copies one piece.
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

// copyChunk copies at most n bytes at off.
func (c *copier) copyChunk(off int64, n int) (int, error) {
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
