package backendtest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// HistoryBlock is the unit of [History] in bytes: what a request may change as a whole
	// or not at all. Requests to an export may be carried out in pieces of it, in any order.
	HistoryBlock = 512

	stampBytes = 16 // the number of the write and that of the block, repeated to fill a block
	never      = math.MaxInt64
)

// History is what the clients of one volume wrote and when. It tells whether a file
// holds what the volume held at one instant: each block is then of a write that had been
// sent, and no other write to the block lies as a whole between that one and the instant.
// Its methods are called by many goroutines at once.
type History struct {
	mu     sync.Mutex
	writes []Write  // by number, from 1
	recent []uint32 // the numbers of those that the settled state does not cover
	// settled is the number of the write that each block was last seen to hold; 0: zeroes.
	settled   []uint32
	settledAt int64 // the latest instant that this may have been
}

// Write is one request that changes a volume. It may take effect from the time when it
// is sent until it is answered.
type Write struct {
	Number      uint32
	Off, Length int64
	Zero        bool

	sent, ended int64 // Unix time in ns; ended is that of the answer or of the end of the connection
	answered    bool  // false: nobody knows whether it was carried out
}

// NewHistory is the history of a new volume of size bytes.
func NewHistory(size int64) *History {
	return &History{writes: make([]Write, 1), settled: make([]uint32, size/HistoryBlock)}
}

// Send notes that a request is about to be sent: a write of n bytes at off, or zeroes.
// Both are multiples of [HistoryBlock].
func (h *History) Send(off, n int64, zero bool) Write {
	h.mu.Lock()
	defer h.mu.Unlock()
	w := Write{Number: uint32(len(h.writes)), Off: off, Length: n, Zero: zero, sent: time.Now().UnixNano(), ended: never}
	h.writes = append(h.writes, w)
	h.recent = append(h.recent, w.Number)
	return w
}

// End notes that the request was answered, or, with an error, that it never will be:
// then any part of it may have been carried out.
func (h *History) End(w Write, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.writes[w.Number].ended, h.writes[w.Number].answered = time.Now().UnixNano(), err == nil
}

// Len is the number of requests so far.
func (h *History) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.writes) - 1
}

// Fill makes p the payload of the request.
func (w Write) Fill(p []byte) {
	var stamp [stampBytes]byte
	binary.BigEndian.PutUint64(stamp[:], uint64(w.Number))
	for i := range w.Length / HistoryBlock {
		binary.BigEndian.PutUint64(stamp[8:], uint64(w.Off/HistoryBlock+i))
		block := p[i*HistoryBlock : (i+1)*HistoryBlock]
		for n := copy(block, stamp[:]); n < len(block); {
			n += copy(block[n:], block[:n])
		}
	}
}

// numberIn is the number of the write that a block holds; 0: zeroes.
func numberIn(p []byte, block int64) (uint32, error) {
	if !bytes.Equal(p[:len(p)-stampBytes], p[stampBytes:]) {
		return 0, fmt.Errorf("block %d holds parts of different writes: it begins with %x and ends with %x", block, p[:stampBytes], p[len(p)-stampBytes:])
	}
	number, at := binary.BigEndian.Uint64(p), int64(binary.BigEndian.Uint64(p[8:]))
	if number != 0 && at != block {
		return 0, fmt.Errorf("block %d holds what was written to block %d", block, at)
	}
	return uint32(number), nil
}

// Check fails unless the file at path holds what the volume held at one instant, not
// before from and not after to. Calls for later instants come later.
func (h *History) Check(path string, from, to time.Time) error {
	held, err := readNumbers(path, len(h.settled))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	instants := spans{{from.UnixNano(), to.UnixNano() + 1}}
	touched := h.touchedUntil(to.UnixNano())
	for block := range held {
		if n := len(touched); n == 0 || int64(touched[0]>>32) != int64(block) {
			if held[block] != h.settled[block] {
				return fmt.Errorf("block %d holds %s, and it has held %s since long before", block, h.tell(held[block]), h.tell(h.settled[block]))
			}
			continue
		}
		n := 1
		for n < len(touched) && touched[n]>>32 == touched[0]>>32 {
			n++
		}
		allowed := h.allowed(held[block], h.settled[block], touched[:n])
		left := instants.and(allowed)
		if len(left) == 0 {
			return fmt.Errorf("block %d holds %s, which it did %s; by the other blocks the instant is one of %s; its writes are: %s",
				block, h.tell(held[block]), allowed, instants, h.tellAll(touched[:n]))
		}
		instants, touched = left, touched[n:]
	}
	h.settle(held, instants[0].start, instants[len(instants)-1].end)
	return nil
}

