package blockcopy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"blockconsole/models/reserve"
)

const (
	chunkBytes    = 8 << 20   // found, and written back, at a time
	prefetchBytes = 32 << 20  // read ahead of the copy
	bufferBytes   = 256 << 10 // copied at a time in user space
	maxYield      = 10 * time.Millisecond
	pageBytes     = 4096 // of zeroes become a hole in user space
)

var buffers = sync.Pool{New: func() any { return new([bufferBytes]byte) }}

// piece is a part of a run of data in bytes, at most a chunk long.
type piece struct{ start, end int64 }

// walker copies a file from its beginning to its end; holes stay holes.
//
// Zeroes that were written are copied: finding them would take every byte through this
// process, which the kernel's copy avoids, and they may have been written to reserve the
// room. They become holes only where the kernel cannot copy or hides the holes, and where a
// block is not all data.
type walker struct {
	*Copy
	next       []piece // prefetched and not yet copied
	prefetched int64   // bytes of next
	scanned    int64   // up to where data was looked for: a multiple of BlockBytes, or Size

	pending     int64 // bytes copied since the last startWriteback …
	pendingFrom int64 // … from this offset on
}

func (w *walker) walk() error {
	for !w.isOver() {
		if err := w.prefetchNext(); err != nil {
			return err
		}
		if len(w.next) == 0 {
			return nil
		}
		p := w.next[0]
		w.next = w.next[1:]
		w.prefetched -= p.end - p.start
		if err := w.copyPiece(p); err != nil {
			return err
		}
	}
	return nil
}

// prefetchNext finds the next data and starts reading it, while earlier data is copied
// and written. Blocks change only when they are saved: for all others, what the file system
// says of holes is true for the instant.
func (w *walker) prefetchNext() error {
	for w.prefetched < prefetchBytes && w.scanned < w.Size {
		start, end, err := NextData(w.Src, w.scanned, w.Size)
		if errors.Is(err, io.EOF) {
			w.blocks.skip(w.scanned/BlockBytes, w.blocks.count)
			w.scanned = w.Size
			return nil
		}
		if err != nil {
			return err
		}
		if start == 0 && end == w.Size && hidesHoles(w.Src, w.Size) {
			w.userspace.Store(true)
		}
		end = min(max(end, start+1), start+chunkBytes) // a run may have become a hole
		prefetch(w.Src, start, end-start)
		w.next = append(w.next, piece{start, end})
		w.prefetched += end - start
		first, after := w.blocks.touched(start, end-start)
		w.blocks.skip(w.scanned/BlockBytes, first)
		w.scanned = min(after*BlockBytes, w.Size)
	}
	return nil
}

// copyPiece copies the blocks of a piece that nobody has saved.
func (w *walker) copyPiece(p piece) error {
	first, end := w.blocks.touched(p.start, p.end-p.start)
	for !w.isOver() {
		w.yield()
		s, _ := w.claim(first, end, time.Time{})
		if s == nil {
			return nil
		}
		err := w.copySpan(s, p)
		w.finish(s, err)
		if err != nil {
			return err
		}
		first = s.end
	}
	return nil
}

// yield lets writers that wait have the disk for themselves, which costs no time: what is
// saved for them need not be copied any more. It ends after maxYield, so that the copy ends
// too.
func (w *walker) yield() {
	var limit <-chan time.Time
	for {
		s := w.blocks.wanted()
		if s == nil {
			return
		}
		if limit == nil {
			timer := time.NewTimer(maxYield)
			defer timer.Stop()
			limit = timer.C
		}
		select {
		case <-s.done:
		case <-w.over:
			return
		case <-limit:
			return
		}
	}
}

// copySpan copies claimed blocks of a piece.
func (w *walker) copySpan(s *span, p piece) error {
	off, end := w.blocks.bytes(s)
	before := w.Copied.Load()
	var err error
	if off < p.start || end > p.end || w.userspace.Load() { // not all is known to be data
		err = w.copySparse(off, end)
	} else {
		err = w.copyWhole(off, end)
	}
	if w.pending == 0 {
		w.pendingFrom = off
	}
	if w.pending += w.Copied.Load() - before; w.pending >= chunkBytes {
		startWriteback(w.Dst, w.pendingFrom, end-w.pendingFrom)
		w.pending = 0
	}
	return err
}

// copyWhole copies [off, end), which is data, inside the kernel where that can.
func (w *walker) copyWhole(off, end int64) error {
	for off < end {
		n := 0
		err := w.Guard(min(end-off, bufferBytes), func() (err error) {
			w.writing.Lock()
			defer w.writing.Unlock()
			n, err = copyRange(w.Dst, w.Src, off, int(min(end-off, bufferBytes)))
			return err
		})
		switch {
		case IsUnsupported(err):
			w.userspace.Store(true)
			return w.copySparse(off, end)
		case err != nil:
			return err
		case n == 0:
			return io.ErrUnexpectedEOF // the source shrank
		}
		off += int64(n)
		w.Copied.Add(int64(n))
	}
	return nil
}

// writeSparse writes p at off, but for whole pages of zeroes.
func (c *Copy) writeSparse(p []byte, off int64) error {
	from := 0 // of what is to be written
	for at := 0; at < len(p); at += pageBytes {
		end := min(at+pageBytes, len(p))
		if !bytes.Equal(p[at:end], zeros[:end-at]) {
			continue
		}
		if err := c.writeRun(p[from:at], off+int64(from)); err != nil {
			return err
		}
		from = end
	}
	return c.writeRun(p[from:], off+int64(from))
}

func (c *Copy) writeRun(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	c.writing.Lock()
	_, err := c.Dst.WriteAt(p, off)
	c.writing.Unlock()
	if err == nil {
		c.Copied.Add(int64(len(p)))
	}
	return err
}

var zeros [pageBytes]byte

// hidesHoles reports whether less of the file is allocated than it is long, although all of
// it is said to be data.
func hidesHoles(f *os.File, size int64) bool {
	fi, err := f.Stat()
	return err == nil && reserve.Allocated(fi) < size
}
