package handlers_test

import (
	"blockconsole/web/app/apptest"
	"slices"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// TestRestore_Bytes: a volume made of a snapshot holds what the snapshot held.
func TestRestore_Bytes(t *testing.T) {
	t.Parallel()
	c := newConsole(t)
	v := c.NewVolume("vol-1", 1)
	if err := c.Fake.WriteVolume(v.ID, 512, []byte("before")); err != nil {
		t.Fatal(err)
	}
	s := c.NewSnapshot(v, "snap-1")
	if err := c.Fake.WriteVolume(v.ID, 512, []byte("after!")); err != nil {
		t.Fatal(err)
	}
	restored := apptest.WantAccepted(t, c.Post(apptest.SnapshotPath(s.ID, "restore"), apptest.Form("name", "vol-2"), apptest.AsJSON...))
	c.Work()
	got, err := c.Fake.ReadVolume(restored.ID, 512, 6)
	if err != nil || string(got) != "before" {
		t.Errorf("the restored volume holds %q, %v", got, err)
	}
	sources := c.Get(apptest.VolumePath(c.Volume(restored.ID).ID)).Doc(t).Find("main a").Map(func(_ int, link *goquery.Selection) string { return link.AttrOr("href", "") })
	if !slices.Contains(sources, apptest.SnapshotPath(s.ID)) {
		t.Error("the volume's page does not lead to its snapshot")
	}
}
