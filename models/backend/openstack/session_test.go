package openstack

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

// clock is a settable one.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

func unavailable(t *testing.T, err error) *backend.Error {
	t.Helper()
	var u *backend.Error
	if !errors.As(err, &u) || u.Code != backend.CodeUnavailable {
		t.Fatalf("%v is not CodeUnavailable", err)
	}
	return u
}

func TestMicroversions(t *testing.T) {
	for _, tt := range []struct {
		cinder  int
		want    string
		force   bool
		changes bool
	}{{71, "volume 3.66", false, true}, {66, "volume 3.66", false, true}, {65, "volume 3.65", true, true}, {59, "volume 3.59", true, false}} {
		cloud, b := newCloud(t, openstacktest.Options{Cinder: tt.cinder})
		of := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		if _, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: backend.Key{ID: of}}); err != nil {
			t.Fatal(err)
		}
		for _, r := range cloud.Requests() {
			if r.Service != "volume" {
				continue
			}
			if asks := strings.Contains(r.Path, "/volumes") || strings.Contains(r.Path, "/snapshots"); asks && r.Microversion != tt.want {
				t.Errorf("3.%d: %s %s as %q", tt.cinder, r.Method, r.Path, r.Microversion)
			}
			if r.Method == "POST" && strings.Contains(r.Body, "force") != tt.force {
				t.Errorf("3.%d: %s", tt.cinder, r.Body)
			}
		}
		if n := cloud.Count("volume", "GET", "/v3/?$"); n != 1 {
			t.Errorf("3.%d: the versions were read %d times", tt.cinder, n)
		}
		if _, err := b.ChangedVolumes(t.Context(), time.Now()); errors.Is(err, backend.ErrUnsupported) == tt.changes || err != nil && tt.changes {
			t.Errorf("3.%d: changed volumes: %v", tt.cinder, err)
		}
	}
}

// The versions are read again when they could not be, and never guessed.
func TestVersionsAreReadAgainAfterAFailure(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	down := cloud.Break(openstacktest.Rule{Service: "volume", Path: `/v3/?$`}, openstacktest.Fault{Status: 503, Body: openstacktest.HTML})
	_, err := b.Volumes(t.Context(), "", 10)
	if u := unavailable(t, err); u.Cause != "" {
		t.Error("a service that is down was taken for wrong credentials")
	}
	if cloud.Count("volume", "", "/volumes") != 0 {
		t.Error("it went on without a version")
	}
	cloud.MendOne(down)
	if _, err := b.Volumes(t.Context(), "", 10); unavailable(t, err).RetryAfter != afterFailure {
		t.Errorf("asked again at once: %v", err)
	}
	now.move(afterFailure)
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
}

func TestOpenNeedsNoCloud(t *testing.T) {
	now := newClock()
	cloud := openstacktest.New(openstacktest.Options{Now: now.Now})
	variables := cloud.Env("demo", cloud.Project)
	cloud.Close()
	b := open(t, Options{Now: now.Now, Getenv: env(variables)})
	if _, err := b.Capabilities(t.Context()); unavailable(t, err).Cause != "" {
		t.Errorf("%v", err)
	}
}

func TestTokensAreRenewedInTheMiddleOfWork(t *testing.T) {
	for _, kind := range []string{"password", "application credential"} {
		now := newClock()
		cloud := openstacktest.New(openstacktest.Options{Now: now.Now, TokenLife: time.Hour})
		t.Cleanup(cloud.Close)
		variables := cloud.Env("demo", cloud.Project)
		if kind != "password" {
			id, secret := cloud.AddCredential("demo", cloud.Project, "console")
			variables = map[string]string{
				"OS_AUTH_URL": cloud.URL(), "OS_APPLICATION_CREDENTIAL_ID": id, "OS_APPLICATION_CREDENTIAL_SECRET": secret, "OS_REGION_NAME": openstacktest.Region,
			}
		}
		b := open(t, Options{Now: now.Now, Getenv: env(variables)})
		spec := backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1}
		made, err := b.CreateVolume(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		for _, lose := range []func(){func() { now.move(2 * time.Hour) }, cloud.RevokeTokens} {
			lose()
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					if v, err := b.CreateVolume(t.Context(), spec); err != nil || v.ID != made.ID {
						t.Errorf("%s: %v", kind, err)
					}
				})
			}
			all.Wait()
		}
		if n := len(cloud.Volumes()); n != 1 {
			t.Errorf("%s: %d volumes", kind, n)
		}
		if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 3 {
			t.Errorf("%s: signed in %d times", kind, n)
		}
	}
}

