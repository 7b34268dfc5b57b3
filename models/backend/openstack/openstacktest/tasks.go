package openstacktest

import (
	"fmt"
	"io"
	"slices"
)

// Op is a kind of operation.
type Op string

// The operations that can be held or made to fail.
const (
	CreateVolume   Op = "create volume"
	CreateSnapshot Op = "create snapshot"
	DeleteVolume   Op = "delete volume"
	DeleteSnapshot Op = "delete snapshot"
	ExtendVolume   Op = "extend volume"
	RevertVolume   Op = "revert volume"
	AttachVolume   Op = "attach volume"
	DetachVolume   Op = "detach volume"
)

// task is an operation under way.
type task struct {
	op     Op
	number int // in the order of begin
	held   bool
	fails  bool
	done   bool
	polls  int
	finish func()
	fail   func()
}

// begin makes the task of an operation. fail ends it when the storage refuses.
func (c *Cloud) begin(op Op, finish, fail func()) *task {
	c.begun++
	t := &task{op: op, number: c.begun, held: c.hold, finish: finish, fail: fail}
	if c.failNext[op] > 0 {
		c.failNext[op]--
		t.fails = true
	}
	return t
}

func (t *task) complete() {
	if t.done {
		return
	}
	t.done = true
	if t.fails {
		t.fail()
		return
	}
	t.finish()
}

// poll counts a read of the object; the second one finishes the task.
func (t *task) poll() {
	if t == nil || t.held {
		return
	}
	if t.polls++; t.polls > 1 {
		t.complete()
	}
}

// Hold keeps operations that begin from now on under way until Release, Fail or
// Auto.
func (c *Cloud) Hold() { c.setHold(true) }

// Auto ends Hold: operations, also held ones, finish at the second poll again.
func (c *Cloud) Auto() { c.setHold(false) }

func (c *Cloud) setHold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = on
	if !on {
		c.eachTask(func(t *task) { t.held = false })
	}
}

// Settle finishes all operations that are not held.
func (c *Cloud) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eachTask(func(t *task) {
		if !t.held {
			t.complete()
		}
	})
}

// Release finishes the operation under way on an object, found by its id or a value of
// its metadata, and reports whether there was one.
func (c *Cloud) Release(key string) bool { return c.endTask(key, false) }

// Fail makes the operation under way on an object fail: a create or revert leaves it in
// error, an extend in error_extending, a deletion in error_deleting, an attach or detach
// in the status before it. It reports whether there was one.
func (c *Cloud) Fail(key string) bool { return c.endTask(key, true) }

// FailNext makes the next operation of a kind fail. Several calls add up.
func (c *Cloud) FailNext(op Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failNext[op]++
}

func (c *Cloud) endTask(key string, fails bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.idOf(key)
	var t *task
	if v := c.volumes[id]; v != nil {
		t = v.task
	}
	if s := c.snapshots[id]; s != nil {
		t = s.task
	}
	if t == nil {
		return false
	}
	t.fails = t.fails || fails
	t.complete()
	return true
}

// eachTask calls do for every operation under way, the oldest first.
func (c *Cloud) eachTask(do func(*task)) {
	var tasks []*task
	for _, v := range c.volumes {
		if v.task != nil {
			tasks = append(tasks, v.task)
		}
	}
	for _, s := range c.snapshots {
		if s.task != nil {
			tasks = append(tasks, s.task)
		}
	}
	slices.SortFunc(tasks, func(a, b *task) int { return a.number - b.number })
	for _, t := range tasks {
		do(t)
	}
}

// finishVolume ends a volume's operation in a final status.
func (c *Cloud) finishVolume(v *volume, status string) {
	v.status, v.task, v.updated = status, nil, c.nowSeconds()
}

func (c *Cloud) finishSnapshot(s *snapshot, status string) {
	s.status, s.task, s.updated = status, nil, c.nowSeconds()
}

// Write writes p at an offset of a volume, in bytes.
func (c *Cloud) Write(key string, offset int64, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.volumes[c.idOf(key)]
	if v == nil {
		return fmt.Errorf("no volume %s", key)
	}
	v.data = extendTo(v.data, offset+int64(len(p)))
	copy(v.data[offset:], p)
	return nil
}

// Read reads n bytes at an offset of a volume, in bytes.
func (c *Cloud) Read(key string, offset int64, n int) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.volumes[c.idOf(key)]
	if v == nil {
		return nil, fmt.Errorf("no volume %s", key)
	}
	if offset+int64(n) > int64(v.size)<<30 {
		return nil, io.ErrUnexpectedEOF
	}
	p := make([]byte, n)
	copy(p, extendTo(v.data, offset+int64(n))[offset:])
	return p, nil
}

func extendTo(p []byte, size int64) []byte {
	if int64(len(p)) >= size {
		return p
	}
	larger := make([]byte, size)
	copy(larger, p)
	return larger
}

// SetStatus sets the status of a volume or snapshot and cancels its operation.
func (c *Cloud) SetStatus(id, status string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.volumes[c.idOf(id)]; v != nil {
		v.status, v.updated, v.task = status, c.nowSeconds(), nil
	}
	if s := c.snapshots[c.idOf(id)]; s != nil {
		s.status, s.updated, s.task = status, c.nowSeconds(), nil
	}
}
