package openstacktest

import (
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// Request is a request that the cloud has received.
type Request struct {
	Service, Method string
	Path            string // with its query
	Microversion    string // the OpenStack-API-Version header
	UserAgent       string
	Host            string // that it was sent to
	Body            string
	Status          int       // of the response; 0: none so far
	At              time.Time // by Options.Now
}

type requestLog struct {
	mu       sync.Mutex
	requests []*Request
}

func (l *requestLog) add(cl *call, c *Cloud) *Request {
	r := &Request{
		Service: cl.service, Method: cl.method, Path: cl.raw.URL.RequestURI(), Microversion: cl.raw.Header.Get("OpenStack-API-Version"),
		UserAgent: cl.raw.UserAgent(), Host: cl.raw.Host, Body: string(cl.text), At: c.opts.Now(),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests = append(l.requests, r)
	return r
}

func (l *requestLog) done(r *Request, status int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Status = status
}

// Requests are all requests since the start or ResetRequests, in order.
func (c *Cloud) Requests() []Request {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	list := make([]Request, len(c.log.requests))
	for i, r := range c.log.requests {
		list[i] = *r
	}
	return list
}

// ResetRequests empties Requests.
func (c *Cloud) ResetRequests() {
	c.log.mu.Lock()
	defer c.log.mu.Unlock()
	c.log.requests = nil
}

// Count is the number of Requests that match; an empty service or method is any, path is
// a regular expression over path and query.
func (c *Cloud) Count(service, method, path string) int {
	expression := regexp.MustCompile(path)
	n := 0
	for _, r := range c.Requests() {
		if (service == "" || r.Service == service) && (method == "" || r.Method == method) && expression.MatchString(r.Path) {
			n++
		}
	}
	return n
}

// CountChanges is the number of Requests that are not GET or HEAD or of Keystone.
func (c *Cloud) CountChanges() int {
	n := 0
	for _, r := range c.Requests() {
		if r.Service != "identity" && r.Method != http.MethodGet && r.Method != http.MethodHead {
			n++
		}
	}
	return n
}

func itoa(n int) string { return strconv.Itoa(n) }
