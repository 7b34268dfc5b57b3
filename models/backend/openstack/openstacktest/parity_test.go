package openstacktest_test

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"

	"blockconsole/models/backend/openstack/openstacktest"
)

// parityStep is a request to both clouds. {name} is an id that an earlier step kept.
type parityStep struct {
	service, method, path string
	body                  string
	version               string // minor microversion; empty: 66 of Cinder, 79 of Nova
	keepID                string // name of the id in the response
	waitFinal             bool   // repeat while the status is transient
}

// paritySteps are unusual requests, in no recording, whose responses from a real cloud
// and from this package must be equal.
var paritySteps = []parityStep{
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"name":" bc-parity ","size":1,"description":"two\nlines"}}`, keepID: "v"},
	{service: "volume", method: "GET", path: "/volumes/{v}", waitFinal: true},
	{service: "volume", method: "GET", path: "/volumes/{v}", version: "0"},
	{service: "volume", method: "GET", path: "/volumes/not-a-uuid"},
	{service: "volume", method: "GET", path: "/volumes/%00"},
	{service: "volume", method: "GET", path: "/"},
	{service: "volume", method: "PUT", path: "/volumes/{v}", body: `{"volume":{}}`},
	{service: "volume", method: "PUT", path: "/volumes/{v}", body: `{"volume":{"status":"error"}}`},
	{service: "volume", method: "PUT", path: "/volumes/{v}", body: `{"volume":{"name":"` + strings.Repeat("x", 256) + `"}}`},
	{service: "volume", method: "PUT", path: "/volumes/{v}", body: `{"volume":{"name":"<b>bold</b>","description":"a\nb\u202e"}}`},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"bogus":1,"size":1}}`},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"size":"x"}}`},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"size":1,"availability_zone":"mars"}}`},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"size":1,"imageRef":"nope"}}`},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"size":1,"volume_type":"` + missingID + `"}}`},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"nonsense":{}}`},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"os-detach":{}}`},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"revert":{"snapshot_id":"` + missingID + `"}}`},
	{service: "volume", method: "POST", path: "/snapshots", body: `{"snapshot":{"volume_id":"{v}","description":"two\nlines"}}`},
	{service: "volume", method: "POST", path: "/snapshots", body: `{"snapshot":{"volume_id":"{v}","description":"a\u202eb"}}`},
	{service: "volume", method: "POST", path: "/snapshots", body: `{"snapshot":{"volume_id":"{v}","name":"bc\nparity"}}`, keepID: "s"},
	{service: "volume", method: "GET", path: "/snapshots/{s}", waitFinal: true},
	{service: "volume", method: "GET", path: "/snapshots/{s}", version: "0"},
	{service: "volume", method: "GET", path: "/snapshots?metadata=nope"},
	{service: "volume", method: "GET", path: "/volumes?metadata=nope"},
	{service: "volume", method: "GET", path: "/volumes?updated_at=bogus"},
	{service: "volume", method: "GET", path: "/volumes?updated_at=gt:bogus"},
	{service: "volume", method: "GET", path: "/messages?bogus=1"},
	{service: "volume", method: "GET", path: "/messages", version: "0"},
	{service: "volume", method: "GET", path: "/types/bogus"},
	{service: "volume", method: "GET", path: "/types/default"},
	{service: "volume", method: "GET", path: "/os-quota-sets/ffffffffffffffffffffffffffffffff?usage=true"},
	{service: "compute", method: "GET", path: "/servers?limit=-1"},
	{service: "compute", method: "GET", path: "/servers?limit=0"},
	{service: "compute", method: "GET", path: "/servers/detail?marker=" + missingID},
	{service: "compute", method: "GET", path: "/servers/detail?limit=1", version: "1"},
	{service: "compute", method: "GET", path: "/servers/" + missingID},
	{service: "compute", method: "GET", path: "/servers/" + missingID + "/os-volume_attachments"},
	{service: "compute", method: "POST", path: "/servers/" + missingID + "/os-volume_attachments", body: `{"volumeAttachment":{"volumeId":"{v}"}}`},
	{service: "compute", method: "GET", path: "/servers", version: "999"},
	{service: "compute", method: "POST", path: "/servers/{server}/os-volume_attachments", body: `{"volumeAttachment":{"volumeId":"` + missingID + `"}}`},
	{service: "compute", method: "POST", path: "/servers/{server}/os-volume_attachments", body: `{"volumeAttachment":{"volumeId":"bogus"}}`},
	{service: "compute", method: "DELETE", path: "/servers/{server}/os-volume_attachments/{v}"},
	{service: "compute", method: "DELETE", path: "/servers/{server}/os-volume_attachments/" + missingID},
	{service: "compute", method: "GET", path: "/servers/{server}/os-volume_attachments/{v}"},
	{service: "compute", method: "POST", path: "/servers/{server}/os-volume_attachments", body: `{"volumeAttachment":{"volumeId":"{v}"}}`},
	{service: "compute", method: "POST", path: "/servers/{server}/os-volume_attachments", body: `{"volumeAttachment":{"volumeId":"{v}"}}`},
	{service: "volume", method: "GET", path: "/volumes/{v}", waitFinal: true},
	{service: "compute", method: "GET", path: "/servers/{server}/os-volume_attachments", version: "1"},
	{service: "compute", method: "GET", path: "/servers/{server}/os-volume_attachments", version: "79"},
	{service: "compute", method: "GET", path: "/servers/{server}/os-volume_attachments", version: "89"},
	{service: "compute", method: "GET", path: "/servers/{server}/os-volume_attachments/{v}", version: "89"},
	{service: "compute", method: "GET", path: "/servers/{server}", version: "1"},
	{service: "compute", method: "GET", path: "/servers/{server}", version: "60"},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"os-extend":{"new_size":2}}`, version: "41"},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"revert":{"snapshot_id":"{s}"}}`},
	{service: "compute", method: "DELETE", path: "/servers/{server}/os-volume_attachments/{v}"},
	{service: "compute", method: "DELETE", path: "/servers/{server}/os-volume_attachments/{v}"},
	{service: "volume", method: "GET", path: "/volumes/{v}", waitFinal: true},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"os-extend":{"new_size":2}}`},
	{service: "volume", method: "POST", path: "/volumes/{v}/action", body: `{"os-extend":{"new_size":3}}`},
	{service: "volume", method: "GET", path: "/volumes/{v}", waitFinal: true},
	{service: "volume", method: "POST", path: "/volumes", body: `{"volume":{"size":1,"snapshot_id":"{s}","name":"<b>bold</b>"}}`, keepID: "v2"},
	{service: "volume", method: "GET", path: "/volumes/{v2}", waitFinal: true},
	{service: "volume", method: "DELETE", path: "/volumes/{v2}"},
	{service: "volume", method: "GET", path: "/volumes/{v2}", waitFinal: true},
	{service: "volume", method: "DELETE", path: "/snapshots/{s}"},
	{service: "volume", method: "GET", path: "/snapshots/{s}", waitFinal: true},
	{service: "volume", method: "DELETE", path: "/volumes/{v}"},
	{service: "volume", method: "GET", path: "/volumes/{v}", waitFinal: true},
}

