package app_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app"
	"blockconsole/web/app/apptest"
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

// TestServe_CallInFlight: Serve ends after the call to the storage that was under way,
// its result is saved, and the operation is free for the next console.
func TestServe_CallInFlight(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	letGo := sync.OnceFunc(func() { close(release) })
	t.Cleanup(letGo)
	slow := func(ctx context.Context, method string, call func(context.Context) error) error {
		if method == "CreateVolume" {
			close(entered)
			<-release
		}
		return call(ctx)
	}
	c := apptest.Open(t, apptest.Options{Backend: backend.Intercept(backendtest.NewFake(nil), slow), WallClock: true})
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- c.Main.Serve(ctx) }()
	asked, err := c.Store.Volumes.CreateVolume(t.Context(), storetest.Operator(), models.VolumeInput{Name: "data-1", Size: "1"})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	stop()
	select {
	case err := <-served:
		t.Fatalf("it has ended with %v while the storage makes a volume", err)
	case <-time.After(200 * time.Millisecond):
	}
	letGo()
	if err := <-served; err != nil {
		t.Error(err)
	}
	op, err := c.Store.Queue.Operation(t.Context(), storetest.Operator(), asked.ID)
	if err != nil || op.LeaseOwner != "" || c.Volume(asked.SubjectID).BackendID == "" {
		t.Errorf("the operation is %+v, error %v", op, err)
	}
}

// TestOpen_WeakAdminPassword: the first start refuses it, and a later one, which does not use it, starts.
func TestOpen_WeakAdminPassword(t *testing.T) {
	m := newMain(t, "ADMIN_PASSWORD=password123")
	err := m.Open(t.Context())
	if err == nil || !strings.Contains(err.Error(), "BLOCKCONSOLE_ADMIN_PASSWORD") || !strings.Contains(err.Error(), "easy to guess") {
		t.Errorf("the first start says %v", err)
	}
	for _, password := range []string{"correct horse", "password123"} {
		again := &app.Main{Environ: append(m.Environ, "BLOCKCONSOLE_ADMIN_PASSWORD="+password)}
		if err := again.Open(t.Context()); err != nil {
			t.Fatalf("start with %s: %v", password, err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpen_DoubtfulNames: users of older versions that look alike stay, and the log tells of them.
func TestOpen_DoubtfulNames(t *testing.T) {
	m := newMain(t)
	if err := m.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	u, err := m.Store.Users.AddUser(t.Context(), storetest.Administrator(), "kim", models.Viewer, storetest.Password)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", m.Config.DSN())
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE users SET name = 'Admin' WHERE id = ?", u.ID)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	again := &app.Main{Environ: m.Environ, Log: slog.New(slog.NewTextHandler(&log, nil))}
	if err := again.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "Admin") || !strings.Contains(log.String(), "taken for") {
		t.Errorf("the log is %s", log.String())
	}
}
