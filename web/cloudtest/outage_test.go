package cloudtest

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

// The commands that stop and start a service of the cloud. They are called with its
// name: cinder-api, cinder-volume, nova-api, keystone, rabbitmq.
const (
	stopEnv  = "BLOCKCONSOLE_TEST_CLOUD_STOP"
	startEnv = "BLOCKCONSOLE_TEST_CLOUD_START"
)

const (
	// outage is how long a service is away: longer than the console's looks are apart,
	// so that it must notice.
	outage = 20 * time.Second
	// atOnce bounds every answer of the console. It is far below the time in which a
	// request to the cloud is given up, and far above what a page takes.
	atOnce = 3 * time.Second
)

// service runs a command of the environment for a service of the cloud.
func service(t *testing.T, variable, name string) {
	t.Helper()
	if out, err := exec.Command(os.Getenv(variable), name).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", variable, name, err, out)
	}
}

// TestCloudOutage takes services away while the console works: its pages stay as fast
// and as full as before and say how old they are, what is asked waits, and nothing is
// done twice.
func TestCloudOutage(t *testing.T) {
	if os.Getenv(stopEnv) == "" || os.Getenv(startEnv) == "" {
		t.Skipf("skipped: %s and %s do not name commands", stopEnv, startEnv)
	}
	c := theCloud(t)
	s := c.server(c.named("srv"))
	p := newConsole(t, c)
	p.knows(s)
	volume := p.done(views.VolumesPath, "name", c.named("vol"), "size_gib", "1")
	attach := func() reply { return p.asked(volumePath(volume, "attach"), "server_id", s.ID) }
	detach := func() reply { return p.asked(volumePath(volume, "detach")) }
	snapshot := func(name string) func() reply {
		return func() reply {
			return p.asked(views.SnapshotsPath, "name", c.named(name), "volume_id", volume, "acknowledge", "1")
		}
	}
	for _, test := range []away{
		{service: "cinder-api", click: snapshot("a"), banner: true, waits: true},
		{service: "cinder-volume", click: snapshot("b"), waits: true},
		{service: "nova-api", click: attach, waits: true},
		{service: "cinder-api", click: detach, banner: true, waits: true},
		{service: "keystone", click: snapshot("c")}, // tokens that were checked go on
		{service: "rabbitmq", click: snapshot("d"), loses: true},
	} {
		t.Run(test.service, func(t *testing.T) { p.without(t, test, volume) })
	}
	for _, r := range p.listed(views.SnapshotsPath) {
		if o := c.of("snapshots", r.ID); o == nil || !strings.EqualFold(o.Status, r.Status) {
			t.Errorf("%+v is %+v in the cloud", r, o)
		}
	}
	if made := c.made("snapshots"); len(made) != 4 {
		t.Errorf("4 snapshots were asked for: %+v", made)
	}
	if ids := c.attachedTo(s.ID); len(ids) != 0 {
		t.Errorf("still attached: %v", ids)
	}
}

// away is a service that goes away, and what is asked meanwhile.
type away struct {
	service string
	click   func() reply
	banner  bool // the lists cannot be read meanwhile
	waits   bool // nor can the click be carried out
	loses   bool // the cloud itself may forget what it has begun
}

// without looks at the console while a service is away, and after it has come back.
func (p *console) without(t *testing.T, test away, volume string) {
	defer p.within(t)()
	back := sync.OnceFunc(func() { service(t, startEnv, test.service) })
	defer back()
	service(t, stopEnv, test.service)
	before := len(p.listed(views.VolumesPath)) + len(p.listed(views.SnapshotsPath))
	a := test.click()
	p.staysFast(t, volume)
	if test.banner {
		p.saysOld(t)
	}
	if after := len(p.listed(views.VolumesPath)) + len(p.listed(views.SnapshotsPath)); after < before {
		t.Errorf("%d rows, and there were %d", after, before)
	}
	var o apptest.Operation
	p.get("/activity/"+a.Operation, &o)
	if test.waits && o.State != "PENDING" && o.State != "RUNNING" {
		t.Errorf("without %s the operation is %+v", test.service, o)
	}
	t.Logf("meanwhile: %s %q", o.State, o.Error)
	back()
	if test.loses {
		p.endedOrLost(a)
	} else if o := p.ended(a.Operation); o.State != "SUCCEEDED" {
		t.Errorf("%+v", o)
	}
	eventually(t, "the banner to go", func() bool { return p.banner().Length() == 0 })
}

// within lets a part of the test fail by itself.
func (p *console) within(t *testing.T) (back func()) {
	whole := p.t
	p.t, p.c.t, p.api = t, t, p.api.For(t)
	return func() { p.t, p.c.t, p.api = whole, whole, p.api.For(whole) }
}

// lostAfter is longer than the console waits before it repeats a create that it knows
// nothing of.
const lostAfter = 100 * time.Second

// endedOrLost waits until a create is done. Where the cloud keeps the object in
// creating for ever, the console must say the same, and make no second one.
func (p *console) endedOrLost(a reply) {
	p.t.Helper()
	var o apptest.Operation
	late := time.Now().Add(lostAfter)
	eventually(p.t, "the end of a create, or the time for another", func() bool {
		p.get("/activity/"+a.Operation, &o)
		return o.State == "SUCCEEDED" || time.Now().After(late)
	})
	if o.State == "SUCCEEDED" {
		return
	}
	made := p.c.of("snapshots", a.ID)
	if o.State != "RUNNING" || made == nil || made.Status != "creating" {
		p.t.Errorf("%+v, and the cloud has %+v", o, made)
	}
	p.is(snapshotPath(a.ID), "CREATING")
	p.t.Logf("the cloud keeps %+v", made)
}

func (p *console) banner() *goquery.Selection {
	p.t.Helper()
	return p.page(views.SnapshotsPath).Find("[data-degraded]")
}

// saysOld waits until a list says that it is old.
func (p *console) saysOld(t *testing.T) {
	t.Helper()
	var text string
	eventually(t, "a banner", func() bool { text = p.banner().Text(); return text != "" })
	for _, want := range []string{"The storage cannot be read since", "does not answer", "Requests are accepted, wait"} {
		if text = strings.Join(strings.Fields(text), " "); !strings.Contains(text, want) {
			t.Errorf("the banner says %q, not %q", text, want)
		}
	}
}

// staysFast asks for pages as long as the outage lasts.
func (p *console) staysFast(t *testing.T, volume string) {
	t.Helper()
	paths := []string{views.VolumesPath, views.SnapshotsPath, views.VolumesPath + "/new", volumePath(volume), volumePath(volume, "attach"),
		volumePath(volume, "snapshots", "new"), volumePath(volume, "delete"), "/activity", "/healthz"}
	var slowest time.Duration
	var slow string
	for until, i := time.Now().Add(outage), 0; time.Now().Before(until); i++ {
		path := paths[i%len(paths)]
		began := time.Now()
		if a, err := p.send(http.MethodGet, path, nil); err != nil || a.status != http.StatusOK && a.status != http.StatusNotAcceptable {
			t.Errorf("GET %s: %d %v", path, a.status, err)
		}
		if took := time.Since(began); took > slowest {
			slowest, slow = took, path
		}
		<-time.After(20 * time.Millisecond) // a hand is no faster
	}
	t.Logf("slowest: %s, %s", slow, slowest)
	if slowest > atOnce {
		t.Errorf("GET %s took %s", slow, slowest)
	}
}
