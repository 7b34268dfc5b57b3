package worker_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
)

// readFor lets time pass, reading what is due, as Run does.
func (b *bench) readFor(d time.Duration) {
	b.Helper()
	end := b.clock.Now().Add(d)
	for {
		next := b.mirror.RunDue(b.Context())
		if next.After(end) {
			b.clock.Add(end.Sub(b.clock.Now()))
			return
		}
		b.clock.Add(max(next.Sub(b.clock.Now()), time.Millisecond))
	}
}

// elsewhere is the row of an object by the backend's id; nil: none.
func (b *bench) elsewhere(id string) *models.Volume {
	b.Helper()
	row, err := b.store.Volumes.Volume(b.Context(), me, id)
	if errors.Is(err, models.ErrNotFound) {
		return nil
	}
	if err != nil {
		b.Fatal(err)
	}
	return row
}

func (b *bench) status(id string) models.Status {
	b.Helper()
	if row := b.elsewhere(id); row != nil {
		return row.Status
	}
	return "gone"
}

// become lets somebody else change a volume's status.
func (b *bench) become(v backend.Volume, status backend.Status) {
	v.State = backend.State{Status: status, Percent: -1}
	b.fake.PutVolume(v)
}

// TestASteadyRefreshIsCheap: an hour of reading with nothing under way costs a
// cloud less than a request a second, of which the console makes the fewest.
func TestASteadyRefreshIsCheap(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	for i := range 30 {
		v := b.fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%d", i)})
		b.fake.PutSnapshot(backend.Snapshot{Name: "snap", Volume: v.Key})
	}
	b.readFor(time.Minute)
	before := map[string]int{}
	methods := []string{"Capabilities", "Servers", "Images", "ChangedVolumes", "Volumes", "Snapshots", "Volume", "Snapshot", "LastFailure"}
	for _, m := range methods {
		before[m] = b.faulty.Calls(m)
	}
	b.readFor(time.Hour)
	total := 0
	made := map[string]int{}
	for _, m := range methods {
		made[m] = b.faulty.Calls(m) - before[m]
		total += made[m]
	}
	if total > 800 || made["ChangedVolumes"] < 300 || made["Volumes"] < 25 || made["Volumes"] > 35 || made["Capabilities"] > 70 || made["Volume"] != 0 {
		t.Errorf("%d calls in an hour: %v", total, made)
	}
}

// TestWhatOthersChangeIsSeenSoon, long before the next whole listing; and what
// goes on changing is followed until it has settled.
func TestWhatOthersChangeIsSeenSoon(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	b.readFor(15 * time.Second)
	whole := b.faulty.Calls("Volumes")
	v := b.fake.PutVolume(backend.Volume{Name: "new", State: backend.State{Status: backend.Creating, Percent: -1}})
	b.readFor(12 * time.Second)
	if b.status(v.ID) != models.Creating {
		t.Fatal(b.status(v.ID))
	}
	b.become(v, backend.Available)
	b.readFor(12 * time.Second)
	if b.status(v.ID) != models.Available {
		t.Error(b.status(v.ID))
	}
	b.become(v, backend.Deleting)
	b.readFor(12 * time.Second)
	b.fake.RemoveVolume(v.ID)
	b.readFor(11 * time.Second)
	if b.status(v.ID) != "gone" {
		t.Error(b.status(v.ID))
	}
	if n := b.faulty.Calls("Volumes"); n != whole {
		t.Errorf("%d whole listings", n-whole)
	}
}

