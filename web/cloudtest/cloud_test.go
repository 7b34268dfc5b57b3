package cloudtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
)

// cloud is the tests' own way to the cloud, past the console and its code.
type cloud struct {
	t                      *testing.T
	name                   string // as OS_CLOUD has it; empty: the OS_* variables
	prefix                 string // of the names of the test's objects
	volume, compute, image *gophercloud.ServiceClient
}

// object is a volume or snapshot as Cinder tells it.
type object struct {
	ID, Name, Status string
	Size             int
	Metadata         map[string]string
	VolumeID         string `json:"volume_id"`
	SnapshotID       string `json:"snapshot_id"`
	VolumeType       string `json:"volume_type"`
	Attachments      []struct {
		ServerID string `json:"server_id"`
	}
}

// refKey is where the console notes whose object it is, and markKey where these tests
// do when they make one past the console.
const (
	refKey  = "blockconsole_ref"
	markKey = "blockconsole_test"
)

// theCloud signs in to the cloud of the tests and deletes, after the test, what it has
// made there; before the first one, what earlier runs have.
func theCloud(t *testing.T) *cloud {
	t.Helper()
	if !cloudIsNamed() {
		t.Skip("skipped: neither OS_CLOUD nor OS_AUTH_URL names a cloud")
	}
	return swept(t, os.Getenv("OS_CLOUD"))
}

// besides is the cloud whose name is that of the tests' with something behind it.
func besides(t *testing.T, suffix string) *cloud {
	t.Helper()
	if !cloudIsNamed() {
		t.Skip("skipped: neither OS_CLOUD nor OS_AUTH_URL names a cloud")
	}
	name := os.Getenv("OS_CLOUD") + suffix
	if _, _, _, err := parseCloud(name); err != nil || name == suffix {
		t.Skipf("skipped: there is no cloud %s in clouds.yaml", name)
	}
	return swept(t, name)
}

func swept(t *testing.T, name string) *cloud {
	t.Helper()
	c := signIn(t.Context(), t, name)
	once, _ := sweptBefore.LoadOrStore(name, &sync.Once{})
	once.(*sync.Once).Do(func() { c.sweep(ours.MatchString) })
	c.prefix = newPrefix()
	t.Cleanup(func() { c.sweep(c.own) })
	return c
}

// sweptBefore are the clouds, by name, that were swept in this run.
var sweptBefore sync.Map

// own says whether the name is one of this test.
func (c *cloud) own(name string) bool { return strings.HasPrefix(name, c.prefix) }

func parseCloud(name string) (gophercloud.AuthOptions, gophercloud.EndpointOpts, *http.Client, error) {
	options := []clouds.ParseOption{clouds.WithCloudName(name)}
	if file := os.Getenv("OS_CLIENT_CONFIG_FILE"); file != "" {
		options = append(options, clouds.WithLocations(file))
	}
	auth, endpoint, config, err := clouds.Parse(options...)
	return auth, endpoint, &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, err
}

func signIn(ctx context.Context, t *testing.T, name string) *cloud {
	t.Helper()
	client := &http.Client{}
	endpoint := gophercloud.EndpointOpts{Region: os.Getenv("OS_REGION_NAME")}
	auth, err := openstack.AuthOptionsFromEnv()
	if name != "" {
		auth, endpoint, client, err = parseCloud(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	auth.AllowReauth = true
	provider, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		t.Fatal(err)
	}
	provider.HTTPClient = *client
	if err := openstack.Authenticate(ctx, provider, auth); err != nil {
		t.Fatal(err)
	}
	c := &cloud{t: t, name: name}
	var errs [3]error
	c.volume, errs[0] = openstack.NewBlockStorageV3(provider, endpoint)
	c.compute, errs[1] = openstack.NewComputeV2(provider, endpoint)
	c.image, errs[2] = openstack.NewImageV2(provider, endpoint)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return c
}

// ask sends a request with a body that may be nil, and reads the answer, where into is
// not nil. It returns the status; an answer of 400 and more is no error.
func (c *cloud) ask(ctx context.Context, s *gophercloud.ServiceClient, method, path string, body, into any) (int, error) {
	var sent bytes.Buffer
	options := &gophercloud.RequestOpts{KeepResponseBody: true, OkCodes: []int{200, 201, 202, 203, 204}}
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return 0, err
		}
		options.RawBody, options.MoreHeaders = &sent, map[string]string{"Content-Type": "application/json"}
	}
	if s == c.volume {
		if options.MoreHeaders == nil {
			options.MoreHeaders = map[string]string{}
		}
		options.MoreHeaders["OpenStack-API-Version"] = "volume 3.60"
	}
	resp, err := s.Request(ctx, method, s.ServiceURL(path), options)
	var refused gophercloud.ErrUnexpectedResponseCode
	if errors.As(err, &refused) {
		return refused.Actual, nil
	}
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if into != nil {
		err = json.NewDecoder(resp.Body).Decode(into)
	}
	return resp.StatusCode, err
}