func TestRefusedCredentials(t *testing.T) {
	now := newClock()
	cloud := openstacktest.New(openstacktest.Options{Now: now.Now})
	t.Cleanup(cloud.Close)
	id, secret := cloud.AddCredential("demo", cloud.Project, "console")
	b := open(t, Options{Now: now.Now, Getenv: env(map[string]string{
		"OS_AUTH_URL": cloud.URL(), "OS_APPLICATION_CREDENTIAL_ID": id, "OS_APPLICATION_CREDENTIAL_SECRET": secret, "OS_REGION_NAME": openstacktest.Region,
	})})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	cloud.RevokeCredential(id)
	cloud.Forget()
	for range 5 {
		_, err := b.Volumes(t.Context(), "", 10)
		if u := unavailable(t, err); u.Cause != backend.Credentials {
			t.Fatalf("%v", err)
		}
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 1 {
		t.Errorf("a refused credential was sent %d times", n)
	}
	now.move(afterRefusal)
	if _, err := b.Volumes(t.Context(), "", 10); unavailable(t, err).Cause != backend.Credentials || cloud.Count("identity", "POST", "/auth/tokens") != 2 {
		t.Errorf("later: %v", err)
	}
}

// A service may refuse what Keystone has just given: the credentials are good then.
func TestRefusedTokens(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	cloud.Break(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 401, Body: `{"error": {"code": 401, "message": "The request you have made requires authentication."}}`})
	for range 5 {
		if _, err := b.Volumes(t.Context(), "", 10); unavailable(t, err).Cause != backend.Token {
			t.Fatalf("%v", err)
		}
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 2 {
		t.Errorf("signed in %d times", n)
	}
	cloud.Mend()
	now.move(afterRefusal)
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
}

func TestTooManyRequestsIsNoSilence(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	tooMany := openstacktest.Fault{Status: 429, Header: map[string]string{"Retry-After": "9"}}
	for _, service := range []string{"identity", "volume"} {
		broken := cloud.Break(openstacktest.Rule{Service: service}, tooMany)
		if u := unavailable(t, second(b.Volumes(t.Context(), "", 10))); u.Cause != backend.TooMany || u.RetryAfter != 9*time.Second {
			t.Errorf("%s: %+v", service, u)
		}
		cloud.MendOne(broken)
		now.move(9 * time.Second)
	}
}

func second[T any](_ T, err error) error { return err }

func TestWhatIsWrongWithACertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	own := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(own, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	demanding := httptest.NewUnstartedServer(http.NotFoundHandler())
	demanding.Config.ErrorLog = log.New(io.Discard, "", 0)
	demanding.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	demanding.StartTLS()
	t.Cleanup(demanding.Close)
	for _, tt := range []struct {
		name, url, ca string
		now           time.Time
		want          backend.Cause
	}{
		{"accepted", server.URL, own, time.Now(), ""},
		{"of nobody we know", server.URL, "", time.Now(), backend.Certificate},
		{"of another host", strings.Replace(server.URL, "127.0.0.1", "localhost", 1), own, time.Now(), backend.Certificate},
		{"not yet valid", server.URL, own, server.Certificate().NotBefore.Add(-time.Hour), backend.Clock},
		{"expired", server.URL, own, server.Certificate().NotAfter.Add(time.Hour), backend.Clock},
		{"ours is missing", demanding.URL, own, time.Now(), backend.Certificate},
	} {
		b := open(t, Options{Now: func() time.Time { return tt.now }, Getenv: env(map[string]string{
			"OS_AUTH_URL": tt.url + "/v3", "OS_USERNAME": "u", "OS_PASSWORD": "p", "OS_PROJECT_NAME": "p", "OS_CACERT": tt.ca,
		})})
		if err := second(b.Volumes(t.Context(), "", 10)); unavailable(t, err).Cause != tt.want {
			t.Errorf("%s: %q, want %q: %v", tt.name, unavailable(t, err).Cause, tt.want, err)
		}
	}
}

func TestKeystoneDownIsNoRefusal(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	cloud.RevokeTokens()
	cloud.Break(openstacktest.Rule{Service: "identity"}, openstacktest.Fault{Status: 503, Body: openstacktest.HTML})
	if _, err := b.Volumes(t.Context(), "", 10); unavailable(t, err).Cause != "" {
		t.Errorf("%v", err)
	}
	cloud.Mend()
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Errorf("Keystone is back: %v", err)
	}
}

func TestAHangingCloudHoldsNobodyLongerThanAsked(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	hang := cloud.Break(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Hang: true})
	defer hang.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Volume(ctx, backend.Key{ID: newRef(t)})
	if unavailable(t, err); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// The catalog decides where a service is; a region or an interface that it has not is
// said with the variable.
func TestWrongRegion(t *testing.T) {
	cloud := openstacktest.New(openstacktest.Options{})
	t.Cleanup(cloud.Close)
	variables := cloud.Env("demo", cloud.Project)
	variables["OS_REGION_NAME"] = "Nowhere"
	_, err := open(t, Options{Getenv: env(variables)}).Capabilities(t.Context())
	if u := unavailable(t, err); u.Cause != "" || !strings.Contains(err.Error(), "OS_REGION_NAME") || !strings.Contains(err.Error(), "Nowhere") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"internal", "admin"} {
		variables["OS_REGION_NAME"], variables["OS_INTERFACE"] = openstacktest.Region, name
		if _, err := open(t, Options{Getenv: env(variables)}).Capabilities(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The catalog and the versions are read again when an address has long stopped to
// answer, and at once when the version is refused.
func TestDoubtfulSessionsAreOpenedAgain(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	versions := func() int { return cloud.Count("volume", "GET", "/v3/?$") }
	ask := func(f openstacktest.Fault) {
		t.Helper()
		broken := cloud.Break(openstacktest.Rule{Path: "/volumes/detail"}, f)
		_, err := b.Volumes(t.Context(), "", 1)
		unavailable(t, err)
		cloud.MendOne(broken)
		if _, err := b.Volumes(t.Context(), "", 1); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		after time.Duration
		fault openstacktest.Fault
		reads int
	}{
		{0, openstacktest.Fault{Status: 503}, 1},
		{0, openstacktest.Fault{Drop: true}, 1},
		{oldCatalog, openstacktest.Fault{Drop: true}, 2},
		{time.Second, openstacktest.Fault{Status: 404, Body: openstacktest.HTML}, 2},
		{time.Second, openstacktest.Fault{Status: 406}, 3},
	} {
		now.move(tt.after)
		ask(tt.fault)
		if got := versions(); got != tt.reads {
			t.Errorf("after %+v the versions were read %d times, want %d", tt.fault, got, tt.reads)
		}
	}
}