// TestHowOftenOthersObjectsAreLookedAt: at the backend's pace, then more seldom,
// and not for ever; never those in a status that nobody knows, nor those that an
// operation follows.
func TestHowOftenOthersObjectsAreLookedAt(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	own := b.newVolume("own-1")
	b.fake.Hold()
	b.asked(b.store.Volumes.ExtendVolume(b.Context(), me, own, "9", ""))
	b.look(1)
	b.fake.PutVolume(backend.Volume{Name: "odd", State: backend.State{Status: "AWAITING-TRANSFER", Percent: -1}})
	slow := b.fake.PutVolume(backend.Volume{Name: "slow", State: backend.State{Status: backend.Creating, Percent: -1}})
	snap := b.fake.PutSnapshot(backend.Snapshot{Name: "slow", Volume: slow.Key, State: backend.State{Status: backend.Deleting, Percent: -1}})
	volumes, snapshots := b.faulty.Calls("Volume"), b.faulty.Calls("Snapshot")
	b.readFor(21 * time.Second)
	if n := b.faulty.Calls("Volume") - volumes; n < 3 || n > 5 {
		t.Errorf("%d looks at volumes in 21 s", n)
	}
	if n := b.faulty.Calls("Snapshot") - snapshots; n < 3 || n > 5 {
		t.Errorf("%d looks at snapshots in 21 s", n)
	}
	b.readFor(time.Hour)
	if n := b.faulty.Calls("Volume") - volumes; n > 90 {
		t.Errorf("%d looks in an hour", n)
	}
	volumes = b.faulty.Calls("Volume")
	b.readFor(time.Hour)
	if n := b.faulty.Calls("Volume") - volumes; n > 0 {
		t.Errorf("%d looks in the second hour", n)
	}
	// The deleted snapshot vanishes; the volume that should be there is left to a whole listing.
	b.fake.RemoveSnapshot(snap.ID)
	b.readFor(3 * time.Minute)
	if _, err := b.store.Snapshots.Snapshot(b.Context(), me, snap.ID); !errors.Is(err, models.ErrNotFound) {
		t.Error(err)
	}
}

// TestWhatVanishesWhileItIsMade is decided by a whole listing, which comes soon.
func TestWhatVanishesWhileItIsMade(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	v := b.fake.PutVolume(backend.Volume{Name: "short", State: backend.State{Status: backend.Creating, Percent: -1}})
	b.readFor(time.Second)
	whole := b.faulty.Calls("Volumes")
	b.fake.RemoveVolume(v.ID)
	b.readFor(10 * time.Second)
	if b.status(v.ID) != "gone" || b.faulty.Calls("Volumes") != whole+1 {
		t.Errorf("%s after %d listings", b.status(v.ID), b.faulty.Calls("Volumes")-whole)
	}
}

// TestAPageKnowsLessThanALook that was made while the page was on its way.
func TestAPageKnowsLessThanALook(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	v := b.fake.PutVolume(backend.Volume{Name: "old", State: backend.State{Status: backend.Creating, Percent: -1}})
	b.readFor(time.Second)
	old, err := b.fake.Volumes(b.Context(), "", 10)
	if err != nil {
		t.Fatal(err)
	}
	slow := &stale{Backend: b.fake, volumes: old, duringSnapshots: func() {}}
	w := staleMirror(b, slow)
	if err := w.SyncObject(b.Context(), models.SubjectVolume, v.ID); err != nil {
		t.Fatal(err)
	}
	slow.duringVolumes = func() {
		b.clock.Add(time.Second)
		v.Name = "new"
		b.become(v, backend.Available)
		if err := w.PollObject(b.Context(), v.ID); err != nil {
			t.Error(err)
		}
	}
	if err := w.Resync(b.Context()); err != nil {
		t.Fatal(err)
	}
	if row := b.elsewhere(v.ID); row == nil || row.Name != "new" || row.Status != models.Available {
		t.Errorf("%+v", row)
	}
}

