package cloudtest

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// requestID is what an operator of the cloud is asked for.
var requestID = regexp.MustCompile(`^req-[0-9a-f-]{36}$`)

// failed posts what is accepted and then comes to nothing: the operation says why, and
// which request it was.
func (p *console) failed(path, why string, pairs ...string) apptest.Operation {
	p.t.Helper()
	a := p.asked(path, pairs...)
	o := p.ended(a.Operation)
	if o.State != "FAILED" || !strings.Contains(o.Error, why) {
		p.t.Errorf("POST %s: %+v, want the failure %q", path, o, why)
	}
	return o
}

// rowSays checks that the list shows a text in the row of an object.
func (p *console) rowSays(list, name string, texts ...string) {
	p.t.Helper()
	html := p.page(list + "?q=" + name)
	row := html.Find("tbody tr").FilterFunction(func(_ int, s *goquery.Selection) bool { return s.Find("a.name").Text() == name })
	if row.Length() != 1 {
		p.t.Errorf("%d rows of %s", row.Length(), name)
	}
	shown, _ := row.Html()
	for _, text := range texts {
		if !strings.Contains(shown, text) {
			p.t.Errorf("the row of %s does not say %q: %s", name, text, strings.Join(strings.Fields(row.Text()), " "))
		}
	}
}

// page reads a page as a browser does.
func (p *console) page(path string) *goquery.Document {
	p.t.Helper()
	a := p.Client.For(p.t).Get(path, "Accept", "text/html", "Accept-Language", "en")
	apptest.WantStatus(p.t, a, http.StatusOK)
	return a.Doc(p.t)
}

// TestCloudFailures: what the cloud accepts and then does not carry out is explained
// with the cloud's own words and its request.
func TestCloudFailures(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	c.scripted(t)
	p := newConsole(t, c)
	const noVolume, nowhere, noSnapshot = "The storage could not create the volume", "No storage backend can take it", "The storage could not create the snapshot"

	// The driver fails, and then the scheduler finds no other: the cloud tells both, one after the other.
	broken := p.failed(views.VolumesPath, "", "name", c.named("fail-create"), "size_gib", "1", "volume_type", "scripted")
	if !strings.Contains(broken.Error, noVolume) && !strings.Contains(broken.Error, nowhere) || !requestID.MatchString(broken.RequestID) {
		t.Errorf("%+v, want %q or %q, and the request", broken, noVolume, nowhere)
	}
	p.is(volumePath(broken.SubjectID), "ERROR")
	p.rowSays(views.VolumesPath, c.named("fail-create"), "ERROR", broken.Error, broken.RequestID)
	p.done(volumePath(broken.SubjectID, "delete"))

	volume := p.done(views.VolumesPath, "name", c.named("data"), "size_gib", "1", "volume_type", "scripted")
	broken = p.failed(views.SnapshotsPath, noSnapshot, "name", c.named("fail-create"), "volume_id", volume)
	p.is(snapshotPath(broken.SubjectID), "ERROR")
	p.rowSays(views.SnapshotsPath, c.named("fail-create"), "ERROR", noSnapshot, broken.RequestID)
	p.done(snapshotPath(broken.SubjectID, "delete"))
	p.done(volumePath(volume, "delete"))
}

// TestCloudErrorDeleting: nobody deletes it; a repair wants a role that a member has
// not, and an administrator's console repairs it in every project.
func TestCloudErrorDeleting(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	c.scripted(t)
	admin := besides(t, "-admin")
	p := newConsole(t, c)
	volume := p.done(views.VolumesPath, "name", c.named("data"), "size_gib", "1", "volume_type", "scripted")
	stuck := p.done(views.SnapshotsPath, "name", c.named("fail-delete"), "volume_id", volume)
	broken := p.failed(snapshotPath(stuck, "delete"), "The storage could not delete the snapshot")
	if !requestID.MatchString(broken.RequestID) {
		t.Errorf("the request is %q", broken.RequestID)
	}
	p.is(snapshotPath(stuck), "ERROR_DELETING")
	p.rowSays(views.SnapshotsPath, c.named("fail-delete"), "ERROR_DELETING", "The storage could not delete the snapshot", broken.RequestID)
	a := p.post(snapshotPath(stuck, "delete"))
	if a.status != http.StatusConflict || a.Message != "It cannot be deleted. Please ask the administrator." {
		t.Errorf("deleted again: %d %s", a.status, a.body)
	}
	p.failed(snapshotPath(stuck, "repair"), "needs the role admin", "reason", "the array was restarted", "reset_to", "error")
	p.is(snapshotPath(stuck), "ERROR_DELETING")

	everywhere := newConsole(t, admin, "ALL_PROJECTS=1")
	o := c.of("snapshots", stuck)
	everywhere.becomes(snapshotPath(o.ID), "ERROR_DELETING")
	everywhere.done(snapshotPath(o.ID, "repair"), "reason", "the array was restarted", "reset_to", "error")
	everywhere.is(snapshotPath(o.ID), "ERROR")
	p.Stop() // to begin with a look at everything, instead of waiting for the next
	p.Start()
	p.becomes(snapshotPath(stuck), "ERROR")
	p.done(snapshotPath(stuck, "edit"), "name", c.named("mended"))
	p.done(snapshotPath(stuck, "delete"))
	p.done(volumePath(volume, "delete"))
	if left := append(c.made("volumes"), c.made("snapshots")...); len(left) != 0 {
		t.Errorf("the cloud still has %+v", left)
	}
}

