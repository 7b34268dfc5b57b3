package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"blockconsole/models/backend"
)

// apiError is an answer with an error status.
type apiError struct {
	status     int
	fault      string // name in the body, such as itemNotFound; empty when it is not the body of a service
	text       string // message in the body
	requestID  string
	retryAfter time.Duration
}

func (p *apiError) Error() string {
	return fmt.Sprintf("the cloud answered %d: %s (%s)", p.status, p.text, p.requestID)
}

// asAPIError is nil when err is not an answer of the cloud.
func asAPIError(err error) *apiError {
	var p *apiError
	if errors.As(err, &p) {
		return p
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &code) {
		return nil
	}
	p = &apiError{status: code.Actual, requestID: requestID(code.ResponseHeader)}
	p.fault, p.text = parseFault(code.Body)
	if p.text == "" {
		p.text = http.StatusText(code.Actual)
	}
	p.retryAfter = retryAfter(code.ResponseHeader)
	return p
}

// maxRetryAfter limits Retry-After: a wrong clock must not stop the console.
const maxRetryAfter = 10 * time.Minute

// retryAfter reads Retry-After: seconds, or a date relative to the header Date.
func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		return time.Duration(min(max(0, seconds), maxRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(h.Get("Retry-After"))
	now, dateErr := http.ParseTime(h.Get("Date"))
	if err != nil || dateErr != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}

// parseFault reads the body of an error: {"itemNotFound": {"code", "message"}} of Cinder
// and Nova, {"error": {"code", "message"}} of Keystone, or anything from a proxy.
func parseFault(body []byte) (fault, text string) {
	var faults map[string]json.RawMessage
	if json.Unmarshal(body, &faults) != nil {
		return "", ""
	}
	for fault, raw := range faults {
		var f struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &f) == nil && f.Message != "" {
			return fault, f.Message
		}
	}
	_ = json.Unmarshal(faults["message"], &text) // an unknown path has only a text
	return "", text
}

// notFound says that the object does not exist, unlike the 404 of a proxy.
func (p *apiError) notFound() bool {
	return p != nil && p.status == http.StatusNotFound && p.fault == "itemNotFound"
}

// conflict says that the object's state may forbid the request.
func (p *apiError) conflict() bool {
	return p != nil && (p.status == http.StatusBadRequest || p.status == http.StatusConflict)
}

func (p *apiError) contains(text string) bool { return p != nil && strings.Contains(p.text, text) }

// contextError is the error of a call whose ctx has ended.
func contextError(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &backend.Error{Code: backend.CodeUnavailable, Err: fmt.Errorf("no answer in time: %w", ctx.Err())}
	}
	return fmt.Errorf("given up: %w", ctx.Err())
}

// translate turns an error of gophercloud, the network or a service into one of the
// port. A service that seems to have moved marks the session stale.
func (b *Backend) translate(ctx context.Context, err error) error {
	if err == nil || backend.AsError(err) != nil || errors.Is(err, context.Canceled) {
		return err
	}
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	var reauth *gophercloud.ErrUnableToReauthenticate
	var signIn signInError
	switch {
	case errors.As(err, &reauth):
		u := signInFailure(reauth.ErrReauth)
		if u.Cause == backend.Credentials {
			b.blockSignIn(u)
		}
		return u
	case errors.As(err, &signIn):
		return signInFailure(signIn.error)
	}
	if p := asAPIError(err); p != nil {
		if p.status != http.StatusNotFound {
			b.log.WarnContext(ctx, "the cloud refused", "status", p.status, "text", truncated(p.text), "request_id", p.requestID)
		}
		return b.translateAPIError(p)
	}
	b.markStale(catalogMaxAge)
	return &backend.Error{Code: backend.CodeUnavailable, Cause: tlsCause(err), Unsent: dialFailed(err), Err: err}
}

