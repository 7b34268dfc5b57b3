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

// problem is an answer of the cloud that is no success.
type problem struct {
	status     int
	kind       string // the fault's name in the body, such as itemNotFound; empty when the body is not a service's own
	text       string // written for people
	requestID  string
	retryAfter time.Duration
}

func (p *problem) Error() string {
	return fmt.Sprintf("the cloud answered %d: %s (%s)", p.status, p.text, p.requestID)
}

// problemOf is nil when err is something else.
func problemOf(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var code gophercloud.ErrUnexpectedResponseCode
	if !errors.As(err, &code) {
		return nil
	}
	p = &problem{status: code.Actual, requestID: requestID(code.ResponseHeader)}
	p.kind, p.text = fault(code.Body)
	if p.text == "" {
		p.text = http.StatusText(code.Actual)
	}
	p.retryAfter = retryAfter(code.ResponseHeader)
	return p
}

// patience is how long the cloud can ask us to stay away: longer is a mistake of
// somebody's clock or configuration, and would stop the console.
const patience = 10 * time.Minute

// retryAfter reads seconds, or a date by the clock of who sent it.
func retryAfter(h http.Header) time.Duration {
	if seconds, err := strconv.ParseFloat(h.Get("Retry-After"), 64); err == nil {
		return time.Duration(min(max(0, seconds), patience.Seconds()) * float64(time.Second))
	}
	at, err := http.ParseTime(h.Get("Retry-After"))
	now, dateErr := http.ParseTime(h.Get("Date"))
	if err != nil || dateErr != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), patience)
}

// fault reads the body of an error: {"itemNotFound": {"code", "message"}} of Cinder
// and Nova, {"error": {"code", "message"}} of Keystone, or whatever a proxy sends.
func fault(body []byte) (kind, text string) {
	var faults map[string]json.RawMessage
	if json.Unmarshal(body, &faults) != nil {
		return "", ""
	}
	for kind, raw := range faults {
		var f struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(raw, &f) == nil && f.Message != "" {
			return kind, f.Message
		}
	}
	_ = json.Unmarshal(faults["message"], &text) // an unknown path: no kind, a text at most
	return "", text
}

// gone says that the object is not there. A 404 of a proxy says nothing about it.
func (p *problem) gone() bool {
	return p != nil && p.status == http.StatusNotFound && p.kind == "itemNotFound"
}

// refused says that the state of the object forbids it.
func (p *problem) refused() bool {
	return p != nil && (p.status == http.StatusBadRequest || p.status == http.StatusConflict)
}

func (p *problem) says(text string) bool { return p != nil && strings.Contains(p.text, text) }

// ended is why a call was given up.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &backend.Error{Code: backend.CodeUnavailable, Err: fmt.Errorf("no answer in time: %w", ctx.Err())}
	}
	return fmt.Errorf("given up: %w", ctx.Err())
}

// explain puts an error of gophercloud, of the network or of a service into the
// port's words.
func (b *Backend) explain(ctx context.Context, err error) error {
	if err == nil || backend.AsError(err) != nil || errors.Is(err, context.Canceled) {
		return err
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	var reauth *gophercloud.ErrUnableToReauthenticate
	var signIn signInError
	switch {
	case errors.As(err, &reauth):
		u := credentials(reauth.ErrReauth)
		if u.Cause == backend.Credentials {
			b.refuse(u)
		}
		return u
	case errors.As(err, &signIn):
		return credentials(signIn.error)
	}
	if p := problemOf(err); p != nil {
		if p.status != http.StatusNotFound {
			b.log.WarnContext(ctx, "the cloud refused", "status", p.status, "text", shortened(p.text), "request_id", p.requestID)
		}
		return b.explainProblem(p)
	}
	b.doubt(oldCatalog)
	return &backend.Error{Code: backend.CodeUnavailable, Cause: untrusted(err), Unsent: undialled(err), Err: err}
}

// undialled says that there was not even a connection to send the request over.
func undialled(err error) bool {
	var network *net.OpError
	return errors.As(err, &network) && network.Op == "dial"
}

// unsent marks the error of a request that came before the one for a change.
func unsent(err error) error {
	u := backend.AsError(err, backend.CodeUnavailable)
	if u == nil {
		return err
	}
	marked := *u
	marked.Unsent = true
	return &marked
}

// untrusted is why TLS gives no connection; empty where that is not the trouble.
func untrusted(err error) backend.Cause {
	var (
		verification *tls.CertificateVerificationError
		invalid      x509.CertificateInvalidError
		network      *net.OpError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return backend.Clock
	case errors.As(err, &verification), errors.As(err, &network) && network.Op == "remote error": // crypto/tls has no type for what the other side refuses
		return backend.Certificate
	}
	return ""
}

// credentials explains why Keystone gives no token. It answers 404 where an
// application credential is gone.
func credentials(err error) *backend.Error {
	p := problemOf(err)
	if p == nil {
		return &backend.Error{Code: backend.CodeUnavailable, Cause: untrusted(err), Err: err}
	}
	refused := p.status == http.StatusUnauthorized || p.status == http.StatusForbidden || p.status == http.StatusBadRequest ||
		p.status == http.StatusNotFound && p.kind != ""
	if !refused {
		return p.unavailable()
	}
	return &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Credentials, RetryAfter: p.retryAfter, Err: p}
}

