//go:build linux

package local

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/backend/local/nbd"
)

// dialNBD connects to the backend from a local address.
func dialNBD(t *testing.T, b *Backend, from string) *backendtest.NBD {
	t.Helper()
	c, err := backendtest.DialNBD(t.Context(), b.nbd.address, from, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// useExport connects from 127.0.0.1 and opens the export of a volume.
func useExport(t *testing.T, b *Backend, ref string) *backendtest.NBD {
	t.Helper()
	c := dialNBD(t, b, "127.0.0.1")
	if err := c.Use(ref); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantDenied fails where the export exists for a client from that address.
func wantDenied(t *testing.T, b *Backend, from, ref string) {
	t.Helper()
	c := dialNBD(t, b, from)
	if list, err := c.List(); err != nil || len(list) > 0 {
		t.Errorf("from %s: listed %v, %v", from, list, err)
	}
	if err := c.Use(ref); !errors.Is(err, backendtest.ErrNBDUnknown) {
		t.Errorf("from %s: %v", from, err)
	}
}

func TestExport_AttachedServerOnly(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	if err := s.b.RenameVolume(t.Context(), backend.Key{Ref: s.used}, "the\x00name", ""); err != nil {
		t.Fatal(err)
	}
	c := dialNBD(t, s.b, "127.0.0.1")
	list, err := c.List()
	if err != nil || len(list) != 1 || list[0] != (backendtest.NBDExport{Name: s.used, Description: "the"}) {
		t.Errorf("listed %v, %v", list, err)
	}
	for _, name := range []string{s.vol, newRef(t), "", "../" + s.used, strings.ToUpper(s.used)} {
		if err := c.Use(name); !errors.Is(err, backendtest.ErrNBDUnknown) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := c.Use(s.used); err != nil || c.Size != gib {
		t.Errorf("%v, %d bytes", err, c.Size)
	}
	wantDenied(t, s.b, "127.0.0.2", s.used)  // registered, and not attached
	wantDenied(t, s.b, "127.0.0.77", s.used) // only in a network of another server
	if c, err := backendtest.DialNBD(t.Context(), s.b.nbd.address, "127.1.0.1", nil); err == nil {
		c.Close()
		t.Error("nobody is registered there")
	}
	x, err := s.b.Export(t.Context(), backend.Key{Ref: s.used})
	if err != nil || x != (backend.Export{Protocol: "nbd", Address: s.b.nbd.address, Name: s.used}) {
		t.Errorf("%+v %v", x, err)
	}
	if _, err := s.b.Export(t.Context(), backend.Key{Ref: s.vol}); backend.AsError(err, backend.CodeConflict) == nil {
		t.Errorf("the export of a volume that has none: %v", err)
	}
}

func TestServerRegistry_Refresh(t *testing.T) {
	t.Parallel()
	var clock atomic.Int64
	clock.Store(time.Now().UnixNano())
	var moved atomic.Bool
	var down atomic.Bool
	b := open(t, withNBD(t, Options{Dir: memDir(t), Now: func() time.Time { return time.Unix(0, clock.Load()) },
		Servers: func(context.Context) ([]backend.RegisteredServer, error) {
			if down.Load() {
				return nil, errors.New("no database")
			}
			if moved.Load() {
				return []backend.RegisteredServer{{ID: "here", Name: "renamed", Addresses: []string{"127.0.0.2"}}}, nil
			}
			return testServers, nil
		}}))
	ref := newRef(t)
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	down.Store(true)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); backend.AsError(err, backend.CodeUnavailable) == nil {
		t.Errorf("attached to nobody knows whom: %v", err)
	}
	if c, err := backendtest.DialNBD(t.Context(), b.nbd.address, "127.0.0.1", nil); err == nil {
		c.Close()
		t.Error("let in nobody knows whom")
	}
	down.Store(false)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); err != nil {
		t.Fatal(err)
	}
	down.Store(true)
	clock.Add(int64(time.Minute))
	useExport(t, b, ref) // allowed by the last known list
	down.Store(false)
	moved.Store(true)
	clock.Add(int64(2 * serversTTL))
	if v := getVolume(t, b, ref); v.Attachments[0].ServerName != "renamed" {
		t.Errorf("attached to %q", v.Attachments[0].ServerName)
	}
	c := dialNBD(t, b, "127.0.0.2")
	if err := c.Use(ref); err != nil {
		t.Error(err)
	}
	if c, err := backendtest.DialNBD(t.Context(), b.nbd.address, "127.0.0.1", nil); err == nil {
		c.Close()
		t.Error("the old address is still let in")
	}
}

func TestExtendVolume_Attached(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	before := useExport(t, s.b, s.used)
	if err := s.b.ExtendVolume(t.Context(), backend.Key{Ref: s.used}, 3); err != nil {
		t.Fatal(err)
	}
	after := useExport(t, s.b, s.used)
	if before.Size != gib || after.Size != 3*gib {
		t.Errorf("%d, then %d bytes", before.Size, after.Size)
	}
	if _, err := after.WriteAt([]byte("new room"), 2*gib); err != nil {
		t.Error(err)
	}
	if _, err := before.WriteAt([]byte("beyond"), 2*gib); err == nil {
		t.Error("the old connection writes beyond the end that it knows")
	}
}

func TestClose_ClientConnected(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	c := useExport(t, s.b, s.used)
	if _, err := c.WriteAt(text, 1<<20); err != nil {
		t.Fatal(err)
	}
	s.reopen()
	if err := c.Ended(); err != nil {
		t.Error(err)
	}
	c, got := useExport(t, s.b, s.used), make([]byte, len(text))
	if _, err := c.ReadAt(got, 1<<20); err != nil || !bytes.Equal(got, text) {
		t.Errorf("%q, %v", got, err)
	}
	// The next process finishes the detachment.
	if err := s.b.DetachVolume(t.Context(), backend.Key{Ref: s.used}, "here", false); err != nil {
		t.Fatal(err)
	}
	if v := getVolume(t, s.b, s.used); v.Status != backend.Detaching {
		t.Fatalf("%+v", v)
	}
	s.reopen()
	waitStatus(t, s.b, s.used, backend.Available)
}

func TestOpen_AttachedWithoutNBD(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	s.b.Close()
	off := open(t, Options{Dir: s.dir})
	if v := getVolume(t, off, s.used); v.Status != backend.Available || len(v.Attachments) > 0 {
		t.Errorf("%+v", v)
	}
	if err := off.RenameVolume(t.Context(), backend.Key{Ref: s.used}, "renamed", ""); err != nil {
		t.Error(err)
	}
	if list, err := off.Connections(t.Context()); err != nil || len(list) > 0 {
		t.Errorf("%v %v", list, err)
	}
	if _, err := off.Export(t.Context(), backend.Key{Ref: s.used}); !errors.Is(err, backend.ErrUnsupported) {
		t.Error(err)
	}
	off.Close()
	s.reopen()
	if v := getVolume(t, s.b, s.used); v.Status != backend.InUse || v.Name != "renamed" {
		t.Errorf("%+v", v)
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	s := newHarness(t, nil)
	if v := getVolume(t, s.b, s.used); v.Attachments[0].UsedAt != 0 {
		t.Error("used by nobody, and said to be")
	}
	c := useExport(t, s.b, s.used)
	useExport(t, s.b, s.used)
	if _, err := c.WriteAt(make([]byte, 8192), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadAt(make([]byte, 512), 0); err != nil {
		t.Fatal(err)
	}
	list, err := s.b.Connections(t.Context())
	if err != nil || len(list) != 2 || list[0].ID == list[1].ID {
		t.Fatalf("%+v %v", list, err)
	}
	one := list[0]
	host, _, err := net.SplitHostPort(one.Address)
	if err != nil || host != "127.0.0.1" || one.Object.Ref != s.used || one.ServerID != "here" || one.BytesWritten != 8192 || one.BytesRead != 512 ||
		one.Since == 0 || one.ActiveAt < one.Since || one.Identity != "" {
		t.Errorf("%+v", one)
	}
	if v := getVolume(t, s.b, s.used); v.Attachments[0].UsedAt == 0 {
		t.Error("used, and not said to be")
	}
}

func TestOpen_NBDOptions(t *testing.T) {
	t.Parallel()
	o := withNBD(t, Options{Dir: memDir(t)})
	o.Servers = nil
	if b, err := Open(o); err == nil {
		b.Close()
		t.Error("opened without knowing whom to let in")
	}
	if _, err := o.NBD.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener of a failed start: %v", err)
	}
	s := newHarness(t, nil)
	if b, err := Open(withNBD(t, Options{Dir: s.dir})); !errors.Is(err, ErrInUse) {
		b.Close()
		t.Error(err)
	}
}

// changeableServers are registered servers that a test changes.
type changeableServers struct {
	list atomic.Pointer[[]backend.RegisteredServer]
	down atomic.Bool
}

func (s *changeableServers) set(list ...backend.RegisteredServer) { s.list.Store(&list) }

func (s *changeableServers) fetch(context.Context) ([]backend.RegisteredServer, error) {
	if s.down.Load() {
		return nil, errors.New("no database")
	}
	return *s.list.Load(), nil
}

// newChangeable has two volumes, one attached to each of two servers.
func newChangeable(t *testing.T, secure *tls.Config) (b *Backend, servers *changeableServers, mine, other string) {
	t.Helper()
	servers = &changeableServers{}
	servers.set(testServers[:2]...)
	b = open(t, withNBD(t, Options{Dir: memDir(t), Servers: servers.fetch, NBDTLS: secure}))
	refs := []string{newRef(t), newRef(t)}
	for i, ref := range refs {
		if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, SizeGiB: 1}); err != nil {
			t.Fatal(err)
		}
		settle(t, b)
		if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, testServers[i].ID); err != nil {
			t.Fatal(err)
		}
	}
	return b, servers, refs[0], refs[1]
}

