package openstacktest_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend/openstack/openstacktest"
)

// listSnapshots requests the first page.
func (c *client) listSnapshots() (reply, error) {
	c.t.Helper()
	return c.try("GET", c.root("volume")+"/v3/"+c.project.ID+"/snapshots/detail", nil)
}

// createVolume requests a volume; an error means that there was no response.
func (c *client) createVolume() (reply, error) {
	c.t.Helper()
	return c.try("POST", c.root("volume")+"/v3/"+c.project.ID+"/volumes", map[string]any{"volume": map[string]any{"size": 1}})
}

func TestFault_Drop(t *testing.T) {
	for name, tt := range map[string]struct {
		fault openstacktest.Fault
		made  int
	}{
		"before": {openstacktest.Fault{Drop: true}, 0},
		"after":  {openstacktest.Fault{Drop: true, After: true}, 1},
		"within": {openstacktest.Fault{Drop: true, Truncate: true}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := demo(t, openstacktest.Options{})
			b := c.cloud.Inject(openstacktest.Rule{Service: "volume", Method: "POST", Path: "/volumes$", Times: 1}, tt.fault)
			if r, err := c.createVolume(); err == nil {
				t.Fatalf("an answer: %d %s", r.status, r.text)
			}
			if n := len(c.cloud.Volumes()); n != tt.made || b.Count() != 1 {
				t.Errorf("%d volumes made, %d requests met the fault", n, b.Count())
			}
			if r, err := c.createVolume(); err != nil || r.status != 202 {
				t.Errorf("the next request: %d, %v", r.status, err)
			}
		})
	}
}

func TestFault_Status(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  openstacktest.Fault
		status int
		header string // of Retry-After
		text   string
		kind   string
		made   int
	}{
		"500":           {openstacktest.Fault{Status: 500}, 500, "", "computeFault", "application/json", 0},
		"503 from HTML": {openstacktest.Fault{Status: 503, Body: openstacktest.ProxyHTML}, 503, "", "<h1>503", "text/html", 0},
		"429":           {openstacktest.Fault{Status: 429, Header: map[string]string{"Retry-After": "7"}}, 429, "7", "overLimit", "application/json", 0},
		"401":           {openstacktest.Fault{Status: 401}, 401, "", "requires authentication", "application/json", 0},
		"500 too late":  {openstacktest.Fault{Status: 500, After: true}, 500, "", "computeFault", "application/json", 1},
	} {
		t.Run(name, func(t *testing.T) {
			c := demo(t, openstacktest.Options{})
			c.cloud.Inject(openstacktest.Rule{Service: "volume", Skip: 1, Times: 1}, tt.fault)
			if r, err := c.listSnapshots(); err != nil || r.status != 200 {
				t.Fatalf("a request that Skip lets pass: %d, %v", r.status, err)
			}
			r, err := c.createVolume()
			if err != nil || r.status != tt.status || r.header.Get("Retry-After") != tt.header || r.header.Get("Content-Type") != tt.kind || !strings.Contains(r.text, tt.text) {
				t.Errorf("%d %v %s, %v", r.status, r.header, r.text, err)
			}
			if n := len(c.cloud.Volumes()); n != tt.made {
				t.Errorf("%d volumes made", n)
			}
			if r, err := c.listSnapshots(); err != nil || r.status != 200 {
				t.Errorf("afterwards: %d, %v", r.status, err)
			}
		})
	}
}

func TestFault_Truncate(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.AddSnapshot(openstacktest.Snapshot{Name: "one"})
	whole, err := c.listSnapshots()
	if err != nil {
		t.Fatal(err)
	}
	c.cloud.Inject(openstacktest.Rule{Path: "/snapshots"}, openstacktest.Fault{Truncate: true})
	half, err := c.listSnapshots()
	if err == nil || half.status != 200 || half.text != whole.text[:len(whole.text)/2] {
		t.Errorf("%d %q, %v", half.status, half.text, err)
	}
}

