package nbd

import (
	"math/bits"
	"sync"
)

// Buffers come in powers of two. From 32 KiB on the Go runtime aligns them to
// pages, which spares the kernel work at both ends.
const (
	minClass = 12 // 4 KiB
	maxClass = 25 // MaxRequest
)

// buffer is memory for one payload or one batch of replies.
type buffer struct {
	b     []byte // all of it; its length is the size of the class
	class int
	owner *conn // whose budget
}

var pools [maxClass + 1]sync.Pool

// classOf is the class of the smallest buffer with room for n bytes.
func classOf(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

func getBuffer(n int) *buffer {
	class := classOf(n)
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 1<<class), class: class}
}

// release gives the memory back, to the pool and to the budgets. Releasing nil
// does nothing.
func (b *buffer) release() {
	if b == nil {
		return
	}
	if b.owner != nil {
		b.owner.refund(int64(len(b.b)))
		b.owner = nil
	}
	pools[b.class].Put(b)
}
