// Package reserve keeps room in the data folder for the console itself.
//
// A ballast file and spare inodes take a little of the file system while there is enough.
// The free space is read every [Interval]. Below the watermark nothing new is made and
// servers may only overwrite what they have (see [Reserve.Begin]); when space ends all the
// same, because others use the file system too, the ballast is given back, so that
// signing in, reading, deleting and the audit go on. It is taken again when there is
// enough.
package reserve

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"blockconsole/models/backend"
)

// Interval is the time between two looks at the file system.
const Interval = 100 * time.Millisecond

const (
	// The ballast has a fiftieth of the file system, within these bounds, and at most a
	// sixteenth: SQLite's log needs some MiB until it is written back.
	minBallast = 16 << 20
	maxBallast = 64 << 20
	// maxSpares is the number of spare inodes, at most a thirty-second of all.
	maxSpares = 32

	trialInterval  = time.Second     // between two writes that find out whether the file system takes them
	refillInterval = 2 * time.Second // after a quota's refusal, or another that the figures do not explain
)

// Options of Open. Dir is needed.
type Options struct {
	Dir   string // the folder whose file system it is about
	Bytes int64  // of the ballast, and of the watermark; 0: by the size of the file system
	Now   func() time.Time
	Log   *slog.Logger
}

// Reserve keeps the room. It is safe for concurrent use.
type Reserve struct {
	dir               string
	bytes, watermark  int64
	spares, lowInodes int64
	now               func() time.Time
	log               *slog.Logger

	state atomic.Pointer[State]

	// A write may use new space while taken is not above limit; see Begin.
	limit, taken, done atomic.Int64

	mu        sync.Mutex
	held      int64 // bytes of the ballast on the disk
	spareHeld int64
	pressed   bool          // somebody wanted more than there was
	refused   backend.Cause // reported, and not known to be over
	refillAt  time.Time
	trialAt   time.Time
	trial     backend.Cause // of the last trial write
}

// State is what was found by the last look.
type State struct {
	Usage
	Short  backend.Cause // what there is too little of for anything new, or why there are no writes; empty: all is well
	Margin int64         // bytes that new data may take
	Whole  bool          // the reserve is in place
}

// Writable reports whether what exists can still be changed.
func (s State) Writable() bool { return s.Short != backend.ReadOnly && s.Short != backend.DiskError }

// Open takes the reserve if there is room for it; a file system that has none is no
// error. Errors: those of reading the file system.
func Open(o Options) (*Reserve, error) {
	u, err := UsageOf(o.Dir)
	if err != nil {
		return nil, err
	}
	r := &Reserve{dir: filepath.Join(o.Dir, "reserve"), now: o.Now, log: cmp.Or(o.Log, slog.Default())}
	if r.now == nil {
		r.now = time.Now
	}
	r.bytes = cmp.Or(o.Bytes, min(max(u.Total/50, minBallast), maxBallast, u.Total/16))
	r.watermark = r.bytes
	r.spares = min(maxSpares, u.Inodes/32)
	r.lowInodes = 2 * r.spares
	r.mu.Lock()
	defer r.mu.Unlock()
	r.measureLocked()
	return r, r.lookLocked()
}

// Run looks at the file system until ctx ends.
func (r *Reserve) Run(ctx context.Context) {
	ticker := time.NewTicker(Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := r.Look(); err != nil {
				r.log.Warn("the free space cannot be read", "error", err)
			}
		}
	}
}

// Look reads the free space, and gives back or takes the reserve. Errors: those of
// reading the file system.
func (r *Reserve) Look() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lookLocked()
}

// Renew is Look that also tries at once whether a quota allows something again: for a
// user who asks for something new. Errors: those of Look.
func (r *Reserve) Renew() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refillAt = time.Time{}
	return r.lookLocked()
}

// State is what the last look found.
func (r *Reserve) State() State { return *r.state.Load() }

