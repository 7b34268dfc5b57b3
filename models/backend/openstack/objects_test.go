package openstack

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"blockconsole/models/backend"
	"blockconsole/models/backend/openstack/openstacktest"
)

func TestStatuses(t *testing.T) {
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

// Whatever an object looks like, the list has it, and nothing odd is believed.
func TestOddObjectsAreListed(t *testing.T) {
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

// An answer with nulls, odd times and missing parts is read as far as it goes.
func TestOddAnswers(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	if _, err := b.Volumes(t.Context(), "", 1); err != nil {
		t.Fatal(err)
	}
	const body = `{"volumes": [{"id": "a", "status": null, "size": null, "name": null, "metadata": null, "attachments": null, "created_at": "yesterday"},
		{"id": "b", "status": "available", "size": 3, "created_at": "2026-11-22T10:20:11", "updated_at": "2026-11-22T10:20:12Z", "metadata": {"blockconsole_ref": 5},
		 "attachments": [{"server_id": null, "host_name": "array-7", "attached_at": null}]}]}`
	cloud.Break(openstacktest.Rule{Path: "/volumes/detail"}, openstacktest.Fault{Status: 200, Body: body})
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

func TestPagesOfEverySize(t *testing.T) {
	for _, o := range []openstacktest.Options{{}, {PageMax: 3}} {
		cloud, b := newCloud(t, o)
		created := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		var want []string
		for i := range 12 { // three share each second
			want = append(want, cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Created: created.Add(time.Duration(i/3) * time.Second)}))
		}
		for _, limit := range []int{1, 3, 4, 5, 12, 13, 5000} {
			var got []string
			for marker := ""; ; {
				page, err := b.Volumes(t.Context(), marker, limit)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range page.Items {
					got = append(got, v.ID)
				}
				if marker = page.Next; marker == "" {
					break
				}
			}
			if slices.Sort(got); len(got) != len(want) || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
				t.Errorf("by %d: %d of %d", limit, len(got), len(want))
			}
		}
	}
}

func TestChangedVolumesByTheCloudsClock(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		now := newClock()
		cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
		cloud.SetSkew(skew)
		old := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		changing := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		if _, err := b.Volumes(t.Context(), "", 100); err != nil {
			t.Fatal(err)
		}
		now.move(time.Minute)
		since := now.Now()
		now.move(time.Second)
		if err := b.RenameVolume(t.Context(), backend.Key{ID: changing}, "changed", ""); err != nil {
			t.Fatal(err)
		}
		changed, err := b.ChangedVolumes(t.Context(), since)
		if err != nil || len(changed) != 1 || changed[0].ID != changing {
			t.Errorf("%v: %+v, not %s, %v", skew, changed, old, err)
		}
		if all, err := b.ChangedVolumes(t.Context(), now.Now().Add(-time.Hour)); err != nil || len(all) != 2 {
			t.Errorf("%v: %d since an hour ago, %v", skew, len(all), err)
		}
	}
}

func TestTold(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour} {
		now := newClock()
		cloud, b := newCloud(t, openstacktest.Options{Now: now.Now, BusySnapshots: true})
		cloud.SetSkew(skew)
		of := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		sn := cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: of})
		child := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Snapshot: sn, Metadata: map[string]string{refName: newRef(t)}})
		key := backend.Key{ID: sn}
		if err := b.LastFailure(t.Context(), backend.SubjectSnapshot, key, now.Now()); !errors.Is(err, backend.ErrNotFound) {
			t.Fatalf("nothing has happened, and it tells %v", err)
		}
		since := now.Now()
		now.move(10 * time.Second)
		if err := b.DeleteSnapshot(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		cloud.Settle()
		var busy *backend.Error
		if err := b.LastFailure(t.Context(), backend.SubjectSnapshot, key, since); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 1 || busy.Dependents[0].ID != child || busy.Dependents[0].Ref == "" {
			t.Errorf("%v", err)
		}
		if got, err := b.Snapshot(t.Context(), key); err != nil || got.Status != backend.Available || got.RequestID == "" {
			t.Errorf("%+v, %v", got, err)
		}
		request := cloud.AddMessage(of, "VOLUME_VOLUME_001_003", "schedule allocate volume:Could not find any available weighted backend.")
		var reported *backend.Error
		err := b.LastFailure(t.Context(), backend.SubjectVolume, backend.Key{ID: of}, since)
		if !errors.As(err, &reported) || reported.Code != backend.CodeReported || reported.RequestID != request || reported.EventID != "VOLUME_VOLUME_001_003" || !strings.Contains(reported.Message, "weighted backend") {
			t.Errorf("%v", err)
		}
		now.move(time.Minute)
		if err := b.LastFailure(t.Context(), backend.SubjectVolume, backend.Key{ID: of}, now.Now()); !errors.Is(err, backend.ErrNotFound) {
			t.Errorf("old news: %v", err)
		}
	}
}

