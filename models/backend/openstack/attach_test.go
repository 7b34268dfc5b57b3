package openstack

import (
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestDetachVolume_UnknownToNova(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	gone := newRef(t)
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Servers: []string{gone}})}
	if err := b.DetachVolume(t.Context(), key, gone, false); !isConflict("force")(err) {
		t.Errorf("%v", err)
	}
	cloud.Inject(openstacktest.Rule{Method: "DELETE", Path: "/attachments/"}, openstacktest.Fault{Status: 200, Body: `{"attachments": []}`})
	if err := b.DetachVolume(t.Context(), key, gone, true); err != nil {
		t.Fatal(err)
	}
	if n := cloud.Count("volume", "DELETE", "/attachments/[0-9a-f-]{36}$"); n != 1 {
		t.Errorf("%d records removed", n)
	}
}

// Volumes work while Nova is down, also at the start.
func TestVolumes_NovaDown(t *testing.T) {
	for name, fault := range map[string]openstacktest.Fault{
		"refuses connections": {Drop: true}, "behind a proxy": {Status: 503, Body: openstacktest.ProxyHTML},
	} {
		t.Run(name, func(t *testing.T) {
			now := newClock()
			cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
			server := cloud.AddServer(cloud.Project, "app")
			id := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
			cloud.Inject(openstacktest.Rule{Service: "compute"}, fault)
			works := func() {
				t.Helper()
				if page, err := b.Volumes(t.Context(), "", 10); err != nil || len(page.Items) != 1 {
					t.Fatalf("%d volumes, %v", len(page.Items), err)
				}
				if c, err := b.Capabilities(t.Context()); err != nil || !c.Attach {
					t.Fatalf("%+v, %v", c, err)
				}
			}
			works()
			for range 3 {
				if _, err := b.Servers(t.Context(), "", 10); requireUnavailable(t, err).Cause != "" {
					t.Fatal(err)
				}
				requireUnavailable(t, b.AttachVolume(t.Context(), backend.Key{ID: id}, server))
				now.advance(catalogMaxAge)
				works()
			}
			cloud.ClearFaults()
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
