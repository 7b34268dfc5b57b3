package openstack

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"blockconsole/models/backend"
)

// An application credential works, also after its token was revoked; when it was itself
// revoked, that is CodeUnavailable with the cause Credentials.
func TestCloudApplicationCredential(t *testing.T) {
	b := realCloud(t)
	s, err := b.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	user, err := s.identity.GetAuthResult().(tokens.CreateResult).ExtractUser()
	if err != nil {
		t.Fatal(err)
	}
	made, err := applicationcredentials.Create(t.Context(), s.identity, user.ID, applicationcredentials.CreateOpts{Name: "blockconsole-test-" + newRef(t)}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	revoke := func() error {
		return applicationcredentials.Delete(t.Context(), s.identity, user.ID, made.ID).ExtractErr()
	}
	variables := map[string]string{
		"OS_AUTH_URL": b.auth.IdentityEndpoint, "OS_REGION_NAME": b.endpoint.Region, "OS_CACERT": os.Getenv("OS_CACERT"),
		"OS_APPLICATION_CREDENTIAL_ID": made.ID, "OS_APPLICATION_CREDENTIAL_SECRET": made.Secret,
	}
	c := open(t, Options{Getenv: env(variables)})
	defer func() {
		if t.Failed() {
			t.Log("revoked:", revoke())
		}
	}()
	got, err := c.Capabilities(t.Context())
	if err != nil || got.Project != s.project {
		t.Fatalf("%+v, %v", got.Project, err)
	}
	mine, err := c.session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Revoke(t.Context(), mine.identity, mine.identity.Token()).Extract(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Images(t.Context()); err != nil {
		t.Error("after the token was revoked:", err)
	}
	if err := revoke(); err != nil {
		t.Fatal(err)
	}
	_, err = open(t, Options{Getenv: env(variables)}).Volumes(t.Context(), "", 1)
	var unavailable *backend.Error
	if !errors.As(err, &unavailable) || unavailable.Code != backend.CodeUnavailable || unavailable.Cause != backend.Credentials || strings.Contains(err.Error(), made.Secret) {
		t.Errorf("after it was revoked: %v", err)
	}
}

// A volume larger than the whole quota is refused with the quota's figures.
func TestCloudQuota(t *testing.T) {
	b := realCloud(t)
	c, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range c.Quotas {
		if q.What != "gigabytes" || q.Limit < 0 || q.Limit > 1<<30 {
			continue
		}
		_, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), Name: "too-large", SizeGiB: int(q.Limit) + 1})
		var quota *backend.Error
		if !errors.As(err, &quota) || quota.Code != backend.CodeQuota || quota.What != "gigabytes" || quota.Limit != q.Limit || quota.Asked != q.Limit+1 || quota.Used < 0 {
			t.Errorf("%+v: %v", q, err)
		}
		return
	}
	t.Skip("the project has no limit of gigabytes")
}

// A repair works or is refused with the role.
func TestCloudRepairVolume_Role(t *testing.T) {
	b := realCloud(t)
	v := newVolume(t, b, "not-stuck")
	err := b.RepairVolume(t.Context(), v.Key, backend.Available)
	var forbidden *backend.Error
	if err != nil && (!errors.As(err, &forbidden) || forbidden.Code != backend.CodeForbidden || forbidden.Role != "admin") {
		t.Error(err)
	}
}

// AllProjects lists at least the projects of the account.
func TestCloudAllProjects(t *testing.T) {
	realCloud(t)
	b := open(t, Options{AllProjects: true})
	v := newVolume(t, b, "of-every-project")
	c, err := b.Capabilities(t.Context())
	if err != nil || !slices.Contains(c.Projects, c.Project) {
		t.Errorf("%+v is not among %+v, %v", c.Project, c.Projects, err)
	}
	if again, err := b.Volume(t.Context(), backend.Key{Ref: v.Ref}); err != nil || again.ID != v.ID {
		t.Errorf("%+v, %v", again, err)
	}
}
