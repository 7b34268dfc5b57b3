package mirror_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

func TestInventory_ServersAndImages(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	servers := func() string {
		rows, err := h.Store.Servers.ListServers(h.Context(), operator, 10)
		if err != nil {
			h.Fatal(err)
		}
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
		}
		return strings.Join(names, " ")
	}
	if got := servers(); got != "web-1 web-2" {
		h.Errorf("%q", got)
	}
	h.Fake.RemoveServer("server-1")
	h.Fake.AddServer("server-3", "db\x00-1")
	if err := h.Mirror.SyncInventory(h.Context()); err != nil {
		h.Fatal(err)
	}
	if got := servers(); got != "db-1 web-2" {
		h.Errorf("%q", got)
	}
	if images, err := h.Store.Servers.ListImages(h.Context()); err != nil || len(images) != 1 || images[0].ID != "image-1" || images[0].MinGiB() != 1 {
		h.Errorf("%+v, %v", images, err)
	}
	if f := h.Store.Capabilities(); f.Name != "fake" || !f.Attach || f.MaxSizeGiB != 16384 {
		h.Errorf("%+v", f)
	}
}

func TestInventory_OwnServers(t *testing.T) {
	t.Parallel()
	h, _ := workertest.NewExporter(t)
	if n := h.Fake.Calls("Servers"); n > 0 {
		t.Errorf("%d calls of Servers", n)
	}
	if !h.Store.Capabilities().OwnServers {
		t.Error("the capabilities lack OwnServers")
	}
}

// TestInventory_QuotasAfterOperation expects a refresh of the quotas after an operation that
// uses them.
func TestInventory_QuotasAfterOperation(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetQuota("volumes", 10)
	h.Fake.SetCapabilities(func(c *backend.Capabilities) {
		c.Project, c.Projects = backend.Project{ID: models.DefaultProject, Name: "demo"}, []backend.Project{{ID: "p2", Name: "other"}}
	})
	h.Restart()
	h.RunMirror(time.Second)
	if f := h.Store.Capabilities(); len(f.Quotas) != 1 || f.Quotas[0] != (models.Quota{What: "volumes", Limit: 10}) || f.Project.Name != "demo" || len(f.Projects) != 1 {
		t.Fatalf("%+v", f)
	}
	h.Succeed(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	h.RunMirror(3 * time.Second)
	if f := h.Store.Capabilities(); f.Quotas[0].Used != 1 {
		t.Errorf("%+v", f.Quotas)
	}
}

// TestInventory_OtherProject expects no calls with credentials of another project: operations
// wait, and the failure says why.
func TestInventory_OtherProject(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	project := func(id string) {
		h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Project.ID = id })
	}
	project(models.DefaultProject)
	h.Restart()
	op := h.Accepted(h.Store.Volumes.CreateVolume(h.Context(), operator, models.VolumeInput{Name: "made-1", Size: "1"}))
	project("somebody-elses")
	h.Mirror, h.Worker = h.NewWorker(h.Faulty, workertest.Lease)
	var other *models.IdentityError
	if err := h.Mirror.Start(h.Context()); !errors.As(err, &other) {
		t.Fatal(err)
	}
	h.Reconcile(12)
	if now := h.Operation(op.ID); now.State != models.Running || now.LastError.Key != models.FailureOtherProject {
		t.Errorf("%+v", now)
	}
	h.RunMirror(5 * time.Minute)
	if m, err := h.Store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != models.FailureOtherProject || h.Faulty.Calls("Volumes")+h.Faulty.Calls("CreateVolume") != 0 {
		t.Errorf("%+v, %v, %d listings", m, err, h.Faulty.Calls("Volumes"))
	}
	project(models.DefaultProject)
	h.Succeed(op, nil)
}

// TestInventory_ServerNames fills in names where attachments have only ids, and keeps those of
// removed servers.
func TestInventory_ServerNames(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	v := h.Fake.PutVolume(backend.Volume{Name: "used", State: backend.State{Status: backend.InUse, Percent: 100},
		Attachments: []backend.Attachment{{ServerID: "server-1"}, {ServerID: "server-9"}}})
	h.RunMirror(time.Second)
	names := func() string {
		var all []string
		for _, a := range h.FindVolume(v.ID).Attachments {
			all = append(all, a.ServerName)
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	if got := names(); got != "[ web-1]" {
		t.Errorf("%q", got)
	}
	h.Fake.AddServer("server-9", "late")
	h.RunMirror(3 * time.Minute)
	if got := names(); got != "[late web-1]" {
		t.Errorf("%q", got)
	}
	h.Fake.RemoveServer("server-9")
	h.RunMirror(3 * time.Minute)
	if got := names(); got != "[late web-1]" {
		t.Errorf("%q", got)
	}
}
