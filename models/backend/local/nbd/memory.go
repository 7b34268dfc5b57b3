package nbd

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	connMemory  = 64 << 20  // bytes of a connection's requests under way
	connMinCost = 256 << 10 // of connMemory for the smallest request: at most 256 under way
	ownBuffer   = 1 << 20   // bytes that a connection has for itself, whatever others hold
)

// memory is what all connections share for requests larger than 4 KiB. Nobody waits
// for it: a request that gets none of it is served with what its connection has for
// itself, piece by piece. So a client that takes no answers keeps others from a
// faster way, and from nothing else.
type memory struct {
	max int64

	mu   sync.Mutex
	used int64
}

// share is how much of the memory an export or an address holds, in bytes.
type share struct{ held int64 } // guarded by memory.mu

// tryTake takes n bytes for both shares. false: one of them would hold more than is
// left for the others.
func (m *memory) tryTake(n int64, a, b *share) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if max(a.held, b.held)+n > m.max-m.used {
		return false
	}
	m.used += n
	a.held += n
	b.held += n
	return true
}

func (m *memory) giveBack(n int64, a, b *share) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= n
	a.held -= n
	b.held -= n
}

// acquireBuffer returns a buffer for n bytes, or a smaller one of ownBuffer bytes. It
// waits for requests of its own connection only. The error is that of ctx or of the
// connection.
func (c *conn) acquireBuffer(ctx context.Context, n int) (*buffer, error) {
	size := int64(1) << classOf(n)
	cost := max(size, connMinCost)
	if err := c.acquire(ctx, c.budget, cost); err != nil {
		return nil, err
	}
	source := ownSmall
	if size > 1<<minClass {
		source = shared
		if !c.srv.memory.tryTake(size, &c.export.share, &c.address.share) {
			source, size = own, min(size, ownBuffer)
			if err := c.acquire(ctx, c.own, size); err != nil {
				c.budget.Release(cost)
				return nil, err
			}
		}
	}
	b := getBuffer(int(size))
	b.owner, b.source, b.cost = c, source, cost
	return b, nil
}

// acquire waits for n bytes of a budget of this connection.
func (c *conn) acquire(ctx context.Context, budget *semaphore.Weighted, n int64) error {
	if budget.TryAcquire(n) {
		return nil
	}
	if err := c.flushBatch(); err != nil {
		return err
	}
	return budget.Acquire(ctx, n)
}

// releaseBuffer gives back what acquireBuffer took.
func (c *conn) releaseBuffer(b *buffer) {
	size := int64(len(b.b))
	switch b.source {
	case shared:
		c.srv.memory.giveBack(size, &c.export.share, &c.address.share)
	case own:
		c.own.Release(size)
	}
	c.budget.Release(b.cost)
}
