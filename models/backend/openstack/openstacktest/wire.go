package openstacktest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// call is one request as a service sees it.
type call struct {
	service string // identity, volume, compute or image
	method  string
	path    []string // below the service, without empty parts at the end
	raw     *http.Request
	query   url.Values
	text    []byte
	body    map[string]any
	id      string // of the request
	token   *token
	minor   int // of the microversion
}

// answer is what goes back.
type answer struct {
	status int
	body   any // marshalled as JSON, unless a string
	header map[string]string
}

// refusal is an answer that ends a handler early.
type refusal struct{ answer }

func (r *refusal) Error() string { return fmt.Sprintf("%d %v", r.status, r.body) }

// kinds are the names that Cinder and Nova give their errors by status.
var kinds = map[int]string{
	400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 406: "computeFault",
	409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit", 500: "computeFault", 503: "serviceUnavailable",
}

// fault is a refusal in the words of Cinder and Nova.
func fault(status int, format string, args ...any) *refusal {
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	return &refusal{answer{status: status, body: map[string]any{kinds[status]: map[string]any{"code": status, "message": message}}}}
}

// overLimit is the refusal of a quota.
func overLimit(format string, args ...any) *refusal {
	f := fault(http.StatusRequestEntityTooLarge, format, args...)
	f.body.(map[string]any)["overLimit"].(map[string]any)["retryAfter"] = "0"
	f.header = map[string]string{"Retry-After": "0"}
	return f
}

// unauthenticated is what the token middleware says.
func unauthenticated(keystone string) *refusal {
	return &refusal{answer{
		status: http.StatusUnauthorized,
		body:   map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}},
		header: map[string]string{"WWW-Authenticate": `Keystone uri="` + keystone + `"`},
	}}
}

// noRoute is the answer to a path that no service has.
func noRoute() *refusal {
	return &refusal{answer{status: http.StatusNotFound, body: map[string]any{
		"message": "The resource could not be found.<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found",
	}}}
}

// accepted is 202 without a body, as Cinder's deletions answer.
func accepted() answer {
	return answer{status: http.StatusAccepted, header: map[string]string{"Content-Type": "text/html; charset=UTF-8"}}
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// ServeHTTP answers one request. It is the httptest server's handler.
func (c *Cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	cl := &call{service: parts[0], method: r.Method, path: parts[1:], raw: r, query: r.URL.Query(), text: text}
	c.mu.Lock()
	cl.id = c.requestID()
	c.mu.Unlock()
	entry := c.log.add(cl, c)
	b := c.broken(cl)
	if b != nil {
		b.before(w, r)
	}
	var a answer
	if b.effect() {
		a = c.serve(cl)
	}
	if b != nil {
		a = b.after(w, r, a)
	}
	c.log.done(entry, a.status)
	c.write(w, cl, a, b)
}

// serve lets the service answer, under the lock.
func (c *Cloud) serve(cl *call) answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	var a answer
	var err error
	switch cl.service {
	case "identity":
		a, err = c.keystone(cl)
	case "volume":
		a, err = c.cinder(cl)
	case "compute":
		a, err = c.nova(cl)
	case "image":
		a, err = c.glance(cl)
	default:
		err = noRoute()
	}
	if r, is := err.(*refusal); is {
		return r.answer
	}
	return a
}

// write sends an answer.
func (c *Cloud) write(w http.ResponseWriter, cl *call, a answer, b *Break) {
	var body []byte
	header := w.Header()
	switch v := a.body.(type) {
	case nil:
	case string:
		body = []byte(v)
	default:
		body, _ = json.Marshal(v) // maps, strings and numbers only
	}
	header.Set("Content-Type", "application/json")
	header.Set("X-Openstack-Request-Id", cl.id)
	if cl.service == "volume" || cl.service == "compute" {
		header.Set("X-Compute-Request-Id", cl.id)
	}
	c.mu.Lock()
	header.Set("Date", c.now().Format(http.TimeFormat))
	c.mu.Unlock()
	for name, value := range a.header {
		header.Set(name, value)
	}
	if b != nil && b.fault.Half {
		b.half(w, a.status, body)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may have gone
}

// parse reads the body as a JSON object.
func (cl *call) parse() error {
	if err := json.Unmarshal(cl.text, &cl.body); err != nil || cl.body == nil {
		return fault(http.StatusBadRequest, "Malformed request body")
	}
	return nil
}

// part is an object in the body; an absent one is empty.
func (cl *call) part(name string) map[string]any {
	p, _ := cl.body[name].(map[string]any)
	return p
}

// microversion reads "OpenStack-API-Version: <service> <major>.<minor>" and
// answers the headers that tell which one was used.
func (cl *call) microversion(service string, major, base, highest int) (map[string]string, error) {
	cl.minor = base
	asked := fmt.Sprintf("%d.%d", major, base)
	for _, part := range strings.Split(strings.Join(cl.raw.Header.Values("OpenStack-API-Version"), ","), ",") {
		name, version, found := strings.Cut(strings.TrimSpace(part), " ")
		// Cinder looks for its name anywhere in the word: volumev3 will do.
		if found && (name == service || service == "volume" && strings.Contains(name, service)) {
			asked = strings.TrimSpace(version)
		}
	}
	if asked == "latest" {
		asked = fmt.Sprintf("%d.%d", major, highest)
	}
	header := map[string]string{"OpenStack-API-Version": service + " " + asked, "Vary": "OpenStack-API-Version"}
	gotMajor, gotMinor, found := strings.Cut(asked, ".")
	m, err1 := strconv.Atoi(gotMajor)
	n, err2 := strconv.Atoi(gotMinor)
	if !found || err1 != nil || err2 != nil {
		return nil, fault(http.StatusBadRequest, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", asked)
	}
	if m != major || n < base || n > highest {
		f := fault(http.StatusNotAcceptable, "Version %s is not supported by the API. Minimum is %d.%d and maximum is %d.%d.", asked, major, base, major, highest)
		return header, f
	}
	cl.minor = n
	return header, nil
}

// with adds headers to what a handler gave back, whether answer or refusal.
func with(header map[string]string, a answer, err error) (answer, error) {
	if r, is := err.(*refusal); is {
		a = r.answer
	}
	if a.header == nil {
		a.header = map[string]string{}
	}
	for name, value := range header {
		if _, set := a.header[name]; !set {
			a.header[name] = value
		}
	}
	return a, nil
}

// boolOf reads a boolean as oslo does: true, "true", "1", "yes", "on".
func boolOf(v any) bool {
	switch b := v.(type) {
	case bool:
		return b
	case string:
		switch strings.ToLower(b) {
		case "1", "t", "true", "on", "y", "yes":
			return true
		}
	case float64:
		return b == 1
	}
	return false
}