// must is ask where the cloud has to agree.
func (c *cloud) must(s *gophercloud.ServiceClient, method, path string, body, into any) {
	c.t.Helper()
	status, err := c.ask(c.t.Context(), s, method, path, body, into)
	if err != nil || status >= 400 {
		c.t.Fatalf("%s %s: %d %v", method, path, status, err)
	}
}

// listed are the volumes or snapshots that these tests have made, with such names.
func (c *cloud) listed(ctx context.Context, kind string, such func(string) bool) ([]object, error) {
	var all []object
	for path := kind + "/detail?limit=500"; path != ""; {
		var answer struct {
			Volumes, Snapshots []object
		}
		if status, err := c.ask(ctx, c.volume, http.MethodGet, path, nil, &answer); err != nil || status != http.StatusOK {
			return nil, fmt.Errorf("GET %s: %d %w", path, status, err)
		}
		some := append(answer.Volumes, answer.Snapshots...)
		for _, o := range some {
			if such(o.Name) && (o.Metadata[refKey] != "" || o.Metadata[markKey] != "") {
				all = append(all, o)
			}
		}
		if path = ""; len(some) == 500 {
			path = kind + "/detail?limit=500&marker=" + some[len(some)-1].ID
		}
	}
	return all, nil
}

// made are the volumes or snapshots of this test.
func (c *cloud) made(kind string) []object {
	c.t.Helper()
	all, err := c.listed(c.t.Context(), kind, c.own)
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// of is the one object with the reference; more than one is an error.
func (c *cloud) of(kind, ref string) *object {
	c.t.Helper()
	var found *object
	for _, o := range c.made(kind) {
		if o.Metadata[refKey] != ref {
			continue
		}
		if found != nil {
			c.t.Errorf("%s %s and %s have one reference %s", kind, found.ID, o.ID, ref)
		}
		found = &o
	}
	return found
}

// hasType says whether the cloud has a volume type.
func (c *cloud) hasType(name string) bool {
	c.t.Helper()
	var answer struct {
		VolumeTypes []struct{ Name string } `json:"volume_types"`
	}
	c.must(c.volume, http.MethodGet, "types", nil, &answer)
	return slices.ContainsFunc(answer.VolumeTypes, func(v struct{ Name string }) bool { return v.Name == name })
}

// scripted skips the test where the driver does not fail on demand.
func (c *cloud) scripted(t *testing.T) {
	t.Helper()
	if !c.hasType("scripted") {
		t.Skip("skipped: the cloud has no volume type scripted")
	}
}

type server struct{ ID, Name, Status string }

// servers are those with such names.
func (c *cloud) servers(ctx context.Context, such func(string) bool) ([]server, error) {
	var answer struct{ Servers []server }
	status, err := c.ask(ctx, c.compute, http.MethodGet, "servers/detail", nil, &answer)
	if err != nil || status != http.StatusOK {
		return nil, fmt.Errorf("servers: %d %w", status, err)
	}
	return slices.DeleteFunc(answer.Servers, func(s server) bool { return !such(s.Name) }), nil
}

// server makes a server of the first image and flavor, without a network. The console
// itself makes none.
func (c *cloud) server(name string) server {
	c.t.Helper()
	var flavors struct{ Flavors []struct{ ID string } }
	var images struct{ Images []struct{ ID string } }
	c.must(c.compute, http.MethodGet, "flavors", nil, &flavors)
	c.must(c.image, http.MethodGet, "images?status=active", nil, &images)
	if len(flavors.Flavors) == 0 || len(images.Images) == 0 {
		c.t.Fatal("the cloud has no flavor or no image to make a server of")
	}
	var made struct{ Server server }
	c.t.Logf("makes the server %s", name)
	c.compute.Microversion = "2.37" // the first that takes "none" for networks
	defer func() { c.compute.Microversion = "" }()
	c.must(c.compute, http.MethodPost, "servers", map[string]any{"server": map[string]any{
		"name": name, "imageRef": images.Images[0].ID, "flavorRef": flavors.Flavors[0].ID, "networks": "none",
	}}, &made)
	eventually(c.t, "the server "+name, func() bool {
		var now struct{ Server server }
		c.must(c.compute, http.MethodGet, "servers/"+made.Server.ID, nil, &now)
		if now.Server.Status == "ERROR" {
			c.t.Fatalf("the server %s: %s", name, now.Server.Status)
		}
		return now.Server.Status == "ACTIVE"
	})
	return server{ID: made.Server.ID, Name: name}
}

// attachedTo are the volumes that Nova knows to be attached to a server.
func (c *cloud) attachedTo(server string) []string {
	c.t.Helper()
	var answer struct {
		VolumeAttachments []struct{ VolumeID string } `json:"volumeAttachments"`
	}
	c.must(c.compute, http.MethodGet, "servers/"+server+"/os-volume_attachments", nil, &answer)
	var ids []string
	for _, a := range answer.VolumeAttachments {
		ids = append(ids, a.VolumeID)
	}
	return ids
}
