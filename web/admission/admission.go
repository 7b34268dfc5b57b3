// Package admission keeps one client, or many, from using up the console: it bounds
// connections and what is under way, and decides who gives way.
package admission

import "sync"

// Counter counts what is under way by key, such as the streams of a session, up to a
// maximum for each key.
type Counter struct {
	max int

	mu    sync.Mutex
	count map[string]int
}

// NewCounter makes a counter whose keys each have at most limit units under way.
func NewCounter(limit int) *Counter { return &Counter{max: limit, count: map[string]int{}} }

// Max is the maximum number of units of a key.
func (c *Counter) Max() int { return c.max }

// Enter counts one more of the key; false: it has its maximum already.
func (c *Counter) Enter(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key] >= c.max {
		return false
	}
	c.count[key]++
	return true
}

// Leave undoes one Enter that returned true.
func (c *Counter) Leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count[key]--; c.count[key] <= 0 {
		delete(c.count, key)
	}
}

// Shares is how many requests of each kind may be under way. Together they are fewer
// than the connections, so that there is always one for who asks how the console is.
type Shares struct{ Streams, Pages, SignIns int }

// Divide divides a number of connections: half for live streams, which last, a
// sixteenth for sign-ins, whose passwords take time to check, and an eighth that stays
// free.
func Divide(conns int) Shares {
	s := Shares{Streams: max(conns/2, 1), SignIns: max(conns/16, 2)}
	s.Pages = max(conns-s.Streams-s.SignIns-max(conns/8, 1), 1)
	return s
}
