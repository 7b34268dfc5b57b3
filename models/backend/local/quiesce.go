package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// What a snapshot of an attached volume costs its servers is, beside the last
// flush, one walk over the file's extents; docs/bench-local.md has the figures.
// The cost of an extent is where the reckoning begins: it follows what snapshots
// on this machine have really cost.
const (
	holdBase             = 3 * time.Millisecond
	initialHoldPerExtent = 4 * time.Microsecond
	learnMinExtents      = 500 // extents: fewer tell more about the flush than about themselves
)

// estimateTTL is how long a prediction is believed.
const estimateTTL = 3 * time.Second

// fastRound is how long a round before the hold may take for its repetition inside the
// hold to be short.
const fastRound = 10 * time.Millisecond

// cloneSource lets the new object's file dst share the source's blocks. While servers
// write to the source their new writes wait, so that the copy is one instant.
func (b *Backend) cloneSource(ctx context.Context, dst, in *os.File, src *source, o *object) error {
	if src.object == nil || !b.reflink {
		return b.disk.clone(dst, in)
	}
	b.mu.Lock()
	e := src.object.export
	b.mu.Unlock()
	if e == nil || e.nbd == nil {
		return b.disk.clone(dst, in)
	}
	held, err := b.cloneQuiesced(ctx, e, dst, in)
	if errors.Is(err, errors.ErrUnsupported) {
		// A copy would be of many moments, and everybody has been told that it is of one.
		return errCloneRefused
	}
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.meta.Held = held
	if n := e.extents; n >= learnMinExtents {
		b.holdPerExtent = (b.holdPerExtent + max(0, held-holdBase)/time.Duration(n)) / 2
	}
	return nil
}

var errCloneRefused = errors.New("the file system did not share the volume's blocks, although it can")

// cloneQuiesced clones the file of an export while its writes are held, and tells how
// long they were. Most of the work is done before, while servers write on: what is
// in memory goes to the disk, and a first clone shares the blocks, so that the one
// that counts finds almost all of them shared already. XFS passes over those, which
// makes the hold ten times shorter and more.
func (b *Backend) cloneQuiesced(ctx context.Context, e *export, dst, in *os.File) (time.Duration, error) {
	for range 5 {
		start := b.now()
		if err := b.disk.fdatasync(in); err != nil {
			return 0, err
		}
		if err := b.disk.clone(dst, in); err != nil {
			return 0, err
		}
		if b.now().Sub(start) < fastRound {
			break
		}
	}
	start := b.now()
	resume, err := e.nbd.Quiesce(ctx)
	if err != nil {
		return 0, fmt.Errorf("the servers' writes could not be held: %w", err)
	}
	err = b.disk.fdatasync(in)
	if err == nil {
		err = b.disk.clone(dst, in)
	}
	expired := resume()
	held := max(b.now().Sub(start), 1) // 0 would mean that nothing was held
	if err == nil && expired != nil {
		err = fmt.Errorf("the copy would not be of one instant: %w", expired)
	}
	return held, err
}

// estimateHoldLocked is how long a snapshot of an attached volume would hold its
// servers' writes, as reckoned a moment ago. Looking costs nothing; an old figure
// is renewed in the background for the next look.
func (b *Backend) estimateHoldLocked(o *object) time.Duration {
	e := o.export
	if !b.reflink || e.nbd == nil {
		return 0
	}
	if !b.closed && !e.counting && (e.countedAt.IsZero() || b.now().Sub(e.countedAt).Abs() > estimateTTL) {
		e.counting = true
		b.wg.Go(func() { b.countExtents(e, e.file.Name()) })
	}
	if e.countedAt.IsZero() {
		return 0
	}
	return holdBase + time.Duration(e.extents)*b.holdPerExtent
}

func (b *Backend) countExtents(e *export, path string) {
	n, err := b.extents(path)
	if err != nil {
		b.log.Warn("how long a snapshot would hold writes cannot be told", "path", path, "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.counting, e.countedAt, e.extents = false, b.now(), n
}

func (b *Backend) extents(path string) (int, error) {
	f, err := b.disk.open(path, os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return b.disk.extents(f)
}
