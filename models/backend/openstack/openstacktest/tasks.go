package openstacktest

import (
	"fmt"
	"io"
	"slices"
)

// Op is a kind of operation that goes on after it was accepted.
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
	number int // in the order of their beginnings
	held   bool
	fails  bool
	done   bool
	looks  int
	finish func()
	fail   func()
}

// begin makes the task of an operation; the caller keeps it in the object. fail
// is how the operation ends when the storage refuses.
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

// look is one look at an object: the second finishes what is under way.
func (t *task) look() {
	if t == nil || t.held {
		return
	}
	if t.looks++; t.looks > 1 {
		t.complete()
	}
}

// Hold keeps operations that begin from now on under way until Release, Fail or
// Auto.
func (c *Cloud) Hold() { c.setHold(true) }

// Auto goes back to finishing operations at the second look, those that are held
// too.
func (c *Cloud) Auto() { c.setHold(false) }

func (c *Cloud) setHold(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = on
	if !on {
		c.eachTask(func(t *task) { t.held = false })
	}
}

// Settle finishes everything under way that is not held.
func (c *Cloud) Settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.eachTask(func(t *task) {
		if !t.held {
			t.complete()
		}
	})
}

// Release finishes the operation under way with an object, found by its id or by
// a value of its metadata, and reports whether there was one.
func (c *Cloud) Release(key string) bool { return c.end(key, false) }

// Fail ends the operation under way with an object as the storage does that
// refuses: a creation and a revert in error, an extension in error_extending, a
// deletion in error_deleting, an attach or detach where it began. It reports
// whether there was one.
func (c *Cloud) Fail(key string) bool { return c.end(key, true) }

// FailNext lets the next operation of a kind end so. Several calls add up.
func (c *Cloud) FailNext(op Op) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failNext[op]++
}

func (c *Cloud) end(key string, fails bool) bool {
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

// eachTask goes through what is under way, the oldest first.
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

// rests puts a volume into its final status.
func (c *Cloud) rests(v *volume, status string) {
	v.status, v.task, v.updated = status, nil, c.stamp()
}

func (c *Cloud) snapshotRests(s *snapshot, status string) {
	s.status, s.task, s.updated = status, nil, c.stamp()
}

// Write changes the bytes of a volume, as a server does that has it.
func (c *Cloud) Write(key string, offset int64, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.volumes[c.idOf(key)]
	if v == nil {
		return fmt.Errorf("no volume %s", key)
	}
	v.data = grown(v.data, offset+int64(len(p)))
	copy(v.data[offset:], p)
	return nil
}

// Read reads n bytes of a volume.
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
	copy(p, grown(v.data, offset+int64(n))[offset:])
	return p, nil
}

func grown(p []byte, size int64) []byte {
	if int64(len(p)) >= size {
		return p
	}
	larger := make([]byte, size)
	copy(larger, p)
	return larger
}

// AddMessage adds a user message about a volume or snapshot, such as event
// VOLUME_VOLUME_001_003, and returns the request id it names.
func (c *Cloud) AddMessage(key, event, text string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := c.idOf(key)
	request := c.requestID()
	if v := c.volumes[id]; v != nil {
		c.tell(v.project, "VOLUME", id, event, text, request)
	} else if s := c.snapshots[id]; s != nil {
		c.tell(s.project, "VOLUME_SNAPSHOT", id, event, text, request)
	}
	return request
}

func (c *Cloud) tell(project, kind, resource, event, text, request string) {
	c.messages = append(c.messages, &message{
		id: c.newID(), project: project, kind: kind, resource: resource, event: event, text: text, request: request, created: c.stamp(),
	})
}
