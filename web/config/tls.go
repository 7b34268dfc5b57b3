package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
)

// Secure says that browsers come by HTTPS, here or at the proxy in front.
func (c *Config) Secure() bool {
	return c.certificate != nil || (c.PublicURL != nil && c.PublicURL.Scheme == "https")
}

// TLS is the listener's configuration; nil: plain HTTP.
func (c *Config) TLS() *tls.Config {
	if c.certificate == nil {
		return nil
	}
	return &tls.Config{Certificates: []tls.Certificate{*c.certificate}, MinVersion: tls.VersionTLS12, CipherSuites: aeadSuites(),
		NextProtos: []string{"h2", "http/1.1"}}
}

// aeadSuites are the suites of TLS 1.2 without CBC, whose padding leaks in ever new ways.
// TLS 1.3 has no others.
func aeadSuites() []uint16 {
	var ids []uint16
	for _, suite := range tls.CipherSuites() {
		if !strings.Contains(suite.Name, "_CBC_") {
			ids = append(ids, suite.ID)
		}
	}
	return ids
}

// ExportTLS says that servers prove by certificate who they are.
func (c *Config) ExportTLS() bool { return c.nbdTLS != nil }

func (c *Config) checkTLS() error {
	certificate, err := keyPair("TLS_CERT", c.TLSCert, "TLS_KEY", c.TLSKey)
	if err != nil {
		return err
	}
	c.certificate = certificate
	return c.checkNBDTLS()
}

// keyPair loads a certificate and its key; nil: neither is set.
func keyPair(certName, cert, keyName, key string) (*tls.Certificate, error) {
	switch {
	case cert == "" && key == "":
		return nil, nil
	case key == "":
		return nil, settingError(keyName, fmt.Errorf("is needed with %s%s", EnvPrefix, certName))
	case cert == "":
		return nil, settingError(certName, fmt.Errorf("is needed with %s%s", EnvPrefix, keyName))
	}
	certificate, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, settingError(certName, err)
	}
	return &certificate, nil
}

// checkNBDTLS loads what NBD needs for TLS: all three files or none, since a
// certificate alone would not tell clients apart.
func (c *Config) checkNBDTLS() error {
	certificate, err := keyPair("NBD_TLS_CERT", c.NBDTLSCert, "NBD_TLS_KEY", c.NBDTLSKey)
	if err != nil {
		return err
	}
	switch {
	case certificate == nil && c.NBDTLSCA == "":
		return nil
	case certificate == nil:
		return settingError("NBD_TLS_CERT", fmt.Errorf("is needed with %sNBD_TLS_CA", EnvPrefix))
	case c.NBDTLSCA == "":
		return settingError("NBD_TLS_CA", fmt.Errorf("is needed with %sNBD_TLS_CERT", EnvPrefix))
	}
	pem, err := os.ReadFile(c.NBDTLSCA)
	if err != nil {
		return settingError("NBD_TLS_CA", err)
	}
	authority := x509.NewCertPool()
	if !authority.AppendCertsFromPEM(pem) {
		return settingError("NBD_TLS_CA", fmt.Errorf("%s holds no certificate in PEM", c.NBDTLSCA))
	}
	c.nbdTLS = &tls.Config{
		Certificates: []tls.Certificate{*certificate}, ClientCAs: authority,
		ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12, CipherSuites: aeadSuites(),
	}
	return nil
}

// NBDTLS is the configuration with which attached volumes are served; nil: without
// TLS.
func (c *Config) NBDTLS() *tls.Config { return c.nbdTLS }
