package openstacktest

import (
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Rule selects the requests that meet a fault.
type Rule struct {
	Service string // identity, volume, compute or image; empty: any
	Method  string // empty: any
	Path    string // regular expression over path and query; empty: any
	Skip    int    // number of matching requests that pass first
	Times   int    // number of requests after those that meet the fault; 0: all
}

// Fault is what happens to a request.
type Fault struct {
	Hang     bool          // waits for Release, ClearFaults or the client's end, then continues normally
	Delay    time.Duration // before the request continues
	After    bool          // the request takes effect first; Hang, Drop and Status come after that
	Drop     bool          // closes the connection without a response, or with Truncate within one
	Truncate bool          // sends only the first half of the body
	Status   int           // of the response; 0: the service's own
	Header   map[string]string
	Body     string // of the response with Status; empty: a JSON error
}

// ProxyHTML is the body of 502 and 503 from a proxy in front of a cloud.
const ProxyHTML = "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>"

// ActiveFault is a fault that Inject has set.
type ActiveFault struct {
	rule  Rule
	path  *regexp.Regexp
	fault Fault

	mu       sync.Mutex
	matched  int
	hitCount int
	hits     chan struct{}
	release  chan struct{}
	released sync.Once
}

// Inject sets a fault until ClearFaults. The first rule that matches a request wins. It
// panics when rule.Path is not a regular expression.
func (c *Cloud) Inject(rule Rule, f Fault) *ActiveFault {
	b := &ActiveFault{rule: rule, path: regexp.MustCompile(rule.Path), fault: f, hits: make(chan struct{}, 1000), release: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, b)
	return b
}

// ClearFaults removes all faults and releases their requests.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	faults := c.faults
	c.faults = nil
	c.mu.Unlock()
	for _, b := range faults {
		b.Release()
	}
}

// ClearFault removes one fault and releases its requests.
func (c *Cloud) ClearFault(b *ActiveFault) {
	c.mu.Lock()
	c.faults = slices.DeleteFunc(c.faults, func(one *ActiveFault) bool { return one == b })
	c.mu.Unlock()
	b.Release()
}

// Release ends Hang and Delay, for later requests too.
func (b *ActiveFault) Release() { b.released.Do(func() { close(b.release) }) }

// Hits receives once for each request that meets the fault: before its effect, or with
// Fault.After after it.
func (b *ActiveFault) Hits() <-chan struct{} { return b.hits }

// Count is the number of requests that met the fault.
func (b *ActiveFault) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hitCount
}

// activeFault is the fault of a request, or nil.
func (c *Cloud) activeFault(cl *call) *ActiveFault {
	c.mu.Lock()
	faults := slices.Clone(c.faults)
	c.mu.Unlock()
	for _, b := range faults {
		if b.matches(cl) {
			return b
		}
	}
	return nil
}

func (b *ActiveFault) matches(cl *call) bool {
	if b.rule.Service != "" && b.rule.Service != cl.service || b.rule.Method != "" && b.rule.Method != cl.method ||
		!b.path.MatchString(cl.raw.URL.RequestURI()) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.matched++
	if b.matched <= b.rule.Skip || b.rule.Times > 0 && b.hitCount >= b.rule.Times {
		return false
	}
	b.hitCount++
	return true
}

// before applies the fault ahead of the request's effect. With Drop it does not return.
func (b *ActiveFault) before(w http.ResponseWriter, r *http.Request) {
	if b.fault.After {
		return
	}
	b.recordHit()
	b.wait(r)
	if b.fault.Drop && !b.fault.Truncate {
		drop(w)
	}
}

// reachesService says whether the service handles the request.
func (b *ActiveFault) reachesService() bool {
	return b == nil || b.fault.After || b.fault.Status == 0 && !b.fault.Drop || b.fault.Truncate
}

// after applies the fault once the service has answered a.
func (b *ActiveFault) after(w http.ResponseWriter, r *http.Request, a response) response {
	if b.fault.After {
		b.recordHit()
		b.wait(r)
		if b.fault.Drop && !b.fault.Truncate {
			drop(w)
		}
	}
	if b.fault.Status == 0 {
		return a
	}
	a = response{status: b.fault.Status, header: b.fault.Header, body: b.fault.Body}
	switch {
	case b.fault.Body == "" && b.fault.Status == http.StatusUnauthorized:
		a.body = unauthenticated("http://" + r.Host + "/identity").body
	case b.fault.Body == "":
		f := faultf(b.fault.Status, "The server has either erred or is incapable of performing the requested operation.")
		a.body = f.body
	case b.fault.Body[0] == '<':
		a.header = map[string]string{"Content-Type": "text/html"}
		for name, value := range b.fault.Header {
			a.header[name] = value
		}
	}
	return a
}

func (b *ActiveFault) recordHit() {
	select {
	case b.hits <- struct{}{}:
	default: // the channel is full
	}
}

func (b *ActiveFault) wait(r *http.Request) {
	if b.fault.Delay > 0 {
		timer := time.NewTimer(b.fault.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-b.release:
		case <-r.Context().Done():
		}
	}
	if b.fault.Hang {
		select {
		case <-b.release:
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// writeHalf sends half of a body, with Drop before the connection breaks.
func (b *ActiveFault) writeHalf(w http.ResponseWriter, status int, body []byte) {
	if !b.fault.Drop {
		w.WriteHeader(status)
		_, _ = w.Write(body[:len(body)/2]) // the client may be gone
		return
	}
	w.Header().Set("Content-Length", itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2]) // the client may be gone
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// drop closes the connection.
func drop(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
