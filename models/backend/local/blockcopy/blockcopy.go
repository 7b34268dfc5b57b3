// Package blockcopy copies the bytes that a file has at one instant, while others go on
// writing to it. Whoever writes calls [Copy.BeforeWrite] first, which saves the blocks that
// the write will change and that are not copied yet (copy-before-write), and [Copy.Run]
// copies all others in order. A [Copy] that nobody calls BeforeWrite of is a plain copy.
//
// A writer never pays for the copy with its own data: where a block cannot be saved, or not
// within a limit, the copy is over with an error, and the write goes on.
package blockcopy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLimit is how long a writer waits for a block to be saved. Clients give up a disk
// that does not answer for longer than 30 seconds, and a large write waits several times.
const DefaultLimit = 5 * time.Second

// Options say what is copied. All but Guard and Limit are required.
type Options struct {
	Now      func() time.Time
	Dst, Src *os.File      // Dst must be empty; the bytes keep their places
	Size     int64         // bytes of Src that are copied
	Copied   *atomic.Int64 // counts the bytes of data that were copied

	// Guard runs each piece of the copy, of n bytes; an error of its own replaces the
	// piece. It is called by many goroutines at once. nil: nothing is asked.
	Guard func(n int64, piece func() error) error
	// Limit is how long a writer waits for a block to be saved; zero means DefaultLimit.
	Limit time.Duration
}

// TooSlowError says that a writer waited too long for a block to be saved, and that the
// copy was given up for it.
type TooSlowError struct{ Waited, Limit time.Duration }

func (e *TooSlowError) Error() string {
	return fmt.Sprintf("a write of a server waited %s for the copy of what it overwrites; the limit is %s", e.Waited, e.Limit)
}

// Copy is a copy of a file's bytes at one instant: the one in which its BeforeWrite begins
// to be called. Its methods may be called by many goroutines at once, Run only once.
type Copy struct {
	Options
	userspace atomic.Bool // the kernel refused to copy, or hides the holes
	blocks    blockMap
	writing   sync.Mutex // of Dst: threads that wait for its lock in the kernel cost more than goroutines
	saves     sync.WaitGroup
	over      chan struct{} // closed when no block needs to be saved any more
	err       error         // why, before all were saved; guarded by blocks.mu until over
}

// New prepares a copy; nothing is read yet.
func New(o Options) *Copy {
	if o.Guard == nil {
		o.Guard = func(_ int64, piece func() error) error { return piece() }
	}
	if o.Limit == 0 {
		o.Limit = DefaultLimit
	}
	return &Copy{Options: o, blocks: newBlockMap(o.Size), over: make(chan struct{})}
}

// Run copies all blocks that no writer saves, and returns when every block is copied and no
// file is used any more. Errors: that of ctx, of the disk, of Guard, [*TooSlowError],
// io.ErrUnexpectedEOF where Src became shorter than Size.
func (c *Copy) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		c.end(err)
	}
	stop := context.AfterFunc(ctx, func() { c.end(ctx.Err()) })
	defer stop()
	watched := make(chan struct{})
	go c.watch(watched)
	w := walker{Copy: c}
	if err := w.walk(); err != nil {
		c.end(err)
	}
	c.saves.Wait() // all blocks are saved or being saved, unless the copy is over
	c.end(nil)
	<-watched
	c.saves.Wait()
	return c.err
}

// Release ends the copy without an error of its own: writers need not save anything any
// more. It is for a copy whose Run was never called.
func (c *Copy) Release() {
	c.end(context.Canceled)
	c.saves.Wait()
}

// end lets all writers go on; the first call decides what Run returns.
func (c *Copy) end(err error) {
	c.blocks.mu.Lock()
	defer c.blocks.mu.Unlock()
	if !c.isOver() {
		c.err = err
		close(c.over)
	}
}

func (c *Copy) isOver() bool {
	select {
	case <-c.over:
		return true
	default:
		return false
	}
}

// BeforeWrite returns when the n bytes at off may change: their blocks are copied, or the
// copy is over.
func (c *Copy) BeforeWrite(off, n int64) {
	first, end := c.blocks.touched(off, n)
	for {
		mine, theirs := c.claim(first, end, c.Now())
		s := theirs
		if mine != nil {
			s = mine
			go c.save(mine)
		}
		if s == nil {
			return
		}
		select {
		case <-s.done:
		case <-c.over:
			return
		}
	}
}

// WritesAtOnce reports whether BeforeWrite of the n bytes at off would return at once.
func (c *Copy) WritesAtOnce(off, n int64) bool {
	first, end := c.blocks.touched(off, n)
	c.blocks.mu.Lock()
	defer c.blocks.mu.Unlock()
	return c.isOver() || c.blocks.inFlightOf(first, end) == nil && c.blocks.nextUnsaved(first, end) == end
}

// claim takes the first blocks of [first, end) that are neither copied nor being copied, for
// the caller to save; without any, theirs are some that another saves now. wanted is when a
// writer began to wait for them; zero: none does.
func (c *Copy) claim(first, end int64, wanted time.Time) (mine, theirs *span) {
	c.blocks.mu.Lock()
	defer c.blocks.mu.Unlock()
	if c.isOver() {
		return nil, nil
	}
	if mine = c.blocks.claim(first, end); mine != nil {
		mine.wanted = wanted
		c.saves.Add(1)
		return mine, nil
	}
	if theirs = c.blocks.inFlightOf(first, end); theirs != nil && theirs.wanted.IsZero() {
		theirs.wanted = wanted
	}
	return nil, theirs
}

// save copies claimed blocks, of which nothing is known.
func (c *Copy) save(s *span) {
	c.finish(s, c.copySparse(c.blocks.bytes(s)))
}

// finish lets those go on who wait for claimed blocks. An error ends the copy first.
func (c *Copy) finish(s *span, err error) {
	if err != nil {
		c.end(err)
	}
	c.blocks.finish(s)
	c.saves.Done()
}

// watch ends the copy when a writer has waited too long, and itself when the copy is over.
func (c *Copy) watch(done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(max(c.Limit/16, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-c.over:
			return
		case <-tick.C:
			if waited := c.blocks.longestWait(c.Now()); waited > c.Limit {
				c.end(&TooSlowError{Waited: waited, Limit: c.Limit})
			}
		}
	}
}

// copySparse copies [off, end) in user space; what holds only zeroes stays a hole. It does
// not ask the file system for holes: that would wait for writes to the file.
func (c *Copy) copySparse(off, end int64) error {
	buf := buffers.Get().(*[bufferBytes]byte)
	defer buffers.Put(buf)
	for off < end {
		n := min(end-off, bufferBytes)
		err := c.Guard(n, func() error {
			m, err := c.Src.ReadAt(buf[:n], off)
			if n = int64(m); n > 0 {
				return c.writeSparse(buf[:n], off)
			}
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF // the source shrank
			}
			return err
		})
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}
