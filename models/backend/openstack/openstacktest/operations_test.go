package openstacktest_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend/openstack/openstacktest"
)

// finalStatus finishes operations and returns the status; gone: not found.
func (c *client) finalStatus(path string) string {
	c.t.Helper()
	c.cloud.Settle()
	r := c.volume("GET", path, nil)
	if r.status == 404 {
		return "gone"
	}
	return r.object(c.t, 200)["status"].(string)
}

// lastMessage is the newest user message about an object.
func (c *client) lastMessage(id string) string {
	c.t.Helper()
	list := c.volume("GET", "/messages?resource_uuid="+id, nil).body["messages"].([]any)
	if len(list) == 0 {
		return ""
	}
	one := list[0].(map[string]any)
	return one["event_id"].(string) + " " + one["user_message"].(string)
}

func TestFailNext(t *testing.T) {
	type fixture struct {
		c                *client
		volume, snapshot string
	}
	for name, tt := range map[string]struct {
		op      openstacktest.Op
		call    func(w fixture) (path string, r reply)
		want    string
		message string
	}{
		"create volume": {openstacktest.CreateVolume, func(w fixture) (string, reply) {
			r := w.c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1}})
			return "/volumes/" + r.object(t, 202)["id"].(string), r
		}, "error", "VOLUME_VOLUME_008_012"},
		"create snapshot": {openstacktest.CreateSnapshot, func(w fixture) (string, reply) {
			r := w.c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": w.volume}})
			return "/snapshots/" + r.object(t, 202)["id"].(string), r
		}, "error", "VOLUME_VOLUME_SNAPSHOT_009_013"},
		"delete snapshot": {openstacktest.DeleteSnapshot, func(w fixture) (string, reply) {
			return "/snapshots/" + w.snapshot, w.c.volume("DELETE", "/snapshots/"+w.snapshot, nil)
		}, "error_deleting", "VOLUME_VOLUME_SNAPSHOT_010_016"},
		"extend": {openstacktest.ExtendVolume, func(w fixture) (string, reply) {
			return "/volumes/" + w.volume, w.c.volume("POST", "/volumes/"+w.volume+"/action", map[string]any{"os-extend": map[string]any{"new_size": 2}})
		}, "error_extending", "VOLUME_VOLUME_007_010"},
		"revert": {openstacktest.RevertVolume, func(w fixture) (string, reply) {
			return "/volumes/" + w.volume, w.c.volume("POST", "/volumes/"+w.volume+"/action", map[string]any{"revert": map[string]any{"snapshot_id": w.snapshot}})
		}, "error", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := fixture{c: demo(t, openstacktest.Options{})}
			w.volume = w.c.cloud.AddVolume(openstacktest.Volume{})
			w.snapshot = w.c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: w.volume})
			w.c.cloud.FailNext(tt.op)
			path, r := tt.call(w)
			if r.status != 202 {
				t.Fatalf("%d %s", r.status, r.text)
			}
			if got := w.c.finalStatus(path); got != tt.want {
				t.Errorf("ends in %s, want %s", got, tt.want)
			}
			id := path[strings.LastIndex(path, "/")+1:]
			if got := w.c.lastMessage(id); (got == "") != (tt.message == "") || !strings.HasPrefix(got, tt.message) && tt.op != openstacktest.CreateVolume {
				t.Errorf("message %q, want %q", got, tt.message)
			}
		})
	}
}

func TestDeleteSnapshot_Busy(t *testing.T) {
	c := demo(t, openstacktest.Options{BusySnapshots: true})
	v := c.cloud.AddVolume(openstacktest.Volume{})
	s := c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: v})
	clone := c.cloud.AddVolume(openstacktest.Volume{Snapshot: s})
	c.volume("DELETE", "/snapshots/"+s, nil).object(t, 202)
	if got := c.finalStatus("/snapshots/" + s); got != "available" || c.lastMessage(s) != "VOLUME_VOLUME_SNAPSHOT_010_015 delete snapshot:Snapshot is busy." {
		t.Errorf("%s, message %q", got, c.lastMessage(s))
	}
	c.cloud.Remove(clone)
	c.volume("DELETE", "/snapshots/"+s, nil).object(t, 202)
	if got := c.finalStatus("/snapshots/" + s); got != "gone" {
		t.Errorf("without its clone %s", got)
	}
}

func TestHold_ReleaseFail(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.Hold()
	v := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1, "metadata": map[string]string{"ref": "mine"}}}).object(t, 202)
	path := "/volumes/" + v["id"].(string)
	for range 3 {
		if got := c.finalStatus(path); got != "creating" {
			t.Fatalf("status while held: %s", got)
		}
	}
	if !c.cloud.Release("mine") || c.cloud.Release("mine") {
		t.Error("Release reports the wrong result")
	}
	if got := c.finalStatus(path); got != "available" {
		t.Errorf("status after Release: %s", got)
	}
	c.volume("DELETE", path, nil).object(t, 202)
	if !c.cloud.Fail("mine") || c.finalStatus(path) != "error_deleting" {
		t.Errorf("status after Fail: %s", c.finalStatus(path))
	}
}

