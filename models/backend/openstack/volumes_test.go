package openstack

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestCreateVolume_InvalidArguments(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	size := backend.VolumeSpec{SizeGiB: 1}
	for name, tt := range map[string]struct {
		change func(*backend.VolumeSpec)
		want   func(error) bool
	}{
		"type":          {func(v *backend.VolumeSpec) { v.Type = "nope" }, isInvalid("type")},
		"zone":          {func(v *backend.VolumeSpec) { v.Zone = "mars" }, isInvalid("zone")},
		"image":         {func(v *backend.VolumeSpec) { v.Image = newRef(t) }, func(err error) bool { return errors.Is(err, backend.ErrNotFound) }},
		"name too long": {func(v *backend.VolumeSpec) { v.Name = strings.Repeat("\uac00", 256) }, isInvalid("name")},
		"no reference":  {func(v *backend.VolumeSpec) { v.Ref = "'}, 'x': {'y" }, isInvalid("ref")},
	} {
		spec := size
		spec.Ref = newRef(t)
		tt.change(&spec)
		if _, err := b.CreateVolume(t.Context(), spec); !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(cloud.Volumes()); n != 0 {
		t.Errorf("%d were made", n)
	}
}

// Only a create that never reached the cloud is Unsent.
func TestCreate_Unsent(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks func(*openstacktest.Cloud)
		unsent bool
	}{
		"refused connections": {func(c *openstacktest.Cloud) { c.Close() }, true},
		"503 to the search": {func(c *openstacktest.Cloud) {
			c.Inject(openstacktest.Rule{Method: "GET"}, openstacktest.Fault{Status: 503})
		}, true},
		"503 to the request": {func(c *openstacktest.Cloud) {
			c.Inject(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Status: 503})
		}, false},
		"dropped before": {func(c *openstacktest.Cloud) {
			c.Inject(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Drop: true})
		}, false},
		"dropped after": {func(c *openstacktest.Cloud) {
			c.Inject(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Drop: true, After: true})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, b := newCloud(t, openstacktest.Options{})
			v := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
			if _, err := b.Volume(t.Context(), v); err != nil { // sign in
				t.Fatal(err)
			}
			tt.breaks(cloud)
			_, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1})
			if u := requireUnavailable(t, err); u.Unsent != tt.unsent {
				t.Errorf("volume: %+v", u)
			}
			_, err = b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: v})
			if u := requireUnavailable(t, err); u.Unsent != tt.unsent {
				t.Errorf("snapshot: %+v", u)
			}
		})
	}
}

// A proxy's 404 is not CodeNotFound.
func TestVolume_ProxyNotFound(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	if _, err := b.Volume(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 404, Body: openstacktest.ProxyHTML})
	_, err := b.Volume(t.Context(), key)
	requireUnavailable(t, err)
	requireUnavailable(t, b.DeleteVolume(t.Context(), key))
	_, err = b.Volume(t.Context(), backend.Key{Ref: newRef(t)})
	requireUnavailable(t, err)
}

func TestVolume_HangingCloud(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	if _, err := b.Volumes(t.Context(), "", 10); err != nil {
		t.Fatal(err)
	}
	hang := cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Hang: true})
	defer hang.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Volume(ctx, backend.Key{ID: newRef(t)})
	if requireUnavailable(t, err); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// A text that the cloud's database cannot store is CodeInvalid; the same status from a
// database that is down is CodeUnavailable.
func TestRename_BeyondBMP(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{BMPOnly: true})
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	sn := backend.Key{ID: cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: key.ID})}
	for field, err := range map[string]error{
		"name":        b.RenameVolume(t.Context(), key, "\U0001F4BE", ""),
		"description": b.RenameVolume(t.Context(), key, "plain", "\U0001F4BE"),
	} {
		if !isInvalid(field)(err) {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: key, Name: "\U0001F4BE"})
	if !isInvalid("name")(err) || !isInvalid("name")(b.RenameSnapshot(t.Context(), sn, "\U0001F4BE", "")) {
		t.Errorf("%v", err)
	}
	cloud.Inject(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 500})
	requireUnavailable(t, b.RenameVolume(t.Context(), key, "\U0001F4BE", ""))
}

func TestRepairVolume_RoleAndAttachments(t *testing.T) {
	cloud, member := newCloud(t, openstacktest.Options{})
	admin := open(t, Options{Getenv: env(cloud.Env("admin", cloud.Project))})
	stuck := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Status: "error_deleting"})}
	if err := member.RepairVolume(t.Context(), stuck, backend.ErrorStatus); !isForbidden("admin")(err) {
		t.Errorf("%v", err)
	}
	if err := admin.RepairVolume(t.Context(), stuck, backend.ErrorStatus); err != nil {
		t.Error(err)
	}
	attached := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Servers: []string{cloud.AddServer(cloud.Project, "web")}})}
	if err := admin.RepairVolume(t.Context(), attached, backend.Available); !isConflict("attached")(err) {
		t.Errorf("%v", err)
	}
	for _, r := range cloud.Requests() {
		if strings.Contains(r.Body, "attach_status") {
			t.Errorf("sent %s", r.Body)
		}
	}
}
