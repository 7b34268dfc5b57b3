package openstack

import (
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestStatusOf(t *testing.T) {
	for word, want := range map[string]backend.Status{
		"creating": backend.Creating, "available": backend.Available, "in-use": backend.InUse, "reserved": backend.Attaching, "attaching": backend.Attaching,
		"detaching": backend.Detaching, "extending": backend.Extending, "reverting": backend.Restoring, "restoring": backend.Restoring,
		"restoring-backup": backend.Restoring, "downloading": backend.Creating, "deleting": backend.Deleting, "error": backend.ErrorStatus,
		"error_deleting": backend.ErrorDeleting, "error_extending": backend.ErrorStatus, "error_restoring": backend.ErrorStatus,
		"backing-up": "BACKING-UP", "retyping": "RETYPING", "awaiting-transfer": "AWAITING-TRANSFER", "made up": "MADE UP", "": "",
	} {
		if got := statusOf(word); got != want {
			t.Errorf("%q is %q, want %q", word, got, want)
		}
	}
}

// A cloud tells no instant but that of the request, and nothing while it may still be to come.
func TestSnapshots_TakenAt(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	volume := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Name: "data"})
	for status, known := range map[string]bool{"available": true, "error_deleting": true, "deleting": true, "creating": false, "error": false} {
		id := cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: volume, Name: status, Status: status})
		s, err := b.Snapshot(t.Context(), backend.Key{ID: id})
		if err != nil || s.CreatedAt.IsZero() || s.TakenAt.IsZero() == known || known && !s.TakenAt.Equal(s.CreatedAt) || s.Consistency != "" {
			t.Errorf("%s: created %s, taken %s, %q, %v", status, s.CreatedAt, s.TakenAt, s.Consistency, err)
		}
	}
}

// Odd objects are listed; invalid refs are ignored.
func TestLists_OddObjects(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	ref := newRef(t)
	long := strings.Repeat("\uac00", 255)
	servers := []string{cloud.AddServer(cloud.Project, "one"), cloud.AddServer(cloud.Project, `<b>two</b>`)}
	for i, v := range []openstacktest.Volume{
		{Name: `<script>alert("1")</script>`, Metadata: map[string]string{refName: "' OR 1=1 --"}},
		{Name: long, Metadata: map[string]string{refName: ref}},
		{NoHost: true, Status: "error"},
		{Name: "shared", Type: "shared", Servers: servers},
		{Status: "made up", Metadata: map[string]string{refName: strings.ToUpper(ref)}},
	} {
		v.Project, v.Created = cloud.Project, time.Date(2026, 11, 22, 10, 0, i, 0, time.UTC)
		cloud.AddVolume(v)
	}
	orphan := cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: newRef(t), Name: "orphan"})
	page, err := b.Volumes(t.Context(), "", 100)
	if err != nil || len(page.Items) != 5 || page.Next != "" {
		t.Fatalf("%+v, %v", page, err)
	}
	v := page.Items
	if v[0].Ref != "" || v[0].Name != `<script>alert("1")</script>` || v[1].Ref != ref || v[1].Name != long || v[2].Status != backend.ErrorStatus || v[2].Name != "" {
		t.Errorf("%+v", v[:3])
	}
	if len(v[3].Attachments) != 2 || v[3].Attachments[0].ServerID != servers[0] || v[3].Status != backend.InUse || v[4].Status != "MADE UP" || v[4].Ref != "" {
		t.Errorf("%+v", v[3:])
	}
	if v[1].Project != cloud.Project.ID || v[1].Percent != backend.PercentUnknown || v[1].CreatedAt.IsZero() || v[1].Zone != "nova" {
		t.Errorf("%+v", v[1])
	}
	sn, err := b.Snapshots(t.Context(), "", 100)
	if err != nil || len(sn.Items) != 1 || sn.Items[0].ID != orphan || sn.Items[0].Volume.ID == "" {
		t.Errorf("%+v, %v", sn, err)
	}
	if list, err := b.Servers(t.Context(), "", 1); err != nil || len(list.Items) != 1 || list.Next == "" || list.Items[0].Status != "ACTIVE" {
		t.Errorf("%+v, %v", list, err)
	}
}

// Nulls, invalid times and missing fields are zero values.
func TestVolumes_OddAnswer(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	if _, err := b.Volumes(t.Context(), "", 1); err != nil {
		t.Fatal(err)
	}
	const body = `{"volumes": [{"id": "a", "status": null, "size": null, "name": null, "metadata": null, "attachments": null, "created_at": "yesterday"},
		{"id": "b", "status": "available", "size": 3, "created_at": "2026-11-22T10:20:11", "updated_at": "2026-11-22T10:20:12Z", "metadata": {"blockconsole_ref": 5},
		 "attachments": [{"server_id": null, "host_name": "array-7", "attached_at": null}]}]}`
	cloud.Inject(openstacktest.Rule{Path: "/volumes/detail"}, openstacktest.Fault{Status: 200, Body: body})
	page, err := b.Volumes(t.Context(), "", 10)
	if err != nil || len(page.Items) != 2 {
		t.Fatalf("%+v, %v", page, err)
	}
	odd, v := page.Items[0], page.Items[1]
	if odd.Status != "" || !odd.CreatedAt.IsZero() || odd.Ref != "" || v.SizeGiB != 3 || v.Ref != "" {
		t.Errorf("%+v", page.Items)
	}
	if !v.CreatedAt.Equal(time.Date(2026, 11, 22, 10, 20, 11, 0, time.UTC)) || len(v.Attachments) != 1 || v.Attachments[0].ServerName != "array-7" {
		t.Errorf("%+v", v)
	}
}
