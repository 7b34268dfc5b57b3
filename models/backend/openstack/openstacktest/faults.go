package openstacktest

import (
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// Rule says which requests a fault meets.
type Rule struct {
	Service string // identity, volume, compute or image; empty: any
	Method  string // empty: any
	Path    string // a regular expression over the whole path with its query; empty: any
	Skip    int    // how many matching requests pass first
	Times   int    // how many are met after those; 0: all
}

// Fault is what happens to a request.
type Fault struct {
	// Hang waits for Release, for Mend or until the client has gone; what follows
	// goes on as if nothing had been.
	Hang bool
	// Delay waits so long.
	Delay time.Duration
	// After lets the request have its effect, and only then Status, Drop or Hang.
	After bool
	// Drop closes the connection without an answer, or in the middle of one (Half).
	Drop bool
	// Half sends only the first half of the answer's body.
	Half bool
	// Status answers so, with Header and with Body; an empty Body is JSON that fits.
	Status int
	Header map[string]string
	Body   string
}

// HTML is the body with which a proxy before a cloud answers 502 and 503.
const HTML = "<html><head><title>503 Service Temporarily Unavailable</title></head><body><center><h1>503 Service Temporarily Unavailable</h1></center></body></html>"

// Break is a fault in force.
type Break struct {
	rule  Rule
	path  *regexp.Regexp
	fault Fault

	mu       sync.Mutex
	matched  int
	hit      int
	hits     chan struct{}
	release  chan struct{}
	released sync.Once
}

// Break puts a fault in force until Mend. The first rule that meets a request
// wins. It panics when rule.Path is no regular expression.
func (c *Cloud) Break(rule Rule, f Fault) *Break {
	b := &Break{rule: rule, path: regexp.MustCompile(rule.Path), fault: f, hits: make(chan struct{}, 1000), release: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.breaks = append(c.breaks, b)
	return b
}

// Mend ends all faults; what hangs goes on.
func (c *Cloud) Mend() {
	c.mu.Lock()
	breaks := c.breaks
	c.breaks = nil
	c.mu.Unlock()
	for _, b := range breaks {
		b.Release()
	}
}

// MendOne ends one fault; what hangs in it goes on.
func (c *Cloud) MendOne(b *Break) {
	c.mu.Lock()
	c.breaks = slices.DeleteFunc(c.breaks, func(one *Break) bool { return one == b })
	c.mu.Unlock()
	b.Release()
}

// Release lets what hangs, and what would hang later, go on.
func (b *Break) Release() { b.released.Do(func() { close(b.release) }) }

// Met receives once for each request that met the fault: before its effect, or
// with Fault.After when it has had it.
func (b *Break) Met() <-chan struct{} { return b.hits }

// Count is how many requests have met the fault.
func (b *Break) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hit
}

// broken is the fault that a request meets; nil is none.
func (c *Cloud) broken(cl *call) *Break {
	c.mu.Lock()
	breaks := slices.Clone(c.breaks)
	c.mu.Unlock()
	for _, b := range breaks {
		if b.meets(cl) {
			return b
		}
	}
	return nil
}

func (b *Break) meets(cl *call) bool {
	if b.rule.Service != "" && b.rule.Service != cl.service || b.rule.Method != "" && b.rule.Method != cl.method ||
		!b.path.MatchString(cl.raw.URL.RequestURI()) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.matched++
	if b.matched <= b.rule.Skip || b.rule.Times > 0 && b.hit >= b.rule.Times {
		return false
	}
	b.hit++
	return true
}

// before is what happens ahead of the effect. It does not return where there is
// to be none, unless the fault has an answer of its own.
func (b *Break) before(w http.ResponseWriter, r *http.Request) {
	if b.fault.After {
		return
	}
	b.tell()
	b.wait(r)
	if b.fault.Drop && !b.fault.Half {
		drop(w)
	}
}

// effect says whether the request reaches the service at all.
func (b *Break) effect() bool {
	return b == nil || b.fault.After || b.fault.Status == 0 && !b.fault.Drop || b.fault.Half
}

// after is what happens once the service has answered a.
func (b *Break) after(w http.ResponseWriter, r *http.Request, a answer) answer {
	if b.fault.After {
		b.tell()
		b.wait(r)
		if b.fault.Drop && !b.fault.Half {
			drop(w)
		}
	}
	if b.fault.Status == 0 {
		return a
	}
	a = answer{status: b.fault.Status, header: b.fault.Header, body: b.fault.Body}
	switch {
	case b.fault.Body == "" && b.fault.Status == http.StatusUnauthorized:
		a.body = unauthenticated("http://" + r.Host + "/identity").body
	case b.fault.Body == "":
		f := fault(b.fault.Status, "The server has either erred or is incapable of performing the requested operation.")
		a.body = f.body
	case b.fault.Body[0] == '<':
		a.header = map[string]string{"Content-Type": "text/html"}
		for name, value := range b.fault.Header {
			a.header[name] = value
		}
	}
	return a
}

func (b *Break) tell() {
	select {
	case b.hits <- struct{}{}:
	default: // nobody counts so far
	}
}

func (b *Break) wait(r *http.Request) {
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

// half sends half of a body: as all there is, or with Drop as the beginning of
// what never comes.
func (b *Break) half(w http.ResponseWriter, status int, body []byte) {
	if !b.fault.Drop {
		w.WriteHeader(status)
		_, _ = w.Write(body[:len(body)/2]) // the client may have gone
		return
	}
	w.Header().Set("Content-Length", itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body[:len(body)/2]) // the client may have gone
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// drop closes the connection without a word.
func drop(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		_ = conn.Close()
	}
	panic(http.ErrAbortHandler)
}
