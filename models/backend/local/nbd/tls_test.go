package nbd

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) authority {
	t.Helper()
	a := authority{}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

// sign makes a certificate; an authority without a key signs itself.
func (a authority) sign(t testing.TB, c *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if a.key == nil {
		a = authority{c, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func (a authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a authority) server(t testing.TB) *tls.Config {
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "server"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, ClientCAs: a.pool()}
}

func (a authority) client(t testing.TB, name string) tls.Certificate {
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// folder writes the certificate files that libnbd reads.
func (a authority) folder(t testing.TB, c tls.Certificate) string {
	t.Helper()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{
		"ca-cert.pem":     {Type: "CERTIFICATE", Bytes: a.cert.Raw},
		"client-cert.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
		"client-key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// byName shows a client only the export that its certificate names.
type byName struct {
	exportMap
	mu    sync.Mutex
	peers []Peer
}

func (b *byName) Open(ctx context.Context, name string, p Peer) (*Export, error) {
	b.mu.Lock()
	b.peers = append(b.peers, p)
	b.mu.Unlock()
	if p.Certificate == nil || p.Certificate.Subject.CommonName != name {
		return nil, ErrUnknownExport
	}
	return b.exportMap.Open(ctx, name, p)
}

// startTLS negotiates TLS.
func (c *client) startTLS(cfg *tls.Config) error {
	c.Helper()
	if _, final := c.option(optStartTLS, nil); final != repAck {
		c.Fatalf("STARTTLS: %#x", final)
	}
	t := tls.Client(c.Conn, cfg)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.Conn = t
	return nil
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	exports := &byName{exportMap: twoExports()}
	addr, _ := startServer(t, exports, func(s *Server) { s.TLS = ca.server(t) })

	c := dial(t, addr)
	for _, opt := range []uint32{optList, optGo, optInfo, optStructuredReply, optSetMetaContext, 99} {
		if _, final := c.option(opt, nil); final != repErrTLSReqd {
			t.Errorf("option %d in the clear: %#x", opt, final)
		}
	}
	if err := c.startTLS(&tls.Config{RootCAs: ca.pool(), ServerName: "localhost", Certificates: []tls.Certificate{ca.client(t, "a")}}); err != nil {
		t.Fatal(err)
	}
	if _, final := c.option(optStartTLS, nil); final != repErrInvalid {
		t.Errorf("STARTTLS twice: %#x", final)
	}
	if _, final := c.option(optGo, goData("b")); final != repErrUnknown {
		t.Errorf("another one's export: %#x", final)
	}
	if _, final := c.option(optStructuredReply, nil); final != repAck {
		t.Fatal("STRUCTURED_REPLY")
	}
	c.structured = true
	if _, final := c.option(optGo, goData("a")); final != repAck {
		t.Fatalf("GO: %#x", final)
	}
	data := randomBytes(300 << 10)
	c.wantErrno(cmdWrite, cmdFlagFUA, 77, len(data), data, 0)
	if a := c.roundTrip(cmdRead, 0, 77, len(data), nil); string(a.data) != string(data) {
		t.Error("what was written is not what is read")
	}
	if s := exports.exportMap["a"].Conns(); len(s) != 1 || s[0].Subject != "CN=a" {
		t.Errorf("%+v", s)
	}
	c.write(requestFrame(request{kind: cmdDisc}))
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Error("TLS was not shut down:", err)
	}
}

func TestTLS_Refusals(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	exports, certificate := &byName{exportMap: twoExports()}, ca.server(t)
	addr, _ := startServer(t, exports, func(s *Server) { s.TLS = certificate })
	cfg := &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"}

	c := dial(t, addr)
	c.write(optionFrame(optExportName, []byte("a")))
	c.wantDisconnected()

	c = dial(t, addr) // no certificate; TLS 1.3 reports that at the first read
	if err := c.startTLS(cfg); err == nil {
		c.wantDisconnected()
	}
	c = dial(t, addr)
	cfg.Certificates = []tls.Certificate{other.client(t, "a")}
	if err := c.startTLS(cfg); err == nil {
		c.wantDisconnected()
	}
	// A command injected before the encryption must not be executed after it.
	c = dial(t, addr)
	c.write(append(optionFrame(optStartTLS, nil), optionFrame(optList, nil)...))
	c.readN(20)
	c.wantDisconnected()
	addr, _ = startServer(t, exports, func(s *Server) { s.TLS, s.HandshakeTimeout = certificate, time.Second/2 })
	c = dial(t, addr) // silent where the TLS handshake should begin
	c.option(optStartTLS, nil)
	c.wantDisconnected()

	if err := (&Server{TLS: &tls.Config{}}).Serve(context.Background(), nopListener{}); err == nil {
		t.Error("TLS that cannot verify anybody was accepted")
	}
}

type nopListener struct{ net.Listener }

func (nopListener) Close() error { return nil }

// libnbd's clients over TLS.
func TestInterop_TLS(t *testing.T) {
	t.Parallel()
	requireTools(t, "nbdinfo", "nbdcopy")
	ca, other := newAuthority(t), newAuthority(t)
	dev := newFileDevice(t, 8<<20)
	exports := &byName{exportMap: exportMap{"a": NewExport("a", dev, ExportOptions{})}}
	addr, _ := startServer(t, exports, func(s *Server) { s.TLS = ca.server(t) })
	uri := func(ca authority, name string) string {
		return "nbds://" + addr + "/" + name + "?tls-certificates=" + ca.folder(t, ca.client(t, "a"))
	}
	good := uri(ca, "a")
	if out := runTool(t, "nbdinfo", good); !strings.Contains(out, "with TLS") || !strings.Contains(out, "export-size: 8388608") {
		t.Error(out)
	}
	src, dst := filepath.Join(t.TempDir(), "src"), filepath.Join(t.TempDir(), "dst")
	data := randomBytes(8 << 20)
	if err := os.WriteFile(src, data, 0o600); err != nil {
		t.Fatal(err)
	}
	runTool(t, "nbdcopy", "--flush", src, good)
	runTool(t, "nbdcopy", good, dst)
	if got, err := os.ReadFile(dst); err != nil || string(got) != string(data) {
		t.Error("the copy differs", err)
	}
	for _, bad := range []string{uri(ca, "b"), uri(other, "a"), "nbd://" + addr + "/a"} {
		if out, err := exec.Command("nbdinfo", bad).CombinedOutput(); err == nil {
			t.Errorf("%s: %s", bad, out)
		}
	}
}