// TestCloudBusySnapshot: a driver that makes clones keeps the snapshot that a volume
// was made of. The cloud accepts its deletion, and leaves it.
func TestCloudBusySnapshot(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	p := newConsole(t, c)
	volume := p.done(views.VolumesPath, "name", c.named("data"), "size_gib", "1")
	snapshot := p.done(views.SnapshotsPath, "name", c.named("base"), "volume_id", volume)
	clone := p.done(snapshotPath(snapshot, "restore"), "name", c.named("clone"), "size_gib", "1")
	a := p.asked(snapshotPath(snapshot, "delete"))
	o := p.ended(a.Operation)
	if o.State == "SUCCEEDED" {
		t.Skip("skipped: this cloud copies, its snapshots are never busy")
	}
	if len(o.Dependents) != 1 || o.Dependents[0].ID != clone || o.Dependents[0].Name != c.named("clone") || !strings.Contains(o.Error, "depend on it") {
		t.Errorf("%+v, want the volume %s to be named", o, clone)
	}
	p.is(snapshotPath(snapshot), "AVAILABLE")
	p.rowSays(views.SnapshotsPath, c.named("base"), "AVAILABLE", "depend on it")
	if link := p.page("/activity/" + o.ID).Find(`main a[href="` + volumePath(clone) + `"]`); link.Length() == 0 {
		t.Error("the operation's page has no link to what depends")
	}
	p.done(volumePath(clone, "delete"))
	p.done(snapshotPath(snapshot, "delete"))
	p.done(volumePath(volume, "delete"))
}

// TestCloudQuota: what goes beyond a quota is refused with its figures, before the
// cloud is asked.
func TestCloudQuota(t *testing.T) {
	t.Parallel()
	c := besides(t, "-tiny")
	var answer struct {
		Limits struct{ Absolute map[string]int }
	}
	c.must(c.volume, http.MethodGet, "limits", nil, &answer)
	limit, used := answer.Limits.Absolute["maxTotalVolumeGigabytes"], answer.Limits.Absolute["totalGigabytesUsed"]
	volumes := answer.Limits.Absolute["maxTotalVolumes"] - answer.Limits.Absolute["totalVolumesUsed"]
	if limit < 3 || limit-used < 3 || limit-used > 30 || volumes < 1 {
		t.Skipf("skipped: the quota leaves %d volumes and %d of %d GiB, and 3 to 30 are needed", volumes, limit-used, limit)
	}
	p := newConsole(t, c)
	size := (limit-used)/2 + 1
	volume := p.done(views.VolumesPath, "name", c.named("half"), "size_gib", fmt.Sprint(size))
	figures := fmt.Sprintf("limit %d, used %d, asked %d", limit, used+size, size)

	eventually(t, "the new figures in the popup", func() bool {
		bars := p.page(views.VolumesPath + "/new").Find(".quota")
		return bars.Length() >= 2 && strings.Contains(bars.Text(), fmt.Sprintf("%d used", used+size))
	})

	// A snapshot counts with the whole size of its volume.
	a := p.post(views.SnapshotsPath, "name", c.named("half"), "volume_id", volume)
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, figures) {
		t.Errorf("a snapshot: %d %s, want %q", a.status, a.body, figures)
	}
	a = p.post(views.VolumesPath, "name", c.named("other"), "size_gib", fmt.Sprint(size))
	if a.status != http.StatusUnprocessableEntity || !strings.Contains(a.Fields["size_gib"], figures) {
		t.Errorf("a volume: %d %s, want %q", a.status, a.body, figures)
	}
	if made := append(c.made("volumes"), c.made("snapshots")...); len(made) != 1 {
		t.Errorf("the cloud has %+v", made)
	}
	p.done(volumePath(volume, "delete"))
}
