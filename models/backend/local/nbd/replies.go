package nbd

import (
	"net"
	"sync"
	"time"
)

const (
	maxHead   = structuredSize + 12 // that of an OFFSET_HOLE chunk
	maxQueued = 1 << 20             // bytes of queued replies above which send waits
)

// segment is a piece of the reply stream: head, then body, which lies in owner.
type segment struct {
	head  [maxHead]byte
	nhead int
	body  []byte
	owner *buffer // released after sending; may be nil
}

func (s *segment) length() int { return s.nhead + len(s.body) }

// newSegment copies head.
func newSegment(head, body []byte, owner *buffer) segment {
	s := segment{nhead: len(head), body: body, owner: owner}
	copy(s.head[:], head)
	return s
}

// replyWriter sends segments over a connection. A goroutine that finds no other one
// writing writes the queue, and what others add to it meanwhile: many small replies
// go out in one system call, and nobody waits for another goroutine to wake up.
type replyWriter struct {
	nc           net.Conn
	writeTimeout time.Duration // for one write

	mu      sync.Mutex
	notFull sync.Cond
	queue   []segment
	size    int // bytes in queue
	writing bool
	err     error

	spare []segment // the memory of the last queue; with vec of the writing goroutine
	vec   net.Buffers
}

func (r *replyWriter) init(nc net.Conn, stall time.Duration) {
	r.nc, r.writeTimeout = nc, stall
	r.notFull.L = &r.mu
}

// limitWrites limits the time of the present write and of those to come.
func (r *replyWriter) limitWrites(limit time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writeTimeout = limit
	_ = r.nc.SetWriteDeadline(time.Now().Add(limit))
}

// send sends segs without anything between them. The error is that of the
// connection, which is closed then.
func (r *replyWriter) send(segs ...segment) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.writing && r.size > maxQueued && r.err == nil {
		r.notFull.Wait()
	}
	for i := range segs {
		if r.err != nil {
			segs[i].owner.release()
			continue
		}
		r.queue = append(r.queue, segs[i])
		r.size += segs[i].length()
	}
	if r.writing || r.err != nil {
		return r.err
	}
	r.writing = true
	for len(r.queue) > 0 {
		r.writeQueue()
	}
	r.writing = false
	return r.err
}

// writeQueue writes the queue. It unlocks mu while it writes.
func (r *replyWriter) writeQueue() {
	queue, size := r.queue, r.size
	r.queue, r.size = r.spare[:0], 0
	_ = r.nc.SetWriteDeadline(time.Now().Add(r.writeTimeout))
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
	r.notFull.Broadcast()
}

func (r *replyWriter) write(queue []segment, size int) error {
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
		// TLS makes a record of each call, so copying into one is cheaper.
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
