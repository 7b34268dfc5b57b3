package openstack

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

// Volumes are worked on although the compute service is down, also at the start.
func TestVolumesWithoutTheComputeService(t *testing.T) {
	for name, fault := range map[string]openstacktest.Fault{
		"refuses connections": {Drop: true}, "behind a proxy": {Status: 503, Body: openstacktest.HTML},
	} {
		t.Run(name, func(t *testing.T) {
			now := newClock()
			cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
			server := cloud.AddServer(cloud.Project, "app")
			id := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
			cloud.Break(openstacktest.Rule{Service: "compute"}, fault)
			well := func() {
				t.Helper()
				if page, err := b.Volumes(t.Context(), "", 10); err != nil || len(page.Items) != 1 {
					t.Fatalf("%d volumes, %v", len(page.Items), err)
				}
				if c, err := b.Capabilities(t.Context()); err != nil || !c.Attach {
					t.Fatalf("%+v, %v", c, err)
				}
			}
			well()
			for range 3 {
				if _, err := b.Servers(t.Context(), "", 10); unavailable(t, err).Cause != "" {
					t.Fatal(err)
				}
				unavailable(t, b.AttachVolume(t.Context(), backend.Key{ID: id}, server))
				now.move(oldCatalog)
				well()
			}
			cloud.Mend()
			if err := b.AttachVolume(t.Context(), backend.Key{ID: id}, server); err != nil {
				t.Fatal(err)
			}
			for _, r := range cloud.Requests() {
				if r.Service == "compute" && r.Method == "POST" && r.Microversion != "compute 2.60" {
					t.Errorf("%s %s as %q", r.Method, r.Path, r.Microversion)
				}
			}
		})
	}
}

// A token that Cinder knows goes on working while Keystone is down, whatever else
// fails meanwhile.
func TestADoubtfulSessionIsKeptWhileKeystoneIsDown(t *testing.T) {
	now := newClock()
	cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	now.move(oldCatalog)
	cloud.Break(openstacktest.Rule{Service: "identity"}, openstacktest.Fault{Status: 503, Body: openstacktest.HTML})
	blip := cloud.Break(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Drop: true})
	_, err := b.Volumes(t.Context(), "", 10)
	unavailable(t, err)
	cloud.MendOne(blip)
	for range 3 {
		if _, err := b.Volumes(t.Context(), "", 10); err != nil {
			t.Fatal(err)
		}
		now.move(time.Minute)
	}
	if n := cloud.Count("identity", "POST", "/auth/tokens"); n != 2 {
		t.Errorf("%d sign-ins", n)
	}
}

// Who is no administrator gets the objects of one project in place of all: that must
// not look as if the others had been deleted.
func TestAllProjectsNeedAnAdministrator(t *testing.T) {
	cloud := openstacktest.New(openstacktest.Options{})
	t.Cleanup(cloud.Close)
	b := open(t, Options{AllProjects: true, Getenv: env(cloud.Env("admin", cloud.Admin))})
	cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	cloud.AddVolume(openstacktest.Volume{Project: cloud.Admin})
	if page, err := b.Volumes(t.Context(), "", 10); err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	cloud.SetRoles("admin", cloud.Admin, "member")
	cloud.RevokeTokens()
	_, volumes := b.Volumes(t.Context(), "", 10)
	_, snapshots := b.Snapshots(t.Context(), "", 10)
	_, servers := b.Servers(t.Context(), "", 10)
	for _, err := range []error{volumes, snapshots, servers} {
		var forbidden *backend.Error
		if !errors.As(err, &forbidden) || forbidden.Code != backend.CodeForbidden || forbidden.Role != "admin" {
			t.Errorf("%v", err)
		}
	}
	if _, err := b.Capabilities(t.Context()); err != nil {
		t.Error(err)
	}
}

// A mistake in an answer must not stop the console for years.
func TestNobodyIsLeftAloneForever(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, "999999999999": patience, "9223372036854775807": patience, "-5": 0, "1e300": patience, "soon": 0,
		"Fri, 31 Dec 9999 23:59:59 GMT": patience, "Sun, 22 Nov 2026 12:00:09 GMT": 9 * time.Second, "Thu, 01 Jan 1970 00:00:00 GMT": 0,
	} {
		h := http.Header{"Retry-After": {value}, "Date": {"Sun, 22 Nov 2026 12:00:00 GMT"}}
		if got := retryAfter(h); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

// A redirect takes the token nowhere else, and makes no read of a write.
func TestRedirects(t *testing.T) {
	var elsewhere []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere = append(elsewhere, r.Method+" "+r.Header.Get("X-Auth-Token"))
	}))
	t.Cleanup(other.Close)
	away := strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/"
	cloud, b := newCloud(t, openstacktest.Options{})
	id := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	cloud.Break(openstacktest.Rule{Path: "/volumes/" + id}, openstacktest.Fault{Status: 302, Header: map[string]string{"Location": away}})
	_, err := b.Volume(t.Context(), backend.Key{ID: id})
	unavailable(t, err)
	unavailable(t, b.DeleteVolume(t.Context(), backend.Key{ID: id}))
	near := cloud.Count("volume", "GET", "/volumes/")
	cloud.Mend()
	cloud.Break(openstacktest.Rule{Method: "POST", Path: "/volumes$"}, openstacktest.Fault{Status: 301, Header: map[string]string{"Location": cloud.URL()}})
	_, err = b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), Name: "redirected", SizeGiB: 1})
	unavailable(t, err)
	if len(elsewhere) > 0 || near != 1 {
		t.Errorf("the token went to %v, %d reads", elsewhere, near)
	}
}

