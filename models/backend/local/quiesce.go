package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/nbd"
)

// A snapshot of an attached volume holds writes for as long as those under way take. Where
// blocks can be shared it also holds them for a flush and a walk over the file's extents;
// docs/bench-local.md has the figures. Both times are learned from the snapshots on this
// machine.
const (
	initialHoldToDrain   = 2 * time.Millisecond
	holdBase             = 3 * time.Millisecond
	initialHoldPerExtent = 4 * time.Microsecond
	learnMinExtents      = 500 // with fewer, the flush dominates
)

// estimateTTL is how long a count of extents is used.
const estimateTTL = 3 * time.Second

// fastRound is the time of a flush and clone after which another one, inside the hold,
// is expected to be short.
const fastRound = 10 * time.Millisecond

// instantTries is how often a snapshot begins again because writes were not held for as
// long as it took, or because the volume was attached or detached meanwhile.
const instantTries = 5

// errNoInstant says that a copy is not of one instant.
var errNoInstant = fmt.Errorf("the copy would not be of one instant: %w", nbd.ErrQuiesceExpired)

// moment is what begins a snapshot of a volume.
type moment struct {
	prepare func() error           // while servers write, so that take is short
	take    func(size int64) error // while nobody writes; size of the volume in bytes
	undo    func() error           // after a take that was not of one instant
}

// cloneSource makes the new object's file dst share the source's blocks.
// errors.ErrUnsupported: the source must be copied.
func (b *Backend) cloneSource(ctx context.Context, dst, in *os.File, src source, o *object, j *job) error {
	if !src.changes() || !b.reflink {
		return b.disk.clone(dst, in)
	}
	flushed := false // a volume that nobody writes to needs no flush
	clone := func() error {
		if flushed {
			if err := b.disk.fdatasync(in); err != nil {
				return err
			}
		}
		return b.disk.clone(dst, in)
	}
	return b.takeMoment(ctx, o, j, src, moment{
		prepare: func() error {
			flushed = true
			return b.repeatWhileSlow(clone)
		},
		take: func(int64) error { return clone() },
		undo: func() error { return nil }, // the next clone replaces this one
	})
}

// repeatWhileSlow flushes and clones while servers write, which leaves little to do inside
// the hold: XFS skips blocks that are shared already, which makes the hold at least ten
// times shorter.
func (b *Backend) repeatWhileSlow(clone func() error) error {
	for range 5 {
		start := b.now()
		if err := clone(); err != nil {
			return err
		}
		if b.now().Sub(start) < fastRound {
			break
		}
	}
	return nil
}

// startCopy prepares the copy of the source's bytes to dst. From its instant on, writes to a
// volume wait for what they overwrite to be saved, until endCopy; servers do not wait for
// more than that.
func (b *Backend) startCopy(ctx context.Context, dst, in *os.File, src source, o *object, j *job) (c *blockcopy.Copy, err error) {
	newCopy := func(size int64) {
		c = blockcopy.New(blockcopy.Options{
			Now: b.now, Dst: dst, Src: in, Size: size, Copied: &j.bytesCopied, Limit: b.saveLimit,
			Guard: func(n int64, piece func() error) error { return b.disk.guardCopy(dst.Name(), n, piece) },
		})
	}
	if !src.changes() {
		newCopy(src.size)
		return c, nil
	}
	err = b.takeMoment(ctx, o, j, src, moment{
		prepare: func() error { return b.disk.fdatasync(in) },
		take: func(size int64) error {
			newCopy(size)
			return b.setCopying(src.object, c)
		},
		undo: func() error {
			b.endCopy(src.object, c)
			j.bytesCopied.Store(0)
			return b.disk.truncate(dst, 0)
		},
	})
	return c, err
}

// setCopying makes writes to the volume wait for c. Its error is errBeingCopied.
func (b *Backend) setCopying(o *object, c *blockcopy.Copy) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o.copying != nil {
		return errBeingCopied()
	}
	o.copying = c
	o.export.setCopying(c)
	return nil
}

// endCopy lets writes go on that wait for c.
func (b *Backend) endCopy(o *object, c *blockcopy.Copy) {
	c.Release()
	b.mu.Lock()
	defer b.mu.Unlock()
	if o != nil && o.copying == c {
		o.copying = nil
		o.export.setCopying(nil)
	}
}

func errBeingCopied() error {
	return &backend.Error{Code: backend.CodeUnavailable, Why: backend.WhyCopying, RetryAfter: time.Second, Unsent: true, Err: errors.New("another snapshot of the volume is being copied")}
}

// takeMoment calls take while nobody writes to the source volume, and notes the instant.
// Nobody attaches, detaches or extends it meanwhile either.
func (b *Backend) takeMoment(ctx context.Context, o *object, j *job, src source, m moment) error {
	for range instantTries {
		err := b.tryMoment(ctx, o, j, src.object, m)
		if !errors.Is(err, errNoInstant) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return errNoInstant
}

// tryMoment is takeMoment, once. Its error is errNoInstant where that did not succeed, or
// one of Quiesce or m.
func (b *Backend) tryMoment(ctx context.Context, o *object, j *job, volume *object, m moment) error {
	e, _ := b.served(volume)
	if e != nil {
		if err := m.prepare(); err != nil {
			return err
		}
	}
	volume.filesMu.Lock()
	defer volume.filesMu.Unlock()
	now, taken := b.served(volume)
	if now != e {
		return errNoInstant
	}
	start := b.now()
	resume := func() error { return nil }
	if e != nil {
		var err error
		if resume, err = e.nbd.Quiesce(ctx); err != nil {
			return fmt.Errorf("the servers' writes could not be held: %w", err)
		}
	}
	err := m.take(int64(taken.SizeGiB) * gib)
	taken.TakenAt = b.now().UTC()
	expired := resume()
	taken.Held = max(b.now().Sub(start), 1) // 0 means that nothing was held
	switch {
	case err != nil:
		return err
	case expired != nil:
		return cmp.Or(m.undo(), errNoInstant)
	case e == nil:
		taken.Held = 0
	}
	b.noteInstant(o, j, e, taken)
	return nil
}

// served is the export of an attached volume, nil where it has none, and what a snapshot
// that is taken now has to know of the volume.
func (b *Backend) served(volume *object) (e *export, taken meta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken = meta{SizeGiB: volume.meta.SizeGiB, Consistency: backend.Clean}
	if len(volume.meta.Attachments) > 0 {
		taken.Consistency = backend.CrashConsistent
	}
	if e = volume.export; e != nil && e.nbd == nil {
		e = nil
	}
	return e, taken
}

// noteInstant remembers when and how the bytes of o were taken.
func (b *Backend) noteInstant(o *object, j *job, e *export, taken meta) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o.meta.TakenAt, o.meta.Consistency, o.meta.Held, o.meta.SizeGiB = taken.TakenAt, taken.Consistency, taken.Held, taken.SizeGiB
	close(j.instant)
	switch {
	case e == nil:
	case !b.reflink:
		b.holdToDrain = (b.holdToDrain + taken.Held) / 2
	case e.extents >= learnMinExtents:
		b.holdPerExtent = (b.holdPerExtent + max(0, taken.Held-holdBase)/time.Duration(e.extents)) / 2
	}
}

// estimateHoldLocked is how long a snapshot of an attached volume would hold writes. It
// uses the last count of extents, and renews an old one in the background.
func (b *Backend) estimateHoldLocked(o *object) time.Duration {
	e := o.export
	switch {
	case e.nbd == nil:
		return 0
	case !b.reflink:
		return b.holdToDrain
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
