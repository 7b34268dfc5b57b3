package mirror_test

import (
	"testing"
	"time"

	"blockconsole/models"
	"blockconsole/models/backend"
	"blockconsole/models/worker/workertest"
)

// TestDelta_ChangesElsewhere expects changes long before the next resync, and polls of what
// is in transition.
func TestDelta_ChangesElsewhere(t *testing.T) {
	t.Parallel()
	h := workertest.NewCloud(t)
	h.Fake.SetLag(0)
	h.RunMirror(15 * time.Second)
	whole := h.Faulty.Calls("Volumes")
	v := h.Fake.PutVolume(backend.Volume{Name: "new", State: backend.State{Status: backend.Creating, Percent: -1}})
	h.RunMirror(12 * time.Second)
	if h.StatusOf(v.ID) != models.Creating {
		t.Fatal(h.StatusOf(v.ID))
	}
	h.SetStatus(v, backend.Available)
	h.RunMirror(12 * time.Second)
	if h.StatusOf(v.ID) != models.Available {
		t.Error(h.StatusOf(v.ID))
	}
	h.SetStatus(v, backend.Deleting)
	h.RunMirror(12 * time.Second)
	h.Fake.RemoveVolume(v.ID)
	h.RunMirror(11 * time.Second)
	if h.StatusOf(v.ID) != "gone" {
		t.Error(h.StatusOf(v.ID))
	}
	if n := h.Faulty.Calls("Volumes"); n != whole {
		t.Errorf("%d whole listings", n-whole)
	}
}

// TestDelta_Unsupported expects that a backend without ChangedVolumes is asked rarely.
func TestDelta_Unsupported(t *testing.T) {
	t.Parallel()
	h := workertest.New(t)
	h.Fake.SetCapabilities(func(c *backend.Capabilities) { c.Pace.Changed = 10 * time.Second })
	h.Restart()
	h.RunMirror(30 * time.Minute)
	if changed, whole := h.Faulty.Calls("ChangedVolumes"), h.Faulty.Calls("Volumes"); changed != 1 || whole < 25 {
		t.Errorf("%d questions, %d listings", changed, whole)
	}
}