func TestAttachDetach(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	server, second := c.cloud.AddServer(c.project, "web"), c.cloud.AddServer(c.project, "db")
	v, shared := c.cloud.AddVolume(openstacktest.Volume{}), c.cloud.AddVolume(openstacktest.Volume{Type: "shared"})
	attach := func(server, volume string) reply {
		return c.compute("POST", "/servers/"+server+"/os-volume_attachments", map[string]any{"volumeAttachment": map[string]any{"volumeId": volume}})
	}
	attach(server, v).object(t, 200)
	if got := c.volume("GET", "/volumes/"+v, nil).object(t, 200); got["status"] != "reserved" || len(got["attachments"].([]any)) != 0 {
		t.Errorf("right after: %v %v", got["status"], got["attachments"])
	}
	attach(server, v).object(t, 400)
	c.compute("DELETE", "/servers/"+server+"/os-volume_attachments/"+v, nil).object(t, 400)
	if got := c.finalStatus("/volumes/" + v); got != "in-use" {
		t.Errorf("then: %s", got)
	}
	attach(second, v).object(t, 400)
	attach(server, shared).object(t, 200)
	c.cloud.Settle()
	attach(second, shared).object(t, 200)
	c.cloud.Settle()
	if got := c.volume("GET", "/volumes/"+shared, nil).object(t, 200); len(got["attachments"].([]any)) != 2 {
		t.Errorf("multi-attached to %v", got["attachments"])
	}
	c.cloud.FailNext(openstacktest.DetachVolume)
	for _, want := range []string{"in-use", "available"} {
		c.compute("DELETE", "/servers/"+server+"/os-volume_attachments/"+v, nil).object(t, 202)
		if got := c.finalStatus("/volumes/" + v); got != want {
			t.Errorf("detached: %s, want %s", got, want)
		}
	}
	c.compute("DELETE", "/servers/"+server+"/os-volume_attachments/"+v, nil).object(t, 404)
	c.cloud.FailNext(openstacktest.AttachVolume)
	attach(server, v).object(t, 200)
	if got := c.finalStatus("/volumes/" + v); got != "available" {
		t.Errorf("a failed attach leaves %s", got)
	}
	c.cloud.SetServerStatus(server, "ERROR")
	attach(server, v).object(t, 409)
	c.cloud.SetServerStatus(server, "")
	attach(server, v).object(t, 404)
}

func TestQuota_SnapshotSize(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{})
	c := login(t, cloud, "demo", cloud.Tiny)
	v := cloud.AddVolume(openstacktest.Volume{Project: cloud.Tiny, Size: 3})
	r := c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v}})
	if r.status != 413 || r.header.Get("Retry-After") != "0" || !strings.Contains(r.text, "Requested 3G, quota is 5G and 3G has been consumed.") {
		t.Errorf("%d %s", r.status, r.text)
	}
	cloud.SetQuota(cloud.Tiny, "gigabytes", 10)
	cloud.SetQuota(cloud.Tiny, "snapshots_ceph", 0)
	if r := c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v}}); r.status != 413 || !strings.Contains(r.text, "SnapshotLimitExceeded") {
		t.Errorf("%d %s", r.status, r.text)
	}
	cloud.SetQuota(cloud.Tiny, "snapshots_ceph", -1)
	c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v}}).object(t, 202)
	set := c.volume("GET", "/os-quota-sets/"+cloud.Tiny.ID+"?usage=true", nil).object(t, 200)
	if got := set["gigabytes"].(map[string]any); got["in_use"] != 6.0 || got["limit"] != 10.0 {
		t.Errorf("%v", got)
	}
}

func TestSnapshots_Pages(t *testing.T) {
	c := demo(t, openstacktest.Options{MaxPageSize: 7})
	v := c.cloud.AddVolume(openstacktest.Volume{})
	for i := range 21 {
		c.cloud.AddSnapshot(openstacktest.Snapshot{Name: fmt.Sprint(i), Volume: v, Created: time.Date(2026, 1, 1, 0, 0, i/4, 0, time.UTC)})
	}
	for _, query := range []string{"", "?limit=5", "?limit=7&sort=name:asc", "?limit=100&sort=status:asc,created_at:desc"} {
		seen, pages := map[string]bool{}, 0
		for url := c.root("volume") + "/v3/" + c.project.ID + "/snapshots/detail" + query; url != ""; pages++ {
			var page struct {
				Snapshots []struct{ ID string }
				Links     []struct{ Href string } `json:"snapshots_links"`
			}
			r := c.do("GET", url, nil)
			if err := json.Unmarshal([]byte(r.text), &page); err != nil {
				t.Fatal(err)
			}
			for _, s := range page.Snapshots {
				if seen[s.ID] {
					t.Errorf("%q: %s twice", query, s.ID)
				}
				seen[s.ID] = true
			}
			url = ""
			if len(page.Links) > 0 {
				url = page.Links[0].Href
			}
		}
		if len(seen) != 21 || pages < 4 {
			t.Errorf("%q: %d in %d pages", query, len(seen), pages)
		}
	}
}