// dialFailed says that there was no connection to send the request over.
func dialFailed(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

// markUnsent sets Unsent in the error of a request that preceded the change.
func markUnsent(err error) error {
	u := backend.AsError(err, backend.CodeUnavailable)
	if u == nil {
		return err
	}
	marked := *u
	marked.Unsent = true
	return &marked
}

// tlsCause is the cause of a failed TLS handshake; empty for other errors.
func tlsCause(err error) backend.Cause {
	var (
		verification *tls.CertificateVerificationError
		invalid      x509.CertificateInvalidError
		network      *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return backend.Clock
	case errors.As(err, &verification), errors.As(err, &network) && network.Op == "remote error": // a TLS alert: crypto/tls has no type for it
		return backend.Certificate
	}
	return ""
}

// signInFailure is why Keystone issues no token. It answers 404 when an application
// credential was deleted.
func signInFailure(err error) *backend.Error {
	p := asAPIError(err)
	if p == nil {
		return &backend.Error{Code: backend.CodeUnavailable, Cause: tlsCause(err), Err: err}
	}
	refused := p.status == http.StatusUnauthorized || p.status == http.StatusForbidden || p.status == http.StatusBadRequest ||
		p.status == http.StatusNotFound && p.fault != ""
	if !refused {
		return p.unavailable()
	}
	return &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials, RetryAfter: p.retryAfter, Err: p}
}

func (b *Backend) translateAPIError(p *apiError) error {
	switch p.status {
	case http.StatusBadRequest:
		if p.contains("Malformed request url") { // the project's id is in the address
			b.markStale(catalogMaxAge)
		}
		return translateBadRequest(p)
	case http.StatusUnauthorized:
		// A new token was refused too: a service has a wrong clock, or the credential has access rules.
		u := &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Token, Err: p}
		b.blockSignIn(u)
		return u
	case http.StatusForbidden:
		return translateForbidden(p)
	case http.StatusNotFound:
		if p.notFound() {
			return backend.ErrNotFound
		}
		b.markStale(catalogMaxAge)
	case http.StatusNotAcceptable: // a microversion it had announced: the cloud is being upgraded
		b.markStale(0)
	case http.StatusConflict:
		return &backend.Error{Code: backend.CodeConflict, Message: p.text}
	case http.StatusNotImplemented:
		return backend.ErrUnsupported
	}
	return p.unavailable()
}

// unavailable has the cause TooMany for status 429.
func (p *apiError) unavailable() *backend.Error {
	u := &backend.Error{Code: backend.CodeUnavailable, RetryAfter: p.retryAfter, Err: p}
	if p.status == http.StatusTooManyRequests {
		u.Cause = backend.TooMany
	}
	return u
}

var badField = regexp.MustCompile(`^Invalid input for field/attribute (\w+)`)

// portFields are the port's names of the API's fields.
var portFields = map[string]string{
	"name": "name", "description": "description", "size": "size_gib", "new_size": "size_gib", "snapshot_id": "snapshot",
	"imageRef": "image", "volume_type": "type", "availability_zone": "zone", "status": "status",
}

func translateBadRequest(p *apiError) error {
	if m := badField.FindStringSubmatch(p.text); m != nil {
		field, ok := portFields[m[1]]
		if !ok {
			field = m[1]
		}
		return &backend.Error{Code: backend.CodeInvalid, Field: field, Message: truncated(p.text)}
	}
	switch {
	case p.contains("Malformed request url"), p.fault == "":
		return &backend.Error{Code: backend.CodeUnavailable, Err: p}
	case p.contains("vailability zone"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "zone", Message: p.text}
	case p.contains("Invalid image identifier"):
		return backend.ErrNotFound
	case p.contains("cannot be smaller than"), p.contains("larger than volume size"), p.contains("New size for extend must be greater"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: p.text}
	}
	return &backend.Error{Code: backend.CodeConflict, Message: truncated(p.text)}
}

// truncated limits a text that may quote a long value.
func truncated(text string) string {
	const limit = 300
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// translateForbidden names the role that the default policies require.
func translateForbidden(p *apiError) error {
	if !p.contains("Policy doesn't allow") {
		return &backend.Error{Code: backend.CodeConflict, Message: p.text}
	}
	role := "member"
	for _, action := range []string{"admin_actions", "os_compute_api:os-services", "reset_status", "force_delete", "force_detach", "get_all_tenants"} {
		if p.contains(action) {
			role = "admin"
		}
	}
	return &backend.Error{Code: backend.CodeForbidden, Role: role}
}
