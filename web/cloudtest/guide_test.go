package cloudtest

import (
	"net/http"
	"slices"
	"testing"

	"blockconsole/views"
)

// TestCloudGuide does what the user guide says, as a program does it, and looks in the
// cloud what became of it.
func TestCloudGuide(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	s := c.server(c.named("srv"))
	p := newConsole(t, c)
	p.knows(s)

	volume := p.done(views.VolumesPath, "name", c.named("data"), "size_gib", "1")
	p.is(volumePath(volume), "AVAILABLE")
	if o := c.of("volumes", volume); o == nil || o.Status != "available" || o.Size != 1 || o.Name != c.named("data") {
		t.Errorf("the cloud has %+v", o)
	}
	clean := p.done(views.SnapshotsPath, "name", c.named("clean"), "volume_id", volume)
	if r := p.is(snapshotPath(clean), "AVAILABLE"); r.Consistency != "clean" {
		t.Errorf("taken detached: %+v", r)
	}
	p.done(volumePath(volume, "attach"), "server_id", s.ID)
	attached := p.is(volumePath(volume), "IN-USE")
	if len(attached.Attachments) != 1 || attached.Attachments[0].ServerID != s.ID || attached.Attachments[0].ServerName != s.Name {
		t.Errorf("attached: %+v", attached)
	}
	if ids := c.attachedTo(s.ID); !slices.Equal(ids, []string{attached.BackendID}) {
		t.Errorf("the compute service has %v, want %s", ids, attached.BackendID)
	}
	live := p.takenLive(volume)
	p.renamed(live)
	p.restored(live, s)
	p.done(volumePath(volume, "detach"))
	p.is(volumePath(volume), "AVAILABLE")
	p.reverted(volume, clean, live)
	p.done(snapshotPath(live, "delete"))
	p.done(snapshotPath(clean, "delete"))
	p.done(volumePath(volume, "extend"), "size_gib", "2")
	if o := c.of("volumes", volume); o == nil || o.Size != 2 {
		t.Errorf("extended: %+v", o)
	}
	p.done(volumePath(volume, "delete"))
	for _, path := range []string{volumePath(volume), snapshotPath(live), snapshotPath(clean)} {
		p.isGone(path)
	}
	if left := append(c.made("volumes"), c.made("snapshots")...); len(left) != 0 {
		t.Errorf("the cloud still has %+v", left)
	}
	p.Stop()
}

// takenLive takes a snapshot of an attached volume: only with the tick.
func (p *console) takenLive(volume string) string {
	p.t.Helper()
	a := p.post(views.SnapshotsPath, "name", p.c.named("live"), "volume_id", volume)
	if a.status != http.StatusUnprocessableEntity || a.Fields["acknowledge"] == "" {
		p.t.Errorf("without the tick: %d %s", a.status, a.body)
	}
	if made := p.c.made("snapshots"); len(made) != 1 {
		p.t.Errorf("without the tick: %+v", made)
	}
	live := p.done(views.SnapshotsPath, "name", p.c.named("live"), "volume_id", volume, "acknowledge", "1")
	if r := p.is(snapshotPath(live), "AVAILABLE"); r.Consistency == "clean" {
		p.t.Errorf("taken attached: %+v", r)
	}
	return live
}

func (p *console) renamed(snapshot string) {
	p.t.Helper()
	p.done(snapshotPath(snapshot, "edit"), "name", p.c.named("renamed"), "description", "of the guide")
	if o := p.c.of("snapshots", snapshot); o == nil || o.Name != p.c.named("renamed") {
		p.t.Errorf("renamed: %+v", o)
	}
}

// restored makes a larger volume of a snapshot, attached to a server, and deletes it.
func (p *console) restored(snapshot string, s server) {
	p.t.Helper()
	restored := p.done(snapshotPath(snapshot, "restore"), "name", p.c.named("restored"), "size_gib", "2", "server_id", s.ID)
	r := p.is(volumePath(restored), "IN-USE")
	o, source := p.c.of("volumes", restored), p.c.of("snapshots", snapshot)
	if o == nil || source == nil || o.SnapshotID != source.ID || o.Size != 2 || o.Status != "in-use" {
		p.t.Errorf("the cloud has %+v of %+v", o, source)
	}
	if ids := p.c.attachedTo(s.ID); len(ids) != 2 || !slices.Contains(ids, r.BackendID) {
		p.t.Errorf("the compute service has %v, want also %s", ids, r.BackendID)
	}
	p.done(volumePath(restored, "detach"))
	p.done(volumePath(restored, "delete"))
}

// reverted goes back to the latest snapshot; an older one is refused.
func (p *console) reverted(volume, older, latest string) {
	p.t.Helper()
	if a := p.post(snapshotPath(older, "revert"), "confirm", "1"); a.status != http.StatusConflict {
		p.t.Errorf("revert to an older snapshot: %d %s", a.status, a.body)
	}
	a := p.asked(snapshotPath(latest, "revert"))
	if o := p.ended(a.Operation); o.State != "SUCCEEDED" {
		p.t.Errorf("revert: %+v", o)
	}
	p.is(volumePath(volume), "AVAILABLE")
}
