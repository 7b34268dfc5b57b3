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

func TestVolumes_PageSizes(t *testing.T) {
	for _, o := range []openstacktest.Options{{}, {MaxPageSize: 3}} {
		cloud, b := newCloud(t, o)
		created := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
		var want []string
		for i := range 12 { // three in each second
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

// A cloud that ignores the marker returns the same page forever.
func TestVolumes_PageDoesNotAdvance(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	for range 4 {
		cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	}
	first, err := b.Volumes(t.Context(), "", 2)
	if err != nil || first.Next == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	var same strings.Builder
	for i, v := range first.Items {
		same.WriteString([]string{"", ","}[min(i, 1)] + `{"id": "` + v.ID + `", "created_at": "` + v.CreatedAt.Format("2006-01-02T15:04:05.000000") + `"}`)
	}
	cloud.Inject(openstacktest.Rule{Path: "/volumes/detail"}, openstacktest.Fault{Status: 200,
		Body: `{"volumes": [` + same.String() + `], "volumes_links": [{"rel": "next", "href": "x"}]}`})
	_, err = b.Volumes(t.Context(), first.Next, 2)
	requireUnavailable(t, err)
}

func TestVolumes_TruncatedBody(t *testing.T) {
	cloud, b := newCloud(t, openstacktest.Options{})
	for range 5 {
		cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
	}
	for _, f := range []openstacktest.Fault{{Truncate: true}, {Truncate: true, Drop: true}, {Status: 200, Body: "{}"}, {Status: 200, Body: openstacktest.ProxyHTML}, {Status: 200, Body: "null"}} {
		broken := cloud.Inject(openstacktest.Rule{Service: "volume", Path: "/volumes/detail"}, f)
		if page, err := b.Volumes(t.Context(), "", 100); err == nil {
			t.Errorf("%+v gave %d volumes", f, len(page.Items))
		} else {
			requireUnavailable(t, err)
		}
		cloud.ClearFault(broken)
	}
	if page, err := b.Volumes(t.Context(), "", 100); err != nil || len(page.Items) != 5 {
		t.Errorf("%d, %v", len(page.Items), err)
	}
}

func TestChangedVolumes_ClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{0, time.Hour, -time.Hour} {
		now := newClock()
		cloud, b := newCloud(t, openstacktest.Options{Now: now.Now})
		cloud.SetSkew(skew)
		old := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		changing := cloud.AddVolume(openstacktest.Volume{Project: cloud.Project})
		if _, err := b.Volumes(t.Context(), "", 100); err != nil {
			t.Fatal(err)
		}
		now.advance(time.Minute)
		since := now.Now()
		now.advance(time.Second)
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

// Reading 500 volumes and 10,000 snapshots at the backend's pace makes less than half a
// request per second.
func TestPace_RequestRate(t *testing.T) {
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
		cloud.ResetRequests()
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