func TestFault_Hang(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	b := c.cloud.Inject(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Hang: true})
	answers := make(chan reply, 1)
	go func() {
		r, err := c.createVolume()
		if err != nil {
			t.Error(err)
		}
		answers <- r
	}()
	<-b.Hits()
	if n := len(c.cloud.Volumes()); n != 0 {
		t.Errorf("%d volumes while the request hangs", n)
	}
	b.Release()
	if r := <-answers; r.status != 202 || len(c.cloud.Volumes()) != 1 {
		t.Errorf("%d %s after the release", r.status, r.text)
	}

	b = c.cloud.Inject(openstacktest.Rule{Method: "GET"}, openstacktest.Fault{Hang: true})
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, "GET", c.cloud.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	failed := make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		failed <- err
	}()
	<-b.Hits()
	cancel()
	if err := <-failed; err == nil {
		t.Error("a response although the client is gone")
	}
	c.cloud.ClearFault(b)
	if r := c.do("GET", c.cloud.URL(), nil); r.status != 200 {
		t.Errorf("after ClearFault: %d", r.status)
	}
}

func TestFault_HangAfterEffect(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	b := c.cloud.Inject(openstacktest.Rule{Method: "POST"}, openstacktest.Fault{Hang: true, After: true})
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := c.createVolume(); err != nil {
			t.Error(err)
		}
	}()
	<-b.Hits()
	if n := len(c.cloud.Volumes()); n != 1 {
		t.Errorf("%d volumes made", n)
	}
	c.cloud.ClearFaults()
	<-done
}

func TestFault_Delay(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.Inject(openstacktest.Rule{Path: "/volumes"}, openstacktest.Fault{Delay: time.Millisecond})
	if r, err := c.createVolume(); err != nil || r.status != 202 {
		t.Errorf("%d, %v", r.status, err)
	}
	c.cloud.ClearFaults()
	b := c.cloud.Inject(openstacktest.Rule{Path: "/volumes"}, openstacktest.Fault{Delay: time.Hour})
	b.Release()
	if r, err := c.createVolume(); err != nil || r.status != 202 {
		t.Errorf("%d, %v", r.status, err)
	}
}

func TestSetSkew(t *testing.T) {
	now := time.Date(2026, 3, 1, 10, 0, 0, 123, time.UTC)
	cloud := newCloud(t, openstacktest.Options{Now: func() time.Time { return now }})
	cloud.SetSkew(time.Hour)
	c := login(t, cloud, "demo", cloud.Project)
	v := c.volume("POST", "/volumes", map[string]any{"volume": map[string]any{"size": 1}})
	if got := v.object(t, 202)["created_at"]; got != "2026-03-01T11:00:00.000000" || v.header.Get("Date") != "Sun, 01 Mar 2026 11:00:00 GMT" {
		t.Errorf("created at %v, sent at %s", got, v.header.Get("Date"))
	}
	now = now.Add(time.Hour)
	if r := c.volume("GET", "/volumes", nil); r.status != 401 {
		t.Errorf("an expired token: %d", r.status)
	}
}

func TestRequests_Count(t *testing.T) {
	c := demo(t, openstacktest.Options{})
	c.cloud.ResetRequests()
	c.volume("GET", "/volumes?limit=1", nil)
	c.volume("GET", "/nowhere", nil)
	c.volume("DELETE", "/volumes/11111111-1111-1111-1111-111111111111", nil)
	if n := c.cloud.Count("volume", "GET", `/volumes\?`); n != 1 || c.cloud.Count("", "", "") != 3 || c.cloud.CountChanges() != 1 {
		t.Errorf("%d, %d, %d changes", n, c.cloud.Count("", "", ""), c.cloud.CountChanges())
	}
	all := c.cloud.Requests()
	if all[0].Status != 200 || all[1].Status != 404 || all[0].Microversion != "volume 3.70" || !strings.HasSuffix(all[0].Path, "/volumes?limit=1") {
		t.Errorf("%+v", all)
	}
}
