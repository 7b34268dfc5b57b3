package openstack

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"
)

// answerLimit bounds what one answer may take of our memory, in bytes. A page of
// 1,000 volumes has about 2 MB.
const answerLimit = 64 << 20

// transport notes what every answer tells beside its body, and logs it. Headers are
// never logged: one of them is the token.
type transport struct {
	b    *Backend
	base *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	started := t.b.now()
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		t.b.asked(r.Method, 0)
		t.b.log.DebugContext(r.Context(), "no answer of the cloud", "method", r.Method, "host", r.URL.Host, "path", r.URL.Path, "error", err)
		return nil, err
	}
	t.b.asked(r.Method, resp.StatusCode)
	id := requestID(resp.Header)
	t.b.log.DebugContext(r.Context(), "the cloud answered", "method", r.Method, "host", r.URL.Host, "path", r.URL.Path,
		"status", resp.StatusCode, "request_id", id, "seconds", t.b.now().Sub(started).Seconds())
	if seen, ok := r.Context().Value(seenKey{}).(*seen); ok {
		seen.requestID = id
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && strings.HasPrefix(r.Header.Get("OpenStack-API-Version"), "volume ") {
		t.b.clock(date)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerLimit)
	return resp, nil
}

func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

func requestID(h http.Header) string {
	if id := h.Get("X-Openstack-Request-Id"); id != "" {
		return id
	}
	return h.Get("X-Compute-Request-Id")
}

// seen is what a caller wants to know about the last answer to its requests.
type seen struct{ requestID string }

type seenKey struct{}

func watch(ctx context.Context) (context.Context, *seen) {
	s := &seen{}
	return context.WithValue(ctx, seenKey{}, s), s
}

// requests remembers, for the objects that were changed last, which request did it.
type requests struct {
	mu    sync.Mutex
	of    map[string]request
	order []string
}

// request is one, and whether it asked for the object's deletion.
type request struct {
	id      string
	deletes bool
}

const requestsKept = 4096

func (r *requests) note(object string, last request) {
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
	if len(r.order) > requestsKept {
		delete(r.of, r.order[0])
		r.order = r.order[1:]
	}
}

func (r *requests) get(object string) request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[object]
}

// keyed is one lock for each key.
type keyed struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock waits for the key until ctx ends.
func (k *keyed) lock(ctx context.Context, key string) (unlock func(), err error) {
	for {
		k.mu.Lock()
		done, busy := k.held[key]
		if !busy {
			if k.held == nil {
				k.held = map[string]chan struct{}{}
			}
			done = make(chan struct{})
			k.held[key] = done
			k.mu.Unlock()
			return func() {
				k.mu.Lock()
				defer k.mu.Unlock()
				delete(k.held, key)
				close(done)
			}, nil
		}
		k.mu.Unlock()
		select {
		case <-done:
		case <-ctx.Done():
			return nil, ended(ctx)
		}
	}
}

// stamp is a time of the cloud: UTC without saying so. What is none is zero: one odd
// object must not hide the others of its page.
type stamp struct{ time.Time }

func (s *stamp) UnmarshalJSON(text []byte) error {
	value := strings.TrimSuffix(strings.Trim(string(text), `"`), "Z")
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", time.RFC3339Nano} {
		if t, err := time.Parse(layout, value); err == nil {
			s.Time = t.UTC()
			return nil
		}
	}
	s.Time = time.Time{}
	return nil
}
