package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/local/blockcopy"
	"blockconsole/models/backend/local/checksum"
)

const (
	defaultChecksumRate = 100 << 20              // bytes a second
	yieldInterval       = 100 * time.Millisecond // between two looks whether copies have ended
	sumRetryAfter       = 10 * time.Minute       // after checksums could not be computed
	justChecked         = 10 * time.Second       // Faults lists news of checks for so long
)

// storedChecks is what meta.json remembers of a snapshot's checks.
type storedChecks struct {
	ComputedAt time.Time `json:"computed_at,omitzero"` // of the checksum file
	CheckedAt  time.Time `json:"checked_at,omitzero"`
	Bad        int64     `json:"bad_blocks,omitempty"`
	First      []int64   `json:"first_bad_blocks,omitempty"`
	Broken     bool      `json:"broken,omitempty"` // the checksum file is missing, damaged or foreign
}

// damage is the error of what the last check found; nil: nothing.
func (c storedChecks) damage(dir string, size int64) *backend.Error {
	switch {
	case c.Broken:
		return &backend.Error{Code: backend.CodeDamaged, Damage: backend.BadChecksums, Path: dir + "/" + checksumFile}
	case c.Bad > 0:
		return &backend.Error{Code: backend.CodeDamaged, Damage: backend.BadBlocks, Path: dir + "/" + dataFile,
			Blocks: c.First, Bad: c.Bad, BlockBytes: checksum.BlockBytes, Want: size}
	}
	return nil
}

// check is one that somebody asked for.
type check struct {
	renew   bool
	running bool
	done    int64 // bytes
	ended   chan struct{}
}

// checks is what the port shows of them. The caller holds Backend.mu.
func (o *object) checks(dir string) backend.Checks {
	c := backend.Checks{Percent: backend.PercentUnknown, Running: o.check != nil, Failure: o.checkFailure}
	size := int64(o.meta.SizeGiB) * gib
	if m := o.meta.Checks; m != nil {
		c.ComputedAt, c.CheckedAt, c.Damage = m.ComputedAt, m.CheckedAt, m.damage(dir, size)
	}
	if o.check != nil && o.check.running {
		c.Percent = int(min(99, o.check.done*100/max(1, size)))
	}
	return c
}

// checking is the one slow job that reads snapshots: for the checks that somebody asked
// for, in the order of asking, and then to compute the checksums that are missing, oldest
// snapshot first. The fields after woken are guarded by Backend.mu.
type checking struct {
	rate  int64 // bytes a second; negative: any, and nothing unasked
	woken chan struct{}
	asked []*object
	news  map[*object]time.Time // when something became known of their bytes
}

func newChecking(rate int64) checking {
	if rate == 0 {
		rate = defaultChecksumRate
	}
	return checking{rate: rate, woken: make(chan struct{}, 1), news: map[*object]time.Time{}}
}

func (c *checking) wake() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// CheckSnapshot puts the snapshot into the queue of checks, unless it is there. Errors:
// CodeNotFound, CodeConflict, CodeDamaged where its file is not there, CodeUnavailable.
func (b *Backend) CheckSnapshot(ctx context.Context, key backend.Key, renew bool) error {
	o, unlock, err := b.lockObject(ctx, snapshots, key)
	if err != nil {
		return err
	}
	defer unlock()
	if err := b.dataDamage(o); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := o.meta.Status; s != backend.Available {
		return &backend.Error{Code: backend.CodeConflict, Why: backend.WhyStatus, WhyArg: string(s), Message: "the snapshot is " + string(s)}
	}
	if o.check == nil {
		o.check, o.checkFailure = &check{renew: renew, ended: make(chan struct{})}, nil
		b.checking.asked = append(b.checking.asked, o)
		b.checking.wake()
	}
	return nil
}

// runChecks does the job until Close.
func (b *Backend) runChecks() {
	retry := time.NewTicker(sumRetryAfter)
	defer retry.Stop()
	for b.ctx.Err() == nil {
		b.runAskedChecks(b.ctx)
		if o := b.nextWithoutSums(); o != nil {
			b.computeUnasked(b.ctx, o)
			continue
		}
		select {
		case <-b.checking.woken:
		case <-retry.C:
		case <-b.ctx.Done():
		}
	}
}

