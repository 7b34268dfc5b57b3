package openstack

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

// Types, zones and projects that are unavailable have their last values.
func TestCapabilities_ChoicesUnavailable(t *testing.T) {
	now := newClock()
	cloud := openstacktest.New(openstacktest.Options{Now: now.Now})
	t.Cleanup(cloud.Close)
	b := open(t, Options{Now: now.Now, AllProjects: true, Getenv: env(cloud.Env("admin", cloud.Admin))})
	breakAll := func() {
		for _, path := range []string{"/types", "/os-availability-zone", "/v3/projects"} {
			cloud.Inject(openstacktest.Rule{Path: path}, openstacktest.Fault{Status: 500})
		}
	}
	breakAll()
	if c, err := b.Capabilities(t.Context()); err != nil || len(c.Types) != 0 || len(c.Quotas) == 0 {
		t.Fatalf("%+v, %v", c, err)
	}
	cloud.ClearFaults()
	well, err := b.Capabilities(t.Context())
	if err != nil || len(well.Types) == 0 || len(well.Zones) == 0 || len(well.Projects) == 0 {
		t.Fatalf("%+v, %v", well, err)
	}
	breakAll()
	if c, err := b.Capabilities(t.Context()); err != nil || !reflect.DeepEqual(c, well) {
		t.Errorf("%+v, %v", c, err)
	}
	cloud.ClearFaults()
	cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 503})
	_, err = b.Capabilities(t.Context())
	requireUnavailable(t, err)
}

func TestAllProjects(t *testing.T) {
	cloud, _ := newCloud(t, openstacktest.Options{})
	b := open(t, Options{AllProjects: true, Getenv: env(cloud.Env("admin", cloud.Admin))})
	ref := newRef(t)
	foreign := cloud.AddVolume(openstacktest.Volume{Project: cloud.Tiny, Metadata: map[string]string{refName: ref}})
	cloud.AddVolume(openstacktest.Volume{Project: cloud.Admin, Created: time.Now().Add(time.Minute)})
	page, err := b.Volumes(t.Context(), "", 10)
	if err != nil || len(page.Items) != 2 || page.Items[0].Project != cloud.Tiny.ID || page.Items[0].Ref != "" {
		t.Errorf("%+v, %v", page.Items, err)
	}
	if _, err := b.Volume(t.Context(), backend.Key{Ref: ref}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("the Ref of another project's object is accepted: %v", err)
	}
	if v, err := b.Volume(t.Context(), backend.Key{ID: foreign}); err != nil || v.ID != foreign {
		t.Errorf("%+v, %v", v, err)
	}
	c, err := b.Capabilities(t.Context())
	if err != nil || len(c.Projects) != 3 || c.Project.ID != cloud.Admin.ID || !slices.Contains(c.Projects, backend.Project{ID: cloud.Tiny.ID, Name: "tiny"}) {
		t.Errorf("%+v, %v", c.Projects, err)
	}
}

// Without the role admin the cloud lists one project only: that must be an error, or the
// other objects would seem deleted.
func TestAllProjects_NotAdmin(t *testing.T) {
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
