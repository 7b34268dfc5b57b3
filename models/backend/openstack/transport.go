package openstack

import (
	"net/http"
	"strings"
)

// maxBodyBytes limits the body of a response; a page of 1,000 volumes has about 2 MB.
const maxBodyBytes = 64 << 20

// transport logs and counts requests and reads the request id and the clock of every
// response. Headers are never logged: one of them is the token.
type transport struct {
	b    *Backend
	base *http.Transport
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	started := t.b.now()
	resp, err := t.base.RoundTrip(r)
	if err != nil {
		t.b.onRequest(r.Method, 0)
		t.b.log.DebugContext(r.Context(), "no answer of the cloud", "method", r.Method, "host", r.URL.Host, "path", r.URL.Path, "error", err)
		return nil, err
	}
	t.b.onRequest(r.Method, resp.StatusCode)
	id := requestID(resp.Header)
	t.b.log.DebugContext(r.Context(), "the cloud answered", "method", r.Method, "host", r.URL.Host, "path", r.URL.Path,
		"status", resp.StatusCode, "request_id", id, "seconds", t.b.now().Sub(started).Seconds())
	if captured, ok := r.Context().Value(responseKey{}).(*response); ok {
		captured.requestID = id
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && strings.HasPrefix(r.Header.Get("OpenStack-API-Version"), "volume ") {
		t.b.setCloudClock(date)
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxBodyBytes)
	return resp, nil
}

func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

func requestID(h http.Header) string {
	if id := h.Get("X-Openstack-Request-Id"); id != "" {
		return id
	}
	return h.Get("X-Compute-Request-Id")
}