// Who would not be let in any more is disconnected, and nobody else.
func TestExport_RegistrationTakenAway(t *testing.T) {
	t.Parallel()
	a := backendtest.NewAuthority(t)
	secure := &tls.Config{Certificates: []tls.Certificate{a.Server()}, ClientCAs: a.Pool()}
	other := testServers[1]
	for _, tt := range []struct {
		name string
		tls  bool
		now  []backend.RegisteredServer
	}{
		{"address", false, []backend.RegisteredServer{{ID: "here", Name: "web-1", Addresses: []string{"127.0.0.9"}}, other}},
		{"address given to another", false, []backend.RegisteredServer{{ID: "here", Name: "web-1", Addresses: []string{"127.0.0.9"}}, {ID: "there", Name: "web-2", Addresses: []string{"127.0.0.1", "127.0.0.2"}}}},
		{"deleted", false, []backend.RegisteredServer{other}},
		{"certificate of the former name", true, []backend.RegisteredServer{{ID: "here", Name: "db-1", Addresses: []string{"127.0.0.1"}}, other}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var config, mine, theirs *tls.Config
			if tt.tls {
				config, mine, theirs = secure, clientTLS(a, "web-1"), clientTLS(a, "web-2")
			}
			b, servers, ref, otherRef := newChangeable(t, config)
			use := func(from, ref string, secure *tls.Config) *backendtest.NBD {
				c, err := backendtest.DialNBD(t.Context(), b.nbd.address, from, secure)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				if err := c.Use(ref); err != nil {
					t.Fatal(err)
				}
				return c
			}
			ended, stays := use("127.0.0.1", ref, mine), use("127.0.0.2", otherRef, theirs)
			if _, err := ended.WriteAt(text, 4096); err != nil {
				t.Fatal(err)
			}
			servers.set(tt.now...)
			if err := ended.Ended(); err != nil {
				t.Fatal("still connected:", err)
			}
			if err := stays.Flush(); err != nil {
				t.Error("another server was disconnected:", err)
			}
		})
	}
}