func (b *Backend) explainProblem(p *problem) error {
	switch p.status {
	case http.StatusBadRequest:
		if p.says("Malformed request url") { // the project's id is in the address
			b.doubt(oldCatalog)
		}
		return explainBadRequest(p)
	case http.StatusUnauthorized:
		// Only after a new token was refused, too: a wrong clock of a service, or a credential with access rules.
		u := &backend.Error{Code: backend.CodeUnavailable, Cause: backend.Token, Err: p}
		b.refuse(u)
		return u
	case http.StatusForbidden:
		return explainForbidden(p)
	case http.StatusNotFound:
		if p.gone() {
			return backend.ErrNotFound
		}
		b.doubt(oldCatalog)
	case http.StatusNotAcceptable: // another microversion than the versions told: an upgrade is going on
		b.doubt(0)
	case http.StatusConflict:
		return &backend.Error{Code: backend.CodeConflict, Message: p.text}
	case http.StatusNotImplemented:
		return backend.ErrUnsupported
	}
	return p.unavailable()
}

// unavailable says whether it is only that we ask too often.
func (p *problem) unavailable() *backend.Error {
	u := &backend.Error{Code: backend.CodeUnavailable, RetryAfter: p.retryAfter, Err: p}
	if p.status == http.StatusTooManyRequests {
		u.Cause = backend.TooMany
	}
	return u
}

var badField = regexp.MustCompile(`^Invalid input for field/attribute (\w+)`)

// fields are the port's names for fields of the API.
var fields = map[string]string{
	"name": "name", "description": "description", "size": "size_gib", "new_size": "size_gib", "snapshot_id": "snapshot",
	"imageRef": "image", "volume_type": "type", "availability_zone": "zone", "status": "status",
}

func explainBadRequest(p *problem) error {
	if m := badField.FindStringSubmatch(p.text); m != nil {
		field, ok := fields[m[1]]
		if !ok {
			field = m[1]
		}
		return &backend.Error{Code: backend.CodeInvalid, Field: field, Message: shortened(p.text)}
	}
	switch {
	case p.says("Malformed request url"), p.kind == "":
		return &backend.Error{Code: backend.CodeUnavailable, Err: p}
	case p.says("vailability zone"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "zone", Message: p.text}
	case p.says("Invalid image identifier"):
		return backend.ErrNotFound
	case p.says("cannot be smaller than"), p.says("larger than volume size"), p.says("New size for extend must be greater"):
		return &backend.Error{Code: backend.CodeInvalid, Field: "size_gib", Message: p.text}
	}
	return &backend.Error{Code: backend.CodeConflict, Message: shortened(p.text)}
}

// shortened leaves the value out that a user has typed: it may be long, and the
// user knows it.
func shortened(text string) string {
	const limit = 300
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// explainForbidden names the role that the usual policies want.
func explainForbidden(p *problem) error {
	if !p.says("Policy doesn't allow") {
		return &backend.Error{Code: backend.CodeConflict, Message: p.text}
	}
	role := "member"
	for _, action := range []string{"admin_actions", "os_compute_api:os-services", "reset_status", "force_delete", "force_detach", "get_all_tenants"} {
		if p.says(action) {
			role = "admin"
		}
	}
	return &backend.Error{Code: backend.CodeForbidden, Role: role}
}
