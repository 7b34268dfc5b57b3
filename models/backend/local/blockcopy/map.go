package blockcopy

import (
	"math/bits"
	"slices"
	"sync"
	"time"
)

// BlockBytes is the unit in which bytes are saved: a bit of the map each, so that a TiB
// takes 2 MiB of memory.
const BlockBytes = 64 << 10

// claimBlocks is how many blocks are claimed at a time at most: others wait for them.
const claimBlocks = (1 << 20) / BlockBytes

// blockMap knows which blocks of a file are not copied yet, and which are being copied. A
// block is neither when its bit is set and no span in flight covers it.
type blockMap struct {
	size, count int64 // bytes, blocks

	mu       sync.Mutex
	saved    []uint64 // a bit each: copied or claimed
	inFlight []*span
}

// span are the blocks [first, end) while they are copied.
type span struct {
	first, end int64
	done       chan struct{} // closed when they are copied
	wanted     time.Time     // since when a writer has waited; zero: none does
}

func newBlockMap(size int64) blockMap {
	count := (size + BlockBytes - 1) / BlockBytes
	return blockMap{size: size, count: count, saved: make([]uint64, (count+63)/64)}
}

// touched are the blocks of n bytes at off; none beyond the size.
func (m *blockMap) touched(off, n int64) (first, end int64) {
	first, end = off/BlockBytes, (min(off+n, m.size)+BlockBytes-1)/BlockBytes
	return first, max(first, end)
}

// bytes are the offsets of a span.
func (m *blockMap) bytes(s *span) (off, end int64) {
	return s.first * BlockBytes, min(s.end*BlockBytes, m.size)
}

// nextUnsaved is the first block in [first, end) whose bit is clear, else end. The caller
// holds mu, as for the other small methods.
func (m *blockMap) nextUnsaved(first, end int64) int64 {
	for b := first; b < end; b = (b/64 + 1) * 64 {
		if clear := ^m.saved[b/64] >> (b % 64); clear != 0 {
			return min(b+int64(bits.TrailingZeros64(clear)), end)
		}
	}
	return end
}

func (m *blockMap) isSaved(b int64) bool { return m.saved[b/64]>>(b%64)&1 == 1 }

// inFlightOf is a span in flight that has blocks of [first, end); nil: none has.
func (m *blockMap) inFlightOf(first, end int64) *span {
	for _, s := range m.inFlight {
		if s.first < end && s.end > first {
			return s
		}
	}
	return nil
}

// claim takes the first run of blocks in [first, end) that nobody has taken.
func (m *blockMap) claim(first, end int64) *span {
	first = m.nextUnsaved(first, end)
	if first == end {
		return nil
	}
	s := &span{first: first, end: first, done: make(chan struct{})}
	for s.end < min(end, first+claimBlocks) && !m.isSaved(s.end) {
		m.saved[s.end/64] |= 1 << (s.end % 64)
		s.end++
	}
	m.inFlight = append(m.inFlight, s)
	return s
}

// finish notes that the blocks of a span are copied.
func (m *blockMap) finish(s *span) {
	m.mu.Lock()
	defer m.mu.Unlock()
	last := len(m.inFlight) - 1
	m.inFlight[slices.Index(m.inFlight, s)] = m.inFlight[last]
	m.inFlight[last] = nil
	m.inFlight = m.inFlight[:last]
	close(s.done)
}

// skip notes that the blocks [first, end) need no copy, but for those that are being copied.
// Other goroutines get their turn in between.
func (m *blockMap) skip(first, end int64) {
	const step = 64 << 20 / BlockBytes * 1024 // a few microseconds' work
	for ; first < end; first += step {
		m.setSaved(first, min(end, first+step))
	}
}

func (m *blockMap) setSaved(first, end int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for ; first < end && first%64 != 0; first++ {
		m.saved[first/64] |= 1 << (first % 64)
	}
	for ; first+64 <= end; first += 64 {
		m.saved[first/64] = ^uint64(0)
	}
	for ; first < end; first++ {
		m.saved[first/64] |= 1 << (first % 64)
	}
}

// wanted is a span in flight that a writer waits for; nil: none does.
func (m *blockMap) wanted() *span {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.inFlight {
		if !s.wanted.IsZero() {
			return s
		}
	}
	return nil
}

// longestWait is for how long the writer waits that has waited longest.
func (m *blockMap) longestWait(now time.Time) (longest time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.inFlight {
		if !s.wanted.IsZero() {
			longest = max(longest, now.Sub(s.wanted))
		}
	}
	return longest
}