// runAskedChecks empties the queue of checks that somebody asked for.
func (b *Backend) runAskedChecks(ctx context.Context) {
	for ctx.Err() == nil {
		b.mu.Lock()
		if len(b.checking.asked) == 0 {
			b.mu.Unlock()
			return
		}
		o := b.checking.asked[0]
		b.checking.asked = b.checking.asked[1:]
		o.check.running = true
		m, c := o.meta, o.check
		b.mu.Unlock()
		var err error
		if m.Checks == nil || c.renew {
			err = b.computeSums(ctx, o, c)
		} else {
			err = b.compareSums(ctx, o, c)
		}
		b.mu.Lock()
		o.check = nil
		close(c.ended)
		if err != nil {
			o.checkFailure = b.portError(err, overheadBytes)
		}
		b.mu.Unlock()
		if err != nil && b.stillThere(o, m) == nil && ctx.Err() == nil {
			b.log.Error("a snapshot could not be checked", "ref", m.Ref, "error", err)
		}
	}
}

// nextWithoutSums is the oldest snapshot that has no checksums and may get them now: refs
// begin with their time.
func (b *Backend) nextWithoutSums() *object {
	if b.checking.rate < 0 || b.space.State().Short != "" {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ref := range b.snapshots.order {
		o := b.snapshots.byRef[ref]
		usable := o.meta.Status == backend.Available && o.location == published && o.damage == nil
		if usable && o.meta.Checks == nil && !b.now().Before(o.sumAfter) {
			return o
		}
	}
	return nil
}

// computeUnasked gives a snapshot checksums, and leaves it alone for a while where that
// failed.
func (b *Backend) computeUnasked(ctx context.Context, o *object) {
	err := b.computeSums(ctx, o, nil)
	if err == nil || ctx.Err() != nil || errors.Is(err, errSnapshotGone) || errors.Is(err, errNotNeeded) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.sumAfter = b.now().Add(sumRetryAfter)
	b.log.Error("a snapshot has no checksums yet", "ref", o.meta.Ref, "error", err)
}

// computeSums writes the checksum file of a snapshot. One that is there already and that
// meta.json does not know, since a crash came in between or somebody put it there, is
// used if it is whole, and else reported: writing it anew would bless what it tells of. c
// is nil for checksums that nobody asked for.
func (b *Backend) computeSums(ctx context.Context, o *object, c *check) error {
	m, _ := b.metaOf(o)
	if c == nil || !c.renew {
		switch sums, err := b.openSums(m); {
		case err == nil:
			sums.close()
			return b.storeChecks(o, m, &storedChecks{ComputedAt: sums.ComputedAt}, nil)
		case errors.Is(err, checksum.ErrDamaged):
			return b.storeChecks(o, m, &storedChecks{CheckedAt: b.now().UTC(), Broken: true}, nil)
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
	}
	now, tmp := b.now().UTC(), b.path("tmp", m.Ref+".sums")
	if err := b.disk.unlink(tmp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := b.writeSums(ctx, o, c, m, tmp, now)
	if err == nil {
		err = b.storeChecks(o, m, &storedChecks{ComputedAt: now}, func() error {
			return b.disk.rename(tmp, b.objectDir(published, m)+"/"+checksumFile)
		})
	}
	if err != nil {
		_ = b.disk.unlink(tmp) // else the next Open removes it
	}
	return err
}

// writeSums computes the checksums into the file tmp and makes it durable.
func (b *Backend) writeSums(ctx context.Context, o *object, c *check, m meta, tmp string, now time.Time) error {
	in, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := b.disk.create(tmp)
	if err != nil {
		return err
	}
	defer out.Close()
	data := b.slowly(ctx, in, m, c)
	if c == nil {
		data.After = func(off, n int64) error { return errors.Join(b.pace(ctx, in, off, n), b.needsSums(o, m)) }
	}
	if err := checksum.Write(ctx, hookedFile{b.disk, out}, data, m.Ref, now); err != nil {
		return err
	}
	return b.disk.sync(out)
}

// The ends of a computation of checksums that nobody waits for any more.
var (
	errSnapshotGone = errors.New("the snapshot is being deleted")
	errNotNeeded    = errors.New("the checksums are there")
)

func (b *Backend) stillThere(o *object, m meta) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.snapshots.byRef[m.Ref] != o || o.location != published || o.meta.Status != backend.Available {
		return errSnapshotGone
	}
	return nil
}

// needsSums is stillThere while nobody has asked for the checksums meanwhile and got them.
func (b *Backend) needsSums(o *object, m meta) error {
	if now, _ := b.metaOf(o); now.Checks != nil {
		return errNotNeeded
	}
	return b.stillThere(o, m)
}

// compareSums checks a snapshot that has checksums.
func (b *Backend) compareSums(ctx context.Context, o *object, c *check) error {
	m, _ := b.metaOf(o)
	sums, err := b.openSums(m)
	if errors.Is(err, checksum.ErrDamaged) || errors.Is(err, fs.ErrNotExist) {
		return b.storeChecks(o, m, &storedChecks{ComputedAt: m.Checks.ComputedAt, CheckedAt: b.now().UTC(), Broken: true}, nil)
	}
	if err != nil {
		return err
	}
	defer sums.close()
	in, err := b.disk.open(b.objectDir(published, m)+"/"+dataFile, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer in.Close()
	found, err := sums.Compare(ctx, b.slowly(ctx, in, m, c), 1)
	if err != nil {
		return err
	}
	return b.storeChecks(o, m, b.checksOf(sums, found), nil)
}

func (b *Backend) checksOf(sums openedSums, found checksum.Result) *storedChecks {
	return &storedChecks{ComputedAt: sums.ComputedAt, CheckedAt: b.now().UTC(), Bad: found.Bad, First: found.First}
}

// storeChecks remembers what is known of a snapshot's bytes, after place has put the file
// that it is about into the folder; nil: it is there. Errors: errSnapshotGone, those of
// the disk.
func (b *Backend) storeChecks(o *object, m meta, now *storedChecks, place func() error) error {
	o.filesMu.Lock()
	defer o.filesMu.Unlock()
	if err := b.stillThere(o, m); err != nil {
		return err
	}
	if place != nil {
		if err := place(); err != nil {
			return err
		}
		if err := b.disk.syncDir(b.objectDir(published, m)); err != nil {
			return err
		}
	}
	asked := m.Checks
	m, _ = b.metaOf(o) // it may have got another name
	if place == nil && asked != nil && m.Checks != nil && !asked.ComputedAt.Equal(m.Checks.ComputedAt) {
		return nil // what was compared with is no longer what counts
	}
	m.Checks = now
	if err := b.replaceMeta(published, m.withFinalStatus()); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o.meta.Checks, b.checking.news[o] = now, b.now()
	if d := now.damage(b.objectDir(published, m), int64(m.SizeGiB)*gib); d != nil {
		b.log.Error("a snapshot is not what it was", "ref", m.Ref, "path", d.Path, "damage", d.Damage, "blocks", d.Blocks, "bad", d.Bad)
	}
	return nil
}

// justCheckedLocked are the snapshots of whose bytes something became known a moment ago.
func (b *Backend) justCheckedLocked() (keys []backend.Key) {
	for o, at := range b.checking.news {
		if b.now().Sub(at).Abs() > justChecked || b.snapshots.byRef[o.meta.Ref] != o {
			delete(b.checking.news, o)
			continue
		}
		keys = append(keys, o.key())
	}
	return keys
}

// openedSums is a checksum file that is open.
type openedSums struct {
	*checksum.Sums
	close func()
}

// openSums opens a snapshot's checksum file. Errors: checksum.ErrDamaged, fs.ErrNotExist,
// those of the disk.
func (b *Backend) openSums(m meta) (openedSums, error) {
	f, err := b.disk.open(b.objectDir(published, m)+"/"+checksumFile, os.O_RDONLY)
	if errors.Is(err, errNotRegular) || errors.Is(err, syscall.ELOOP) {
		return openedSums{}, errors.Join(checksum.ErrDamaged, err)
	}
	if err != nil {
		return openedSums{}, err
	}
	sums, err := checksum.Open(f, m.Ref, int64(m.SizeGiB)*gib)
	if err != nil {
		f.Close()
		return openedSums{}, err
	}
	return openedSums{sums, func() { f.Close() }}, nil
}

// slowly reads a snapshot's file without disturbing: from the disk, which is what is
// asked about, and without leaving it in the page cache, where others have use for it.
func (b *Backend) slowly(ctx context.Context, in *os.File, m meta, c *check) checksum.Data {
	return checksum.Data{
		File: in, Size: int64(m.SizeGiB) * gib, NextData: blockcopy.NextData,
		Before: func(off, n int64) error { b.disk.forget(in, off, n); return nil },
		After: func(off, n int64) error {
			b.mu.Lock()
			c.done = off + n
			b.mu.Unlock()
			return b.limit(ctx, in, off, n)
		},
	}
}

// pace is limit for checksums that nobody asked for: they wait for checks and for copies.
func (b *Backend) pace(ctx context.Context, in *os.File, off, n int64) error {
	for b.runAskedChecks(ctx); len(b.copySlots) > 0; b.runAskedChecks(ctx) {
		if err := sleep(ctx, yieldInterval); err != nil {
			return err
		}
	}
	return b.limit(ctx, in, off, n)
}

// limit ends the read of n bytes at off: they leave the page cache, and it waits as long
// as the rate asks for.
func (b *Backend) limit(ctx context.Context, in *os.File, off, n int64) error {
	b.disk.forget(in, off, n)
	if b.checking.rate < 0 || n == 0 {
		return ctx.Err()
	}
	return sleep(ctx, time.Duration(n*int64(time.Second)/b.checking.rate))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