// TestOneConsoleReadsForAll that share a database; another one goes on when it
// ends, and soon when it dies.
func TestOneConsoleReadsForAll(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		cloud := newCloudBench(t)
		one := &bench{T: t, store: store, clock: clock, fake: cloud.fake, faulty: backendtest.NewFaulty(cloud.fake)}
		two := &bench{T: t, store: storetest.Second(t, store, clock.Now), clock: clock, fake: cloud.fake, faulty: backendtest.NewFaulty(cloud.fake)}
		one.restart()
		two.restart()
		both := func(d time.Duration) (first, second int) {
			first, second = one.faulty.Calls("Volumes"), two.faulty.Calls("Volumes")
			for end := clock.Now().Add(d); clock.Now().Before(end); clock.Add(time.Second) {
				one.mirror.RunDue(t.Context())
				two.mirror.RunDue(t.Context())
			}
			return one.faulty.Calls("Volumes") - first, two.faulty.Calls("Volumes") - second
		}
		if n, m := both(10 * time.Minute); n < 4 || m != 0 {
			t.Errorf("%d and %d listings", n, m)
		}
		if err := one.mirror.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		for end := clock.Now().Add(12 * time.Second); clock.Now().Before(end); clock.Add(time.Second) {
			two.mirror.RunDue(t.Context())
		}
		if two.faulty.Calls("Volumes") == 0 {
			t.Error("nobody reads any more")
		}
		if n, m := both(10 * time.Minute); n != 0 || m < 4 {
			t.Errorf("%d and %d listings after the first ended", n, m)
		}
		listed := one.faulty.Calls("Volumes")
		for end := clock.Now().Add(time.Minute); clock.Now().Before(end); clock.Add(time.Second) {
			one.mirror.RunDue(t.Context()) // the second has died
		}
		if one.faulty.Calls("Volumes") == listed {
			t.Error("nobody reads after the second died")
		}
	})
}

// TestReadingThroughAnOutage: it is said soon, asked for more and more seldom, and
// all is well soon after.
func TestReadingThroughAnOutage(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	v := b.fake.PutVolume(backend.Volume{Name: "before"})
	b.readFor(15 * time.Second)
	b.faulty.Down(errors.New("no route to host"))
	b.readFor(12 * time.Second)
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		if m, err := b.store.Sync.SyncState(t.Context(), kind); err != nil || m.FailedSince == 0 || m.Failure.Key != "failure.unavailable" || m.SeenAt == 0 {
			t.Errorf("%s: %+v, %v", kind, m, err)
		}
	}
	before := b.faulty.Calls("Volumes") + b.faulty.Calls("ChangedVolumes") + b.faulty.Calls("Capabilities")
	b.readFor(10 * time.Minute)
	if n := b.faulty.Calls("Volumes") + b.faulty.Calls("ChangedVolumes") + b.faulty.Calls("Capabilities") - before; n > 150 {
		t.Errorf("%d questions in ten minutes of silence", n)
	}
	if b.status(v.ID) != models.Available {
		t.Error("the list is empty")
	}
	b.become(v, backend.ErrorStatus)
	b.faulty.Down(nil)
	b.readFor(time.Minute + 10*time.Second)
	if b.status(v.ID) != models.ErrorStatus {
		t.Error(b.status(v.ID))
	}
	if m, err := b.store.Sync.SyncState(t.Context(), models.SubjectSnapshot); err != nil || m.FailedSince != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestReadingWaitsAsLongAsAsked by a backend that has too many requests.
func TestReadingWaitsAsLongAsAsked(t *testing.T) {
	b := newCloudBench(t)
	b.faulty.Inject("Volumes", 1, backendFault(&backend.Error{Code: backend.CodeUnavailable, RetryAfter: 10 * time.Minute}))
	b.readFor(9 * time.Minute)
	if n := b.faulty.Calls("Volumes"); n != 1 {
		t.Errorf("%d listings", n)
	}
	b.readFor(3 * time.Minute)
	if n := b.faulty.Calls("Volumes"); n < 2 {
		t.Errorf("%d listings", n)
	}
}

