package openstacktest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"blockconsole/models/backend/openstack/openstacktest"
)

// client is an HTTP client of a user in a project.
type client struct {
	t       *testing.T
	cloud   *openstacktest.Cloud
	project openstacktest.Project
	token   string
	version string // OpenStack-API-Version
}

// reply is a response with its JSON body.
type reply struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func newCloud(t *testing.T, opts openstacktest.Options) *openstacktest.Cloud {
	t.Helper()
	cloud := openstacktest.New(opts)
	t.Cleanup(cloud.Close)
	return cloud
}

func login(t *testing.T, cloud *openstacktest.Cloud, user string, project openstacktest.Project) *client {
	t.Helper()
	c := &client{t: t, cloud: cloud, project: project, version: "volume 3.70"}
	env := cloud.Env(user, project)
	r := c.do("POST", cloud.URL()+"/auth/tokens", map[string]any{"auth": map[string]any{
		"identity": map[string]any{"methods": []string{"password"}, "password": map[string]any{"user": map[string]any{
			"name": env["OS_USERNAME"], "password": env["OS_PASSWORD"], "domain": map[string]any{"name": env["OS_USER_DOMAIN_NAME"]},
		}}},
		"scope": map[string]any{"project": map[string]any{"name": env["OS_PROJECT_NAME"], "domain": map[string]any{"id": "default"}}},
	}})
	if r.status != http.StatusCreated {
		t.Fatalf("no token: %d %s", r.status, r.text)
	}
	c.token = r.header.Get("X-Subject-Token")
	return c
}

// do sends a request; a string body is sent unchanged.
func (c *client) do(method, url string, body any) reply {
	c.t.Helper()
	r, err := c.try(method, url, body)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *client) try(method, url string, body any) (reply, error) {
	c.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			c.t.Fatal(err)
		}
		reader = strings.NewReader(string(text))
	}
	request, err := http.NewRequestWithContext(c.t.Context(), method, url, reader)
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("X-Auth-Token", c.token)
	request.Header.Set("OpenStack-API-Version", c.version)
	request.Header.Set("Accept", "application/json")
	if reader != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return reply{}, err
	}
	r := reply{status: response.StatusCode, header: response.Header, text: string(text)}
	if len(text) > 0 && text[0] == '{' {
		if err := json.Unmarshal(text, &r.body); err != nil {
			return r, err
		}
	}
	return r, nil
}

// volume sends a request to Cinder, below the project.
func (c *client) volume(method, path string, body any) reply {
	c.t.Helper()
	return c.do(method, c.root("volume")+"/v3/"+c.project.ID+path, body)
}

// compute sends a request to Nova.
func (c *client) compute(method, path string, body any) reply {
	c.t.Helper()
	was := c.version
	c.version = "compute 2.79"
	defer func() { c.version = was }()
	return c.do(method, c.root("compute")+"/v2.1"+path, body)
}

func (c *client) root(service string) string {
	return strings.Replace(strings.TrimSuffix(c.cloud.URL(), "/v3"), "identity", service, 1)
}

// object checks the status and returns the reply's object.
func (r reply) object(t *testing.T, status int) map[string]any {
	t.Helper()
	if r.status != status {
		t.Fatalf("%d %s, want %d", r.status, r.text, status)
	}
	for name, value := range r.body {
		if object, is := value.(map[string]any); is && name != "links" {
			return object
		}
	}
	return nil
}

func demo(t *testing.T, opts openstacktest.Options) *client {
	t.Helper()
	cloud := newCloud(t, opts)
	return login(t, cloud, "demo", cloud.Project)
}

func TestVolumeAndSnapshot_Lifecycle(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	v := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1, "name": "data", "metadata": map[string]string{"ref": "r1"}}}).object(t, 202)
	path := "/volumes/" + v["id"].(string)
	for _, want := range []string{"creating", "available"} {
		if got := c.volume("GET", path, nil).object(t, 200); got["status"] != want {
			t.Fatalf("status %v, want %s", got["status"], want)
		}
	}
	if err := c.cloud.Write("r1", 5, []byte("before")); err != nil {
		t.Fatal(err)
	}
	s := c.volume("POST", "/snapshots", map[string]any{"snapshot": map[string]any{"volume_id": v["id"], "metadata": map[string]string{"ref": "r2"}}}).object(t, 202)
	c.volume("DELETE", path, nil).object(t, 400)
	c.cloud.Settle()
	if err := c.cloud.Write("r1", 5, []byte("after!")); err != nil {
		t.Fatal(err)
	}
	list := c.volume("GET", "/snapshots?metadata="+`%7B%22ref%22:%22r2%22%7D`, nil)
	if found := list.body["snapshots"].([]any); len(found) != 1 || found[0].(map[string]any)["id"] != s["id"] {
		t.Errorf("found by metadata: %s", list.text)
	}
	c.volume("POST", path+"/action", map[string]any{"revert": map[string]any{"snapshot_id": s["id"]}}).object(t, 202)
	c.cloud.Settle()
	if got, err := c.cloud.Read("r1", 5, 6); err != nil || string(got) != "before" {
		t.Errorf("reverted to %q, %v", got, err)
	}
	c.volume("DELETE", "/snapshots/"+s["id"].(string), nil).object(t, 202)
	c.volume("DELETE", "/snapshots/"+s["id"].(string), nil).object(t, 400)
	c.cloud.Settle()
	c.volume("DELETE", "/snapshots/"+s["id"].(string), nil).object(t, 404)
	c.volume("DELETE", path, nil).object(t, 202)
	c.cloud.Settle()
	c.volume("GET", path, nil).object(t, 404)
}
