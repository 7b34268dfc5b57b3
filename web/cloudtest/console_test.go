package cloudtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// console is the program as a process of its own, on the cloud of c. It keeps its
// data folder when it is killed and started again.
type console struct {
	*apptest.Program
	t        *testing.T
	c        *cloud
	api      *apptest.Client
	unsteady bool // it may be killed while it is asked: what gets no answer is sent again
}

// newConsole starts the console and signs in. It ends before the cloud is swept.
func newConsole(t *testing.T, c *cloud, settings ...string) *console {
	t.Helper()
	p := &console{t: t, c: c, Program: apptest.NewProgram(t, append([]string{"BACKEND=openstack"}, settings...)...)}
	p.Environ = append(p.Environ, "HOME="+os.Getenv("HOME")) // of clouds.yaml
	for _, variable := range os.Environ() {
		if strings.HasPrefix(variable, "OS_") {
			p.Environ = append(p.Environ, variable)
		}
	}
	if c.name != "" {
		p.Environ = append(p.Environ, "OS_CLOUD="+c.name)
	}
	p.Start()
	p.SignIn()
	p.api = p.Client.JSON()
	return p
}

// reply is what the console answered to a program.
type reply struct {
	apptest.Accepted
	apptest.Problem
	status int
	body   string
}

// send sends a request. An error means that nobody knows whether it was carried out.
// To an unsteady console the same is sent again, as an impatient user does.
func (p *console) send(method, path string, form url.Values) (reply, error) {
	deadline := time.Now().Add(patience)
	for {
		a, err := p.sendOnce(method, path, form)
		if err == nil || !p.unsteady || time.Now().After(deadline) {
			return a, err
		}
		<-time.After(50 * time.Millisecond) // it is being started
	}
}

func (p *console) sendOnce(method, path string, form url.Values) (reply, error) {
	a, err := p.api.Try(method, path, form, "Sec-Fetch-Site", "same-origin")
	if err != nil {
		return reply{}, err
	}
	r := reply{status: a.StatusCode, body: a.Body}
	if method != http.MethodPost {
		return r, nil
	}
	answer := struct {
		*apptest.Accepted
		Error *apptest.Problem
	}{&r.Accepted, &r.Problem}
	if err := json.Unmarshal([]byte(a.Body), &answer); err != nil {
		return reply{}, fmt.Errorf("%s %s: %w", a.Status, a.Body, err)
	}
	return r, nil
}

// get reads JSON and returns the status.
func (p *console) get(path string, into any) int {
	p.t.Helper()
	a, err := p.send(http.MethodGet, path, nil)
	if err == nil && a.status == http.StatusOK {
		err = json.Unmarshal([]byte(a.body), into)
	}
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return a.status
}

// post sends a form of pairs of names and values.
func (p *console) post(path string, pairs ...string) reply {
	p.t.Helper()
	a, err := p.send(http.MethodPost, path, apptest.FormWithKey(pairs...))
	if err != nil {
		p.t.Fatalf("POST %s: %v", path, err)
	}
	return a
}

// asked posts what has to be accepted, again while a console that has just started
// has no answer of a busy cloud.
func (p *console) asked(path string, pairs ...string) reply {
	p.t.Helper()
	var a reply
	eventually(p.t, "the cloud's first answer", func() bool {
		a = p.post(path, pairs...)
		return !strings.HasPrefix(a.Message, "The storage has not answered yet.")
	})
	if a.status != http.StatusAccepted || a.Operation == "" || a.ID == "" {
		p.t.Fatalf("POST %s %v: %d %s", path, pairs, a.status, a.body)
	}
	return a
}

// ended waits until an operation is over.
func (p *console) ended(id string) apptest.Operation {
	p.t.Helper()
	var o apptest.Operation
	eventually(p.t, "the end of the operation "+id, func() bool {
		p.get("/activity/"+id, &o)
		return slices.Contains([]string{"SUCCEEDED", "FAILED", "CANCELLED"}, o.State)
	})
	return o
}

// done posts what has to be accepted and to succeed, and returns the object's id.
func (p *console) done(path string, pairs ...string) string {
	p.t.Helper()
	a := p.asked(path, pairs...)
	if o := p.ended(a.Operation); o.State != "SUCCEEDED" {
		p.t.Fatalf("POST %s %v: %+v", path, pairs, o)
	}
	return a.ID
}

// row is a volume or snapshot as the console tells it.
type row struct {
	ID, Name, Status, Consistency string
	BackendID                     string `json:"backend_id"`
	SizeGiB                       int    `json:"size_gib"`
	Volume                        struct{ ID string }
	Attachments                   []struct {
		ServerID   string `json:"server_id"`
		ServerName string `json:"server_name"`
	}
}

var volumePath, snapshotPath = apptest.VolumePath, apptest.SnapshotPath

// is checks the status of an object, and returns its row.
func (p *console) is(path, status string) row {
	p.t.Helper()
	var r row
	if got := p.get(path, &r); got != http.StatusOK || r.Status != status {
		p.t.Fatalf("%s: %d %+v, want %s", path, got, r, status)
	}
	return r
}

// becomes waits until an object has a status.
func (p *console) becomes(path, status string) row {
	p.t.Helper()
	var r row
	eventually(p.t, path+" to be "+status, func() bool { return p.get(path, &r) == http.StatusOK && r.Status == status })
	return r
}

// isGone checks that an object is not there any more.
func (p *console) isGone(path string) {
	p.t.Helper()
	var r row
	if status := p.get(path, &r); status != http.StatusNotFound {
		p.t.Errorf("%s: %d %+v, want 404", path, status, r)
	}
}

// listed are the objects of a list whose names are those of this test.
func (p *console) listed(path string) []row {
	p.t.Helper()
	var found []row
	for next := path + "?size=200&q=" + p.c.prefix; next != ""; {
		var page struct {
			Items []row
			Next  string
		}
		if status := p.get(next, &page); status != http.StatusOK {
			p.t.Fatalf("GET %s: %d", next, status)
		}
		found, next = append(found, page.Items...), page.Next
	}
	return found
}

// knows waits until the console has read a server, and with it the rest.
func (p *console) knows(s server) {
	p.t.Helper()
	eventually(p.t, "the server "+s.Name+" in the console", func() bool {
		var all struct{ Items []server }
		p.get(views.ServersPath, &all)
		return slices.ContainsFunc(all.Items, func(k server) bool { return k.ID == s.ID && k.Name == s.Name })
	})
}
