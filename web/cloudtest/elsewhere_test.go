package cloudtest

import (
	"net/http"
	"slices"
	"testing"

	"blockconsole/views"
)

// post asks the cloud itself for a new object, which the tests mark as theirs.
func (c *cloud) post(kinds, kind string, fields map[string]any) object {
	c.t.Helper()
	fields["metadata"] = map[string]string{markKey: "elsewhere"}
	var made map[string]object
	c.must(c.volume, http.MethodPost, kinds, map[string]any{kind: fields}, &made)
	o := made[kind]
	eventually(c.t, kind+" "+o.Name, func() bool {
		var now map[string]object
		c.must(c.volume, http.MethodGet, kinds+"/"+o.ID, nil, &now)
		return now[kind].Status == "available"
	})
	return o
}

// TestCloudElsewhere: what others make in the cloud appears, what they change changes,
// and what they delete leaves.
func TestCloudElsewhere(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	p := newConsole(t, c)
	p.becomesListed(views.VolumesPath) // the console has read the cloud once, and finds the rest by looking again

	v := c.post("volumes", "volume", map[string]any{"name": c.named("theirs"), "size": 1})
	s := c.post("snapshots", "snapshot", map[string]any{"name": c.named("shot"), "volume_id": v.ID})
	row := p.becomes(volumePath(v.ID), "AVAILABLE")
	shot := p.becomes(snapshotPath(s.ID), "AVAILABLE")
	if row.Name != c.named("theirs") || row.BackendID != v.ID || shot.Volume.ID != row.ID {
		t.Errorf("%+v and %+v of it", row, shot)
	}

	// What is not the console's own takes its work all the same, and gets no second reference.
	p.done(snapshotPath(shot.ID, "edit"), "name", c.named("shot-b"))
	p.done(views.SnapshotsPath, "name", c.named("mine"), "volume_id", row.ID)

	c.must(c.volume, http.MethodPut, "volumes/"+v.ID, map[string]any{"volume": map[string]string{"name": c.named("theirs-b")}}, nil)
	eventually(t, "the other name", func() bool {
		return p.get(volumePath(row.ID), &row) == http.StatusOK && row.Name == c.named("theirs-b")
	})

	for _, o := range c.made("snapshots") {
		c.must(c.volume, http.MethodDelete, "snapshots/"+o.ID, nil, nil)
	}
	eventually(t, "no snapshots in the cloud", func() bool { return len(c.made("snapshots")) == 0 })
	c.must(c.volume, http.MethodDelete, "volumes/"+v.ID, nil, nil)
	eventually(t, "empty lists", func() bool { return len(p.listed(views.SnapshotsPath))+len(p.listed(views.VolumesPath)) == 0 })
	p.isGone(volumePath(row.ID))
}

// becomesListed waits until a list says that it was read.
func (p *console) becomesListed(path string) {
	p.t.Helper()
	eventually(p.t, path+" to be read", func() bool { return p.page(path).Find("[data-at]").Length() > 0 })
}

// TestCloudTwoConsoles: two consoles with databases of their own look after one
// project, and neither takes what the other makes for its own twin.
func TestCloudTwoConsoles(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	one, other := newConsole(t, c), newConsole(t, c)
	mine := one.done(views.VolumesPath, "name", c.named("one"), "size_gib", "1")
	theirs := other.done(views.VolumesPath, "name", c.named("other"), "size_gib", "1")
	for _, p := range []*console{one, other} {
		for _, id := range []string{mine, theirs} {
			p.becomes(volumePath(c.of("volumes", id).ID), "AVAILABLE")
		}
		if rows := p.listed(views.VolumesPath); len(rows) != 2 {
			t.Errorf("%d rows: %+v", len(rows), rows)
		}
	}
	one.done(volumePath(c.of("volumes", theirs).ID, "delete"))
	eventually(t, "the volume to leave the other console", func() bool {
		return !slices.ContainsFunc(other.listed(views.VolumesPath), func(r row) bool { return r.ID == theirs })
	})
	other.done(volumePath(c.of("volumes", mine).ID, "delete"))
}
