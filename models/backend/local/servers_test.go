package local

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

func TestRegisteredServer_Addresses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		of, from string
		want     bool
	}{
		{"10.1.2.3", "10.1.2.3", true},
		{"10.1.2.3", "10.1.2.4", false},
		{" 10.1.2.3 ", "::ffff:10.1.2.3", true},
		{"10.1.0.0/16", "10.1.255.1", true},
		{"10.1.7.9/16", "10.1.255.1", true},
		{"10.1.0.0/16", "10.2.0.1", false},
		{"::ffff:10.1.2.3", "10.1.2.3", true},
		{"::ffff:10.1.0.0/112", "10.1.9.9", true},
		{"::ffff:10.1.0.0/112", "10.2.9.9", false},
		{"2001:db8::/32", "2001:db8:1::7", true},
		{"2001:db8::/32", "2001:db9::7", false},
		{"::/0", "10.1.2.3", false},
		{"0.0.0.0/0", "10.1.2.3", true},
		{"0.0.0.0/0", "::1", false},
		{"fe80::1", "fe80::1%eth0", true},
		{"fe80::1%eth0", "fe80::1", true},
		{"web-1.example.com", "10.1.2.3", false},
		{"", "10.1.2.3", false},
		{"10.1.2.3/99", "10.1.2.3", false},
		{"10.1.2.3-10.1.2.9", "10.1.2.3", false},
	} {
		s := registeredServer{networks: parseNetworks([]string{tt.of})}
		if got := s.hasAddress(netip.MustParseAddr(tt.from)); got != tt.want {
			t.Errorf("%q lets %s in: %v", tt.of, tt.from, got)
		}
	}
}

// clientTLS is the configuration of a client whose certificate has these names.
func clientTLS(a *backendtest.Authority, common string, dns ...string) *tls.Config {
	return &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1", Certificates: []tls.Certificate{a.Client(common, dns...)}}
}

// TestExport_Certificates tells two servers at one address apart.
func TestExport_Certificates(t *testing.T) {
	t.Parallel()
	a, stranger := backendtest.NewAuthority(t), backendtest.NewAuthority(t)
	certificates := []tls.Certificate{a.Server()}
	b := open(t, withNBD(t, Options{Dir: memDir(t), NBDTLS: &tls.Config{Certificates: certificates, ClientCAs: a.Pool()}}))
	ref := newRef(t)
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); err != nil { // web-1
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, from string
		secure     *tls.Config
		in, sees   bool
	}{
		{"its certificate", "127.0.0.1", clientTLS(a, "web-1"), true, true},
		{"its name among others", "127.0.0.1", clientTLS(a, "anything", "db.example.com", "WEB-1"), true, true},
		{"another server at the same address", "127.0.0.1", clientTLS(a, "web-3"), true, false},
		{"a name that is no name", "127.0.0.1", clientTLS(a, "", "web-10"), true, false},
		{"its certificate from another address", "127.0.0.2", clientTLS(a, "web-1"), true, false},
		{"its certificate from nowhere", "127.1.0.1", clientTLS(a, "web-1"), false, false},
		{"no certificate", "127.0.0.1", &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1"}, false, false},
		{"a certificate of somebody else", "127.0.0.1", &tls.Config{RootCAs: a.Pool(), ServerName: "127.0.0.1", Certificates: clientTLS(stranger, "web-1").Certificates}, false, false},
		{"no TLS", "127.0.0.1", nil, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := backendtest.DialNBD(t.Context(), b.nbd.address, tt.from, tt.secure)
			if err == nil {
				t.Cleanup(func() { c.Close() })
				var list []backendtest.NBDExport
				list, err = c.List()
				if tt.sees != (len(list) == 1) {
					t.Errorf("listed %v, %v", list, err)
				}
			}
			if tt.in != (err == nil) {
				t.Fatalf("connecting: %v", err)
			}
			if !tt.in {
				return
			}
			if err := c.Use(ref); tt.sees && err != nil || !tt.sees && !errors.Is(err, backendtest.ErrNBDUnknown) {
				t.Error(err)
			}
		})
	}
	x, err := b.Export(context.Background(), backend.Key{Ref: ref})
	if err != nil || x.Protocol != "nbds" {
		t.Errorf("%+v %v", x, err)
	}
	o := withNBD(t, Options{Dir: memDir(t), NBDTLS: &tls.Config{Certificates: certificates}})
	if b, err := Open(o); err == nil {
		b.Close()
		t.Error("opened without an authority that could tell clients apart")
	}
}

// While the console does not answer it is asked once in a while, not by every client.
func TestServerRegistry_ConsoleDown(t *testing.T) {
	t.Parallel()
	now, asked := time.Now(), 0
	var down error
	r := serverRegistry{now: func() time.Time { return now }, fetch: func(context.Context) ([]backend.RegisteredServer, error) {
		asked++
		return testServers, down
	}}
	for i, tt := range []struct {
		after time.Duration
		down  error
		asked int
	}{
		{0, errors.New("no database"), 1},
		{0, errors.New("no database"), 2}, // it is not known who may connect
		{0, nil, 3},
		{serversTTL, errors.New("no database"), 4},
		{0, errors.New("no database"), 4},
		{serversTTL, nil, 5},
	} {
		now, down = now.Add(tt.after), tt.down
		list, err := r.list(t.Context())
		if asked != tt.asked || (err == nil) != (len(list) == len(testServers)) || (err == nil) != (i >= 2) {
			t.Errorf("%d: asked %d times, %d servers, %v", i, asked, len(list), err)
		}
	}
}
