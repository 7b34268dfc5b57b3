package openstack

import (
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
