package nbd

import (
	"net"
	"sync"
	"time"
)

const (
	maxHead   = structuredSize + 12 // that of an OFFSET_HOLE chunk
	maxQueued = 1 << 20             // bytes of replies that wait before who has more to send waits too
)

// segment is a piece of the stream of replies: head, then body, which lies in
// owner.
type segment struct {
	head  [maxHead]byte
	nhead int
	body  []byte
	owner *buffer // released once sent; may be nil
}

func (s *segment) size() int { return s.nhead + len(s.body) }

// headed makes a segment; head is copied.
func headed(head, body []byte, owner *buffer) segment {
	s := segment{nhead: len(head), body: body, owner: owner}
	copy(s.head[:], head)
	return s
}

// replies sends segments over a connection. Whoever finds nobody writing writes,
// and takes along what others bring meanwhile: many small replies travel in one
// system call, and no goroutine waits for another to do it.
type replies struct {
	nc    net.Conn
	stall time.Duration // for one write

	mu    sync.Mutex
	room  sync.Cond
	queue []segment
	size  int // bytes in queue
	busy  bool
	err   error

	spare []segment // of the busy one
	vec   net.Buffers
}

func (r *replies) init(nc net.Conn, stall time.Duration) {
	r.nc, r.stall = nc, stall
	r.room.L = &r.mu
}

// send sends segs one after the other without anything between them. The error
// is that of the connection, which is closed then.
func (r *replies) send(segs ...segment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.busy && r.size > maxQueued && r.err == nil {
		r.room.Wait()
	}
	for i := range segs {
		if r.err != nil {
			segs[i].owner.release()
			continue
		}
		r.queue = append(r.queue, segs[i])
		r.size += segs[i].size()
	}
	if r.busy || r.err != nil {
		return r.err
	}
	r.busy = true
	for len(r.queue) > 0 {
		r.writeQueue()
	}
	r.busy = false
	return r.err
}

// writeQueue writes what is queued, with mu unlocked meanwhile.
func (r *replies) writeQueue() {
	queue, size := r.queue, r.size
	r.queue, r.size = r.spare[:0], 0
	r.mu.Unlock()
	err := r.write(queue, size)
	for i := range queue {
		queue[i].owner.release()
		queue[i] = segment{}
	}
	r.mu.Lock()
	r.spare = queue
	if err != nil && r.err == nil {
		r.err = err
		r.nc.Close()
	}
	if r.err != nil {
		for i := range r.queue {
			r.queue[i].owner.release()
		}
		r.queue, r.size = nil, 0
	}
	r.room.Broadcast()
}

func (r *replies) write(queue []segment, size int) error {
	_ = r.nc.SetWriteDeadline(time.Now().Add(r.stall))
	if len(queue) == 1 && queue[0].nhead == 0 {
		_, err := r.nc.Write(queue[0].body)
		return err
	}
	r.vec = r.vec[:0]
	for i := range queue {
		if s := &queue[i]; s.nhead > 0 {
			r.vec = append(r.vec, s.head[:s.nhead])
		}
		if len(queue[i].body) > 0 {
			r.vec = append(r.vec, queue[i].body)
		}
	}
	if v, ok := r.nc.(interface{ writeVec([][]byte) error }); ok {
		return v.writeVec(r.vec)
	}
	if size <= batchSize {
		// With a record of TLS for each call, copying is cheaper than many.
		joined := getBuffer(size)
		defer joined.release()
		p := joined.b[:0]
		for _, b := range r.vec {
			p = append(p, b...)
		}
		_, err := r.nc.Write(p)
		return err
	}
	vec := r.vec // WriteTo consumes its receiver
	_, err := vec.WriteTo(r.nc)
	return err
}
