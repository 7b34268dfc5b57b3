package openstack

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

// testClock is a clock that tests advance.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newClock() *testClock { return &testClock{now: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)} }

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

// Versions that could not be read are read again, never guessed.
func TestMicroversions_ReadAgainAfterFailure(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	down := cloud.Inject(openstacktest.Rule{Service: "volume", Path: `/v3/?$`}, openstacktest.Fault{Status: 503, Body: openstacktest.ProxyHTML})
	_, err := b.Volumes(t.Context(), "", 10)
	if u := requireUnavailable(t, err); u.Cause != "" {
		t.Error("a service that is down has a cause")
	}
	if cloud.Count("volume", "", "/volumes") != 0 {
		t.Error("volumes were requested without a version")
	}
	cloud.ClearFault(down)
	if _, err := b.Volumes(t.Context(), "", 10); requireUnavailable(t, err).RetryAfter != failedWait {
		t.Errorf("signed in again at once: %v", err)
	}
	now.advance(failedWait)
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
}

func TestOpen_CloudDown(t *testing.T) {
	now := newClock()
	cloud := openstacktest.New(openstacktest.Options{Now: now.Now})
	variables := cloud.Env("demo", cloud.Project)
	cloud.Close()
	b := open(t, Options{Now: now.Now, Getenv: env(variables)})
	if _, err := b.Capabilities(t.Context()); requireUnavailable(t, err).Cause != "" {
		t.Errorf("%v", err)
	}
}

func TestToken_Renewed(t *testing.T) {
	for _, kind := range []string{"password", "application credential"} {
		now := newClock()
		cloud := openstacktest.New(openstacktest.Options{Now: now.Now, TokenTTL: time.Hour})
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
		for _, lose := range []func(){func() { now.advance(2 * time.Hour) }, cloud.RevokeTokens} {
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

func TestSignIn_RefusedCredentials(t *testing.T) {
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
	cloud.ResetRequests()
	for range 5 {
		_, err := b.Volumes(t.Context(), "", 10)
		if u := requireUnavailable(t, err); u.Cause != backend.Credentials {
			t.Fatalf("%v", err)
		}
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 1 {
		t.Errorf("a refused credential was sent %d times", n)
	}
	now.advance(refusedWait)
	if _, err := b.Volumes(t.Context(), "", 10); requireUnavailable(t, err).Cause != backend.Credentials || cloud.Count("identity", "POST", "/auth/tokens") != 2 {
		t.Errorf("later: %v", err)
	}
}

// A service may refuse a new token although the credentials are good.
func TestToken_Refused(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 401, Body: `{"error": {"code": 401, "message": "The request you have made requires authentication."}}`})
	for range 5 {
		if _, err := b.Volumes(t.Context(), "", 10); requireUnavailable(t, err).Cause != backend.Token {
			t.Fatalf("%v", err)
		}
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 2 {
		t.Errorf("signed in %d times", n)
	}
	cloud.ClearFaults()
	now.advance(refusedWait)
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
}

func TestTooManyRequests_Cause(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	tooMany := openstacktest.Fault{Status: 429, Header: map[string]string{"Retry-After": "9"}}
	for _, service := range []string{"identity", "volume"} {
		broken := cloud.Inject(openstacktest.Rule{Service: service}, tooMany)
		if u := requireUnavailable(t, errorOf(b.Volumes(t.Context(), "", 10))); u.Cause != backend.TooMany || u.RetryAfter != 9*time.Second {
			t.Errorf("%s: %+v", service, u)
		}
		cloud.ClearFault(broken)
		now.advance(9 * time.Second)
	}
}

func TestSignIn_KeystoneDown(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	cloud.RevokeTokens()
	cloud.Inject(openstacktest.Rule{Service: "identity"}, openstacktest.Fault{Status: 503, Body: openstacktest.ProxyHTML})
	if _, err := b.Volumes(t.Context(), "", 10); requireUnavailable(t, err).Cause != "" {
		t.Errorf("%v", err)
	}
	cloud.ClearFaults()
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Errorf("Keystone is back: %v", err)
	}
}

// A region that is not in the catalog is an error that names the variable.
func TestDiscover_WrongRegion(t *testing.T) {
	cloud := openstacktest.New(openstacktest.Options{})
	t.Cleanup(cloud.Close)
	variables := cloud.Env("demo", cloud.Project)
	variables["OS_REGION_NAME"] = "Nowhere"
	_, err := open(t, Options{Getenv: env(variables)}).Capabilities(t.Context())
	if u := requireUnavailable(t, err); u.Cause != "" || !strings.Contains(err.Error(), "OS_REGION_NAME") || !strings.Contains(err.Error(), "Nowhere") {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"internal", "admin"} {
		variables["OS_REGION_NAME"], variables["OS_INTERFACE"] = openstacktest.Region, name
		if _, err := open(t, Options{Getenv: env(variables)}).Capabilities(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The catalog and the versions are read again when an address does not answer and the
// session is old, and at once when the version is refused.
func TestSession_StaleReplaced(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	versions := func() int { return cloud.Count("volume", "GET", "/v3/?$") }
	ask := func(f openstacktest.Fault) {
		t.Helper()
		broken := cloud.Inject(openstacktest.Rule{Path: "/volumes/detail"}, f)
		_, err := b.Volumes(t.Context(), "", 1)
		requireUnavailable(t, err)
		cloud.ClearFault(broken)
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
		{catalogMaxAge, openstacktest.Fault{Drop: true}, 2},
		{time.Second, openstacktest.Fault{Status: 404, Body: openstacktest.ProxyHTML}, 2},
		{time.Second, openstacktest.Fault{Status: 406}, 3},
	} {
		now.advance(tt.after)
		ask(tt.fault)
		if got := versions(); got != tt.reads {
			t.Errorf("after %+v the versions were read %d times, want %d", tt.fault, got, tt.reads)
		}
	}
}

// A stale session is kept while Keystone is down.
func TestSession_KeptWhileKeystoneDown(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	now.advance(catalogMaxAge)
	cloud.Inject(openstacktest.Rule{Service: "identity"}, openstacktest.Fault{Status: 503, Body: openstacktest.ProxyHTML})
	blip := cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Drop: true})
	_, err := b.Volumes(t.Context(), "", 10)
	requireUnavailable(t, err)
	cloud.ClearFault(blip)
	for range 3 {
		if _, err := b.Volumes(t.Context(), "", 10); err != nil {
			t.Fatal(err)
		}
		now.advance(time.Minute)
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 2 {
		t.Errorf("%d sign-ins", n)
	}
}
