//go:build linux

package blockcopy

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const mib = 1 << 20

// newPattern makes a file of size bytes with random data and holes, and one of the same bytes
// that nobody changes.
func newPattern(t *testing.T, size int64, random *rand.Rand) (src, before *os.File) {
	t.Helper()
	data := map[int64][]byte{}
	for off := int64(0); off < size; {
		n := min(size-off, 1+random.Int64N(3*BlockBytes))
		if random.IntN(3) > 0 {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(random.Uint32())
			}
			data[off] = p
		}
		off += n
	}
	return newSparseFile(t, size, data), newSparseFile(t, size, data)
}

// changeFile writes, punches and zeroes at random, as a server would, until stop.
func changeFile(c *Copy, size int64, seed uint64, stop *atomic.Bool) error {
	random, payload := rand.New(rand.NewPCG(seed, 3)), make([]byte, mib)
	for i := range payload {
		payload[i] = byte(seed)
	}
	for !stop.Load() {
		n := []int64{512, 4096, 4096, 4096, BlockBytes, 5000, mib}[random.IntN(7)]
		off := random.Int64N(size - n)
		c.BeforeWrite(off, n)
		var err error
		if random.IntN(3) == 0 {
			err = syscall.Fallocate(int(c.Src.Fd()), 3, off, n) // FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
		} else {
			_, err = c.Src.WriteAt(payload[:n], off)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// The copy has the bytes of the instant in which writers began to call BeforeWrite, whatever
// they do.
func TestRun_Writers(t *testing.T) {
	t.Parallel()
	const size = 24*mib + 12345
	for _, userspace := range []bool{false, true} {
		for seed := range uint64(4) {
			src, before := newPattern(t, size, rand.New(rand.NewPCG(seed, 1)))
			c := newCopy(t, src, nil)
			c.userspace.Store(userspace)
			var stop atomic.Bool
			var writers sync.WaitGroup
			for w := range uint64(4) {
				writers.Go(func() {
					if err := changeFile(c, size, 1+w, &stop); err != nil {
						t.Error(err)
					}
				})
			}
			err := c.Run(t.Context())
			stop.Store(true)
			writers.Wait()
			if err != nil {
				t.Fatal(err)
			}
			wantCopy(t, c, before)
			if n := len(c.blocks.inFlight); n > 0 || c.blocks.nextUnsaved(0, c.blocks.count) < c.blocks.count {
				t.Errorf("%d spans are left", n)
			}
		}
	}
}

// guardGate stops the pieces of a copy until it is opened.
type guardGate struct {
	reached chan struct{}
	open    chan struct{}
	err     error
}

func newGuardGate(err error) *guardGate {
	return &guardGate{reached: make(chan struct{}, 100), open: make(chan struct{}), err: err}
}

func (g *guardGate) guard(_ int64, piece func() error) error {
	g.reached <- struct{}{}
	<-g.open
	if g.err != nil {
		return g.err
	}
	return piece()
}

// A write whose blocks cannot be saved goes on, and the copy ends with the error.
func TestBeforeWrite_SaveFails(t *testing.T) {
	t.Parallel()
	src, _ := newPattern(t, 4*mib, rand.New(rand.NewPCG(1, 1)))
	g := newGuardGate(syscall.ENOSPC)
	close(g.open)
	c := newCopy(t, src, func(o *Options) { o.Guard = g.guard })
	c.BeforeWrite(0, 4*mib) // returns, so the write is done
	if !c.WritesAtOnce(0, 4*mib) {
		t.Error("the next write would wait")
	}
	if err := c.Run(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
}

// A write does not wait for longer than the limit, neither for a block that is saved for it
// nor for one that the walk copies. Run returns when the disk has answered.
func TestBeforeWrite_TooSlow(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]int64{"the walk's": 0, "its own": 3 * mib} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			src := newSparseFile(t, 4*mib, map[int64][]byte{0: make([]byte, 4*mib)})
			g := newGuardGate(nil)
			c := newCopy(t, src, func(o *Options) { o.Guard, o.Limit = g.guard, 20*time.Millisecond })
			done := make(chan error, 1)
			go func() { done <- c.Run(t.Context()) }()
			<-g.reached
			c.BeforeWrite(off, 1)
			select {
			case err := <-done:
				t.Fatalf("returned with files in use: %v", err)
			default:
			}
			close(g.open)
			var slow *TooSlowError
			if err := <-done; !errors.As(err, &slow) || slow.Waited <= slow.Limit || slow.Limit != 20*time.Millisecond {
				t.Errorf("%v", err)
			}
		})
	}
}

// Without a writer that waits, a copy may be as slow as it likes.
func TestRun_SlowAlone(t *testing.T) {
	t.Parallel()
	src, before := newPattern(t, 4*mib, rand.New(rand.NewPCG(1, 1)))
	var clock atomic.Int64
	c := newCopy(t, src, func(o *Options) {
		o.Limit, o.Now = time.Millisecond, func() time.Time { return time.Unix(clock.Load(), 0) }
		o.Guard = func(_ int64, piece func() error) error {
			clock.Add(1000)
			return piece()
		}
	})
	if err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCopy(t, c, before)
}

func TestRun_CancelledWithWriters(t *testing.T) {
	t.Parallel()
	src, _ := newPattern(t, 4*mib, rand.New(rand.NewPCG(1, 1)))
	g := newGuardGate(nil)
	c := newCopy(t, src, func(o *Options) { o.Guard = g.guard })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	<-g.reached
	cancel()
	c.BeforeWrite(0, 4*mib)
	close(g.open)
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestRelease(t *testing.T) {
	t.Parallel()
	src, _ := newPattern(t, 4*mib, rand.New(rand.NewPCG(1, 1)))
	c := newCopy(t, src, nil)
	if c.WritesAtOnce(0, 1) {
		t.Error("nothing is saved yet")
	}
	c.BeforeWrite(0, 1)
	if !c.WritesAtOnce(0, BlockBytes) || c.WritesAtOnce(0, BlockBytes+1) || !c.WritesAtOnce(4*mib, mib) {
		t.Error("one block is saved, and those beyond the size need not be")
	}
	c.Release()
	if !c.WritesAtOnce(0, 4*mib) {
		t.Error("writes still wait")
	}
	c.BeforeWrite(0, 4*mib)
	if n := c.Copied.Load(); n > BlockBytes {
		t.Errorf("%d bytes were saved for a copy that is over", n)
	}
}

func TestBlockMap_Skip(t *testing.T) {
	t.Parallel()
	m := newBlockMap(1000*BlockBytes - 1)
	taken := m.claim(500, 502)
	m.skip(3, 999)
	if a, b := m.nextUnsaved(0, 1000), m.nextUnsaved(3, 1000); a != 0 || b != 999 {
		t.Error(a, b)
	}
	if m.inFlightOf(400, 501) != taken || m.inFlightOf(502, 600) != nil {
		t.Error("what is being copied must be waited for, also in a hole")
	}
	m.finish(taken)
	if m.inFlightOf(0, 1000) != nil || m.claim(3, 999) != nil {
		t.Error("something is left to copy")
	}
	if s := m.claim(0, 1000); s.first != 0 || s.end != 3 {
		t.Errorf("%+v", s)
	}
	if s := m.claim(0, 1000); s.first != 999 || s.end != 1000 {
		t.Errorf("%+v", s)
	}
	if off, end := m.bytes(&span{first: 999, end: 1000}); off != 999*BlockBytes || end != 1000*BlockBytes-1 {
		t.Error(off, end)
	}
}
