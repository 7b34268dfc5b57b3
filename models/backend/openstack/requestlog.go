package openstack

import (
	"context"
	"sync"
)

// response is the last response to the requests of a context.
type response struct{ requestID string }

type responseKey struct{}

// captureRequestID makes the transport fill in the response.
func captureRequestID(ctx context.Context) (context.Context, *response) {
	r := &response{}
	return context.WithValue(ctx, responseKey{}, r), r
}

// requestLog is the last request of each of the objects that were changed last, at most
// requestLogSize.
type requestLog struct {
	mu    sync.Mutex
	of    map[string]request // by the object's ID
	order []string           // IDs, the oldest first
}

type request struct {
	id      string
	deletes bool // the object
}

const requestLogSize = 4096

func (r *requestLog) add(object string, last request) {
	if object == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]request{}
	}
	if _, ok := r.of[object]; !ok {
		r.order = append(r.order, object)
	}
	r.of[object] = last
	if len(r.order) > requestLogSize {
		delete(r.of, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *requestLog) get(object string) request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[object]
}
