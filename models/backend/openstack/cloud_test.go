package openstack

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/attachments"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
)

// The tests TestCloud… run against the cloud that OS_CLOUD names and delete what they
// make.

func realCloud(t *testing.T) *Backend {
	t.Helper()
	if os.Getenv("OS_CLOUD") == "" {
		t.Skip("OS_CLOUD names no cloud")
	}
	return open(t, Options{})
}

// pause waits between polls of a real cloud.
func pause(ctx context.Context) error {
	timer := time.NewTimer(300 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestCloudConformance(t *testing.T) {
	b := realCloud(t)
	narrow := cannotStoreEmoji(t, b)
	for range 2 {
		newServer(t, b)
	}
	images, err := b.Images(t.Context())
	if err != nil || len(images) == 0 {
		t.Fatalf("images %v, %v", images, err)
	}
	backendtest.Run(t, func(t *testing.T) backendtest.Fixture {
		return backendtest.Fixture{
			Image: images[0].ID, Backend: realCloud(t), Settle: pause, Reopen: func() backend.Backend { return realCloud(t) },
			StoredText: func(subject backend.SubjectType, field, text string) (string, bool) {
				if narrow && beyondBMP(text) {
					return "", false
				}
				return storedText(subject, field, text)
			},
		}
	})
}

// cannotStoreEmoji says whether the cloud has a database like MySQL's utf8mb3.
func cannotStoreEmoji(t *testing.T, b *Backend) bool {
	t.Helper()
	v := newVolume(t, b, "emoji")
	err := b.RenameVolume(t.Context(), v.Key, "\U0001F4BE", "")
	if err != nil && backend.AsError(err, backend.CodeInvalid) == nil {
		t.Fatal(err)
	}
	return err != nil
}

// newVolume makes a volume that is deleted after the test.
func newVolume(t *testing.T, b *Backend, name string) backend.Volume {
	t.Helper()
	v, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), Name: name, SizeGiB: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		for b.DeleteVolume(ctx, v.Key) != nil && pause(ctx) == nil {
		}
	})
	return waitAvailable(t, b, v.Key)
}

func waitAvailable(t *testing.T, b *Backend, key backend.Key) backend.Volume {
	t.Helper()
	for {
		v, err := b.Volume(t.Context(), key)
		if err != nil || v.Status == backend.ErrorStatus {
			t.Fatalf("%+v, %v", v, err)
		}
		if v.Status == backend.Available {
			return v
		}
		if err := pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCloudChangedVolumes(t *testing.T) {
	b := realCloud(t)
	before := time.Now()
	v := newVolume(t, b, "changed")
	changed, err := b.ChangedVolumes(t.Context(), before)
	if errors.Is(err, backend.ErrUnsupported) {
		t.Skip("the cloud does not support ChangedVolumes")
	}
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range changed {
		found = found || c.ID == v.ID
	}
	if !found {
		t.Errorf("%s is not among %d", v.ID, len(changed))
	}
	later, err := b.ChangedVolumes(t.Context(), time.Now().Add(time.Hour))
	if err != nil || len(later) != 0 {
		t.Errorf("in the future %v, %v", later, err)
	}
}

func TestCloudCapabilities(t *testing.T) {
	b := realCloud(t)
	c, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "openstack" || c.Project.ID == "" || c.Project.Name == "" || len(c.Quotas) < 3 || len(c.Types) == 0 || len(c.Zones) == 0 || !c.Revert || !c.ExtendAttached {
		t.Errorf("%+v", c)
	}
}

func TestCloudWrongCredentials(t *testing.T) {
	realCloud(t)
	b := open(t, Options{Getenv: func(name string) string {
		if name == "OS_PASSWORD" {
			return "certainly wrong"
		}
		return os.Getenv(name)
	}})
	_, err := b.Capabilities(t.Context())
	var unavailable *backend.Error
	if !errors.As(err, &unavailable) || unavailable.Code != backend.CodeUnavailable || unavailable.Cause != backend.Credentials {
		t.Errorf("%v", err)
	}
	if err != nil && strings.Contains(err.Error(), "certainly wrong") {
		t.Error("the error contains the password")
	}
}

// A listing continues after a marker whose object is gone.
func TestCloudVolumes_MarkerGone(t *testing.T) {
	b := realCloud(t)
	first, gone, last := newVolume(t, b, "first"), newVolume(t, b, "gone"), newVolume(t, b, "last")
	place := func(v backend.Volume) marker { return marker{v.CreatedAt, v.ID} }
	after := place(gone)
	if err := b.DeleteVolume(t.Context(), gone.Key); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := b.Volume(t.Context(), gone.Key); errors.Is(err, backend.ErrNotFound) {
			break
		}
		if err := pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	page, err := b.Volumes(t.Context(), after.String(), 1000)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, v := range page.Items {
		seen[v.ID] = true
	}
	for _, v := range []backend.Volume{first, last} { // created in the same second they are ordered by ID
		if want := after.before(place(v)); seen[v.ID] != want {
			t.Errorf("%s is listed: %v, want %v", v.Name, seen[v.ID], want)
		}
	}
}

// newServer makes a server of the first flavor and image, without a network, that is
// deleted after the test.
func newServer(t *testing.T, b *Backend) {
	t.Helper()
	s, err := b.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	nova, err := s.novaClient(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.Images(t.Context())
	if err != nil || len(list) == 0 {
		t.Fatalf("images %v, %v", list, err)
	}
	page, err := flavors.ListDetail(nova, nil).AllPages(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := flavors.ExtractFlavors(page)
	if err != nil || len(kinds) == 0 {
		t.Fatalf("flavors %v, %v", kinds, err)
	}
	made, err := servers.Create(t.Context(), nova, servers.CreateOpts{
		Name: "blockconsole-test", ImageRef: list[0].ID, FlavorRef: kinds[0].ID, Networks: "none",
	}, nil).Extract()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := servers.Delete(ctx, nova, made.ID).ExtractErr(); err != nil {
			t.Error(err)
		}
	})
	for {
		now, err := servers.Get(t.Context(), nova, made.ID).Extract()
		if err != nil || now.Status == "ERROR" {
			t.Fatalf("%+v, %v", now, err)
		}
		if now.Status == "ACTIVE" {
			return
		}
		if err := pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// An attachment that Nova does not know is removed only by force.
func TestCloudDetachVolume_Stale(t *testing.T) {
	b := realCloud(t)
	v := newVolume(t, b, "stale")
	s, err := b.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	missing := newRef(t)
	if _, err := attachments.Create(t.Context(), s.volume, attachments.CreateOpts{VolumeUUID: v.ID, InstanceUUID: missing}).Extract(); err != nil {
		t.Fatal(err)
	}
	if now, err := b.Volume(t.Context(), v.Key); err != nil || now.Status != backend.Attaching {
		t.Errorf("%+v, %v", now, err)
	}
	if err := b.DetachVolume(t.Context(), v.Key, missing, false); !isConflict("force")(err) {
		t.Errorf("without force: %v", err)
	}
	if err := b.DetachVolume(t.Context(), v.Key, missing, true); err != nil {
		t.Fatal(err)
	}
	waitAvailable(t, b, v.Key)
}