// TestWithoutChangesTheListingsRemain: a backend that cannot tell what changed is
// not asked all the time.
func TestWithoutChangesTheListingsRemain(t *testing.T) {
	b := newBench(t)
	b.fake.SetCapabilities(func(c *backend.Capabilities) { c.Pace.Changed = 10 * time.Second })
	b.restart()
	b.readFor(30 * time.Minute)
	if changed, whole := b.faulty.Calls("ChangedVolumes"), b.faulty.Calls("Volumes"); changed != 1 || whole < 25 {
		t.Errorf("%d questions, %d listings", changed, whole)
	}
}

// TestQuotasAreReadAfterOperations that use them.
func TestQuotasAreReadAfterOperations(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetQuota("volumes", 10)
	b.fake.SetCapabilities(func(c *backend.Capabilities) {
		c.Project, c.Projects = backend.Project{ID: models.DefaultProject, Name: "demo"}, []backend.Project{{ID: "p2", Name: "other"}}
	})
	b.restart()
	b.readFor(time.Second)
	if f := b.store.Capabilities(); len(f.Quotas) != 1 || f.Quotas[0] != (models.Quota{What: "volumes", Limit: 10}) || f.Project.Name != "demo" || len(f.Projects) != 1 {
		t.Fatalf("%+v", f)
	}
	b.done(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	b.readFor(3 * time.Second)
	if f := b.store.Capabilities(); f.Quotas[0].Used != 1 {
		t.Errorf("%+v", f.Quotas)
	}
}

// TestAnotherProjectIsNotMirrored: nothing is read or asked, operations wait, and
// it is said why.
func TestAnotherProjectIsNotMirrored(t *testing.T) {
	b := newCloudBench(t)
	project := func(id string) {
		b.fake.SetCapabilities(func(c *backend.Capabilities) { c.Project.ID = id })
	}
	project(models.DefaultProject)
	b.restart()
	op := b.asked(b.store.Volumes.CreateVolume(b.Context(), me, models.VolumeInput{Name: "made-1", Size: "1"}))
	project("somebody-elses")
	b.mirror, b.worker = newWorker(b)
	var other *models.IdentityError
	if err := b.mirror.Start(b.Context()); !errors.As(err, &other) {
		t.Fatal(err)
	}
	b.look(12)
	if now := b.operation(op.ID); now.State != models.Running || now.LastError.Key != models.FailureOtherProject {
		t.Errorf("%+v", now)
	}
	b.readFor(5 * time.Minute)
	if m, err := b.store.Sync.SyncState(t.Context(), models.SubjectVolume); err != nil || m.Failure.Key != models.FailureOtherProject || b.faulty.Calls("Volumes")+b.faulty.Calls("CreateVolume") != 0 {
		t.Errorf("%+v, %v, %d listings", m, err, b.faulty.Calls("Volumes"))
	}
	project(models.DefaultProject)
	b.done(op, nil)
}

// TestServersAreNamed where the volumes do not tell, and names are kept.
func TestServersAreNamed(t *testing.T) {
	b := newCloudBench(t)
	b.fake.SetLag(0)
	v := b.fake.PutVolume(backend.Volume{Name: "used", State: backend.State{Status: backend.InUse, Percent: 100},
		Attachments: []backend.Attachment{{ServerID: "server-1"}, {ServerID: "server-9"}}})
	b.readFor(time.Second)
	names := func() string {
		var all []string
		for _, a := range b.elsewhere(v.ID).Attachments {
			all = append(all, a.ServerName)
		}
		slices.Sort(all)
		return fmt.Sprint(all)
	}
	if got := names(); got != "[ web-1]" {
		t.Errorf("%q", got)
	}
	b.fake.AddServer("server-9", "late")
	b.readFor(3 * time.Minute)
	if got := names(); got != "[late web-1]" {
		t.Errorf("%q", got)
	}
	b.fake.RemoveServer("server-9")
	b.readFor(3 * time.Minute)
	if got := names(); got != "[late web-1]" {
		t.Errorf("%q", got)
	}
}