// What is nice to know keeps nobody from working: it is as it was known last.
func TestCapabilitiesWithoutTypesZonesAndProjects(t *testing.T) {
	now := newClock()
	cloud := openstacktest.New(openstacktest.Options{Now: now.Now})
	t.Cleanup(cloud.Close)
	b := open(t, Options{Now: now.Now, AllProjects: true, Getenv: env(cloud.Env("admin", cloud.Admin))})
	breakAll := func() {
		for _, path := range []string{"/types", "/os-availability-zone", "/v3/projects"} {
			cloud.Break(openstacktest.Rule{Path: path}, openstacktest.Fault{Status: 500})
		}
	}
	breakAll()
	if c, err := b.Capabilities(t.Context()); err != nil || len(c.Types) != 0 || len(c.Quotas) == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	cloud.Mend()
	well, err := b.Capabilities(t.Context())
	if err != nil || len(well.Types) == 0 || len(well.Zones) == 0 || len(well.Projects) == 0 {
		t.Fatalf("%+v, %v", well, err)
	}
	breakAll()
	if c, err := b.Capabilities(t.Context()); err != nil || !reflect.DeepEqual(c, well) {
		t.Errorf("%+v, %v", c, err)
	}
	cloud.Mend()
	cloud.Break(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 503})
	_, err = b.Capabilities(t.Context())
	unavailable(t, err)
}

// A cloud that forgets the marker gives the same page for ever.
func TestAListingThatDoesNotAdvanceEnds(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	for range 4 {
		cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	}
	first, err := b.Volumes(t.Context(), "", 2)
	if err != nil || first.Next == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	var same strings.Builder
	for i, v := range first.Items {
		same.WriteString([]string{"", ","}[min(i, 1)] + `{"id": "` + v.ID + `", "created_at": "` + v.CreatedAt.Format("2006-01-02T15:04:05.000000") + `"}`)
	}
	cloud.Break(openstacktest.Rule{Path: "/volumes/detail"}, openstacktest.Fault{Status: 200,
		Body: `{"volumes": [` + same.String() + `], "volumes_links": [{"rel": "next", "href": "x"}]}`})
	_, err = b.Volumes(t.Context(), first.Next, 2)
	unavailable(t, err)
}

// A creation that never reached the cloud says so; one that may have does not.
func TestWhatWasNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func(*openstacktest.Cloud)
		unsent bool
	}{
		"refused connections": {func(c *openstacktest.Cloud) { c.Close() }, true},
		"503 to the search": {func(c *openstacktest.Cloud) {
			c.Break(openstacktest.Rule{Method: "GET"}, openstacktest.Fault{Status: 503})
		}, true},
		"503 to the request": {func(c *openstacktest.Cloud) {
			c.Break(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Status: 503})
		}, false},
		"dropped before": {func(c *openstacktest.Cloud) {
			c.Break(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Drop: true})
		}, false},
		"dropped after": {func(c *openstacktest.Cloud) {
			c.Break(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Drop: true, After: true})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, b := newCloud(t, openstacktest.Options{})
			v := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
			if _, err := b.Volume(t.Context(), v); err != nil { // signed in
				t.Fatal(err)
			}
			tt.breaks(cloud)
			_, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1})
			if u := unavailable(t, err); u.Unsent != tt.unsent {
				t.Errorf("volume: %+v", u)
			}
			_, err = b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: v})
			if u := unavailable(t, err); u.Unsent != tt.unsent {
				t.Errorf("snapshot: %+v", u)
			}
		})
	}
}

// The same for the request itself, whose connection is a new one.
func TestNoConnectionIsNoRequest(t *testing.T) {
	_, b := newCloud(t, openstacktest.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = http.Get("http://" + l.Addr().String())
	if u := unavailable(t, b.explain(t.Context(), err)); !u.Unsent {
		t.Errorf("%+v", u)
	}
}
