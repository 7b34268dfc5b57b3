package handlers

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"blockconsole/models"
)

// subscriberQueue is how many events may wait for a slow subscriber.
const subscriberQueue = 64

// hub hands events to subscribers. It knows neither what events say nor how they
// are sent.
type hub struct {
	mu          sync.Mutex
	position    int64 // the last change whose events were published
	subscribers map[*subscriber]struct{}
	closed      bool
}

// topic is what a subscriber wants to know of. All of a topic get the same rows.
type topic struct {
	kind              models.SubjectType
	project, language string
}

// subscriber is one open stream.
type subscriber struct {
	topic
	user    string      // who is told of their failed operations
	session string      // id
	events  chan []byte // closed with the session and the hub
	lost    atomic.Bool // events were dropped because the queue was full
}

func newSubscriber(t topic, user string) *subscriber {
	return &subscriber{topic: t, user: user, events: make(chan []byte, subscriberQueue)}
}

// subscribe returns the change after which s gets the events; false when the hub
// is closed.
func (h *hub) subscribe(s *subscriber) (position int64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return 0, false
	}
	if h.subscribers == nil {
		h.subscribers = map[*subscriber]struct{}{}
	}
	h.subscribers[s] = struct{}{}
	return h.position, true
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, s)
}

// advance sets the position, and returns who subscribed before it: whoever comes
// later begins after it.
func (h *hub) advance(position int64) []*subscriber {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.position = position
	return slices.Collect(maps.Keys(h.subscribers))
}

// current returns the position and the subscribers.
func (h *hub) current() (int64, []*subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position, slices.Collect(maps.Keys(h.subscribers))
}

// send queues an event. A full queue drops it and marks s as lost.
func (h *hub) send(s *subscriber, event []byte) {
	if len(event) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subscribers[s]; !ok {
		return
	}
	select {
	case s.events <- event:
	default:
		s.lost.Store(true)
	}
}

// end ends the subscriptions of a session.
func (h *hub) end(session string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subscribers {
		if s.session == session {
			close(s.events)
			delete(h.subscribers, s)
		}
	}
}

// close ends every subscription.
func (h *hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subscribers {
		close(s.events)
	}
	clear(h.subscribers)
}
