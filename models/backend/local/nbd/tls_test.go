package nbd

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// authority signs certificates for a test.
type authority struct {
	cert   *x509.Certificate
	key    crypto.Signer
	newKey func() (crypto.Signer, error) // of the authority and of what it signs
}

// keyKinds are the kinds of keys that people have in certificates.
var keyKinds = map[string]func() (crypto.Signer, error){
	"RSA":   func() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) },
	"ECDSA": func() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) },
	"Ed25519": func() (crypto.Signer, error) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	},
}

func newAuthority(t testing.TB) authority { return newAuthorityOf(t, "ECDSA") }

func newAuthorityOf(t testing.TB, kind string) authority {
	t.Helper()
	a := authority{newKey: keyKinds[kind]}
	der, key := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a.cert, a.key = cert, key
	return a
}

// sign makes a certificate; an authority without a key signs itself.
func (a authority) sign(t testing.TB, c *x509.Certificate) ([]byte, crypto.Signer) {
	t.Helper()
	key, err := a.newKey()
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotAfter.IsZero() {
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	}
	if a.key == nil {
		a = authority{cert: c, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
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

// The clients of GnuTLS (libnbd, qemu, gnutls-cli) and OpenSSL get in with the
// certificates that people have, over each version of TLS.
func TestInterop_CertificateKinds(t *testing.T) {
	t.Parallel()
	requireTools(t, "nbdinfo", "qemu-img", "gnutls-cli", "openssl")
	for kind := range keyKinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			ca := newAuthorityOf(t, kind)
			exports := &byName{exportMap: exportMap{"a": NewExport("a", newFileDevice(t, 8<<20), ExportOptions{})}}
			addr, _ := startServer(t, exports, func(s *Server) { s.TLS = ca.server(t) })
			dir := ca.folder(t, ca.client(t, "a"))
			host, port, err := net.SplitHostPort(addr)
			if err != nil {
				t.Fatal(err)
			}
			if out := runTool(t, "nbdinfo", "nbds://"+addr+"/a?tls-certificates="+dir); !strings.Contains(out, "export-size: 8388608") {
				t.Error(out)
			}
			out := runTool(t, "qemu-img", "info", "--object", "tls-creds-x509,id=tls,endpoint=client,dir="+dir, "--image-opts",
				"driver=nbd,export=a,tls-creds=tls,server.type=inet,server.host="+host+",server.port="+port)
			if !strings.Contains(out, "virtual size: 8 MiB") {
				t.Error(out)
			}
			gnutls := []string{"gnutls-cli", "--x509cafile=" + dir + "/ca-cert.pem", "--x509certfile=" + dir + "/client-cert.pem",
				"--x509keyfile=" + dir + "/client-key.pem"}
			openssl := []string{"openssl", "s_client", "-CAfile", dir + "/ca-cert.pem", "-verify_return_error",
				"-cert", dir + "/client-cert.pem", "-key", dir + "/client-key.pem"}
			for _, tt := range []struct {
				command []string
				version string
			}{
				{gnutls, "(TLS1.3-"},
				{append(slices.Clip(gnutls), "--priority=NORMAL:-VERS-TLS1.3"), "(TLS1.2-"},
				{openssl, "TLSv1.3"},
				{append(slices.Clip(openssl), "-tls1_2"), "TLSv1.2"},
			} {
				if out := listThroughTLS(t, addr, tt.command); !strings.Contains(out, tt.version) || !strings.Contains(out, listReply("a")) {
					t.Errorf("%q: %q", tt.command, out)
				}
			}
		})
	}
}

// The log says what is wrong with a client's TLS, and the metrics count it.
func TestTLS_FaultsAreNamed(t *testing.T) {
	t.Parallel()
	ca, other := newAuthority(t), newAuthority(t)
	expired, key := ca.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "old"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(-time.Hour)})
	purpose, purposeKey := ca.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "web"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	trusting := &tls.Config{RootCAs: ca.pool(), ServerName: "localhost"}
	with := func(c tls.Certificate) *tls.Config {
		cfg := trusting.Clone()
		cfg.Certificates = []tls.Certificate{c}
		return cfg
	}
	old := trusting.Clone()
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	for _, tt := range []struct {
		name, want string
		client     func(c *client)
	}{
		{"no certificate", "the client sends no certificate", func(c *client) { _ = c.startTLS(trusting) }},
		{"another authority", "of another authority than this server's clients (CN=a)", func(c *client) { _ = c.startTLS(with(other.client(c, "a"))) }},
		{"expired", "has expired or is not valid yet (CN=old)", func(c *client) {
			_ = c.startTLS(with(tls.Certificate{Certificate: [][]byte{expired}, PrivateKey: key}))
		}},
		{"another purpose", "is not one for TLS clients (CN=web)", func(c *client) {
			_ = c.startTLS(with(tls.Certificate{Certificate: [][]byte{purpose}, PrivateKey: purposeKey}))
		}},
		{"untrusting", "the client refuses this server", func(c *client) { _ = c.startTLS(&tls.Config{RootCAs: other.pool(), ServerName: "localhost"}) }},
		{"old TLS", "speaks no TLS that this server does", func(c *client) { _ = c.startTLS(old) }},
		{"gone", "the client leaves without a word", func(c *client) {
			c.option(optStartTLS, nil)
			c.Close()
		}},
		{"no TLS", "does not speak TLS after STARTTLS", func(c *client) {
			c.option(optStartTLS, nil)
			c.write(optionFrame(optGo, goData("a")))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log lockedBuffer
			refused := make(chan Refusal, 10)
			addr, _ := startServer(t, exportMap{}, func(s *Server) {
				s.TLS, s.Log = ca.server(t), slog.New(slog.NewTextHandler(&log, nil))
				s.OnRefused = func(r Refusal) { refused <- r }
			})
			c := dial(t, addr)
			tt.client(c)
			if tt.name != "gone" {
				c.wantDisconnected()
			}
			if r := <-refused; r != RefusedTLS {
				t.Errorf("counted as %q", r)
			}
			if !log.waitFor(tt.want) {
				t.Error(log.String())
			}
		})
	}
}

// listReply is the reply to LIST for an export without description.
func listReply(name string) string {
	h := &handshake{}
	h.appendOptionReply(optList, repServer, appendString(nil, name))
	return string(h.replies)
}

// listThroughTLS negotiates STARTTLS for a TLS client that does not know NBD, sends LIST
// through it and returns what it prints.
func listThroughTLS(t *testing.T, addr string, command []string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		tool, err := l.Accept()
		if err != nil {
			return
		}
		defer tool.Close()
		c := dial(t, addr)
		c.option(optStartTLS, nil)
		go func() {
			_, _ = io.Copy(c, tool)
			c.Close()
		}()
		_, _ = io.Copy(tool, c)
	}()
	if command[0] == "openssl" {
		command = append(slices.Clip(command), "-connect", l.Addr().String())
	} else {
		_, port, _ := net.SplitHostPort(l.Addr().String())
		command = append(slices.Clip(command), "--port="+port, "127.0.0.1")
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, command[0], command[1:]...)
	in, err := c.StdinPipe() // open until the end: some tools stop at the end of their input
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write(append(optionFrame(optList, nil), optionFrame(optAbort, nil)...))
	_ = c.Wait() // the server ends the connection
	return out.String()
}