func TestQuota(t *testing.T) {
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
		t.Errorf("a snapshot counts its volume's whole size: %+v", got)
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
	cloud.Break(openstacktest.Rule{Path: "os-quota-sets"}, openstacktest.Fault{Status: 403})
	if c, err = b.Capabilities(t.Context()); err != nil || len(c.Quotas) != 3 {
		t.Errorf("from the limits: %+v, %v", c.Quotas, err)
	}
}

// A text that the cloud's database cannot store is refused for good; the same answer
// of a database that is down is not.
func TestWideTextIsRefusedOnce(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{NarrowText: true})
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	sn := backend.Key{ID: cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: key.ID})}
	for field, err := range map[string]error{
		"name":        b.RenameVolume(t.Context(), key, "\U0001F4BE", ""),
		"description": b.RenameVolume(t.Context(), key, "plain", "\U0001F4BE"),
	} {
		if !isInvalid(field)(err) {
			t.Errorf("%s: %v", field, err)
		}
	}
	_, err := b.CreateSnapshot(t.Context(), backend.SnapshotSpec{Ref: newRef(t), Volume: key, Name: "\U0001F4BE"})
	if !isInvalid("name")(err) || !isInvalid("name")(b.RenameSnapshot(t.Context(), sn, "\U0001F4BE", "")) {
		t.Errorf("%v", err)
	}
	cloud.Break(openstacktest.Rule{Service: "volume"}, openstacktest.Fault{Status: 500})
	unavailable(t, b.RenameVolume(t.Context(), key, "\U0001F4BE", ""))
}

func TestDetachOfWhatNovaHasForgotten(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	gone := newRef(t)
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Servers: []string{gone}})}
	if err := b.DetachVolume(t.Context(), key, gone, false); !isConflict("force")(err) {
		t.Errorf("%v", err)
	}
	cloud.Break(openstacktest.Rule{Method: "DELETE", Path: "/attachments/"}, openstacktest.Fault{Status: 200, Body: `{"attachments": []}`})
	if err := b.DetachVolume(t.Context(), key, gone, true); err != nil {
		t.Fatal(err)
	}
	if n := cloud.Count("volume", "DELETE", "/attachments/[0-9a-f-]{36}$"); n != 1 {
		t.Errorf("%d records removed", n)
	}
}

func TestRepairNamesTheRoleAndKeepsAttachments(t *testing.T) {
	cloud, member := newCloud(t, openstacktest.Options{})
	admin := open(t, Options{Getenv: env(cloud.Env("admin", cloud.Project))})
	stuck := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Status: "error_deleting"})}
	if err := member.RepairVolume(t.Context(), stuck, backend.ErrorStatus); !isForbidden("admin")(err) {
		t.Errorf("%v", err)
	}
	if err := admin.RepairVolume(t.Context(), stuck, backend.ErrorStatus); err != nil {
		t.Error(err)
	}
	attached := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Servers: []string{cloud.AddServer(cloud.Project, "web")}})}
	if err := admin.RepairVolume(t.Context(), attached, backend.Available); !isConflict("attached")(err) {
		t.Errorf("%v", err)
	}
	for _, r := range cloud.Requests() {
		if strings.Contains(r.Body, "attach_status") {
			t.Errorf("sent %s", r.Body)
		}
	}
}

func TestAllProjects(t *testing.T) {
	cloud, _ := newCloud(t, openstacktest.Options{})
	b := open(t, Options{AllProjects: true, Getenv: env(cloud.Env("admin", cloud.Admin))})
	ref := newRef(t)
	foreign := cloud.AddVolume(openstacktest.Volume{Project: cloud.Tiny, Metadata: map[string]string{refName: ref}})
	cloud.AddVolume(openstacktest.Volume{Project: cloud.Admin, Created: time.Now().Add(time.Minute)})
	page, err := b.Volumes(t.Context(), "", 10)
	if err != nil || len(page.Items) != 2 || page.Items[0].Project != cloud.Tiny.ID || page.Items[0].Ref != "" {
		t.Errorf("%+v, %v", page.Items, err)
	}
	if _, err := b.Volume(t.Context(), backend.Key{Ref: ref}); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("the reference of another project's object is taken for ours: %v", err)
	}
	if v, err := b.Volume(t.Context(), backend.Key{ID: foreign}); err != nil || v.ID != foreign {
		t.Errorf("%+v, %v", v, err)
	}
	c, err := b.Capabilities(t.Context())
	if err != nil || len(c.Projects) != 3 || c.Project.ID != cloud.Admin.ID || !slices.Contains(c.Projects, backend.Project{ID: cloud.Tiny.ID, Name: "tiny"}) {
		t.Errorf("%+v, %v", c.Projects, err)
	}
}