// touchedUntil lists the recent writes sent until an instant by block, each as the
// number of the block above that of the write.
func (h *History) touchedUntil(instant int64) []uint64 {
	var touched []uint64
	for _, number := range h.recent {
		w := h.writes[number]
		for i := int64(0); w.sent <= instant && i < w.Length/HistoryBlock; i++ {
			touched = append(touched, uint64(w.Off/HistoryBlock+i)<<32|uint64(number))
		}
	}
	slices.Sort(touched)
	return touched
}

// allowed are the instants at which a block with these writes may hold a number.
func (h *History) allowed(held, settled uint32, touched []uint64) spans {
	var all spans
	if held == settled {
		all = append(all, span{math.MinInt64, h.overwrittenAt(h.settledAt, touched)})
	}
	for _, t := range touched {
		w := h.writes[uint32(t)]
		if held == w.Number || held == 0 && w.Zero {
			all = append(all, span{w.sent, h.overwrittenAt(w.ended, touched)})
		}
	}
	return all.merged()
}

// overwrittenAt is when what was there at an instant must have been overwritten.
func (h *History) overwrittenAt(instant int64, touched []uint64) int64 {
	first := int64(never)
	for _, t := range touched {
		if w := h.writes[uint32(t)]; w.sent > instant && w.answered {
			first = min(first, w.ended)
		}
	}
	return first
}

// settle forgets the writes that had ended before the instant, which lay between start
// and end: what the blocks held then is what is left of them.
func (h *History) settle(held []uint32, start, end int64) {
	h.settled, h.settledAt = held, end
	h.recent = slices.DeleteFunc(h.recent, func(number uint32) bool { return h.writes[number].ended < start })
}

func (h *History) tell(number uint32) string {
	switch {
	case number == 0:
		return "zeroes"
	case int(number) >= len(h.writes):
		return fmt.Sprintf("write %d, which there is not", number)
	}
	w := h.writes[number]
	end := "not answered"
	if w.answered {
		end = "answered " + clock(w.ended)
	}
	return fmt.Sprintf("write %d of %d bytes at %d (zeroes: %t, sent %s, %s)", number, w.Length, w.Off, w.Zero, clock(w.sent), end)
}

func (h *History) tellAll(touched []uint64) string {
	var all []string
	for _, t := range touched {
		all = append(all, h.tell(uint32(t)))
	}
	return fmt.Sprintf("%q", all)
}

func clock(ns int64) string {
	switch ns {
	case never:
		return "ever"
	case math.MinInt64:
		return "the beginning"
	}
	return time.Unix(0, ns).UTC().Format("15:04:05.000000000")
}

// readNumbers returns the number of the write that each block of a file holds.
func readNumbers(path string, blocks int) ([]uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if fi, err := f.Stat(); err != nil {
		return nil, err
	} else if fi.Size() < int64(blocks)*HistoryBlock {
		return nil, fmt.Errorf("%s: %d bytes; want %d blocks", path, fi.Size(), blocks)
	}
	held := make([]uint32, blocks)
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		at, err = f.Seek(at, seekData)
		if errors.Is(err, syscall.ENXIO) || err == nil && at >= int64(blocks)*HistoryBlock { // no data to the end
			return held, nil
		} else if err != nil {
			return nil, err
		}
		at -= at % HistoryBlock
		n, err := f.ReadAt(buf, at)
		if err != nil && !errors.Is(err, io.EOF) || n < HistoryBlock {
			return nil, fmt.Errorf("%s: %d bytes at %d, %v", path, n, at, err)
		}
		for p := buf[:n]; len(p) >= HistoryBlock && at/HistoryBlock < int64(blocks); p = p[HistoryBlock:] {
			if held[at/HistoryBlock], err = numberIn(p[:HistoryBlock], at/HistoryBlock); err != nil {
				return nil, err
			}
			at += HistoryBlock
		}
	}
}

// seekData is the whence of lseek that finds data in a file with holes.
const seekData = 3

// span is a range of instants without its end.
type span struct{ start, end int64 }

func (s span) String() string { return "from " + clock(s.start) + " to " + clock(s.end) }

// spans are in order and apart.
type spans []span

func (s spans) merged() spans {
	slices.SortFunc(s, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var apart spans
	for _, next := range s {
		if n := len(apart); n > 0 && next.start <= apart[n-1].end {
			apart[n-1].end = max(apart[n-1].end, next.end)
		} else if next.start < next.end {
			apart = append(apart, next)
		}
	}
	return apart
}

func (s spans) and(other spans) spans {
	var both spans
	for _, a := range s {
		for _, b := range other {
			if c := (span{max(a.start, b.start), min(a.end, b.end)}); c.start < c.end {
				both = append(both, c)
			}
		}
	}
	return both
}
