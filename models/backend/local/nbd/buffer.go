package nbd

import (
	"math/bits"
	"sync"
)

// Sizes of buffers are powers of two. From 32 KiB on the Go runtime aligns them to
// pages, which makes the kernel's copies cheaper.
const (
	minClass = 12 // 4 KiB
	maxClass = 25 // MaxRequest
)

// buffer is memory for a payload or a batch of replies.
type buffer struct {
	b     []byte // of 1<<class bytes
	class int
	owner *conn // whose request it serves; nil for a batch

	source bufferSource // of its bytes …
	cost   int64        // … and what the request costs of owner.budget
}

// bufferSource is what a buffer is charged to, beside the number of requests under way.
type bufferSource int

const (
	ownSmall bufferSource = iota // nothing: the number bounds it
	shared                       // Server.memory
	own                          // conn.own
)

var pools [maxClass + 1]sync.Pool

// classOf returns the class of the smallest buffer that holds n bytes.
func classOf(n int) int { return max(minClass, bits.Len(uint(max(n, 1)-1))) }

func getBuffer(n int) *buffer {
	class := classOf(n)
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{b: make([]byte, 1<<class), class: class}
}

// release returns the buffer to its pool and its size to where it is from. b may be nil.
func (b *buffer) release() {
	if b == nil {
		return
	}
	if b.owner != nil {
		b.owner.releaseBuffer(b)
		b.owner = nil
	}
	pools[b.class].Put(b)
}
