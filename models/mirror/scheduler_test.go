package mirror_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/backend/backendtest"
	"blockconsole/models/store"
	"blockconsole/models/store/storetest"
	"blockconsole/models/worker/workertest"
)

// TestScheduler_CallsPerHour limits the calls of an hour without operations.
func TestScheduler_CallsPerHour(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	for i := range 30 {
		v := h.Fake.PutVolume(backend.Volume{Name: fmt.Sprintf("volume-%d", i)})
		h.Fake.PutSnapshot(backend.Snapshot{Name: "snap", Volume: v.Key})
	}
	h.RunMirror(time.Minute)
	before := map[string]int{}
	methods := []string{"Capabilities", "Servers", "Images", "ChangedVolumes", "Volumes", "Snapshots", "Volume", "Snapshot", "LastFailure"}
	for _, m := range methods {
		before[m] = h.Faulty.Calls(m)
	}
	h.RunMirror(time.Hour)
	total := 0
	made := map[string]int{}
	for _, m := range methods {
		made[m] = h.Faulty.Calls(m) - before[m]
		total += made[m]
	}
	if total > 800 || made["ChangedVolumes"] < 300 || made["Volumes"] < 25 || made["Volumes"] > 35 || made["Capabilities"] > 70 || made["Volume"] != 0 {
		t.Errorf("%d calls in an hour: %v", total, made)
	}
}

// TestScheduler_Outage expects that an outage is recorded soon, that calls become rare, and that
// the rows are fresh soon after its end.
func TestScheduler_Outage(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	v := h.Fake.PutVolume(backend.Volume{Name: "before"})
	h.RunMirror(15 * time.Second)
	h.Faulty.Down(errors.New("no route to host"))
	h.RunMirror(12 * time.Second)
	for _, kind := range []models.SubjectType{models.SubjectVolume, models.SubjectSnapshot} {
		if m, err := h.Store.Sync.SyncState(t.Context(), kind); err != nil || m.FailedSince == 0 || m.Failure.Key != "failure.unavailable" || m.SeenAt == 0 {
			t.Errorf("%s: %+v, %v", kind, m, err)
		}
	}
	before := h.Faulty.Calls("Volumes") + h.Faulty.Calls("ChangedVolumes") + h.Faulty.Calls("Capabilities")
	h.RunMirror(10 * time.Minute)
	if n := h.Faulty.Calls("Volumes") + h.Faulty.Calls("ChangedVolumes") + h.Faulty.Calls("Capabilities") - before; n > 150 {
		t.Errorf("%d calls in ten minutes of outage", n)
	}
	if h.StatusOf(v.ID) != models.Available {
		t.Error("the list is empty")
	}
	h.SetStatus(v, backend.ErrorStatus)
	h.Faulty.Down(nil)
	h.RunMirror(time.Minute + 10*time.Second)
	if h.StatusOf(v.ID) != models.ErrorStatus {
		t.Error(h.StatusOf(v.ID))
	}
	if m, err := h.Store.Sync.SyncState(t.Context(), models.SubjectSnapshot); err != nil || m.FailedSince != 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestScheduler_RetryAfter waits as long as a backend asks that has too many requests.
func TestScheduler_RetryAfter(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Faulty.Inject("Volumes", 1, backendtest.Fault{Err: &backend.Error{Code: backend.CodeUnavailable, RetryAfter: 10 * time.Minute}})
	h.RunMirror(9 * time.Minute)
	if n := h.Faulty.Calls("Volumes"); n != 1 {
		t.Errorf("%d listings", n)
	}
	h.RunMirror(3 * time.Minute)
	if n := h.Faulty.Calls("Volumes"); n < 2 {
		t.Errorf("%d listings", n)
	}
}

// TestLeader_WithoutDelta: the leader renews its lease also where there is no delta to
// do it between two resyncs, which are longer apart than the lease.
func TestLeader_WithoutDelta(t *testing.T) {
	clock := storetest.NewClock()
	store := storetest.Open(t, clock.Now)
	cloud := workertest.New(t)
	cloud.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Pace.Changed, c.Pace.Whole = 10*time.Second, 2*time.Minute })
	one := workertest.Share(t, store, clock, cloud.Fake)
	two := workertest.Share(t, storetest.Second(t, store, clock.Now), clock, cloud.Fake)
	for end := clock.Now().Add(30 * time.Minute); clock.Now().Before(end); clock.Add(time.Second) {
		one.Mirror.RunDue(t.Context())
		two.Mirror.RunDue(t.Context())
	}
	if n, m := one.Faulty.Calls("Volumes"), two.Faulty.Calls("Volumes"); n < 12 || m != 0 {
		t.Errorf("%d and %d listings", n, m)
	}
}

// TestRun_ResignsAtItsEnd expects that another console leads at once after a leader was stopped.
func TestRun_ResignsAtItsEnd(t *testing.T) {
	clock := storetest.NewClock()
	store := storetest.Open(t, clock.Now)
	one := workertest.Share(t, store, clock, workertest.NewCloud(t).Fake)
	one.Mirror.RunDue(t.Context())
	if leads, err := store.AcquireLeadership(t.Context(), "two", time.Minute); err != nil || leads {
		t.Fatalf("another leads beside a living leader: %t, %v", leads, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	one.Mirror.Run(stopped)
	if leads, err := store.AcquireLeadership(t.Context(), "two", time.Minute); err != nil || !leads {
		t.Errorf("nobody else leads after the leader was stopped: %v", err)
	}
}

// TestLeader_OneConsole expects that one of two consoles on a database mirrors, and the other
// one when the first resigns or dies.
func TestLeader_OneConsole(t *testing.T) {
	storetest.Each(t, func(t *testing.T, store *store.Store, clock *storetest.Clock) {
		cloud := workertest.NewCloud(t)
		one := workertest.Share(t, store, clock, cloud.Fake)
		two := workertest.Share(t, storetest.Second(t, store, clock.Now), clock, cloud.Fake)
		both := func(d time.Duration) (first, second int) {
			first, second = one.Faulty.Calls("Volumes"), two.Faulty.Calls("Volumes")
			for end := clock.Now().Add(d); clock.Now().Before(end); clock.Add(time.Second) {
				one.Mirror.RunDue(t.Context())
				two.Mirror.RunDue(t.Context())
			}
			return one.Faulty.Calls("Volumes") - first, two.Faulty.Calls("Volumes") - second
		}
		if n, m := both(10 * time.Minute); n < 4 || m != 0 {
			t.Errorf("%d and %d listings", n, m)
		}
		if err := one.Mirror.Resign(t.Context()); err != nil {
			t.Fatal(err)
		}
		for end := clock.Now().Add(12 * time.Second); clock.Now().Before(end); clock.Add(time.Second) {
			two.Mirror.RunDue(t.Context())
		}
		if two.Faulty.Calls("Volumes") == 0 {
			t.Error("nobody reads any more")
		}
		if n, m := both(10 * time.Minute); n != 0 || m < 4 {
			t.Errorf("%d and %d listings after the first ended", n, m)
		}
		listed := one.Faulty.Calls("Volumes")
		for end := clock.Now().Add(time.Minute); clock.Now().Before(end); clock.Add(time.Second) {
			one.Mirror.RunDue(t.Context()) // the second one is dead
		}
		if one.Faulty.Calls("Volumes") == listed {
			t.Error("nobody reads after the second died")
		}
	})
}
