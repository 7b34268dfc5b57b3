package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// A snapshot of an attached volume holds writes for a flush and a walk over the file's
// extents; docs/bench-local.md has the figures. The time for an extent is learned from
// the snapshots on this machine.
const (
	holdBase             = 3 * time.Millisecond
	initialHoldPerExtent = 4 * time.Microsecond
	learnMinExtents      = 500 // with fewer, the flush dominates
)

// estimateTTL is how long a count of extents is used.
const estimateTTL = 3 * time.Second

// fastRound is the time of a flush and clone after which another one, inside the hold,
// is expected to be short.
const fastRound = 10 * time.Millisecond

// cloneSource makes the new object's file dst share the source's blocks. Writes of
// servers to the source are held meanwhile, so that the copy is of one instant.
// errors.ErrUnsupported: the source must be copied.
func (b *Backend) cloneSource(ctx context.Context, dst, in *os.File, src source, o *object) error {
	if src.object == nil || !b.reflink {
		return b.disk.clone(dst, in)
	}
	b.mu.Lock()
	e := src.object.writers()
	b.mu.Unlock()
	if e == nil || e.nbd == nil {
		return b.disk.clone(dst, in)
	}
	held, err := b.cloneQuiesced(ctx, e, dst, in)
	if errors.Is(err, errors.ErrUnsupported) {
		// A copy would not be of one instant, which Capabilities.CrashSafe promises.
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

// cloneQuiesced clones the file of an export while its writes are held, and returns how
// long they were. Flushing and cloning before that, while servers write, leaves little
// to do inside the hold: XFS skips blocks that are shared already, which makes the hold
// at least ten times shorter. Its errors are those of the disk and of Quiesce.
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
	held := max(b.now().Sub(start), 1) // 0 means that nothing was held
	if err == nil && expired != nil {
		err = fmt.Errorf("the copy would not be of one instant: %w", expired)
	}
	return held, err
}

// estimateHoldLocked is how long a snapshot of an attached volume would hold writes. It
// uses the last count of extents, and renews an old one in the background.
func (b *Backend) estimateHoldLocked(o *object) time.Duration {
	e := o.export
	if !b.reflink || e.nbd == nil {
		return 0
	}
	if !b.closed && !e.counting && (e.countedAt.IsZero() || b.now().Sub(e.countedAt).Abs() > estimateTTL) {
		e.counting = true
		b.wg.Go(func() { b.countExtents(e) })
	}
	if e.countedAt.IsZero() {
		return 0
	}
	return holdBase + time.Duration(e.extents)*b.holdPerExtent
}

func (b *Backend) countExtents(e *export) {
	n := 0
	f, err := b.disk.open(e.file.Name(), os.O_RDONLY) // e.file may be closed meanwhile
	if err == nil {
		n, err = b.disk.extents(f)
		f.Close()
	}
	if err != nil {
		b.log.Warn("how long a snapshot would hold writes cannot be told", "path", e.file.Name(), "error", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.counting, e.countedAt, e.extents = false, b.now(), n
}