// A console that does not answer takes no registration away.
func TestExport_RegistrationsUnknown(t *testing.T) {
	t.Parallel()
	b, servers, ref, _ := newChangeable(t, nil)
	c := useExport(t, b, ref)
	servers.down.Store(true)
	if err := b.endUnregistered(t.Context()); err == nil {
		t.Error("the console answered")
	}
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
}

// Clients without a registration do not keep a detachment waiting.
func TestDetachVolume_RegistrationTakenAway(t *testing.T) {
	t.Parallel()
	b, servers, ref, _ := newChangeable(t, nil)
	useExport(t, b, ref)
	if err := b.DetachVolume(t.Context(), backend.Key{Ref: ref}, "here", false); err != nil {
		t.Fatal(err)
	}
	if v := getVolume(t, b, ref); v.Status != backend.Detaching {
		t.Fatalf("%+v", v)
	}
	servers.set(backend.RegisteredServer{ID: "here", Name: "web-1", Addresses: []string{"127.0.0.9"}}, testServers[1])
	waitStatus(t, b, ref, backend.Available)
}

// syncBuffer is a log that is written while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A client that is denied an export learns nothing; the log says why.
func TestExport_DenialsAreExplained(t *testing.T) {
	t.Parallel()
	a := backendtest.NewAuthority(t)
	var log syncBuffer
	refused := make(chan string, 10)
	b := open(t, withNBD(t, Options{Dir: memDir(t), Log: slog.New(slog.NewTextHandler(&log, nil)), OnRefused: func(reason string) { refused <- reason },
		NBDTLS: &tls.Config{Certificates: []tls.Certificate{a.Server()}, ClientCAs: a.Pool()}}))
	ref := newRef(t)
	if _, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: ref, SizeGiB: 1}); err != nil {
		t.Fatal(err)
	}
	settle(t, b)
	if err := b.AttachVolume(t.Context(), backend.Key{Ref: ref}, "here"); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ from, certificate, export, want string }{
		{"127.0.0.3", "web-1", "data-1", "nothing that is attached is called"},
		{"127.0.0.2", "web-1", ref, "attached to web-1, which does not have the address"},
		{"127.0.0.1", "db-1", ref, "attached to web-1, and the certificate has another name"},
	} {
		c, err := backendtest.DialNBD(t.Context(), b.nbd.address, tt.from, clientTLS(a, tt.certificate))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.Use(tt.export); !errors.Is(err, backendtest.ErrNBDUnknown) {
			t.Errorf("%+v: %v", tt, err)
		}
		if reason := <-refused; reason != string(nbd.RefusedExport) || !strings.Contains(log.String(), tt.want) || !strings.Contains(log.String(), `subject="CN=`+tt.certificate) {
			t.Errorf("%+v: %s\n%s", tt, reason, log.String())
		}
	}
}
