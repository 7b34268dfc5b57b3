package openstacktest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// call is one request to a service.
type call struct {
	service string // identity, volume, compute or image
	method  string
	path    []string // below the service
	raw     *http.Request
	query   url.Values
	text    []byte
	body    map[string]any
	id      string // of the request
	token   *token
	minor   int // of the microversion
}

// response is the answer to a call.
type response struct {
	status int
	body   any // JSON, unless a string
	header map[string]string
}

// errorResponse is a response as an error.
type errorResponse struct{ response }

func (r *errorResponse) Error() string { return fmt.Sprintf("%d %v", r.status, r.body) }

// faultNames are the names of the errors of Cinder and Nova by status.
var faultNames = map[int]string{
	400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod", 406: "computeFault",
	409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit", 500: "computeFault", 503: "serviceUnavailable",
}

// faultf is an error in the format of Cinder and Nova.
func faultf(status int, format string, args ...any) *errorResponse {
	message := format
	if len(args) > 0 {
		message = fmt.Sprintf(format, args...)
	}
	return &errorResponse{response{status: status, body: map[string]any{faultNames[status]: map[string]any{"code": status, "message": message}}}}
}

// overLimit is the error of a quota.
func overLimit(format string, args ...any) *errorResponse {
	f := faultf(http.StatusRequestEntityTooLarge, format, args...)
	f.body.(map[string]any)["overLimit"].(map[string]any)["retryAfter"] = "0"
	f.header = map[string]string{"Retry-After": "0"}
	return f
}

// unauthenticated is the error of the token middleware.
func unauthenticated(keystone string) *errorResponse {
	return &errorResponse{response{
		status: http.StatusUnauthorized,
		body:   map[string]any{"error": map[string]any{"code": 401, "title": "Unauthorized", "message": "The request you have made requires authentication."}},
		header: map[string]string{"WWW-Authenticate": `Keystone uri="` + keystone + `"`},
	}}
}

// noRoute is the error of an unknown path.
func noRoute() *errorResponse {
	return &errorResponse{response{status: http.StatusNotFound, body: map[string]any{
		"message": "The resource could not be found.<br /><br />\n\n\n", "code": "404 Not Found", "title": "Not Found",
	}}}
}

// acceptedResponse is 202 without a body, as of Cinder's deletions.
func acceptedResponse() response {
	return response{status: http.StatusAccepted, header: map[string]string{"Content-Type": "text/html; charset=UTF-8"}}
}

func okResponse(body any) response { return response{status: http.StatusOK, body: body} }

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
	b := c.activeFault(cl)
	if b != nil {
		b.before(w, r)
	}
	var a response
	if b.reachesService() {
		a = c.serve(cl)
	}
	if b != nil {
		a = b.after(w, r, a)
	}
	c.log.done(entry, a.status)
	c.write(w, cl, a, b)
}

// serve calls the service with the lock held.
func (c *Cloud) serve(cl *call) response {
	c.mu.Lock()
	defer c.mu.Unlock()
	var a response
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
	if r := (*errorResponse)(nil); errors.As(err, &r) {
		return r.response
	}
	return a
}

// write sends an answer.
func (c *Cloud) write(w http.ResponseWriter, cl *call, a response, b *ActiveFault) {
	var body []byte
	header := w.Header()
	switch v := a.body.(type) {
	case nil:
	case string:
		body = []byte(v)
	default:
		body, _ = json.Marshal(v) // cannot fail: maps, strings and numbers
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
	if b != nil && b.fault.Truncate {
		b.writeHalf(w, a.status, body)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(body) // the client may be gone
}

// parse reads the body as a JSON object.
func (cl *call) parse() error {
	if err := json.Unmarshal(cl.text, &cl.body); err != nil || cl.body == nil {
		return faultf(http.StatusBadRequest, "Malformed request body")
	}
	return nil
}

// part is an object in the body, or nil.
func (cl *call) part(name string) map[string]any {
	p, _ := cl.body[name].(map[string]any)
	return p
}

// microversion reads "OpenStack-API-Version: <service> <major>.<minor>" and returns the
// headers with the microversion in use.
func (cl *call) microversion(service string, major, base, highest int) (map[string]string, error) {
	cl.minor = base
	asked := fmt.Sprintf("%d.%d", major, base)
	for _, part := range strings.Split(strings.Join(cl.raw.Header.Values("OpenStack-API-Version"), ","), ",") {
		name, version, found := strings.Cut(strings.TrimSpace(part), " ")
		// Cinder searches its name in the word: volumev3 matches.
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
		return nil, faultf(http.StatusBadRequest, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", asked)
	}
	if m != major || n < base || n > highest {
		f := faultf(http.StatusNotAcceptable, "Version %s is not supported by the API. Minimum is %d.%d and maximum is %d.%d.", asked, major, base, major, highest)
		return header, f
	}
	cl.minor = n
	return header, nil
}

// withHeaders adds headers to a handler's response or error.
func withHeaders(header map[string]string, a response, err error) (response, error) {
	if r := (*errorResponse)(nil); errors.As(err, &r) {
		a = r.response
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

// parseBool reads a boolean like oslo: true, "true", "1", "yes", "on".
func parseBool(v any) bool {
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

func (cl *call) has(key string) bool {
	_, there := cl.body[key]
	return there
}

// stringAt reads a string at a path of nested objects.
func stringAt(m map[string]any, path ...string) string {
	for i, name := range path {
		if i == len(path)-1 {
			s, _ := m[name].(string)
			return s
		}
		m, _ = m[name].(map[string]any)
	}
	return ""
}
