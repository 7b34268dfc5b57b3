package openstacktest_test

import (
	"strings"
	"testing"

	"blockconsole/models/backend/openstack/openstacktest"
)

func TestResetStatus(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{})
	demo, admin := login(t, cloud, "demo", cloud.Project), login(t, cloud, "admin", cloud.Project)
	server := cloud.AddServer(cloud.Project, "web")
	v := cloud.AddVolume(openstacktest.Volume{Servers: []string{server}, Status: "error_deleting"})
	reset := func(c *client, path, to string) reply {
		return c.volume("POST", path+"/action", map[string]any{"os-reset_status": map[string]any{"status": to}})
	}
	path := "/volumes/" + v
	if got := reset(demo, path, "error").object(t, 403)["message"]; got != "Policy doesn't allow volume_extension:volume_admin_actions:reset_status to be performed." {
		t.Error(got)
	}
	for to, want := range map[string]int{"deleting": 400, "bogus": 400, "error": 202, "in-use": 202} {
		if r := reset(admin, path, to); r.status != want {
			t.Errorf("to %s: %d %s", to, r.status, r.text)
		}
	}
	if got := admin.volume("GET", path, nil).object(t, 200); len(got["attachments"].([]any)) != 1 || got["os-vol-host-attr:host"] == nil {
		t.Errorf("%v", got)
	}
	force := map[string]any{"os-force_delete": map[string]any{}}
	admin.volume("POST", path+"/action", force).object(t, 400)
	admin.volume("POST", path+"/action", map[string]any{"os-reset_status": map[string]any{"attach_status": "detached"}}).object(t, 202)
	reset(admin, path, "in-use").object(t, 400)
	demo.volume("POST", path+"/action", force).object(t, 403)
	admin.volume("POST", path+"/action", force).object(t, 202)
	if got := admin.finalStatus(path); got != "gone" {
		t.Errorf("deleted by force: %s", got)
	}
}

func TestSetStatus_EndsOperation(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.Hold()
	v := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1}}).object(t, 202)["id"].(string)
	c.cloud.SetStatus(v, "error_deleting")
	c.cloud.Auto()
	if got := c.finalStatus("/volumes/" + v); got != "error_deleting" {
		t.Error(got)
	}
	if all := c.cloud.Volumes(); len(all) != 1 || all[0].Status != "error_deleting" {
		t.Errorf("%+v", all)
	}
}

func TestNames_Stored(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	v := c.cloud.AddVolume(openstacktest.Volume{Name: "before"})
	s := c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: v})
	for name, want := range map[string]any{
		"": "", "  padded  ": "padded", `<script>alert("1")</script>`: `<script>alert("1")</script>`, "\U0001F4BE": "\U0001F4BE", "new\nline": "new\nline",
		strings.Repeat("\uac00", 255): strings.Repeat("\uac00", 255),
	} {
		c.volume("PUT", "/volumes/"+v, map[string]any{"volume": map[string]any{"name": name, "description": name}}).object(t, 200)
		c.volume("PUT", "/snapshots/"+s, map[string]any{"snapshot": map[string]any{"name": name}}).object(t, 200)
		gotV, gotS := c.volume("GET", "/volumes/"+v, nil).object(t, 200), c.volume("GET", "/snapshots/"+s, nil).object(t, 200)
		if gotV["name"] != want || gotV["description"] != want || gotS["name"] != want || gotS["description"] != nil {
			t.Errorf("%q came back as %q, %q", name, gotV["name"], gotS["name"])
		}
	}
	c.volume("PUT", "/snapshots/"+s, map[string]any{"snapshot": map[string]any{"description": "\U0001F4BE"}}).object(t, 400)
	narrow := demo(t, openstacktest.Options{BMPOnly: true})
	v = narrow.cloud.AddVolume(openstacktest.Volume{})
	narrow.volume("PUT", "/volumes/"+v, map[string]any{"volume": map[string]any{"name": "\U0001F4BE"}}).object(t, 500)
}

func TestCreateVolume_ImageTypeZone(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.AddZone("west")
	c.cloud.AddType("fast")
	image := c.cloud.AddImage("debian", []byte("boot"))
	v := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 2, "volume_type": "fast", "availability_zone": "west", "imageRef": image}}).object(t, 202)
	if v["volume_type"] != "fast" || v["availability_zone"] != "west" || v["size"] != 2.0 {
		t.Errorf("%v", v)
	}
	c.cloud.Settle()
	id := v["id"].(string)
	if got := c.volume("GET", "/volumes/"+id, nil).object(t, 200); got["bootable"] != "true" || got["volume_image_metadata"].(map[string]any)["image_id"] != image {
		t.Errorf("%v", got)
	}
	if p, err := c.cloud.Read(id, 0, 4); err != nil || string(p) != "boot" {
		t.Errorf("%q, %v", p, err)
	}
	if _, err := c.cloud.Read(id, 2<<30-1, 4); err == nil {
		t.Error("read beyond the end")
	}
	s := c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: id})
	c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1, "snapshot_id": s}}).object(t, 400)
	if got := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"snapshot_id": s}}).object(t, 202); got["size"] != 2.0 || got["volume_type"] != "fast" {
		t.Errorf("%v", got)
	}
	if list := c.do("GET", c.root("image")+"/v2/images?limit=1", nil); len(list.body["images"].([]any)) != 1 || list.body["next"] == nil {
		t.Errorf("%s", list.text)
	}
}

func TestOddObjects(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	orphan := c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: missingID, Status: "melting"})
	if got := c.volume("GET", "/snapshots/"+orphan, nil).object(t, 200); got["status"] != "melting" || got["volume_id"] != missingID || got["name"] != nil {
		t.Errorf("%v", got)
	}
	lost := c.cloud.AddVolume(openstacktest.Volume{NoHost: true, Status: "error"})
	c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": lost}}).object(t, 400)
	c.volume("DELETE", "/volumes/"+lost, nil).object(t, 202)
	if got := c.finalStatus("/volumes/" + lost); got != "gone" {
		t.Error(got)
	}
	c.cloud.Remove(orphan)
	c.volume("GET", "/snapshots/"+orphan, nil).object(t, 404)
}

func TestServers_Pages(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	for _, name := range []string{"a", "b", "c"} {
		c.cloud.AddServer(c.project, name)
	}
	c.cloud.AddServer(c.cloud.Tiny, "of others")
	seen, marker := map[string]bool{}, ""
	for range 3 {
		list := c.compute("GET", "/servers/detail?limit=1"+marker, nil)
		one := list.body["servers"].([]any)[0].(map[string]any)
		seen[one["name"].(string)] = true
		marker = "&marker=" + one["id"].(string)
	}
	if last := c.compute("GET", "/servers/detail?limit=1"+marker, nil); len(seen) != 3 || len(last.body["servers"].([]any)) != 0 {
		t.Errorf("%v, then %s", seen, last.text)
	}
	if r := c.compute("GET", "/servers/detail?all_tenants=1", nil); r.status != 403 {
		t.Errorf("all projects: %d", r.status)
	}
}
