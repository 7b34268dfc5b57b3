package app_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/store/storetest"
	"blockconsole/web/app"
	"blockconsole/web/app/apptest"
)

// The parts never have more than there is, and each has enough to work.
func TestDescriptors_Divided(t *testing.T) {
	for limit := app.LeastDescriptors; limit < 1<<20; limit += 1 + limit/50 {
		for _, nbd := range []bool{false, true} {
			d, err := app.DivideDescriptors(limit, 10, nbd)
			if err != nil {
				t.Fatal(err)
			}
			if sum := d.Open + d.Database + d.Workers + d.Pages + d.NBD; sum > limit {
				t.Errorf("%+v: %d of %d", d, sum, limit)
			}
			if d.Database < 8 || d.Workers < 8 || d.Pages < 10 || nbd != (d.NBD >= 8) {
				t.Errorf("%+v: too few", d)
			}
		}
	}
	if _, err := app.DivideDescriptors(app.LeastDescriptors-1, 10, true); err == nil || !strings.Contains(err.Error(), "ulimit -n") {
		t.Errorf("too low a limit: %v", err)
	}
}

// withFiles lets a program have few open files: its hard limit, which nobody raises.
func withFiles(t *testing.T, p *apptest.Program, limit int) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "limited")
	script := fmt.Sprintf("#!/bin/sh\nulimit -n %d\nexec %s \"$@\"\n", limit, p.Path)
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	p.Path = path
}

// dialMany opens connections that say nothing, until the test ends.
func dialMany(t *testing.T, address string, n int) {
	t.Helper()
	for range n {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// With few descriptors, and everybody at it: silent connections to the pages and over
// NBD, and one browser with more live pages than anybody needs. Health, signing in,
// clicks and the worker go on.
func TestProgram_FewDescriptors(t *testing.T) {
	p := apptest.NewProgram(t, "NBD_ADDR=127.0.0.1:0")
	withFiles(t, p, 64)
	p.Start()
	p.SignIn()
	apptest.WantStatus(t, p.Client.Post("/admin/servers", apptest.Form("name", "here", "address", "127.0.0.1"), apptest.AsJSON...), http.StatusCreated)
	dialMany(t, p.NBD(), 60)
	dialMany(t, strings.TrimPrefix(p.URL(), "http://"), 230)
	refused := 0
	for range 181 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		r, err := p.Client.NewRequest(ctx, http.MethodGet, "/storage/block-storage/volumes/events", nil, "Accept", "text/event-stream")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := p.Client.Do(r)
		if err != nil {
			t.Fatalf("after %d refusals: %v", refused, err)
		}
		t.Cleanup(func() { cancel(); resp.Body.Close() })
		if resp.StatusCode != http.StatusOK {
			refused++
			resp.Body.Close()
		}
	}
	if refused < 181-12 {
		t.Errorf("one session has %d live pages", 181-refused)
	}
	for range 3 {
		start := time.Now()
		apptest.WantStatus(t, p.Client.Get("/healthz"), http.StatusOK)
		apptest.WantStatus(t, p.Client.Get("/readyz"), http.StatusOK)
		p.Client.SignIn(models.FirstUser, storetest.Password)
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
	}
	p.Client.Succeed(apptest.Patience, "/storage/block-storage/volumes", "name", "made-anyway", "size_gib", "1")
	if log := p.Log(); !strings.Contains(log, "few files may be open") || !strings.Contains(log, `"limit":64`) {
		t.Errorf("the log does not say how few files may be open:\n%s", p.LogTail())
	}
}

func TestProgram_TooFewDescriptors(t *testing.T) {
	p := apptest.NewProgram(t)
	withFiles(t, p, 40)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := p.Command(ctx).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "ulimit -n") {
		t.Errorf("%v: it says %s", err, out)
	}
}