// paritySide is one of the clouds.
type paritySide struct {
	client
	roots map[string]string // by service
	ids   map[string]string // by the names of steps
	wait  func(*testing.T)
}

// TestCloudParity compares with the cloud that OS_CLOUD names, as a member of a project.
func TestCloudParity(t *testing.T) {
	if os.Getenv("OS_CLOUD") == "" {
		t.Skip("OS_CLOUD names no cloud")
	}
	real := newRealSide(t)
	cloud := newCloud(t, openstacktest.Options{BMPOnly: true})
	ours := &paritySide{
		client: *login(t, cloud, "demo", cloud.Project), ids: map[string]string{"server": cloud.AddServer(cloud.Project, "bc-parity")},
		wait: func(*testing.T) { cloud.Settle() },
	}
	ours.roots = map[string]string{"volume": ours.root("volume") + "/v3/" + cloud.Project.ID, "compute": ours.root("compute") + "/v2.1"}
	r := &replay{cloud: cloud, ids: map[string]string{real.project.ID: cloud.Project.ID, real.ids["server"]: ours.ids["server"]}}
	for _, s := range paritySteps {
		name := s.method + " " + s.service + s.path + " " + s.version + s.body
		t.Run(name[:min(len(name), 100)], func(t *testing.T) {
			r.T = t
			if s.service == "compute" && strings.Contains(s.path, "{server}") && real.ids["server"] == "" {
				t.Skip("the cloud has no image or flavor for a server")
			}
			want, got := real.send(t, s), ours.send(t, s)
			e := exchange{name: name}
			e.Request.Method, e.Request.URL = s.method, s.path
			e.Response.Status, e.Response.Headers = want.status, map[string]string{}
			for _, h := range []string{"Content-Type", "OpenStack-API-Version", "Vary", "Retry-After"} {
				if v := strings.Join(want.header.Values(h), ", "); v != "" {
					e.Response.Headers[h] = v
				}
			}
			if want.body != nil {
				e.Response.Body = want.body
			}
			for id, value := range real.ids {
				if value != "" {
					r.ids[value] = ours.ids[id]
				}
			}
			r.compare(e, got)
		})
	}
}

