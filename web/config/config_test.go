package config

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/handlers"
)

func TestDefaults(t *testing.T) {
	c, err := Load(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Addr != "127.0.0.1:8080" || c.Backend != "local" || c.TimeZone.String() != "Asia/Seoul" || c.NBDAddr != "127.0.0.1:10809" ||
		c.MetricsAddr != "" || c.AllProjects || c.PublicURL != nil || len(c.TrustedProxies) != 0 || c.Secure() || c.TLS() != nil {
		t.Errorf("defaults are %+v", c)
	}
	if c.DSN() != filepath.Join("data", "blockconsole.db") {
		t.Errorf("database is %s", c.DSN())
	}
}

func TestBadSettingsNameTheVariable(t *testing.T) {
	for _, tc := range []struct{ variable, value string }{
		{"ADDR", ""}, {"ADDR", "8080"}, {"ADDR", "localhost:http"}, {"ADDR", "127.0.0.1:99999"},
		{"PUBLIC_URL", "console.example.com"}, {"PUBLIC_URL", "ftp://x"}, {"PUBLIC_URL", "https://x/path"}, {"PUBLIC_URL", "https://"}, {"PUBLIC_URL", "https://u@x"},
		{"DATA", ""}, {"DATABASE", ""}, {"BACKEND", "ceph"}, {"ALL_PROJECTS", "perhaps"}, {"ALL_PROJECTS", "true"},
		{"ADMIN_PASSWORD", "short"}, {"ADMIN_PASSWORD", strings.Repeat("x", 257)},
		{"TIMEZONE", "Seoul"}, {"TIMEZONE", ""}, {"TLS_CERT", "/nowhere/cert.pem"}, {"TLS_KEY", "/nowhere/key.pem"},
		{"TRUSTED_PROXIES", "proxy.example.com"}, {"TRUSTED_PROXIES", "10.0.0.0/99"},
		{"NBD_ADDR", "nbd"}, {"NBD_TLS_CERT", "/nowhere/cert.pem"}, {"NBD_TLS_KEY", "/nowhere/key.pem"}, {"NBD_TLS_CA", "/nowhere/ca.pem"},
		{"METRICS_ADDR", "9090"},
		{"STREAMS_PER_SESSION", "0"}, {"STREAMS_PER_USER", "x"}, {"STREAMS_PER_ADDRESS", "-5"}, {"CONNECTIONS", "-1"}, {"REQUESTS_PER_USER", "1"},
		{"HEADER_TIMEOUT", "10"}, {"HEADER_TIMEOUT", "0s"}, {"BODY_TIMEOUT", "soon"},
		{"SESSIONS_PER_USER", "0"}, {"SESSIONS_PER_USER", "-1"}, {"SESSIONS_PER_USER", "many"}, {"SESSIONS_PER_USER", "1e3"}, {"SESSIONS_PER_USER", ""},
	} {
		t.Run(tc.variable+"="+tc.value, func(t *testing.T) {
			_, err := Load([]string{EnvPrefix + tc.variable + "=" + tc.value})
			if err == nil || !strings.Contains(err.Error(), EnvPrefix+tc.variable) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSettingsAreRead(t *testing.T) {
	c, err := Load([]string{
		"BLOCKCONSOLE_PUBLIC_URL=https://Console.Example.com/", "BLOCKCONSOLE_DATA=/srv/bc", "BLOCKCONSOLE_DATABASE=mine.db",
		"BLOCKCONSOLE_TRUSTED_PROXIES=10.0.0.1, 192.168.0.0/16,::1", "BLOCKCONSOLE_NBD_ADDR=", "BLOCKCONSOLE_ALL_PROJECTS=true", "BLOCKCONSOLE_BACKEND=openstack",
		"BLOCKCONSOLE_ADRESS=mistyped", "PATH=/bin", "BLOCKCONSOLE_ADDR=127.0.0.1:1", "BLOCKCONSOLE_ADDR=127.0.0.1:0",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("::1/128")}
	if !slices.Equal(c.TrustedProxies, want) {
		t.Errorf("trusted proxies are %v", c.TrustedProxies)
	}
	if c.DSN() != "/srv/bc/mine.db" || c.NBDAddr != "" || !c.AllProjects || !c.Secure() || c.Addr != "127.0.0.1:0" {
		t.Errorf("settings are %+v", c)
	}
	if got := c.URL(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}); got != "https://console.example.com" {
		t.Errorf("URL is %s", got)
	}
	if !slices.Equal(c.Unknown, []string{"BLOCKCONSOLE_ADRESS"}) {
		t.Errorf("unknown are %v", c.Unknown)
	}
	for dsn, want := range map[string]string{"postgres://u@h/d": "postgres://u@h/d", "./here.db": "./here.db", "/abs/x.db": "/abs/x.db"} {
		c.Database = dsn
		if c.DSN() != want {
			t.Errorf("%s became %s", dsn, c.DSN())
		}
	}
}

// pemFiles makes a certificate that is its own authority, and files of it.
func pemFiles(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "storage"}}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: raw}, "key.pem": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
}

func TestNBDNeedsAllOfItsTLSFiles(t *testing.T) {
	cert, key := pemFiles(t)
	if c, err := Load(nil); err != nil || c.NBDTLS() != nil || c.ExportTLS() {
		t.Errorf("TLS out of nothing: %v", err)
	}
	c, err := Load([]string{"BLOCKCONSOLE_NBD_TLS_CERT=" + cert, "BLOCKCONSOLE_NBD_TLS_KEY=" + key, "BLOCKCONSOLE_NBD_TLS_CA=" + cert})
	if err != nil || c.NBDTLS() == nil || c.NBDTLS().ClientCAs == nil || c.NBDTLS().ClientAuth != tls.RequireAndVerifyClientCert || !c.ExportTLS() {
		t.Errorf("%+v %v", c.NBDTLS(), err)
	}
	for name, settings := range map[string][]string{
		"NBD_TLS_CA":   {"NBD_TLS_CERT=" + cert, "NBD_TLS_KEY=" + key},
		"NBD_TLS_KEY":  {"NBD_TLS_CERT=" + cert, "NBD_TLS_CA=" + cert},
		"NBD_TLS_CERT": {"NBD_TLS_CA=" + cert},
		"NBD_TLS_CA: " + key + " holds no certificate": {"NBD_TLS_CERT=" + cert, "NBD_TLS_KEY=" + key, "NBD_TLS_CA=" + key},
	} {
		for i := range settings {
			settings[i] = EnvPrefix + settings[i]
		}
		if _, err := Load(settings); err == nil || !strings.HasPrefix(err.Error(), EnvPrefix+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestURLOfAnOpenPort(t *testing.T) {
	var c Config
	for addr, want := range map[string]string{"0.0.0.0:8080": "http://localhost:8080", "[::]:8080": "http://localhost:8080", "127.0.0.1:9": "http://127.0.0.1:9", "[::1]:9": "http://[::1]:9"} {
		tcp, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.URL(tcp); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

func TestFlagsAreSettings(t *testing.T) {
	flags := flag.NewFlagSet("test", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	given := DefineFlags(flags)
	if err := flags.Parse([]string{"-addr", "127.0.0.1:0", "-data=/srv", "passwd", "kim"}); err != nil {
		t.Fatal(err)
	}
	c, err := Load(append([]string{"BLOCKCONSOLE_ADDR=127.0.0.1:1"}, given()...))
	if err != nil || c.Addr != "127.0.0.1:0" || c.Data != "/srv" {
		t.Errorf("settings are %+v, error %v", c, err)
	}
	if flags.Lookup("admin-password") != nil || flags.Lookup("database") != nil {
		t.Error("a secret can be given as a flag, where every user of the machine sees it")
	}
}

// settingsTable is the README's table of settings, in Markdown.
func settingsTable() string {
	var b strings.Builder
	b.WriteString("| variable | default | meaning |\n|---|---|---|\n")
	for _, s := range Settings() {
		value := ""
		if s.Default != "" {
			value = "`" + s.Default + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", s.Env, value, s.Doc)
	}
	return b.String()
}

func TestReadmeHasTheSettings(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	if table := settingsTable(); !bytes.Contains(readme, []byte(table)) {
		t.Errorf("README.md does not have the table of settings as it is:\n%s", table)
	}
}

func TestTLSListener(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	certificate := server.TLS.Certificates[0]
	c := Config{certificate: &certificate}
	if !c.Secure() || c.TLS().MinVersion < tls.VersionTLS12 {
		t.Error("a certificate does not make the console secure")
	}
	if handlers.SessionCookie(c.Secure()) != "__Host-blockconsole" {
		t.Error("the cookie has no prefix")
	}
}

// TestWhereServersFindTheVolumes: never at an address that only means «here, all
// of them».
func TestWhereServersFindTheVolumes(t *testing.T) {
	for settings, want := range map[string]string{
		"NBD_ADDR=192.0.2.7:1": "192.0.2.7", "NBD_ADDR=storage.example.com:1": "storage.example.com", "NBD_ADDR=[2001:db8::1]:1": "2001:db8::1",
		"NBD_ADDR=0.0.0.0:1 PUBLIC_URL=https://console.example.com:8443": "console.example.com", "NBD_ADDR=:1 PUBLIC_URL=http://c.example": "c.example",
		"NBD_ADDR=[::]:1 PUBLIC_URL=http://[2001:db8::2]": "2001:db8::2", "NBD_ADDR= ": "",
	} {
		var environ []string
		for _, s := range strings.Split(settings, " ") {
			environ = append(environ, EnvPrefix+strings.TrimSpace(s))
		}
		c, err := Load(environ)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.ExportHost(); got != want {
			t.Errorf("%s: %q, want %q", settings, got, want)
		}
	}
	c, err := Load([]string{EnvPrefix + "NBD_ADDR=0.0.0.0:1"})
	if host := c.ExportHost(); err != nil || host == "" || host == "0.0.0.0" {
		t.Errorf("%q %v", host, err)
	}
}

// CBC under TLS 1.2 has been broken again and again; whoever offers nothing else is not
// served.
func TestTLS_NoCBC(t *testing.T) {
	cert, key := pemFiles(t)
	c, err := Load([]string{"BLOCKCONSOLE_TLS_CERT=" + cert, "BLOCKCONSOLE_TLS_KEY=" + key,
		"BLOCKCONSOLE_NBD_TLS_CERT=" + cert, "BLOCKCONSOLE_NBD_TLS_KEY=" + key, "BLOCKCONSOLE_NBD_TLS_CA=" + cert})
	if err != nil {
		t.Fatal(err)
	}
	served := 0
	for name, server := range map[string]*tls.Config{"pages": c.TLS(), "NBD": c.NBDTLS()} {
		server = server.Clone()
		server.ClientAuth = tls.NoClientCert
		for _, suite := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
			if !slices.Contains(suite.SupportedVersions, tls.VersionTLS12) || !strings.Contains(suite.Name, "_ECDSA_") {
				continue
			}
			near, far := net.Pipe()
			handshake := make(chan error, 1)
			go func() { handshake <- tls.Server(far, server).Handshake() }()
			client := tls.Client(near, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite.ID}})
			err := client.Handshake()
			near.Close()
			<-handshake
			far.Close()
			aead := strings.Contains(suite.Name, "GCM") || strings.Contains(suite.Name, "POLY1305")
			if aead != (err == nil) {
				t.Errorf("%s: a client with %s alone: %v", name, suite.Name, err)
			}
			if err == nil {
				served++
			}
		}
	}
	if served != 6 {
		t.Errorf("%d handshakes, want those of three suites at two servers", served)
	}
}

func TestLimitsAreSettings(t *testing.T) {
	c, err := Load(nil)
	if err != nil || c.SessionsPerUser != 20 || c.StreamsPerSession != 12 || c.StreamsPerUser != 60 || c.StreamsPerAddress != 2000 ||
		c.Connections != 0 || c.HeaderTimeout != 10*time.Second || c.BodyTimeout != 20*time.Second {
		t.Errorf("%+v %v", c, err)
	}
	if c, err = Load([]string{"BLOCKCONSOLE_SESSIONS_PER_USER=3"}); err != nil || c.SessionsPerUser != 3 {
		t.Errorf("%+v %v", c, err)
	}
}