func TestVolumes_UpdatedFilter(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 1, 1, hour, 0, 0, 0, time.UTC) }
	c := demo(t, openstacktest.Options{})
	for hour := range 4 {
		c.cloud.AddVolume(openstacktest.Volume{Name: fmt.Sprint(hour), Created: at(0), Updated: at(hour)})
	}
	for query, want := range map[string]int{"gt:2026-01-01T02:00:00": 1, "gte:2026-01-01T02:00:00Z": 2, "gte:2026-01-01T01:00:00,lt:2026-01-01T03:00:00": 2} {
		if list := c.volume("GET", "/volumes/detail?updated_at="+query, nil); len(list.body["volumes"].([]any)) != want {
			t.Errorf("%s: %s", query, list.text)
		}
	}
	c.volume("GET", "/volumes?updated_at=after:2026", nil).object(t, 400)
}

func TestEnforceReaders(t *testing.T) {
	cloud := newCloud(t, openstacktest.Options{EnforceReaders: true})
	c := login(t, cloud, "viewer", cloud.Project)
	v := cloud.AddVolume(openstacktest.Volume{})
	s := cloud.AddSnapshot(openstacktest.Snapshot{Volume: v})
	for want, r := range map[string]reply{
		"volume:create_snapshot": c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v}}),
		"volume:update_snapshot": c.volume("PUT", "/snapshots/"+s, map[string]any{"snapshot": map[string]any{"name": "x"}}),
		"volume:delete_snapshot": c.volume("DELETE", "/snapshots/"+s, nil),
	} {
		if got := r.object(t, 403)["message"]; got != "Policy doesn't allow "+want+" to be performed." {
			t.Errorf("%v", got)
		}
	}
	c.volume("GET", "/snapshots/"+s, nil).object(t, 200)
}

func TestMetadataFilter(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	v := c.cloud.AddVolume(openstacktest.Volume{Metadata: map[string]string{"ref": "it's", "more": "x"}})
	c.cloud.AddSnapshot(openstacktest.Snapshot{Volume: v, Metadata: map[string]string{"ref": "it's"}})
	for filter, want := range map[string]int{
		`{'ref': "it's"}`: 1, `{"ref":"it's"}`: 1, `{'ref': 'it\'s'}`: 1, `{"ref":"its"}`: 0, `{"more": "y", "ref": "it's"}`: 0, `{"ref"}`: 0, `ref`: 0, `{"ref": `: 0, `{}`: 1,
	} {
		for _, what := range []string{"volumes", "snapshots"} {
			list := c.volume("GET", "/"+what+"/detail?metadata="+url.QueryEscape(filter), nil)
			if got, _ := list.body[what].([]any); list.status != 200 || len(got) != want {
				t.Errorf("%s by %s: %d %s", what, filter, list.status, list.text)
			}
		}
	}
	c.version = "volume 3.21"
	if list := c.volume("GET", "/snapshots?metadata="+url.QueryEscape(`{"ref":"no"}`), nil); len(list.body["snapshots"].([]any)) != 1 {
		t.Errorf("3.21 knows the filter: %s", list.text)
	}
}

func TestMicroversions_Old(t *testing.T) {
	c := demo(t, openstacktest.Options{Cinder: 59})
	v := c.cloud.AddVolume(openstacktest.Volume{})
	server := c.cloud.AddServer(c.project, "web")
	c.compute("POST", "/servers/"+server+"/os-volume_attachments", map[string]any{"volumeAttachment": map[string]any{"volumeId": v}}).object(t, 200)
	c.cloud.Settle()
	if r := c.volume("GET", "/volumes", nil); r.status != 406 {
		t.Errorf("3.70 of 3.59: %d", r.status)
	}
	for version, want := range map[string][2]int{"volume 3.59": {400, 202}, "volumev3 3.59": {400, 202}, "volume 3.39": {400, 202}} {
		c.version = version
		for i, force := range []bool{false, true} {
			r := c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v, "force": force}})
			if r.status != want[i] {
				t.Errorf("%s, force %v: %d %s", version, force, r.status, r.text)
			}
		}
	}
	c.volume("POST", "/volumes/"+v+"/action", map[string]any{"revert": map[string]any{}}).object(t, 400)
	c.version = "volume 3.2"
	if r := c.volume("GET", "/messages", nil); r.status != 404 {
		t.Errorf("messages before 3.3: %d", r.status)
	}
	if _, ok := c.volume("GET", "/volumes/"+v, nil).object(t, 200)["group_id"]; ok {
		t.Error("3.2 has group_id")
	}
}