// send makes the request of a step.
func (s *paritySide) send(t *testing.T, st parityStep) reply {
	t.Helper()
	fill := func(text string) string {
		for name, id := range s.ids {
			text = strings.ReplaceAll(text, "{"+name+"}", id)
		}
		return text
	}
	c := s.client
	c.t, c.version = t, "volume 3."+cmp.Or(st.version, "66")
	if st.service == "compute" {
		c.version = "compute 2." + cmp.Or(st.version, "79")
	}
	var body any
	if st.body != "" {
		body = fill(st.body)
	}
	var r reply
	for range 240 {
		r = c.do(st.method, s.roots[st.service]+fill(st.path), body)
		if !st.waitFinal || !strings.HasSuffix(status(r), "ing") && status(r) != "reserved" {
			break
		}
		s.wait(t)
	}
	for _, value := range r.body {
		if object, is := value.(map[string]any); is && st.keepID != "" {
			s.ids[st.keepID], _ = object["id"].(string)
		}
	}
	return r
}

func status(r reply) string {
	for _, value := range r.body {
		if object, is := value.(map[string]any); is {
			s, _ := object["status"].(string)
			return s
		}
	}
	return ""
}

// newRealSide signs in to the cloud that OS_CLOUD names and creates a server.
func newRealSide(t *testing.T) *paritySide {
	t.Helper()
	auth, endpoint, tls, err := clouds.Parse()
	if err != nil {
		t.Fatal(err)
	}
	provider, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	if tls != nil {
		provider.HTTPClient.Transport = &http.Transport{TLSClientConfig: tls}
	}
	if err := openstack.Authenticate(t.Context(), provider, auth); err != nil {
		t.Fatal(err)
	}
	s := &paritySide{
		client: client{t: t, token: provider.Token()}, roots: map[string]string{}, ids: map[string]string{},
		wait: func(t *testing.T) {
			select {
			case <-time.After(250 * time.Millisecond):
			case <-t.Context().Done():
			}
		},
	}
	for service, open := range map[string]func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error){
		"volume": openstack.NewBlockStorageV3, "compute": openstack.NewComputeV2, "image": openstack.NewImageV2,
	} {
		found, err := open(provider, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		s.roots[service] = strings.TrimSuffix(found.Endpoint, "/")
	}
	s.project.ID = s.roots["volume"][strings.LastIndex(s.roots["volume"], "/")+1:]
	s.startServer(t)
	t.Cleanup(func() { s.cleanup(t) })
	return s
}

// startServer creates a server from the first image and flavor.
func (s *paritySide) startServer(t *testing.T) {
	t.Helper()
	first := func(url, list string) string {
		r := s.do("GET", url, nil)
		items, _ := r.body[list].([]any)
		if len(items) == 0 {
			return ""
		}
		return items[0].(map[string]any)["id"].(string)
	}
	image := first(s.roots["image"]+"/images", "images")
	if image == "" {
		image = first(s.roots["image"]+"/v2/images", "images")
	}
	flavor := first(s.roots["compute"]+"/flavors?minDisk=1&sort_key=memory_mb", "flavors")
	if image == "" || flavor == "" {
		return
	}
	body := `{"server":{"name":"bc-parity","networks":"none","imageRef":"` + image + `","flavorRef":"` + flavor + `"}}`
	if r := s.send(t, parityStep{service: "compute", method: "POST", path: "/servers", body: body, keepID: "server"}); r.status != 202 {
		t.Fatalf("no server: %d %s", r.status, r.text)
	}
	for range 240 {
		if status(s.send(t, parityStep{service: "compute", method: "GET", path: "/servers/{server}"})) == "ACTIVE" {
			return
		}
		s.wait(t)
	}
	t.Fatal("the server never became ACTIVE")
}

// cleanup deletes what the test made, also after a failure.
func (s *paritySide) cleanup(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for _, url := range []string{
		s.roots["compute"] + "/servers/" + s.ids["server"], s.roots["volume"] + "/volumes/" + s.ids["v2"],
		s.roots["volume"] + "/snapshots/" + s.ids["s"], s.roots["volume"] + "/volumes/" + s.ids["v"],
	} {
		if strings.HasSuffix(url, "/") {
			continue // never made
		}
		for {
			request, err := http.NewRequestWithContext(ctx, "DELETE", url, nil)
			if err != nil {
				t.Error(err)
				return
			}
			request.Header.Set("X-Auth-Token", s.token)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Error("sweep:", err)
				return
			}
			_ = json.NewDecoder(response.Body).Decode(&struct{}{}) // only the status matters
			_ = response.Body.Close()
			if response.StatusCode == http.StatusNotFound {
				break
			}
			select {
			case <-time.After(250 * time.Millisecond):
			case <-ctx.Done():
				t.Error("left behind:", url)
				return
			}
		}
	}
}