// A steady refresh of 10,000 snapshots and 500 volumes costs less than one request
// each second.
func TestSteadyRefreshIsCheap(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	of := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	for i := range 499 {
		cloud.AddVolume(openstacktest.Volume{Project: cloud.Project, Name: fmt.Sprint("v", i)})
	}
	for i := range 10000 {
		cloud.AddSnapshot(openstacktest.Snapshot{Project: cloud.Project, Volume: of, Name: fmt.Sprint("s", i)})
	}
	c, err := b.Capabilities(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cost := func(refresh func() error) float64 {
		cloud.Forget()
		if err := refresh(); err != nil {
			t.Fatal(err)
		}
		return float64(len(cloud.Requests()))
	}
	small := cost(func() error {
		_, capabilities := b.Capabilities(t.Context())
		_, servers := b.Servers(t.Context(), "", 1000)
		_, images := b.Images(t.Context())
		return errors.Join(capabilities, servers, images)
	})
	changed := cost(func() error { _, err := b.ChangedVolumes(t.Context(), time.Now().Add(time.Hour)); return err })
	whole := cost(func() error {
		_, err := b.Volumes(t.Context(), "", 1000)
		for marker, more := "", true; more && err == nil; more = marker != "" {
			var page backend.Page[backend.Snapshot]
			page, err = b.Snapshots(t.Context(), marker, 1000)
			marker = page.Next
		}
		return err
	})
	total := small/c.Pace.Small.Seconds() + changed/c.Pace.Changed.Seconds() + whole/c.Pace.Whole.Seconds()
	t.Logf("%.0f, %.0f and %.0f requests; %.2f each second", small, changed, whole, total)
	if total >= 0.5 || whole < 11 {
		t.Errorf("%.2f requests each second", total)
	}
}

// A volume that others were cloned from comes back without a message.
func TestToldOfAVolumeWithClones(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	key := backend.Key{ID: cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})}
	clone := newRef(t)
	cloud.Break(openstacktest.Rule{Method: "GET", Path: "/volumes/detail"}, openstacktest.Fault{
		Status: 200, Body: fmt.Sprintf(`{"volumes": [{"id": "%s", "source_volid": "%s"}, {"id": "other", "source_volid": null}]}`, clone, key.ID),
	})
	if err := b.LastFailure(t.Context(), backend.SubjectVolume, key, time.Now()); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("nobody wanted to delete it: %v", err)
	}
	if err := b.DeleteVolume(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	var busy *backend.Error
	if err := b.LastFailure(t.Context(), backend.SubjectVolume, key, time.Now()); !errors.As(err, &busy) || busy.Code != backend.CodeBusy || len(busy.Dependents) != 1 || busy.Dependents[0].ID != clone {
		t.Errorf("%v", err)
	}
}

func TestWhatACreateAsksForMustExist(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	size := backend.VolumeSpec{SizeGiB: 1}
	for name, tt := range map[string]struct {
		change func(*backend.VolumeSpec)
		want   func(error) bool
	}{
		"type":          {func(v *backend.VolumeSpec) { v.Type = "nope" }, isInvalid("type")},
		"zone":          {func(v *backend.VolumeSpec) { v.Zone = "mars" }, isInvalid("zone")},
		"image":         {func(v *backend.VolumeSpec) { v.Image = newRef(t) }, func(err error) bool { return errors.Is(err, backend.ErrNotFound) }},
		"name too long": {func(v *backend.VolumeSpec) { v.Name = strings.Repeat("\uac00", 256) }, isInvalid("name")},
		"no reference":  {func(v *backend.VolumeSpec) { v.Ref = "'}, 'x': {'y" }, isInvalid("ref")},
	} {
		spec := size
		spec.Ref = newRef(t)
		tt.change(&spec)
		if _, err := b.CreateVolume(t.Context(), spec); !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := len(cloud.Volumes()); n != 0 {
		t.Errorf("%d were made", n)
	}
}
