package nbd

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// serverTLS returns the configuration for clients, which must have a certificate of
// ClientCAs.
//
// The certificates are verified here, and not by crypto/tls, because it would name the
// authorities to the client. GnuTLS up to 3.7 (qemu, libnbd and nbd-client of Debian 12
// and older) then looks for a certificate by authority and kind of key, and overlooks
// RSA keys over TLS 1.3, where only PSS signatures are asked for, and Ed25519 keys over
// TLS 1.2. Without names it sends the one that it has.
func serverTLS(c *tls.Config) *tls.Config {
	authorities := c.ClientCAs
	c = c.Clone()
	c.ClientAuth, c.ClientCAs = tls.RequireAnyClientCert, nil
	c.VerifyConnection = func(s tls.ConnectionState) error {
		options := x509.VerifyOptions{Roots: authorities, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if c.Time != nil {
			options.CurrentTime = c.Time()
		}
		for _, intermediate := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(intermediate)
		}
		if _, err := s.PeerCertificates[0].Verify(options); err != nil {
			return &tls.CertificateVerificationError{UnverifiedCertificates: s.PeerCertificates, Err: err}
		}
		return nil
	}
	return c
}

// tlsError is an error of a TLS handshake, with what it means for whoever set the
// client up.
type tlsError struct {
	what string
	err  error
}

func (e *tlsError) Error() string { return e.what + ": " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// explainTLS returns a tlsError.
func explainTLS(err error) error {
	var (
		unverified *tls.CertificateVerificationError
		unknown    x509.UnknownAuthorityError
		invalid    x509.CertificateInvalidError
		record     tls.RecordHeaderError
		remote     *net.OpError
	)
	what := "the TLS handshake failed"
	switch {
	case errors.As(err, &unverified):
		what = "the client's certificate cannot be verified"
		switch {
		case errors.As(err, &unknown):
			what = "the client's certificate is of another authority than this server's clients"
		case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
			what = "the client's certificate has expired or is not valid yet"
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			what = "the client's certificate is not one for TLS clients"
		}
		what += fmt.Sprintf(" (%s)", unverified.UnverifiedCertificates[0].Subject)
	case errors.As(err, &remote) && remote.Op == "remote error":
		what = "the client refuses this server, whose certificate it may not trust"
	case errors.Is(err, io.EOF):
		what = "the client leaves without a word, perhaps because it does not trust this server's certificate"
	case isTimeout(err):
		what = "the client falls silent"
	case errors.As(err, &record):
		what = "the client does not speak TLS after STARTTLS"
	case strings.Contains(err.Error(), "didn't provide a certificate"): // crypto/tls has no type for it
		what = "the client sends no certificate"
	case strings.Contains(err.Error(), "unsupported versions"), strings.Contains(err.Error(), "no cipher suite"):
		what = "the client speaks no TLS that this server does"
	}
	return &tlsError{what, err}
}
