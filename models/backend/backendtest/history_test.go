package backendtest

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// told is a history whose times are set by hand, and a file.
type told struct {
	*testing.T
	h    *History
	path string
}

func newTold(t *testing.T) *told {
	return &told{t, NewHistory(8 * HistoryBlock), filepath.Join(t.TempDir(), "data")}
}

// write is a request for n blocks at a block, under way from one second to another; 0
// means that it was never answered.
func (o *told) write(block, n int64, zero bool, sent, ended int64) Write {
	w := o.h.Send(block*HistoryBlock, n*HistoryBlock, zero)
	w.sent, w.ended, w.answered = sent*1e9, ended*1e9, ended != 0
	if ended == 0 {
		w.ended = never
	}
	o.h.writes[w.Number] = w
	return w
}

// check looks at a file whose blocks hold these writes.
func (o *told) check(from, to int64, held ...Write) error {
	o.Helper()
	file := make([]byte, 8*HistoryBlock)
	for i, w := range held {
		if w.Number != 0 && !w.Zero {
			p := make([]byte, w.Length)
			w.Fill(p)
			copy(file[i*HistoryBlock:(i+1)*HistoryBlock], p[int64(i)*HistoryBlock-w.Off:])
		}
	}
	if err := os.WriteFile(o.path, file, 0o600); err != nil {
		o.Fatal(err)
	}
	return o.h.Check(o.path, time.Unix(from, 0), time.Unix(to, 0))
}

func TestHistory(t *testing.T) {
	zeroes := Write{}
	for _, c := range []struct {
		name string
		good bool
		run  func(o *told) error
	}{
		{"nothing written", true, func(o *told) error { return o.check(1, 2) }},
		{"answered before", true, func(o *told) error { a := o.write(0, 2, false, 1, 2); return o.check(3, 4, a, a) }},
		{"answered before and lost", false, func(o *told) error { o.write(0, 2, false, 1, 2); return o.check(3, 4) }},
		{"a part lost", false, func(o *told) error { a := o.write(0, 2, false, 1, 2); return o.check(3, 4, a) }},
		{"sent after", false, func(o *told) error { a := o.write(0, 1, false, 5, 6); return o.check(3, 4, a) }},
		{"sent after and not there", true, func(o *told) error { o.write(0, 1, false, 5, 6); return o.check(3, 4) }},
		{"under way in pieces", true, func(o *told) error { a := o.write(0, 3, false, 2, 5); return o.check(3, 4, a, zeroes, a) }},
		{"older one stands", false, func(o *told) error {
			a := o.write(0, 1, false, 1, 2)
			o.write(0, 1, false, 3, 4)
			return o.check(5, 6, a)
		}},
		{"of two at once either", true, func(o *told) error {
			a := o.write(0, 2, false, 1, 4)
			b := o.write(0, 2, false, 2, 3)
			return o.check(5, 6, a, b)
		}},
		{"the second of two without the first", false, func(o *told) error {
			o.write(0, 1, false, 3, 4)
			b := o.write(1, 1, false, 5, 6)
			return o.check(2, 7, zeroes, b)
		}},
		{"the first of two without the second", true, func(o *told) error {
			a := o.write(0, 1, false, 3, 4)
			o.write(1, 1, false, 5, 6)
			return o.check(2, 7, a)
		}},
		{"zeroes or not", true, func(o *told) error {
			a := o.write(0, 2, false, 1, 2)
			o.write(0, 2, true, 3, 6)
			return o.check(5, 7, a, zeroes)
		}},
		{"zeroes lost", false, func(o *told) error {
			a := o.write(0, 1, false, 1, 2)
			o.write(0, 1, true, 3, 4)
			return o.check(5, 7, a)
		}},
		{"written over zeroes, and zeroes again", false, func(o *told) error {
			o.write(0, 1, true, 1, 2)
			o.write(0, 1, false, 3, 4)
			return o.check(5, 7)
		}},
		{"killed: there", true, func(o *told) error { a := o.write(0, 2, false, 1, 0); return o.check(3, 4, a, zeroes) }},
		{"killed, and both later", true, func(o *told) error {
			a := o.write(0, 2, false, 1, 0)
			o.check(3, 4, a)
			return o.check(5, 6, a)
		}},
		{"seen, and gone at the next instant", false, func(o *told) error {
			a := o.write(0, 1, false, 1, 2)
			if err := o.check(3, 3, a); err != nil {
				return nil
			}
			return o.check(5, 5)
		}},
		{"seen over another one, which comes back", false, func(o *told) error {
			a := o.write(0, 1, false, 1, 4)
			b := o.write(0, 1, false, 2, 3)
			if err := o.check(5, 5, b); err != nil {
				return nil
			}
			return o.check(6, 6, a)
		}},
		{"of another block", false, func(o *told) error {
			a := o.write(0, 2, false, 1, 2)
			a.Off += HistoryBlock
			return o.check(3, 4, zeroes, a, a)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(newTold(t)); (err == nil) != c.good {
				t.Error(err)
			}
		})
	}
}

func TestHistory_TornBlock(t *testing.T) {
	o := newTold(t)
	a := o.write(0, 1, false, 1, 2)
	b := o.write(0, 1, false, 1, 2)
	p, q := make([]byte, HistoryBlock), make([]byte, 8*HistoryBlock)
	a.Fill(p)
	b.Fill(q)
	copy(q, p[:100])
	if err := os.WriteFile(o.path, q, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := o.h.Check(o.path, time.Unix(3, 0), time.Unix(4, 0)); err == nil || !strings.Contains(err.Error(), "parts") {
		t.Error(err)
	}
}

func TestSpans(t *testing.T) {
	all := spans{{10, 20}, {5, 10}, {30, 40}, {math.MinInt64, 1}}.merged()
	if got := all.and(spans{{0, 12}, {35, never}}); len(got) != 3 || got[0] != (span{0, 1}) || got[1] != (span{5, 12}) || got[2] != (span{35, 40}) {
		t.Error(all, got)
	}
}
