package backendtest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"syscall"
)

// Load is servers that write to a volume as differently as they may, over several
// connections at once: 512 bytes to 32 MiB, at any block, with FUA and without, trims,
// zeroes and flushes. Where they overlap, the order is the volume's.
type Load struct {
	History *History
	// Span is the part of the volume that is written, in bytes from From on.
	From, Span int64
	// Seed makes the requests of each connection those of an earlier run; which of two
	// connections is faster remains the machine's.
	Seed uint64
	// Answered, when set, is called after each request that was answered.
	Answered func()
	// Refused, when set, gets the errors with which the server answers; the load goes on.
	// Without it they end their connection's part.
	Refused func(syscall.Errno)

	stop  context.CancelFunc
	group sync.WaitGroup
	mu    sync.Mutex
	err   error

	starts uint64
}

// Prefill writes once over all of the span, in requests of n bytes, and flushes.
func (l *Load) Prefill(c *NBD, n int64) error {
	for off := int64(0); off < l.Span; off += n {
		if err := l.write(c, l.From+off, min(n, l.Span-off), false); err != nil {
			return err
		}
	}
	return c.Flush()
}

// Start begins to write over the connections until Stop.
func (l *Load) Start(connections ...*NBD) {
	ctx, stop := context.WithCancel(context.Background())
	l.stop, l.err = stop, nil
	l.starts++
	for i, c := range connections {
		chance := rand.New(rand.NewPCG(l.Seed, l.starts<<32|uint64(i)))
		l.group.Go(func() {
			for ctx.Err() == nil {
				err := l.request(c, chance)
				if errno := syscall.Errno(0); l.Refused != nil && errors.As(err, &errno) {
					l.Refused(errno)
					err = nil
				}
				if err != nil {
					l.mu.Lock()
					l.err = errors.Join(l.err, err)
					l.mu.Unlock()
					return
				}
				if l.Answered != nil {
					l.Answered()
				}
			}
		})
	}
}

// Stop ends the load, waits for what is under way and returns the errors of connections
// that ended before.
func (l *Load) Stop() error {
	l.stop()
	return l.Wait()
}

// Wait waits until all connections have ended, and returns why.
func (l *Load) Wait() error {
	l.group.Wait()
	return l.err
}

// writeSizes with their shares: small ones are written from the server's read buffer,
// larger ones go through a pipe or through memory, the largest in pieces.
var writeSizes = []writeSize{
	{450, 1, 8, 1},
	{250, 8, 64, 8},            // pages
	{150, 65, 512, 1},          // in memory, since they are no whole pages
	{130, 128, 1024, 8},        // spliced
	{17, 2048, 8192, 8},        // more than one goroutine writes at once
	{3, 32 << 11, 32 << 11, 8}, // the longest request there may be
}

type writeSize struct {
	share                int64 // of 1000
	least, most, aligned int64 // in blocks of HistoryBlock
}

func chooseSize(chance *rand.Rand) writeSize {
	share := chance.Int64N(1000)
	for _, size := range writeSizes {
		if share -= size.share; share < 0 {
			return size
		}
	}
	panic("the shares are not 1000")
}

func (l *Load) request(c *NBD, chance *rand.Rand) error {
	kind, size := chance.IntN(100), chooseSize(chance)
	n := size.least + chance.Int64N(size.most-size.least+1)
	n = min(n-n%size.aligned, l.Span/HistoryBlock)
	off := chance.Int64N(l.Span/HistoryBlock - n + 1)
	off -= off % size.aligned
	n, off = n*HistoryBlock, l.From+off*HistoryBlock
	switch {
	case kind < 5:
		return c.Flush()
	case kind < 13:
		return l.zero(off, n, func() error { return c.Trim(off, int(n)) })
	case kind < 21:
		return l.zero(off, n, func() error { return c.WriteZeroes(off, int(n), kind < 17) })
	}
	return l.write(c, off, n, kind < 30)
}

func (l *Load) zero(off, n int64, send func() error) error {
	w := l.History.Send(off, n, true)
	err := send()
	l.History.End(w, err)
	return err
}

func (l *Load) write(c *NBD, off, n int64, fua bool) error {
	p := make([]byte, n)
	w := l.History.Send(off, n, false)
	w.Fill(p)
	var err error
	if fua {
		err = c.WriteFUA(p, off)
	} else {
		_, err = c.WriteAt(p, off)
	}
	l.History.End(w, err)
	return err
}
