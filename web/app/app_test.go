package app_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app"
)

// newMain is a console with a database and a folder of its own; settings are
// NAME=value without the prefix.
func newMain(t *testing.T, settings ...string) *app.Main {
	t.Helper()
	m := &app.Main{Environ: []string{"BLOCKCONSOLE_DATA=" + t.TempDir(), "BLOCKCONSOLE_ADDR=127.0.0.1:0", "BLOCKCONSOLE_NBD_ADDR=",
		"BLOCKCONSOLE_ADMIN_PASSWORD=correct horse"}}
	for _, s := range settings {
		m.Environ = append(m.Environ, "BLOCKCONSOLE_"+s)
	}
	return m
}

func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	clock := storetest.NewClock()
	fake := backendtest.NewFake(clock.Now)
	fake.AddServer("server-1", "web-1")
	var stdout bytes.Buffer
	m := newMain(t)
	m.Stdout, m.Now, m.Listener, m.Backend = &stdout, clock.Now, listener, fake
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Mirror.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if servers, err := m.Store.Servers.ServersOfProject(t.Context(), storetest.Operator(), "", 10); err != nil || len(servers) != 1 {
		t.Errorf("servers are %v, error %v", servers, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- m.Serve(ctx) }()
	resp, err := http.Get("http://" + listener.Addr().String() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "ready\n" {
		t.Errorf("readyz says %q, error %v", body, err)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if want := "blockconsole is at http://" + listener.Addr().String() + "\n"; stdout.String() != want {
		t.Errorf("it says %q, want %q", stdout.String(), want)
	}
}

// TestOpen_Failed: what was opened before the failure is free again.
func TestOpen_Failed(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	m := newMain(t, "METRICS_ADDR="+busy.Addr().String())
	if err := m.Open(t.Context()); err == nil || !strings.Contains(err.Error(), "BLOCKCONSOLE_METRICS_ADDR") {
		t.Fatalf("error is %v", err)
	}
	again := newMain(t, "DATA="+m.Config.Data, "ADDR="+m.Listener.Addr().String())
	if err := again.Open(t.Context()); err != nil {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpen_GivenStore: a store that was given is used and stays open.
func TestOpen_GivenStore(t *testing.T) {
	st, err := store.Open(filepath.Join(t.TempDir(), "test.db"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for range 2 {
		m := newMain(t)
		m.Store, m.Backend = st, backendtest.NewFake(nil)
		if err := m.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	login := models.Login{Name: models.FirstUser, Password: "correct horse", Address: "127.0.0.1"}
	if _, _, err := st.Sessions.SignIn(t.Context(), login); err != nil {
		t.Error(err)
	}
}

// TestServe_ListenerFails: the error is returned, although ctx goes on.
func TestServe_ListenerFails(t *testing.T) {
	m := newMain(t)
	m.Backend = backendtest.NewFake(nil)
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- m.Serve(t.Context()) }()
	select {
	case err := <-served:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve hangs")
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}