// Begin asks for n bytes of new space, and reports whether they may be taken; End must
// follow then. Between two looks it counts, and where the count ends it looks again:
// however fast servers write, the ballast stays whole.
func (r *Reserve) Begin(n int64) bool {
	taken := r.taken.Add(n)
	if taken <= r.limit.Load() {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.lookLocked(); err != nil || taken <= r.limit.Load() {
		return true // what cannot be read refuses by itself
	}
	r.taken.Add(-n)
	r.pressed = true
	return false
}

// End says that the write of n bytes has ended.
func (r *Reserve) End(n int64) { r.done.Add(n) }

// Report tells that the file system refused a write of the console for this cause. It
// gives the reserve back, and reports whether that made room, so that the write can be
// tried again.
func (r *Reserve) Report(cause backend.Cause) (madeRoom bool) {
	if !wantsRoom(cause) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused = cause; cause == backend.OverQuota { // the figures tell when the others are over
		r.refillAt = r.now().Add(refillInterval)
	}
	madeRoom = r.giveBackLocked()
	r.logError("the free space cannot be read", r.lookLocked())
	return madeRoom
}

// wantsRoom reports whether a refusal for this cause ends when something is given back.
func wantsRoom(cause backend.Cause) bool {
	return cause == backend.NoBytes || cause == backend.NoInodes || cause == backend.OverQuota
}

func (r *Reserve) lookLocked() error {
	finished := r.done.Load() // before the figures: a write that ends meanwhile counts twice, not never
	u, err := UsageOf(filepath.Dir(r.dir))
	if err != nil {
		return err
	}
	s := r.judgeLocked(u)
	switch {
	case !s.Writable():
	case s.Whole && (u.Free < r.watermark/4 || r.spares > 0 && u.FreeInodes <= r.spares/4):
		if r.giveBackLocked() {
			return r.lookLocked()
		}
	case (!s.Whole || r.refused != "") && !r.now().Before(r.refillAt):
		if r.refillLocked(u) {
			return r.lookLocked()
		}
	}
	room := s.Margin
	if s.Short != "" && s.Short != backend.NoInodes {
		room = 0
	}
	r.limit.Store(finished + room)
	if before := r.state.Swap(&s); before == nil && s.Short != "" || before != nil && (before.Short != s.Short || before.Whole != s.Whole) {
		r.logState(s)
	}
	return nil
}

// judgeLocked decides what the figures mean. Once there was too little, a quarter more
// than the watermark is needed for enough, so that it does not flicker.
func (r *Reserve) judgeLocked(u Usage) State {
	s := State{Usage: u, Whole: r.held >= r.bytes && r.spareHeld >= r.spares}
	missing, missingInodes := r.bytes-r.held, r.spares-r.spareHeld
	s.Margin = max(0, u.Free-missing-r.watermark)
	enough, enoughInodes := r.watermark, r.lowInodes
	if before := r.state.Load(); before != nil && before.Short != "" || r.pressed {
		enough, enoughInodes = enough+enough/4, enoughInodes+enoughInodes/4
	}
	r.tryLocked()
	switch {
	case u.ReadOnly:
		s.Short = backend.ReadOnly
	case r.trial != "":
		s.Short = r.trial
	case u.Free-missing < enough:
		s.Short = backend.NoBytes
	case r.spares > 0 && u.FreeInodes-missingInodes < enoughInodes:
		s.Short = backend.NoInodes
	default:
		s.Short, r.pressed = r.refused, false
	}
	return s
}

func (r *Reserve) ballast() string { return filepath.Join(r.dir, "ballast") }

func (r *Reserve) spare(i int64) string { return filepath.Join(r.dir, fmt.Sprintf("spare-%02d", i)) }

// measureLocked finds what an earlier process held.
func (r *Reserve) measureLocked() {
	if info, err := os.Lstat(r.ballast()); err == nil {
		r.held = Allocated(info)
	}
	for r.spareHeld < r.spares {
		if _, err := os.Lstat(r.spare(r.spareHeld)); err != nil {
			break
		}
		r.spareHeld++
	}
}

// giveBackLocked gives back what is held, and reports whether that was anything.
func (r *Reserve) giveBackLocked() bool {
	gave := r.held > 0 || r.spareHeld > 0
	if r.held > 0 {
		// Truncated, since some file systems free an unlinked file later; and synced, since others give the blocks away
		// after their journal has been written.
		if f, err := os.OpenFile(r.ballast(), os.O_RDWR, 0); err == nil {
			err = errors.Join(f.Truncate(0), f.Sync(), f.Close())
			r.logError("the ballast cannot be given back", err)
		}
		r.held = 0
	}
	for r.spareHeld > 0 {
		r.spareHeld--
		r.logError("a spare inode cannot be given back", os.Remove(r.spare(r.spareHeld)))
	}
	return gave
}

// refillLocked takes the reserve when there is enough beside it, and reports whether it
// did.
func (r *Reserve) refillLocked(u Usage) bool {
	if u.Free-(r.bytes-r.held) < r.watermark || r.spares > 0 && u.FreeInodes-(r.spares-r.spareHeld) < r.lowInodes {
		return false
	}
	if err := r.fillLocked(); err != nil {
		r.giveBackLocked()
		r.refillAt = r.now().Add(refillInterval)
		if cause := backend.DiskCause(err); wantsRoom(cause) {
			r.refused = cause
		}
		r.logError("the reserve cannot be taken", err)
		return false
	}
	r.refused = ""
	return true
}

// fillLocked takes the watermark too for a moment: where a quota says no, the figures do
// not.
func (r *Reserve) fillLocked() error {
	if err := os.Mkdir(r.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	f, err := os.OpenFile(r.ballast(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	r.held = 1 // to be given back, whatever happens
	err = allocate(f, r.bytes+r.watermark)
	if err = errors.Join(err, f.Truncate(r.bytes), f.Sync(), f.Close()); err != nil {
		return err
	}
	r.held = r.bytes
	for r.spareHeld < r.spares {
		f, err := os.OpenFile(r.spare(r.spareHeld), os.O_WRONLY|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		r.spareHeld++
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}

// tryLocked writes a byte every [trialInterval]: a file system that has become read-only,
// or whose disk is gone, may say so to a write only.
func (r *Reserve) tryLocked() {
	now := r.now()
	if now.Before(r.trialAt) {
		return
	}
	r.trialAt = now.Add(trialInterval)
	f, err := os.OpenFile(filepath.Join(r.dir, "trial"), os.O_WRONLY|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteAt([]byte{'.'}, 0)
		err = errors.Join(err, f.Close())
	}
	if r.trial = backend.DiskCause(err); wantsRoom(r.trial) || r.trial == backend.TooManyFiles {
		r.trial = "" // the file was not there yet; the figures tell
	}
}

// fill writes n bytes that no file system can share or compress.
func fill(f *os.File, n int64) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < n; off += int64(len(buf)) {
		rand.Read(buf)
		if _, err := f.WriteAt(buf[:min(n-off, int64(len(buf)))], off); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reserve) logError(what string, err error) {
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		r.log.Warn(what, "folder", r.dir, "error", err)
	}
}

func (r *Reserve) logState(s State) {
	figures := []any{"folder", s.Path, "short", s.Short, "free", s.Free, "total", s.Total, "free_inodes", s.FreeInodes, "reserve", s.Whole}
	if s.Short == "" {
		r.log.Info("there is enough space", figures...)
		return
	}
	r.log.Error("there is not enough space, or no writing", figures...)
}
