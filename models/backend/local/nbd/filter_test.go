//go:build linux

package nbd

import (
	"bytes"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

const sector = 512

// savingFilter saves each sector of a file before it changes for the first time.
type savingFilter struct {
	f      *os.File
	calls  atomic.Int64
	atOnce bool

	mu     sync.Mutex
	saved  []bool // a sector each
	before []byte
}

func (s *savingFilter) BeforeWrite(off, n int64) {
	s.calls.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	old := make([]byte, n)
	_, _ = s.f.ReadAt(old, off) // what is missing then is found in the end
	for i := int64(0); i < n; i += sector {
		if at := off + i; !s.saved[at/sector] {
			s.saved[at/sector] = true
			copy(s.before[at:at+sector], old[i:])
		}
	}
}

func (s *savingFilter) WritesAtOnce(int64, int64) bool { return s.atOnce }

// Every command that changes bytes calls the filter before it does, also one whose payload
// goes through a pipe, and none after the filter is taken away.
func TestFileDevice_Filter(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for name, atOnce := range map[string]bool{"at once": true, "waits": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &countingDevice{FileDevice: newFileDevice(t, size)}
			original := randomBytes(size)
			if _, err := d.f.WriteAt(original, 0); err != nil {
				t.Fatal(err)
			}
			s := &savingFilter{f: d.f, atOnce: atOnce, saved: make([]bool, size/sector), before: make([]byte, size)}
			addr, _ := startServer(t, singleExport{NewExport("v", d, ExportOptions{})}, nil)
			c := dialExport(t, addr, "v", true)
			d.SetFilter(s)
			changeAtRandom(c, size)
			if (d.pieces.Load() > 0) != atOnce {
				t.Errorf("%d pieces came through the pipe", d.pieces.Load())
			}
			got := make([]byte, size)
			if _, err := d.f.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(got, original) {
				t.Error("nothing was changed: the test tests nothing")
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for i, saved := range s.saved {
				if saved {
					copy(got[i*sector:(i+1)*sector], s.before[i*sector:])
				}
			}
			if !bytes.Equal(got, original) {
				t.Error("bytes changed that were not saved before")
			}
			d.SetFilter(nil)
			calls := s.calls.Load()
			changeAtRandom(c, size)
			if s.calls.Load() != calls {
				t.Error("asked after it was taken away")
			}
		})
	}
}

// changeAtRandom sends one command of each kind that changes bytes, again and again.
func changeAtRandom(c *client, size int) {
	random, payload := rand.New(rand.NewPCG(1, 2)), randomBytes(1<<20)
	for range 4 {
		for _, n := range []int{512, 1536, 4096, 32 << 10, 64 << 10, 1 << 20} {
			off := random.IntN(size-n) &^ 511
			c.primePipe()
			c.wantErrno(cmdWrite, 0, uint64(off&^4095), n, payload[:n], 0)
			c.wantErrno(cmdWrite, cmdFlagFUA, uint64(off), n, payload[:n], 0)
			off = random.IntN(size-n) &^ 511
			c.wantErrno(cmdTrim, 0, uint64(off), n, nil, 0)
			off = random.IntN(size-n) &^ 511
			c.wantErrno(cmdWriteZeroes, 0, uint64(off), n, nil, 0)
			off = random.IntN(size-n) &^ 511
			c.wantErrno(cmdWriteZeroes, cmdFlagNoHole, uint64(off), n, nil, 0)
		}
	}
}
