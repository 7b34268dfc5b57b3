package cloudtest

import (
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"blockconsole/views"
	"blockconsole/web/app/apptest"
)

const (
	livesAtOnce  = 3
	killsAtMost  = 12
	killedWithin = 2500 * time.Millisecond // of a click
)

// TestCloudKilled kills the console again and again while it makes, changes and
// deletes: every click is carried out, once, and no attachment is lost.
//
// BLOCKCONSOLE_TEST_CLOUD_KILLS sets how often, BLOCKCONSOLE_CRASH_SEED repeats the
// choices of an earlier run (the moments remain the machine's).
func TestCloudKilled(t *testing.T) {
	t.Parallel()
	c := theCloud(t)
	s := c.server(c.named("srv"))
	seed := number(t, "BLOCKCONSOLE_CRASH_SEED", uint64(time.Now().UnixNano()))
	t.Logf("seed %d", seed)
	p := newConsole(t, c)
	p.knows(s)
	p.unsteady = true
	k := &killing{p: p, s: s, clicked: make(chan string), over: make(chan struct{}), chance: rand.New(rand.NewPCG(seed, 0))}
	var living, killer sync.WaitGroup
	killer.Go(k.kill)
	for i := range livesAtOnce {
		living.Go(func() { k.live(strconv.Itoa(i)) })
	}
	living.Wait()
	close(k.over)
	killer.Wait()
	t.Logf("killed after %s", strings.Join(k.kills, ", "))
	if t.Failed() {
		return
	}
	if left := append(c.made("volumes"), c.made("snapshots")...); len(left) != 0 {
		t.Errorf("the cloud still has %+v", left)
	}
	if ids := c.attachedTo(s.ID); len(ids) != 0 {
		t.Errorf("still attached: %v", ids)
	}
	p.verifyOperations(k.clicks)
}

func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// killing is the console that is killed, and what was asked of it.
type killing struct {
	p       *console
	s       server
	clicked chan string
	over    chan struct{}
	chance  *rand.Rand
	kills   []string

	mu     sync.Mutex
	clicks map[string]string // by the operation
}

// kill kills the console some time after some clicks, and starts it again.
func (k *killing) kill() {
	most := int(number(k.p.t, "BLOCKCONSOLE_TEST_CLOUD_KILLS", killsAtMost))
	for {
		select {
		case what := <-k.clicked:
			if len(k.kills) == most || k.chance.IntN(2) == 0 {
				continue
			}
			k.kills = append(k.kills, what)
		case <-k.over:
			return
		}
		<-time.After(time.Duration(k.chance.Int64N(int64(killedWithin)))) // the moment is the test
		k.p.Kill()
		k.p.Start()
	}
}

// click asks for something and waits until it is done.
func (k *killing) click(what, path string, pairs ...string) string {
	k.p.t.Helper()
	sent := apptest.FormWithKey(pairs...)
	select {
	case k.clicked <- what: // the killer waits for nothing: it is killed while this is sent, too
	default:
	}
	a, err := k.p.send(http.MethodPost, path, sent)
	if err != nil || a.status != http.StatusAccepted {
		k.p.t.Fatalf("%s: %d %s %v", what, a.status, a.body, err)
	}
	k.mu.Lock()
	if k.clicks == nil {
		k.clicks = map[string]string{}
	}
	if twin := k.clicks[a.Operation]; twin != "" {
		k.p.t.Errorf("%s and %s are one operation", what, twin)
	}
	k.clicks[a.Operation] = what
	k.mu.Unlock()
	if o := k.p.ended(a.Operation); o.State != "SUCCEEDED" {
		k.p.t.Fatalf("%s: %+v", what, o)
	}
	return a.ID
}

// live is what becomes of a volume from its beginning to its end.
func (k *killing) live(number string) {
	c, t := k.p.c, k.p.t
	volume := k.click("create", views.VolumesPath, "name", c.named("vol-"+number), "size_gib", "1")
	snapshot := k.click("snapshot", views.SnapshotsPath, "name", c.named("shot-"+number), "volume_id", volume)
	restored := k.click("restore and attach", snapshotPath(snapshot, "restore"), "name", c.named("back-"+number), "size_gib", "1", "server_id", k.s.ID)
	k.attached(restored, true)
	k.click("attach", volumePath(volume, "attach"), "server_id", k.s.ID)
	k.attached(volume, true)
	k.click("detach", volumePath(volume, "detach"))
	k.attached(volume, false)
	k.attached(restored, true)
	k.click("extend", volumePath(volume, "extend"), "size_gib", "2")
	k.click("rename", snapshotPath(snapshot, "edit"), "name", c.named("other-"+number))
	if v, s := c.of("volumes", volume), c.of("snapshots", snapshot); v == nil || v.Size != 2 || s == nil || s.Name != c.named("other-"+number) {
		t.Errorf("the cloud has %+v and %+v", v, s)
	}
	k.click("detach", volumePath(restored, "detach"))
	k.attached(restored, false)
	k.click("delete", volumePath(restored, "delete"))
	k.click("delete", snapshotPath(snapshot, "delete"))
	k.click("delete", volumePath(volume, "delete"))
}

// attached compares the cloud's two books: there is one volume of the reference, and
// it is attached once, or not at all.
func (k *killing) attached(volume string, want bool) {
	k.p.t.Helper()
	o := k.p.c.of("volumes", volume)
	if o == nil {
		k.p.t.Fatalf("the cloud has no volume of %s", volume)
	}
	known := slices.DeleteFunc(k.p.c.attachedTo(k.s.ID), func(id string) bool { return id != o.ID })
	if want && (len(known) != 1 || len(o.Attachments) != 1) || !want && len(known)+len(o.Attachments) != 0 {
		k.p.t.Errorf("%+v, and the compute service has %v; attached: %t", o, known, want)
	}
}

// verifyOperations: what was asked is listed, nothing else, and all is done.
func (p *console) verifyOperations(asked map[string]string) {
	p.t.Helper()
	seen := 0
	for path := "/activity"; path != ""; {
		var page struct {
			Items []apptest.Operation
			Next  string
		}
		p.get(path, &page)
		for _, o := range page.Items {
			seen++
			if asked[o.ID] == "" || o.State != "SUCCEEDED" {
				p.t.Errorf("%+v, asked as %q", o, asked[o.ID])
			}
		}
		path = page.Next
	}
	if seen != len(asked) {
		p.t.Errorf("%d operations of %d clicks", seen, len(asked))
	}
}
