package openstack

import (
	"fmt"
	"slices"
	"testing"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestQuotaError(t *testing.T) {
	cloud := openstacktest.New(openstacktest.Options{})
	t.Cleanup(cloud.Close)
	b := open(t, Options{Getenv: env(cloud.Env("demo", cloud.Tiny))})
	made, err := b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), SizeGiB: 3})
	if err != nil {
		t.Fatal(err)
	}
	cloud.Settle()
	refused := func(err error) string {
		t.Helper()
		q := backend.AsError(err, backend.CodeQuota)
		if q == nil {
			t.Fatalf("%v", err)
		}
		return fmt.Sprintf("%s %d %d %d", q.What, q.Used, q.Limit, q.Asked)
	}
	snapshotOf := func() error {
		_, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: made.Key})
		return err
	}
	if got := refused(snapshotOf()); got != "gigabytes 3 5 3" {
		t.Errorf("a snapshot needs its volume's whole size: %+v", got)
	}
	if got := refused(b.ExtendVolume(t.Context(), made.Key, 50)); got != "gigabytes 3 5 47" {
		t.Errorf("%+v", got)
	}
	cloud.SetQuota(cloud.Tiny, "snapshots", 0)
	cloud.SetQuota(cloud.Tiny, "gigabytes", -1)
	if got := refused(snapshotOf()); got != "snapshots 0 0 1" {
		t.Errorf("%+v", got)
	}
	cloud.SetQuota(cloud.Tiny, "volumes", 1)
	_, err = b.CreateVolume(t.Context(), backend.VolumeSpec{Ref: newRef(t), SizeGiB: 1})
	if got := refused(err); got != "volumes 1 1 1" {
		t.Errorf("%+v", got)
	}
	cloud.SetQuota(cloud.Tiny, "gigabytes_ceph", 100)
	cloud.SetQuota(cloud.Tiny, "per_volume_gigabytes", 40)
	c, err := b.Capabilities(t.Context())
	want := []backend.Quota{{What: "gigabytes", Used: 3, Limit: -1}, {What: "gigabytes_ceph", Used: 3, Limit: 100}, {What: "snapshots", Limit: 0}, {What: "volumes", Used: 1, Limit: 1}}
	if err != nil || !slices.Equal(c.Quotas, want) || c.MaxSizeGiB != 40 || c.Project != (backend.Project{ID: cloud.Tiny.ID, Name: "tiny"}) {
		t.Errorf("%+v, %v", c, err)
	}
	cloud.Inject(openstacktest.Rule{Path: "os-quota-sets"}, openstacktest.Fault{Status: 403})
	if c, err = b.Capabilities(t.Context()); err != nil || len(c.Quotas) != 3 {
		t.Errorf("from the limits: %+v, %v", c.Quotas, err)
	}
}
